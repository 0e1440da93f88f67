"""Recordings of a terminal: the demo, and `aspctl doctor` finding a break.

Lines appear as they did in the run, with long waits cut short. Where animation is off, or not
supported, the picture is its last frame.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from canvas import MONO, WIDTH, Canvas, Palette, PictureError, number
from names import ROOT
from terminal import Row, Run, play

FOLDER = ROOT / "tools/pictures/recorded"

# A character's width is enforced, so the columns stay in line whatever the reader's font.
SIZE, ADVANCE, LINE = 13.2, 8.0, 19
LEFT, TOP = 30, 60
COLUMNS = (WIDTH - 2 * LEFT) // int(ADVANCE)

# The longest wait that is shown, and the longest time that the whole animation takes, in seconds.
LONGEST_WAIT, LONGEST = 0.7, 7.0

# The terminal's colours in each scheme, by their names in ANSI.
COLOURS: Palette = {
    "red": ("#cf222e", "#ff7b72"),
    "green": ("#116329", "#3fb950"),
    "yellow": ("#7d4e00", "#d29922"),
    "blue": ("#0969da", "#58a6ff"),
    "magenta": ("#8250df", "#bc8cff"),
    "cyan": ("#1b7c83", "#39c5cf"),
}


# A line that has not appeared yet can be read, too: nobody has to wait.
STYLE = f"""
    .row {{ font-family: {MONO}; font-size: {SIZE:g}px; white-space: pre; }}
    .bold {{ font-weight: 600; }}
    .dim, .cut {{ fill: var(--soft); }}
    {" ".join(f".{name} {{ fill: var(--{name}); }}" for name in COLOURS)}
    @keyframes appear {{ from {{ opacity: 0.4; }} to {{ opacity: 1; }} }}
    @media (prefers-reduced-motion: no-preference) {{
      .row {{ animation: appear 1ms both; }}
    }}"""


@dataclass(frozen=True)
class Excerpt:
    """Lines of a recording: the first that matches `start`, and those before one that has `end`."""

    start: str
    end: str = ""


NEXT = r"^(▶|$)"

# What the pictures show. Between the excerpts a line says how many lines were left out.
DEMO = (
    Excerpt(r"^\$ make demo$"),
    Excerpt(r"^MiniStack is running"),
    Excerpt(r"^deployed template.yaml"),
    Excerpt(r"^▶ automation-failure-internal-error", NEXT),
    Excerpt(r"^▶ skill-failure-invalid-response", NEXT),
    Excerpt(r"^▶ subscription-activated", NEXT),
    Excerpt(r"^▶ bad-invalid-event", NEXT),
    Excerpt(r"^\d+ messages from \d+ samples"),
    Excerpt(r"^✓ all \d+ samples"),
    Excerpt(r"^Second act", r"^\$"),
    Excerpt(r"^\$ aspctl apply"),
    Excerpt(r"^ +Done: \d+ created"),
    Excerpt(r"^\$ aspctl wait", r"^$"),
)
DOCTOR = (Excerpt(r"^\$ aspctl doctor", r"^$"),)


def draw_demo() -> str:
    title = "make demo: a stack on this machine, every sample event, a stand-in for Alexa"
    return draw("demo", title, DEMO)


def draw_doctor() -> str:
    title = "aspctl doctor finds what is broken, and says how to repair it"
    return draw("doctor", title, DOCTOR)


def draw(name: str, title: str, excerpts: Sequence[Excerpt]) -> str:
    path = FOLDER / f"{name}.cast"
    if not path.exists():
        raise PictureError(f"{path.relative_to(ROOT)} is missing: run make pictures RECORD=1")
    rows = play(path)
    shown = list(chosen(rows, excerpts))
    described = "A recording of a terminal:\n" + "\n".join(line_of(one) for one in shown)
    canvas = Canvas(title, described, TOP + LINE * len(shown) + 14, STYLE, COLOURS)
    canvas.text(LEFT, 32, title, "name")
    canvas.path(f"M0.5 44H{WIDTH - 0.5}", "grid")
    for index, (one, delay) in enumerate(zip(shown, delays(shown), strict=True)):
        canvas.add(drawn(one, TOP + 12 + LINE * index, delay))
    return canvas.svg()


def chosen(rows: Sequence[Row], excerpts: Sequence[Excerpt]) -> Iterator[Row | int]:
    """The lines of the excerpts, and how many are left out between them."""
    at = 0
    for excerpt in excerpts:
        start = found(rows, at, excerpt.start)
        if start is None:
            raise PictureError(
                f"the recording has no line {excerpt.start}: correct the excerpts in recordings.py"
            )
        yield from left_out(rows[at:start])
        end = found(rows, start + 1, excerpt.end) if excerpt.end else start + 1
        at = len(rows) if end is None else end
        yield from rows[start:at]
    yield from left_out(rows[at:])


def left_out(rows: Sequence[Row]) -> Iterator[Row | int]:
    """How many lines are left out, or an empty line if no other is."""
    if any(row.text for row in rows):
        yield len(rows)
    elif rows:
        yield rows[0]


def found(rows: Sequence[Row], at: int, pattern: str) -> int | None:
    """The first line that matches, from a position on."""
    numbered = enumerate(rows[at:], at)
    return next((index for index, row in numbered if re.search(pattern, row.text)), None)


def line_of(one: Row | int) -> str:
    if isinstance(one, Row):
        return one.text
    return f"… {one} more line{'s' if one > 1 else ''}"


def delays(shown: Sequence[Row | int]) -> list[float]:
    """When each line appears: in its order, with long waits cut short."""
    times, last, at = [], None, 0.0
    for one in shown:
        if isinstance(one, Row):
            if last is not None:
                at += min(max(one.since - last, 0.0), LONGEST_WAIT)
            last = one.since
        times.append(at)
    scale = min(1.0, LONGEST / at) if at else 1.0
    return [time * scale for time in times]


def drawn(one: Row | int, y: float, delay: float) -> str:
    moment = f' style="animation-delay: {delay:.2f}s"' if delay else ""
    start = f'<text class="row" y="{number(y)}"{moment}>'
    if isinstance(one, int):
        cut = line_of(one)
        return f'{start}<tspan class="cut" x="{LEFT}"{length(cut)}>{cut}</tspan></text>'
    return f"{start}{''.join(span(run) for run in one.runs())}</text>"


def span(run: Run) -> str:
    """Characters of one look, at their column and as wide as so many columns."""
    text = run.text.lstrip()
    column = run.column + len(run.text) - len(text)
    text = text.rstrip()
    if not text:
        return ""
    marks = {run.look.colour: run.look.colour in COLOURS}
    marks |= {"bold": run.look.bold, "dim": run.look.dim}
    classes = [name for name, is_set in marks.items() if is_set]
    named = f' class="{" ".join(classes)}"' if classes else ""
    at = f'x="{number(LEFT + ADVANCE * column)}"'
    return f"<tspan{named} {at}{length(text)}>{escape(text)}</tspan>"


def length(text: str) -> str:
    return f' textLength="{number(ADVANCE * len(text))}" lengthAdjust="spacingAndGlyphs"'
