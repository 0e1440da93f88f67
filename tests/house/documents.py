"""Reads the documents: the commands that they show, how each is tested, and where their links lead.

A block of commands says on the line before its fence how it is tested:

    <!-- test: demo -->             it runs against the local stack and the stand-in for Alexa
    <!-- test: make -->             each line calls targets of the Makefile, which must exist
    <!-- not tested: the reason --> it does not run in a test
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).resolve().parents[2]

# Languages of blocks that hold commands. In a console block only lines with a prompt are commands;
# so they are in a block of any other language.
PROMPT = "$ "
CONSOLE = "console"
SHELLS = {"sh", "bash", "shell", CONSOLE}

FENCE = re.compile(r"^(?P<indent> *)(?P<fence>`{3,}|~{3,}) *(?P<language>\w*)")
MARKER = re.compile(r"<!-- *(?:test: *(?P<kind>demo|make)|not tested: *(?P<reason>\S.*?)) *-->")
LINK = re.compile(r"(?<!\\)\]\(\s*<?([^)\s>]+)>?[^)]*\)|\b(?:src|srcset|href)=\"([^\"]+)\"")
CODE_SPAN = re.compile(r"(`+)(?:.+?)\1")
HEADING = re.compile(r"^#{1,6} +(.*?) *#*$")
ANCHOR = re.compile(r"<a +(?:id|name)=\"([^\"]+)\"")
EXTERNAL = re.compile(r"^[a-z][a-z0-9+.-]*:|^//")

Kind = Literal["demo", "make", "not tested"]


@dataclass(frozen=True)
class Block:
    """A fenced block of commands. `kind` is None if the document does not say how it is tested."""

    document: Path
    line: int
    language: str
    text: str
    kind: Kind | None

    @property
    def commands(self) -> str:
        """The commands alone, as a shell script."""
        if self.language in SHELLS - {CONSOLE}:
            return self.text
        lines = [line for line in self.text.splitlines() if line.startswith(PROMPT)]
        return "".join(f"{line.removeprefix(PROMPT)}\n" for line in lines)

    def __str__(self) -> str:
        return f"{self.document.relative_to(ROOT)}:{self.line}"


@dataclass(frozen=True)
class Link:
    """A link to another place in the repository: a path, an anchor, or both."""

    line: int
    path: str
    anchor: str


class Document:
    """A Markdown document of the repository."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines = path.read_text().splitlines()

    @cached_property
    def _fences(self) -> list[tuple[int, int, str]]:
        """Each fenced block: index of its first line, index after its last line, language."""
        blocks, start, closing, language = [], -1, "", ""
        for index, line in enumerate(self.lines):
            found = FENCE.match(line)
            if start < 0 and found:
                start, closing, language = index, found["fence"], found["language"].lower()
            elif start >= 0 and line.strip().startswith(closing) and not line.strip(" `~"):
                blocks.append((start, index + 1, language))
                start = -1
        return blocks

    def blocks(self) -> Iterator[Block]:
        """The blocks that hold commands."""
        for start, end, language in self._fences:
            lines = self.lines[start + 1 : end - 1]
            has_prompt = any(line.lstrip().startswith(PROMPT) for line in lines)
            if language in SHELLS or has_prompt:
                indent = len(self.lines[start]) - len(self.lines[start].lstrip())
                text = "".join(f"{line[indent:]}\n" for line in lines)
                yield Block(self.path, start + 1, language, text, self._kind(start))

    def _kind(self, fence: int) -> Kind | None:
        found = MARKER.fullmatch(self.lines[fence - 1].strip()) if fence else None
        if found is None:
            return None
        return "not tested" if found["reason"] else found["kind"]

    def prose(self) -> Iterator[tuple[int, str]]:
        """The lines outside of fenced blocks, with their numbers."""
        fenced = {index for start, end, _ in self._fences for index in range(start, end)}
        for index, line in enumerate(self.lines):
            if index not in fenced:
                yield index + 1, line

    def links(self) -> Iterator[Link]:
        """The links that do not leave the repository."""
        for number, line in self.prose():
            for found in LINK.finditer(CODE_SPAN.sub("", line)):
                target = found[1] or found[2]
                if not EXTERNAL.match(target):
                    path, _, anchor = target.partition("#")
                    yield Link(number, path, anchor)

    @cached_property
    def anchors(self) -> set[str]:
        """The anchors of the headings, as GitHub derives them, and those that are written out."""
        anchors: set[str] = set()
        seen: Counter[str] = Counter()
        for _, line in self.prose():
            anchors.update(ANCHOR.findall(line))
            if found := HEADING.match(line):
                slug = _slug(found[1])
                anchors.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
                seen[slug] += 1
        return anchors


def documents() -> list[Document]:
    """The documents for people: those at the top, those of docs/, and the samples' own."""
    patterns = ("*.md", "docs/**/*.md", "events/*.md")
    return [Document(path) for pattern in patterns for path in sorted(ROOT.glob(pattern))]


def make_targets() -> set[str]:
    """The targets of the Makefile that have a name of their own."""
    makefile = (ROOT / "Makefile").read_text()
    return set(re.findall(r"^([a-z][a-z0-9-]*):(?!=)", makefile, re.MULTILINE))


def _slug(heading: str) -> str:
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").lower()
    kept = (c for c in text if c in "-_ " or unicodedata.category(c)[0] in "LMN")
    return "".join(kept).strip().replace(" ", "-")
