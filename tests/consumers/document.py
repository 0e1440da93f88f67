"""Reads the code and the example messages of docs/consumers.md, and runs the tools for both."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
CONSUMERS = ROOT / "docs/consumers.md"
TOOLS = ROOT / "tools/consumers"
HAS_NODE = (TOOLS / "node_modules/.bin").is_dir()
WITHOUT_NODE = "npm is missing, which installs the tools for TypeScript and AsyncAPI"

sys.path.insert(0, str(TOOLS))

Message = dict[str, Any]


def blocks(language: str) -> list[str]:
    """The blocks of code in this language."""
    fence = re.compile(rf"^```{language}\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    return fence.findall(CONSUMERS.read_text())


def example_messages() -> list[Message]:
    """The messages that the document shows, one of each type."""
    messages = [json.loads(block) for block in blocks("json")]
    return [message for message in messages if "specversion" in message]


def run(command: Sequence[str | Path], text: str = "", folder: Path = ROOT) -> tuple[int, str]:
    """The exit status of a command, and what it wrote."""
    done = subprocess.run(
        command,
        cwd=folder,
        input=text,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )
    return done.returncode, done.stdout
