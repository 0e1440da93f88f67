"""Draws the pictures of the documents into docs/.

    python3 tools/pictures/draw.py

Pictures of a run show what tools/pictures/record.py recorded. tests/house/test_pictures.py fails
while a picture differs from what its script draws.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import architecture
import on_call
import provisioning
import recordings
import retry
from canvas import PictureError
from names import ROOT

FOLDER = ROOT / "docs"
REMEDY = "run make pictures"

# What draws each picture, by the picture's name.
PICTURES: dict[str, Callable[[], str]] = {
    "architecture": architecture.draw,
    "provisioning": provisioning.draw,
    "retry": retry.draw,
    "on-call": on_call.draw,
    "demo": recordings.draw_demo,
    "doctor": recordings.draw_doctor,
}


def main() -> int:
    try:
        drawn = {FOLDER / f"{name}.svg": draw() for name, draw in PICTURES.items()}
    except PictureError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for path, svg in drawn.items():
        path.write_text(svg)
    print(f"{len(drawn)} pictures drawn in {FOLDER.relative_to(ROOT)}/")
    return 0


if __name__ == "__main__":
    sys.exit(main())
