"""For on-call: where a failed event lies, which alarm says so, and which command brings it back."""

from __future__ import annotations

from dataclasses import dataclass

from canvas import Canvas
from names import command, losses, resource, severity, time_kept, value

TITLE = "Where a failed event lies, and which command brings it back"
SUBTITLE = (
    "Remove the cause first: the runbook of the alarm and aspctl doctor name it. A replay shows "
    "what it would send, then asks."
)

# The columns: the way of an event, what went wrong, the queue that keeps it, the command.
WAY, WAY_WIDTH = 20, 158
QUEUE, QUEUE_WIDTH = 336, 258
COMMAND = 610
TOP, PITCH, HEIGHT = 84, 78, 66


@dataclass(frozen=True)
class Place:
    """A queue in which failed events lie."""

    cause: tuple[str, str]
    queue: str
    alarms: tuple[str, ...]
    commands: tuple[str, ...]
    goes_to: str


def places() -> list[Place]:
    """From the topic to the consumers, in the order in which an event can fail."""
    attempts = value("AspEventsFunction", "MaximumRetryAttempts") + 1
    receives = value("IngestionQueue", "maxReceiveCount")
    topic = f"{resource('EventsTopic')}, or --to function"
    undelivered = ("SNS could not deliver,", "or your consumer failed")
    return [
        place("EventsDeadLetterQueue", ("SNS could not hand", "the event over"), topic),
        place("OnFailureQueue", ("Direct: the function", f"failed {attempts} times"), topic),
        place("IngestionDeadLetterQueue", ("Buffered: it failed", f"{receives} times"), topic),
        Place(
            ("not readable, or an", "unknown type or word"),
            resource("QuarantineQueue"),
            ("QuarantineAlarm", "UnknownStatusAlarm"),
            (command("QuarantineAlarm"), "aspctl replay quarantine"),
            topic,
        ),
        place("RetryDeadLetterQueue", undelivered, resource("RetryQueue")),
        place("ReadinessDeadLetterQueue", ("the same", ""), resource("ReadinessQueue")),
        place("ReportDeadLetterQueue", ("the same", ""), resource("ReportQueue")),
        place(
            "QuarantineDeadLetterQueue",
            ("SNS could not", "deliver it"),
            resource("QuarantineQueue"),
        ),
    ]


def place(queue: str, cause: tuple[str, str], goes_to: str) -> Place:
    """A queue with an alarm of its own, whose description names the command."""
    alarm = f"{resource(queue)}Alarm"
    return Place(cause, queue, (alarm,), (command(alarm),), goes_to)


PUBLISHED = (
    *("topic, queue, consumer:", "RetryQueue,", "ReadinessQueue,", "ReportQueue,"),
    "QuarantineQueue",
)

# The steps of an event's way: name, notes, the first and the last of the places beside it.
STEPS = (
    ("EventsTopic", ("SNS",), 0, 0),
    ("asp-events", ("the function, and with", "Buffered its queue"), 1, 3),
    ("What it publishes", PUBLISHED, 4, 7),
)


def draw() -> str:
    found = places()
    bottom = TOP + PITCH * len(found)
    canvas = Canvas(TITLE, description(found), bottom + 78)
    canvas.text(20, 32, TITLE, "name")
    canvas.text(20, 50, SUBTITLE, "note", room=820)
    for x, head in ((WAY, "on its way"), (QUEUE, "kept here"), (COMMAND, "brought back by")):
        canvas.text(x, TOP - 10, head, "note", room=200)
    draw_way(canvas)
    for index, kept in enumerate(found):
        draw_place(canvas, TOP + PITCH * index, kept)
    draw_rest(canvas, bottom)
    return canvas.svg()


def draw_way(canvas: Canvas) -> None:
    for index, (name, notes, first, last) in enumerate(STEPS):
        for part in (name, *(note.rstrip(",") for note in notes)):
            if part.endswith(("Topic", "Queue")):
                resource(part)
        y, end = TOP + PITCH * first, TOP + PITCH * last + HEIGHT
        kind = "core" if name == "asp-events" else "box"
        canvas.box(WAY, y, WAY_WIDTH, end - y, kind, name, *notes)
        if index:
            middle = WAY + WAY_WIDTH / 2
            canvas.arrow(f"M{middle} {y - PITCH + HEIGHT}V{y - 2}")


def draw_place(canvas: Canvas, y: float, kept: Place) -> None:
    middle = y + HEIGHT / 2
    start = WAY + WAY_WIDTH
    canvas.arrow(f"M{start} {middle}H{QUEUE - 2}", "lost")
    above, below = kept.cause
    room = QUEUE - start - 18
    canvas.text(start + 10, middle - 8, above, "note", room=room)
    if below:
        canvas.text(start + 10, middle + 18, below, "note", room=room)
    first, *others = kept.alarms
    told = f"{severity(first)}: {first}"
    days = time_kept(first)
    last = f"or {resource(others[0])}; {days}" if others else f"kept {days}"
    canvas.box(QUEUE, y, QUEUE_WIDTH, HEIGHT, "fail", kept.queue, told, last)
    lines = [(line, "command") for line in kept.commands]
    lines.append((f"to {kept.goes_to}", "note"))
    for index, (line, kind) in enumerate(lines):
        baseline = middle + 5 + 18 * (index - (len(lines) - 1) / 2)
        canvas.text(COMMAND, baseline, line, kind, room=WAY + 820 - COMMAND)


def draw_rest(canvas: Canvas, y: float) -> None:
    waiting = (
        f"Still being tried, with nothing to do: events with Lambda (Direct) or in "
        f"{resource('IngestionQueue')} (Buffered)."
    )
    canvas.text(20, y + 14, waiting, "note", room=820)
    names = [name for name in losses() if name != "FunctionDestinationAlarm"]
    lost = f"Nowhere, because a dead-letter queue refused them: {', '.join(names[:3])},"
    canvas.text(20, y + 36, lost, "note", room=820)
    rest = ", ".join([*names[3:], resource("FunctionDestinationAlarm")])
    canvas.text(20, y + 54, f"{rest}. Act at once: these pages say that events are lost.", "note")


def description(found: list[Place]) -> str:
    return " ".join(sentence(kept) for kept in found)


def sentence(kept: Place) -> str:
    cause, alarms = " ".join(filter(None, kept.cause)), " or ".join(kept.alarms)
    commands = " and ".join(kept.commands)
    return (
        f"{cause}: {kept.queue} ({severity(kept.alarms[0])} {alarms}), {commands}, "
        f"to {kept.goes_to}."
    )
