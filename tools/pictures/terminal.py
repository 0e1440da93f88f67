"""A terminal that plays a recording and remembers what is on it, and since when.

Recordings are asciicast files (version 2): a header, then what was printed, with its time. Only
what our programs use is understood; anything else raises an error instead of a wrong picture.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from canvas import PictureError

SEQUENCE = re.compile(r"\x1b\[(?P<parameters>[?0-9;]*)(?P<name>[A-Za-z])")
COLOURS = ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")


@dataclass(frozen=True)
class Look:
    """How a character looks."""

    colour: str = ""
    bold: bool = False
    dim: bool = False

    @property
    def code(self) -> str:
        """The sequence that sets it."""
        codes = ["0", *(["1"] if self.bold else []), *(["2"] if self.dim else [])]
        if self.colour:
            codes.append(str(30 + COLOURS.index(self.colour)))
        return f"\x1b[{';'.join(codes)}m"

    def changed(self, code: int) -> Look:
        """After a code of SGR."""
        if code == 0:
            return Look()
        if code in (1, 2, 22):
            return Look(self.colour, code == 1, code == 2)
        if code == 39:
            return Look("", self.bold, self.dim)
        if 30 <= code <= 37 or 90 <= code <= 97:
            return Look(COLOURS[code % 10], self.bold, self.dim)
        if code in (3, 4, 23, 24):  # italic and underlined: not drawn
            return self
        raise PictureError(f"the recording has the unknown code SGR {code}: teach terminal.py")


@dataclass(frozen=True)
class Run:
    """Characters that follow one another and look the same."""

    column: int
    text: str
    look: Look


@dataclass
class Row:
    """A line on the terminal, and the time at which it became what it is."""

    cells: list[tuple[str, Look]] = field(default_factory=list)
    since: float = 0.0

    @property
    def text(self) -> str:
        return "".join(character for character, _ in self.cells).rstrip()

    @property
    def printed(self) -> str:
        """What prints the row."""
        looks = (run.look.code + run.text for run in self.runs())
        return "".join(looks).removeprefix(Look().code)

    def runs(self) -> Iterator[Run]:
        start, cells = 0, self.cells[: len(self.text)]
        for column in range(1, len(cells) + 1):
            if column == len(cells) or cells[column][1] != cells[start][1]:
                text = "".join(character for character, _ in cells[start:column])
                yield Run(start, text, cells[start][1])
                start = column


class Terminal:
    """As high as it needs to be, so that nothing scrolls out of it."""

    def __init__(self, columns: int) -> None:
        self.columns = columns
        self.rows: list[Row] = [Row()]
        self.row = self.column = 0
        self.look = Look()

    def feed(self, at: float, text: str) -> None:
        while text:
            if found := SEQUENCE.match(text):
                self._control(at, found["parameters"], found["name"])
                text = text[found.end() :]
            else:
                self._character(at, text[0])
                text = text[1:]

    def final(self) -> list[Row]:
        """The rows that are not empty at the end."""
        rows = list(self.rows)
        while rows and not rows[-1].text:
            rows.pop()
        return rows

    def _character(self, at: float, character: str) -> None:
        if character == "\n":
            self._move(self.row + 1)
        elif character == "\r":
            self.column = 0
        elif unicodedata.category(character) == "Cc":
            raise PictureError(f"the recording has the control character {character!r}")
        else:
            if self.column >= self.columns:
                self._move(self.row + 1)
                self.column = 0
            self._put(at, character)

    def _put(self, at: float, character: str) -> None:
        row = self.rows[self.row]
        missing = self.column + 1 - len(row.cells)
        row.cells.extend([(" ", Look())] * missing)
        cell = character, self.look
        if row.cells[self.column] != cell:
            row.cells[self.column], row.since = cell, at
        self.column += 1

    def _control(self, at: float, parameters: str, name: str) -> None:
        if name == "m":
            for code in parameters.split(";"):
                self.look = self.look.changed(int(code or 0))
            return
        if parameters.startswith("?") and name in "hl":  # modes such as a hidden cursor
            return
        count = int(parameters or 0)
        if name in "AB":
            self._move(max(self.row + (-1 if name == "A" else 1) * (count or 1), 0))
        elif name == "C":
            self.column += count or 1
        elif name == "D":
            self.column = max(self.column - (count or 1), 0)
        elif name == "G":
            self.column = (count or 1) - 1
        elif name in "KJ" and count in (0, 2):
            self._erase(at, name, count)
        else:
            raise PictureError(f"the recording has ESC[{parameters}{name}: teach terminal.py")

    def _erase(self, at: float, name: str, count: int) -> None:
        row = self.rows[self.row]
        kept = 0 if count == 2 else self.column
        if row.cells[kept:]:
            row.cells, row.since = row.cells[:kept], at
        if name == "J":
            del self.rows[self.row + 1 :]

    def _move(self, row: int) -> None:
        self.row = row
        while len(self.rows) <= row:
            self.rows.append(Row())


def play(recording: Path) -> list[Row]:
    """What is on the terminal at the end of a recording."""
    lines = recording.read_text().splitlines()
    header = json.loads(lines[0])
    if header.get("version") != 2:
        raise PictureError(f"{recording.name} is not an asciicast file of version 2")
    terminal = Terminal(header["width"])
    for line in lines[1:]:
        at, kind, text = json.loads(line)
        if kind == "o":
            terminal.feed(at, text)
    return terminal.final()
