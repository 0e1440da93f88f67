"""Provisioning as a sequence: create a unit, wait for its activation, take the next step.

The outcomes at the end are what `aspctl wait` printed in the recorded run.
"""

from __future__ import annotations

import json
from typing import Any

from canvas import Canvas, PictureError
from names import ROOT, days_kept, resource

RUN = ROOT / "tools/pictures/recorded/provisioning.json"

TITLE = "Provisioning without polling"
SUBTITLE = "A script creates a unit, waits until it is active, and goes on."

# The lanes from left to right, with the middle of each.
SCRIPT, ALEXA, FUNCTION, STORE, WAIT = 92, 258, 424, 592, 764
LANE_WIDTH, LANE_TOP, LANE_HEIGHT = 146, 70, 50
FIRST, STEP = 158, 44
PITCH = 28


def lanes() -> list[tuple[float, str, str, str]]:
    """The middle of each lane, its kind, its name and a note."""
    return [
        (SCRIPT, "box", "Your script", "provisioning"),
        (ALEXA, "box", "Alexa", "Smart Properties API"),
        (FUNCTION, "core", "asp-events", f"from {resource('EventsTopic')}"),
        (STORE, "store", resource("ReadinessTopic"), f"and {resource('LedgerTable')}"),
        (WAIT, "box", "aspctl wait", "follows, reads"),
    ]


# From which lane to which, and what.
STEPS = (
    (SCRIPT, ALEXA, "1. create the unit"),
    (SCRIPT, WAIT, "2. aspctl wait --unit ID --timeout 5m"),
    (WAIT, STORE, "3. follow it, read the table"),
    (ALEXA, FUNCTION, "4. Activation event"),
    (FUNCTION, STORE, "5. store it, publish it"),
    (STORE, WAIT, "6. ready: true"),
    (WAIT, SCRIPT, "7. exit status 0"),
    (SCRIPT, ALEXA, "8. next: skills, devices"),
)


def draw() -> str:
    run = recorded()
    bottom = FIRST + STEP * len(STEPS)
    canvas = Canvas(TITLE, description(run), bottom + 146)
    canvas.text(20, 32, TITLE, "name")
    canvas.text(20, 52, SUBTITLE, "note")
    for x, kind, name, note in lanes():
        canvas.path(f"M{x} {LANE_TOP + LANE_HEIGHT}V{bottom - 16}", "grid")
        canvas.box(x - LANE_WIDTH / 2, LANE_TOP, LANE_WIDTH, LANE_HEIGHT, kind, name, note)
    for index, step in enumerate(STEPS):
        draw_step(canvas, FIRST + STEP * index, *step)
    draw_outcomes(canvas, bottom + 8, run)
    return canvas.svg()


def draw_step(canvas: Canvas, y: float, start: float, end: float, text: str) -> None:
    inset = 2 if end > start else -2
    canvas.arrow(f"M{start} {y}H{end - inset}")
    left = min(start, end)
    kind = "command" if "aspctl" in text else "note"
    canvas.text(left + 12, y - 8, text, kind, "over", room=WAIT - left)


def draw_outcomes(canvas: Canvas, y: float, run: dict[str, Any]) -> None:
    took = f"{run['outcomes'][0]['seconds']:.1f} s"
    said = f"A run on the local stack: {took} from step 4 to step 7. What aspctl wait printed:"
    canvas.text(20, y + 8, said, "note", room=820)
    for index, outcome in enumerate(run["outcomes"]):
        baseline = y + 34 + PITCH * index
        kind = "good" if outcome["status"] == 0 else "fail"
        canvas.rectangle(20, baseline - 16, 98, 23, kind)
        canvas.text(68, baseline, f"exit status {outcome['status']}", "note", "middle", room=90)
        canvas.text(128, baseline, printed(outcome), "command", room=712)
    queue = resource("ReadinessQueue")
    later = (
        f"{resource('LedgerTable')} keeps each subject's last readiness for 14 days, "
        f"{queue} its message for {days_kept(queue)}: a late script misses nothing."
    )
    canvas.text(20, y + 32 + PITCH * len(run["outcomes"]) + 6, later, "note", room=820)


def printed(outcome: dict[str, Any]) -> str:
    """The first words of what was printed, without the time and the id."""
    line: str = outcome["line"].replace(outcome["unit"], "ID")
    columns = 90
    return line if len(line) <= columns else f"{line[: columns - 2].rstrip()} …"


def recorded() -> dict[str, Any]:
    if not RUN.exists():
        raise PictureError(f"{RUN.relative_to(ROOT)} is missing: run make pictures RECORD=1")
    run: dict[str, Any] = json.loads(RUN.read_text())
    return run


def description(run: dict[str, Any]) -> str:
    statuses = ", ".join(f"{one['status']}: {printed(one)}" for one in run["outcomes"])
    return (
        "Your script creates a unit at Alexa and starts aspctl wait, which follows ReadinessTopic "
        "and then reads LedgerTable, so that it misses nothing. Alexa publishes the activation to "
        "EventsTopic. asp-events stores the signal in LedgerTable and publishes it to "
        "ReadinessTopic. aspctl wait gets it and exits with 0, and the script goes on with child "
        f"units, skills and devices. What aspctl wait printed, by exit status: {statuses}."
    )
