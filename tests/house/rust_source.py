"""Reads Rust source well enough to measure it: code without comments, strings and tests."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

# What does not count as code, in the order in which it is tried.
NOT_CODE = re.compile(
    r"""
      //[^\n]*                                             # line comment
    | /\*.*?\*/                                            # block comment
    | \b[bc]?r(?P<hashes>\#*)"(?:.*?)"(?P=hashes)          # raw string
    | [bc]?"(?:\\.|[^"\\])*"                               # string
    | b?'(?:\\(?:x..|u\{[^}]*\}|.)|[^\\'\n])'              # character, but no lifetime
    """,
    re.VERBOSE | re.DOTALL,
)
TEST_ATTRIBUTE = re.compile(r"#\[(?:cfg\((?:all\()?test\b[^\]]*|test|tokio::test[^\]]*)\]")
TYPE = re.compile(r"\b(?:struct|enum|trait|type|union)\s+([A-Z]\w*)")
FUNCTION = re.compile(r"\bfn\s+(\w+)")
USE = re.compile(r"\b(?P<public>pub(?:\([^)]*\))?\s+)?use\s+(?P<tree>[^;]+);")
PATH = re.compile(r"\b(?:crate|super|self)(?:::\w+)+")


@dataclass(frozen=True)
class Import:
    """One name that a file brings in: its path and the name under which it is known there."""

    path: tuple[str, ...]
    name: str
    public: bool


@dataclass(frozen=True)
class Function:
    """A function and the number of lines from its `fn` to its closing brace."""

    name: str
    line: int
    length: int


class RustFile:
    """One source file; in `code`, comments, strings and what only tests compile are blank."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.text = path.read_text()

    @cached_property
    def code_with_tests(self) -> str:
        return NOT_CODE.sub(lambda found: _blanked(found[0]), self.text)

    @cached_property
    def code(self) -> str:
        code = self.code_with_tests
        while found := TEST_ATTRIBUTE.search(code):
            end = _end_of_item(code, found.end())
            code = code[: found.start()] + _blanked(code[found.start() : end]) + code[end:]
        return code

    @cached_property
    def test_modules(self) -> list[str]:
        """Names of the modules that are files of their own and compiled for tests only."""
        return re.findall(
            r"#\[cfg\(test\)\]\s*(?:#\[[^\]]*\]\s*)*(?:pub(?:\([^)]*\))?\s+)?mod\s+(\w+);",
            self.code_with_tests,
        )

    @property
    def code_lines(self) -> int:
        return sum(1 for line in self.code.splitlines() if line.strip())

    def line_of(self, position: int) -> int:
        return self.code.count("\n", 0, position) + 1

    def type_names(self) -> Iterator[tuple[str, int]]:
        """The types that the file defines, with their lines; associated types do not count."""
        for found in TYPE.finditer(self.code):
            if not re.search(r"\b(?:impl|trait)\b", self._block_header(found.start())):
                yield found[1], self.line_of(found.start())

    def functions(self) -> Iterator[Function]:
        for found in FUNCTION.finditer(self.code):
            end = _end_of_item(self.code, found.end())
            if self.code[end - 1] == "}":
                line = self.line_of(found.start())
                yield Function(found[1], line, self.line_of(end - 1) - line + 1)

    def imports(self) -> Iterator[Import]:
        """What `use` brings in, and other paths that begin with `crate`, `super` or `self`."""
        for found in USE.finditer(self.code):
            for path, name in _leaves(found["tree"]):
                yield Import(path, name, found["public"] is not None)
        for found in PATH.finditer(USE.sub("", self.code)):
            path = tuple(found[0].split("::"))
            yield Import(path, path[-1], public=False)

    def _block_header(self, position: int) -> str:
        """What stands before the brace of the block that encloses a position."""
        depth = 0
        for index in range(position - 1, -1, -1):
            match self.code[index]:
                case "}":
                    depth += 1
                case "{" if depth:
                    depth -= 1
                case "{":
                    return re.split(r"[;{}]", self.code[:index])[-1]
        return ""


def _blanked(text: str) -> str:
    return re.sub(r"[^\n]", " ", text)


def _end_of_item(code: str, position: int) -> int:
    """Where the item after a position ends: behind its semicolon or its closing brace."""
    depth = 0
    for index in range(position, len(code)):
        match code[index]:
            case "{" | "(" | "[":
                depth += 1
            case ")" | "]":
                depth -= 1
            case "}":
                depth -= 1
                if depth <= 0:
                    return index + 1 if depth == 0 else index
            case ";" if depth == 0:
                return index + 1
    return len(code)


def _leaves(tree: str) -> Iterator[tuple[tuple[str, ...], str]]:
    """The paths of a `use` tree, each with the name that it gets."""
    tree = tree.strip()
    prefix, brace, rest = tree.partition("{")
    if not brace:
        path, _, alias = tree.partition(" as ")
        parts = [part.strip() for part in path.split("::") if part.strip()]
        if parts[1:] and parts[-1] == "self":
            parts.pop()
        yield tuple(parts), alias.strip() or parts[-1]
        return
    for branch in _branches(rest.rpartition("}")[0]):
        yield from _leaves(prefix + branch)


def _branches(group: str) -> Iterator[str]:
    """The parts of a group, split at the commas that are not in a group further in."""
    depth, begin = 0, 0
    for index, character in enumerate(group + ","):
        match character:
            case "{":
                depth += 1
            case "}":
                depth -= 1
            case "," if depth == 0:
                if branch := group[begin:index].strip():
                    yield branch
                begin = index + 1
