"""The architecture: from Alexa through the function to its effects, and where failures wait."""

from __future__ import annotations

from canvas import Canvas
from names import resource

TITLE = "Architecture of asp-events"
DESCRIPTION = (
    "Alexa, which aspctl subscribes, publishes events to an SNS topic. The topic invokes a Lambda "
    "function, which remembers events in a DynamoDB table and produces a CloudWatch metric with "
    "alarms, retry triggers, readiness signals, reports and quarantined messages. Each of the four "
    "output topics has a queue. Events that cannot be delivered wait in a dead-letter queue or in "
    "the on-failure queue."
)

# What the function produces, with a note, and who gets it, with a note.
EFFECTS = (
    ("Skill failure metric", "a skill did not answer", "Alarms", "e-mail"),
    ("RetryTopic", "an automation failed", "RetryQueue", "your consumer"),
    ("ReadinessTopic", "unit, role, device ready?", "ReadinessQueue", "your consumer"),
    ("ReportTopic", "room, intent and request", "ReportQueue", "consumers, people"),
    ("QuarantineTopic", "unreadable, kept whole", "QuarantineQueue", "people"),
)
TOP, PITCH, HEIGHT = 22, 72, 58
MIDDLE = TOP + PITCH * 2 + HEIGHT / 2


def draw() -> str:
    canvas = Canvas(TITLE, DESCRIPTION, 430)
    draw_input(canvas)
    draw_function(canvas)
    for index, effect in enumerate(EFFECTS):
        draw_effect(canvas, TOP + PITCH * index, *effect)
    queue, topic = resource("IngestionQueue"), resource("EventsTopic")
    canvas.text(20, 392, "Ingestion=Direct, the default.", "note")
    buffered = f"With Ingestion=Buffered an SQS queue, {queue}, stands between {topic} and the"
    canvas.text(20, 410, f"{buffered} function.", "note", room=820)
    return canvas.svg()


def draw_input(canvas: Canvas) -> None:
    canvas.box(20, TOP, 96, HEIGHT, "box", "aspctl", "plan, apply")
    canvas.arrow(f"M68 {TOP + HEIGHT}V{MIDDLE - 34}")
    canvas.text(76, 126, "subscribes", "note", room=120)
    canvas.box(20, MIDDLE - 32, 96, 64, "box", "Alexa", "6 event types")
    canvas.arrow(f"M116 {MIDDLE}H144")
    canvas.box(146, MIDDLE - 32, 116, 64, "box", resource("EventsTopic"), "SNS")
    canvas.arrow(f"M262 {MIDDLE}H298")
    canvas.arrow(f"M204 {MIDDLE + 32}V300", "lost")
    queue = resource("EventsDeadLetterQueue")
    canvas.box(100, 302, 196, HEIGHT, "fail", queue, "SNS could not hand over")


def draw_function(canvas: Canvas) -> None:
    notes = ("Lambda function, Rust", "one effect per event")
    canvas.box(300, MIDDLE - 45, 160, 90, "core", "asp-events", *notes)
    canvas.box(300, TOP, 160, HEIGHT, "store", resource("LedgerTable"), "DynamoDB")
    canvas.arrow(f"M380 {TOP + HEIGHT + 2}V{MIDDLE - 47}", both=True)
    canvas.text(390, 118, "claim, complete", "note", room=100)
    canvas.arrow(f"M380 {MIDDLE + 45}V300", "lost")
    canvas.box(308, 302, 152, HEIGHT, "fail", resource("OnFailureQueue"), "the function gave up")


def draw_effect(
    canvas: Canvas, y: float, effect: str, note: str, receiver: str, receiver_note: str
) -> None:
    for name in (effect, receiver):
        if " " not in name and name != "Alarms":
            resource(name)
    middle = y + HEIGHT / 2
    canvas.arrow(branch(middle))
    canvas.box(500, y, 172, HEIGHT, "box", effect, note)
    canvas.arrow(f"M672 {middle}H694")
    canvas.box(696, y, 146, HEIGHT, "box", receiver, receiver_note)


def branch(y: float) -> str:
    """The line from the function to an effect: straight, or around two corners."""
    if y == MIDDLE:
        return f"M460 {MIDDLE}H498"
    corner = -8 if y < MIDDLE else 8
    down = f"M460 {MIDDLE}H470Q478 {MIDDLE} 478 {MIDDLE + corner}"
    return f"{down}V{y - corner}Q478 {y} 486 {y}H498"
