"""Documents: each command says how it is tested, targets of make exist, links lead somewhere.

Blocks marked `test: demo` run in tests/aspctl/test_documents.py.
"""

from __future__ import annotations

import re
import shlex
import unittest
from typing import ClassVar

from house.documents import ROOT, Block, Document, documents, make_targets


class DocumentTest(unittest.TestCase):
    documents: ClassVar[list[Document]] = documents()

    def blocks(self) -> list[Block]:
        return [block for document in self.documents for block in document.blocks()]

    def test_each_block_of_commands_says_how_it_is_tested(self) -> None:
        for block in self.blocks():
            with self.subTest(str(block)):
                self.assertIsNotNone(
                    block.kind,
                    f"{block}: on the line before the block, write <!-- test: demo -->, "
                    "<!-- test: make --> or <!-- not tested: the reason -->",
                )

    def test_targets_of_make_exist(self) -> None:
        targets = make_targets()
        for block in self.blocks():
            if block.kind != "make":
                continue
            for line in block.commands.splitlines():
                if words := shlex.split(line, comments=True):
                    with self.subTest(str(block), line=line):
                        self.assertEqual(words[0], "make", f"{block}: {line}")
                        unknown = {word for word in words[1:] if "=" not in word} - targets
                        self.assertFalse(unknown, f"{block}: no such target")

    def test_targets_of_make_in_the_text_exist(self) -> None:
        targets = make_targets()
        for document in self.documents:
            name = document.path.relative_to(ROOT)
            for number, line in document.prose():
                for target in re.findall(r"`make ([a-z][a-z0-9-]*)", line):
                    with self.subTest(f"{name}:{number}"):
                        self.assertTrue(target in targets, f"{name}:{number}: no make {target}")

    def test_links_lead_somewhere(self) -> None:
        by_path = {document.path: document for document in self.documents}
        for document in self.documents:
            name = document.path.relative_to(ROOT)
            for link in document.links():
                with self.subTest(f"{name}:{link.line}", path=link.path, anchor=link.anchor):
                    path = (
                        (document.path.parent / link.path).resolve() if link.path else document.path
                    )
                    self.assertTrue(path.exists(), f"{name}:{link.line}: no {link.path}")
                    if link.anchor and path in by_path:
                        anchors = by_path[path].anchors
                        self.assertIn(link.anchor, anchors, f"{name}:{link.line}: no such heading")


if __name__ == "__main__":
    unittest.main()
