"""The names, figures and commands in the pictures, read from template.yaml.

Pictures take each name from here, so that a name that the template no longer has stops the script
instead of staying in a picture.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from canvas import PictureError

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = ROOT / "template.yaml"

SECONDS_A_DAY = 86_400


@cache
def sections() -> dict[str, str]:
    """The text of each parameter, resource and output by its logical name."""
    found = re.split(r"^  (\w+):\n", TEMPLATE.read_text(), flags=re.MULTILINE)
    return dict(zip(found[1::2], found[2::2], strict=True))


def section(name: str) -> str:
    try:
        return sections()[name]
    except KeyError:
        raise PictureError(f"template.yaml has no {name}, which a picture shows") from None


def resource(name: str) -> str:
    """The name, if the template has a resource of it."""
    if not re.search(r"^    Type: AWS::", section(name), re.MULTILINE):
        raise PictureError(f"{name} in template.yaml is not a resource")
    return name


def value(name: str, setting: str) -> int:
    """A number that the template sets for a resource, or the default of a parameter."""
    found = re.search(rf"\b{setting}: (\d+)", section(name))
    if not found:
        raise PictureError(f"{name} in template.yaml has no number for {setting}")
    return int(found[1])


def default(parameter: str) -> int:
    return value(parameter, "Default")


def days_kept(queue: str) -> int:
    """How long a queue keeps a message."""
    return value(queue, "MessageRetentionPeriod") // SECONDS_A_DAY


def alarm_text(alarm: str) -> str:
    """The description of an alarm, on one line."""
    found = re.search(r"AlarmDescription: !Sub >-\n((?: {8}.*\n)+)", section(resource(alarm)))
    if not found:
        raise PictureError(f"{alarm} in template.yaml has no description")
    return " ".join(found[1].split())


def severity(alarm: str) -> str:
    """`page` or `ticket`."""
    return alarm_text(alarm).partition(":")[0].lower()


def command(alarm: str) -> str:
    """The command that the alarm's description tells whoever is on call to run."""
    found = re.search(r"\b[Rr]un (aspctl(?: [a-z][a-z-]+)+)", alarm_text(alarm))
    if not found:
        raise PictureError(f"the description of {alarm} in template.yaml names no command")
    return found[1]


def time_kept(alarm: str) -> str:
    """For how long the queue of an alarm keeps a message, as its description says."""
    found = re.search(r"\bfor ((?:at least|up to) \d+ days)", alarm_text(alarm))
    if not found:
        raise PictureError(f"the description of {alarm} in template.yaml names no time")
    return found[1]


def losses() -> list[str]:
    """The alarms that say that events are being lost."""
    alarms = [name for name in sections() if name.endswith("Alarm")]
    return [name for name in alarms if "BEING LOST" in alarm_text(name)]
