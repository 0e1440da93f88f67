"""The life of a retry on a time line, from a run on the local stack."""

from __future__ import annotations

import json
from typing import Any

from canvas import Canvas, PictureError, number, text_width
from names import ROOT, default, resource

RUN = ROOT / "tools/pictures/recorded/retry.json"

TITLE = "The life of a retry"
SUBTITLE = "An automation that fails again at each retry, in a run on the local stack."
LEFT, RIGHT = 24, 836
TOP, PITCH = 118, 40
BAR = 10

STYLE = """
    .wait { fill: var(--core-edge); }
    .jitter { fill: var(--core); stroke: var(--core-edge); stroke-dasharray: 3 3; }
    .failed { fill: var(--fail-edge); }
    .succeeded { fill: var(--good-edge); }"""

# The parameters that the run was made with, by the variables of the function.
PARAMETERS = {
    "RETRY_BASE_SECONDS": "RetryBaseSeconds",
    "RETRY_MAX_SECONDS": "RetryMaxSeconds",
    "RETRY_MAX_ATTEMPTS": "RetryMaxAttempts",
    "RETRY_WINDOW_SECONDS": "RetryWindowSeconds",
}

Run = dict[str, Any]
Event = dict[str, Any]


def draw() -> str:
    run = recorded()
    events = run["events"]
    bottom = TOP + PITCH * len(events)
    canvas = Canvas(TITLE, description(run), bottom + 74, STYLE)
    canvas.text(LEFT, 32, TITLE, "name")
    canvas.text(LEFT, 52, SUBTITLE, "note")
    canvas.text(LEFT, 70, parameters(run), "note", room=RIGHT - LEFT)
    draw_legend(canvas)
    draw_axis(canvas, run, bottom)
    for index, event in enumerate(events):
        after = events[index + 1] if index + 1 < len(events) else None
        draw_event(canvas, run, TOP + PITCH * index, event, after)
    topic, queue = resource("RetryTopic"), resource("RetryQueue")
    note = f"Each trigger is a message of {topic} in {queue}. Your consumer runs the automation"
    canvas.text(LEFT, bottom + 44, f"{note} again, not before notBefore.", "note", room=RIGHT)
    spread = "Jitter, derived from the event's id, shortens each wait by up to half: automations"
    canvas.text(LEFT, bottom + 62, f"{spread} that failed together do not retry together.", "note")
    return canvas.svg()


def x_of(run: Run, seconds: float) -> float:
    return LEFT + 6 + (RIGHT - LEFT - 12) * seconds / end_of(run)


def end_of(run: Run) -> float:
    """The end of the axis: the end of the last wait, and a little more."""
    last = run["events"][-1]
    return max(last["at"], last.get("notBefore") or 0) + 20


def parameters(run: Run) -> str:
    told = ", ".join(f"{name} {run['policy'][key]}" for key, name in PARAMETERS.items())
    return f"With the defaults: {told}."


def draw_legend(canvas: Canvas) -> None:
    x, y = LEFT + 6, 94
    canvas.add(f'<circle class="failed" cx="{x}" cy="{y - 4}" r="6"/>')
    canvas.text(x + 12, y, "fails", "note")
    canvas.add(f'<circle class="succeeded" cx="{x + 66}" cy="{y - 4}" r="6"/>')
    canvas.text(x + 78, y, "succeeds", "note")
    canvas.add(bar("wait", x + 150, y - 4, x + 180))
    canvas.text(x + 188, y, "waits until notBefore", "note")
    canvas.add(bar("jitter", x + 330, y - 4, x + 360))
    canvas.text(x + 368, y, "where jitter could have put it", "note")


def draw_axis(canvas: Canvas, run: Run, bottom: float) -> None:
    for minute in range(int(end_of(run) // 60) + 1):
        x = x_of(run, 60 * minute)
        canvas.path(f"M{x:.1f} {TOP - 10}V{bottom + 4}", "grid")
        label = "0 min" if minute == 0 else str(minute)
        canvas.text(x, bottom + 20, label, "note", "middle")


def draw_event(canvas: Canvas, run: Run, y: float, event: Event, after: Event | None) -> None:
    x, middle = x_of(run, event["at"]), y + PITCH / 2 - 6
    end = x
    if after:
        down = x_of(run, after["at"])
        canvas.path(f"M{x:.1f} {middle}H{down:.1f}V{middle + PITCH - 6}")
    if (until := event.get("notBefore")) is not None:
        least, most = jitter(run, event)
        end = x_of(run, event["at"] + most)
        canvas.add(bar("jitter", x_of(run, event["at"] + least), middle, end))
        canvas.add(bar("wait", x, middle, x_of(run, until)))
    kind = "succeeded" if event["what"] == "success" else "failed"
    canvas.add(f'<circle class="{kind}" cx="{x:.1f}" cy="{middle}" r="6"/>')
    draw_label(canvas, x, end, middle + 4, label(event))


def draw_label(canvas: Canvas, start: float, end: float, y: float, text: str) -> None:
    """Beside the event: on the right if there is room, else on the left."""
    if end + 14 + text_width(text, ("note",)) < RIGHT:
        canvas.text(end + 14, y, text, "note", "over")
    else:
        canvas.text(start - 14, y, text, "note", "over", "end", room=start - 14 - LEFT)


def bar(kind: str, start: float, middle: float, end: float) -> str:
    height = BAR if kind == "wait" else 2 * BAR
    size = f'width="{end - start:.1f}" height="{height}" rx="3"'
    return f'<rect class="{kind}" x="{start:.1f}" y="{number(middle - height / 2)}" {size}/>'


def jitter(run: Run, event: Event) -> tuple[float, float]:
    """The least and the most that the policy allows for this delay, in seconds."""
    policy = run["policy"]
    doubled = policy["RETRY_BASE_SECONDS"] * 2 ** (event["attempt"] - 1)
    most = min(doubled, max(policy["RETRY_MAX_SECONDS"], policy["RETRY_BASE_SECONDS"]))
    return most / 2, most


def label(event: Event) -> str:
    if event["what"] == "success":
        return "success: publishes nothing, and ends the budget"
    decision = event["decision"]
    if decision is None:
        return "the next failure of the window: counts, and publishes nothing"
    if (until := event.get("notBefore")) is None:
        return f"{decision}: published once a window. Escalate to a human"
    wait = until - event["at"]
    return f"{decision}, attempt {event['attempt']} of {event['maxAttempts']}: wait {wait:.0f} s"


def recorded() -> Run:
    if not RUN.exists():
        raise PictureError(f"{RUN.relative_to(ROOT)} is missing: run make pictures RECORD=1")
    run: Run = json.loads(RUN.read_text())
    for variable, parameter in PARAMETERS.items():
        if run["policy"][variable] != default(parameter):
            raise PictureError(
                f"{RUN.relative_to(ROOT)} was recorded with another {parameter}: "
                "run make pictures RECORD=1"
            )
    return run


def description(run: Run) -> str:
    told = (f"{clock(event['at'])} {event['what']}: {label(event)}" for event in run["events"])
    return f"{SUBTITLE} {parameters(run)} {'. '.join(told)}."


def clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"
