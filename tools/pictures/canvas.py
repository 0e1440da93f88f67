"""What all pictures share: the palette, the styles, the width of text, and the writer of SVG.

A picture follows the reader's colour scheme, refers to nothing outside of it, and says in its
title and description what it shows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from xml.sax.saxutils import escape, quoteattr

WIDTH = 860

# The colours by name, in the light and in the dark scheme.
Palette = dict[str, tuple[str, str]]

# Those of GitHub, so that a picture fits into the page around it.
PALETTE: Palette = {
    "page": ("#ffffff", "#0d1117"),
    "edge": ("#d0d7de", "#3d444d"),
    "ink": ("#1f2328", "#f0f6fc"),
    "soft": ("#59636e", "#9198a1"),
    "box": ("#f6f8fa", "#151b23"),
    "line": ("#6e7781", "#9198a1"),
    "core": ("#ddf4ff", "#12233b"),
    "core-edge": ("#0969da", "#4493f8"),
    "store": ("#fbefff", "#251a3a"),
    "store-edge": ("#8250df", "#ab7df8"),
    "fail": ("#fff1e5", "#2d1d10"),
    "fail-edge": ("#bc4c00", "#db6d28"),
    "good": ("#dafbe1", "#12261e"),
    "good-edge": ("#1a7f37", "#3fb950"),
}
SANS = '-apple-system, BlinkMacSystemFont, "Segoe UI", "Noto Sans", Helvetica, Arial, sans-serif'
MONO = 'ui-monospace, SFMono-Regular, "SF Mono", Menlo, Consolas, "Liberation Mono", monospace'
FONT_SIZE, NOTE_SIZE, COMMAND_SIZE = 14.0, 12.0, 13.0
STYLE = f"""
    text {{ font-family: {SANS}; font-size: {FONT_SIZE:g}px; fill: var(--ink); }}
    .name {{ font-weight: 600; }}
    .note {{ font-size: {NOTE_SIZE:g}px; fill: var(--soft); }}
    .command {{ font-family: {MONO}; font-size: {COMMAND_SIZE:g}px; }}
    .over {{ paint-order: stroke; stroke: var(--page); stroke-width: 5px; stroke-linejoin: round; }}
    .middle {{ text-anchor: middle; }}
    .end {{ text-anchor: end; }}
    .page {{ fill: var(--page); stroke: var(--edge); }}
    .box {{ fill: var(--box); stroke: var(--edge); stroke-width: 1.5; }}
    .core {{ fill: var(--core); stroke: var(--core-edge); stroke-width: 2; }}
    .store {{ fill: var(--store); stroke: var(--store-edge); stroke-width: 1.5; }}
    .fail {{ fill: var(--fail); stroke: var(--fail-edge); stroke-width: 1.5; }}
    .good {{ fill: var(--good); stroke: var(--good-edge); stroke-width: 1.5; }}
    .line {{ fill: none; stroke: var(--line); stroke-width: 1.5; }}
    .lost {{ stroke: var(--fail-edge); stroke-dasharray: 5 4; }}
    .grid {{ fill: none; stroke: var(--edge); }}
    .head {{ fill: var(--line); }}
    .head-lost {{ fill: var(--fail-edge); }}"""

# Rectangles that hold text.
BOXES = ("box", "core", "store", "fail", "good")

# Advance widths of Helvetica and Arial in thousandths of the font size. The other fonts of the list
# differ a little: the widest, Noto Sans, is up to a tenth wider.
WIDTHS = {
    **dict.fromkeys("ijl", 222),
    **dict.fromkeys(" !,./:;[\\]ftI·", 278),
    **dict.fromkeys("()-r`", 333),
    **dict.fromkeys("cksvxyzJ", 500),
    **dict.fromkeys("FTZ", 611),
    **dict.fromkeys("&ABEKPSVXY", 667),
    **dict.fromkeys("CDHNRUw", 722),
    **dict.fromkeys("GOQ", 778),
    **dict.fromkeys("Mm", 833),
    **dict.fromkeys("%W@…→←✓✗", 1015),
    **dict.fromkeys("+<=>~×−", 584),
    "'": 191,
    '"': 355,
    "|": 260,
}
OTHER_WIDTH = 556
WIDER, BOLD, MONO_WIDTH = 1.1, 1.07, 0.602


class PictureError(Exception):
    """A picture cannot be drawn. The message says why, and what to do."""


def text_width(text: str, classes: Sequence[str] = ()) -> float:
    """The width of a text, in any of the fonts that a reader may have."""
    if "command" in classes:
        return len(text) * MONO_WIDTH * COMMAND_SIZE
    size = NOTE_SIZE if "note" in classes else FONT_SIZE
    bold = BOLD if "name" in classes else 1
    return sum(WIDTHS.get(c, OTHER_WIDTH) for c in text) / 1000 * size * bold * WIDER


def scheme(palette: Palette) -> str:
    """The rules that define a palette, light and dark."""

    def variables(column: int) -> str:
        return " ".join(f"--{name}: {colours[column]};" for name, colours in palette.items())

    light, dark = variables(0), variables(1)
    return (
        f"\n    :root {{ {light} }}"
        f"\n    @media (prefers-color-scheme: dark) {{\n      :root {{ {dark} }}\n    }}"
    )


def number(value: float) -> str:
    """A coordinate: at most one decimal place."""
    return f"{value:.1f}".removesuffix(".0")


@dataclass
class Canvas:
    """A picture under construction. What does not fit raises an error instead of overflowing."""

    title: str
    description: str
    height: float
    style: str = ""
    palette: Palette = field(default_factory=dict)  # besides the shared one
    elements: list[str] = field(default_factory=list)

    def text(self, x: float, y: float, text: str, *classes: str, room: float = WIDTH) -> None:
        """A line of text, which begins at x, or ends or has its middle there."""
        wide = text_width(text, classes)
        if wide > room:
            raise PictureError(f"{text!r} needs {wide:.0f} pixels and has {room:.0f}: shorten it")
        named = f' class="{" ".join(classes)}"' if classes else ""
        self.add(f'<text{named} x="{number(x)}" y="{number(y)}">{escape(text)}</text>')

    def box(
        self, x: float, y: float, width: float, height: float, kind: str, name: str, *notes: str
    ) -> None:
        """A rectangle with a name and notes, in the middle."""
        self.rectangle(x, y, width, height, kind)
        middle, room = x + width / 2, width - 12
        baseline = y + (height - 18 * len(notes)) / 2 + 5
        self.text(middle, baseline, name, "name", "middle", room=room)
        for index, note in enumerate(notes, 1):
            self.text(middle, baseline + 18 * index, note, "note", "middle", room=room)

    def rectangle(self, x: float, y: float, width: float, height: float, kind: str) -> None:
        size = f'width="{number(width)}" height="{number(height)}"'
        self.add(f'<rect class="{kind}" x="{number(x)}" y="{number(y)}" {size} rx="8"/>')

    def arrow(self, path: str, kind: str = "", both: bool = False) -> None:
        """A line with an arrow head at its end, or at both. Kind: "" or "lost"."""
        marker = f"url(#arrow{f'-{kind}' if kind else ''})"
        start = f' marker-start="{marker}"' if both else ""
        named = f"line {kind}".strip()
        self.add(f'<path class="{named}" d="{path}"{start} marker-end="{marker}"/>')

    def path(self, path: str, kind: str = "line") -> None:
        self.add(f'<path class="{kind}" d="{path}"/>')

    def add(self, element: str) -> None:
        self.elements.append(f"  {element}")

    def svg(self) -> str:
        view = f'viewBox="0 0 {WIDTH} {number(self.height)}"'
        start = f'<svg xmlns="http://www.w3.org/2000/svg" {view} role="img"'
        size = f'width="{WIDTH - 1}" height="{number(self.height - 1)}"'
        lines = [
            f'{start} aria-labelledby="title desc">',
            f'  <title id="title">{escape(self.title)}</title>',
            f'  <desc id="desc">{escape(self.description)}</desc>',
            f"  <style>{scheme(PALETTE | self.palette)}{STYLE}{self.style}\n  </style>",
            *self._definitions(),
            f'  <rect class="page" x="0.5" y="0.5" {size} rx="10"/>',
            *self.elements,
            "</svg>",
            "",
        ]
        return "\n".join(lines)

    def _definitions(self) -> Iterator[str]:
        """The arrow heads that the picture uses."""
        used = [kind for kind in ("", "-lost") if self._uses(f"url(#arrow{kind})")]
        if used:
            yield "  <defs>"
        for kind in used:
            size = 'viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8"'
            head = f'<path class="head{kind}" d="M0 0 8 4 0 8z"/>'
            name = quoteattr(f"arrow{kind}")
            yield f'    <marker id={name} {size} orient="auto-start-reverse">{head}</marker>'
        if used:
            yield "  </defs>"

    def _uses(self, text: str) -> bool:
        return any(text in element for element in self.elements)
