"""Runs the commands that the documents show, against the local stack and the stand-in for Alexa.

ASP_EVENTS_BOOTSTRAP=target/demo/asp-events ASPCTL=target/debug/aspctl \
    python -m unittest discover -v -s tests/aspctl -p test_documents.py
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import unittest
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from alexa import Alexa
from tool import ASPCTL, OWN, ROOT, aws

from case import BOOTSTRAP  # isort: skip
from stack import output_of, running, script  # isort: skip

sys.path.insert(0, str(ROOT / "tests"))

from house.documents import Block, documents  # noqa: E402

BLOCK_SECONDS = 180
COPIED = ("docs", "events", "schemas", "README.md", "CONTRIBUTING.md", "Makefile", "template.yaml")


@contextmanager
def reader() -> Iterator[tuple[Path, Mapping[str, str]]]:
    """A reader's working copy and environment: aspctl is installed, the stack deployed."""
    with tempfile.TemporaryDirectory(prefix="asp-events-reader-") as name:
        folder = Path(name)
        copy, home, programs = folder / "asp-events", folder / "home", folder / "bin"
        for made in (copy, home, programs):
            made.mkdir()
        for item in filter(Path.exists, map(ROOT.joinpath, COPIED)):
            (shutil.copytree if item.is_dir() else shutil.copy)(item, copy / item.name)
        (programs / "aspctl").symlink_to(ASPCTL)
        with running(BOOTSTRAP, say=lambda _: None) as stack, Alexa() as alexa:
            alexa.add_examples()
            own = OWN | aws(stack) | alexa.environment | {"XDG_CACHE_HOME": ""}
            yield (
                copy,
                own | {"HOME": str(home), "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"},
            )


class DocumentTest(unittest.TestCase):
    """The blocks of a document run in their order, in one working copy and against one stack."""

    def test_commands_of_documents_work(self) -> None:
        for document in documents():
            blocks = [block for block in document.blocks() if block.kind == "demo"]
            if blocks:
                with self.subTest(document.path.relative_to(ROOT)), reader() as (copy, environment):
                    for block in blocks:
                        self.run_block(block, copy, environment)

    def test_readme_shows_commands_that_run(self) -> None:
        blocks = [b for d in documents() if d.path == ROOT / "README.md" for b in d.blocks()]
        self.assertIn("demo", [block.kind for block in blocks])

    def run_block(self, block: Block, folder: Path, environment: Mapping[str, str]) -> None:
        status, output = output_of(script(block.commands), environment, folder, BLOCK_SECONDS)
        failure = f"{block}: exit status {status}\n{block.commands}\n{output}"
        self.assertEqual(status, 0, failure)


if __name__ == "__main__":
    unittest.main()
