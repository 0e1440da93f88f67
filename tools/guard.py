"""Checks the recorded figures that the compiler decides, too: make guard.

    python3 tools/guard.py            fails if a figure has grown by more than 5 %
    python3 tools/guard.py --write    records the figures of this machine

The figures are in tests/guard/recorded.json, with the compiler that made them: another one makes
another program, and its figures are not compared. What cannot be measured here is left out, and
named. Counts that the lock file decides are checked by `make unit` (tests/guard).
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RECORDED = ROOT / "tests/guard/recorded.json"
# Growth beyond this fails.
ALLOWED_GROWTH = 0.05
# The difference between two numbers of runs is what the runs alone take.
FEW_RUNS, MANY_RUNS = 20, 120

Figures = dict[str, int]


class LeftOut(Exception):
    """A section cannot be measured here."""


@dataclass(frozen=True)
class Section:
    """A section of the recorded figures."""

    name: str
    unit: str
    measure: Callable[[], Figures]


def output(*command: str | Path) -> str:
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return done.stdout


def compiler() -> str:
    """The compiler and the processor for which it builds."""
    lines = dict(line.split(": ", 1) for line in output("rustc", "-vV").splitlines()[1:])
    return f"rustc {lines['release']} ({lines['commit-hash'][:9]}) {lines['host']}"


# ── Instructions of parsing and routing ──────────────────────────────────────────────────────────


def benchmark() -> Path:
    """Builds benches/route.rs as the function is built."""
    build = ["cargo", "bench", "--locked", "--bench", "route", "--no-run"]
    messages = output(*build, "--message-format=json").splitlines()
    artifacts = [json.loads(line) for line in messages]
    [program] = [
        one["executable"]
        for one in artifacts
        if one["reason"] == "compiler-artifact" and one["target"]["name"] == "route"
    ]
    return Path(program)


def collected(program: Path, runs: int, sample: str) -> int:
    """The instructions of the whole program."""
    valgrind = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
    command = [*valgrind, program, str(runs), sample]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    found = re.search(r"Collected : (\d+)", done.stderr)
    if not found:
        raise SystemExit(f"valgrind counted nothing:\n{done.stderr}")
    return int(found[1])


def instructions() -> Figures:
    """The instructions to parse and route each sample once."""
    if not shutil.which("valgrind"):
        raise LeftOut("valgrind is not installed")
    program = benchmark()
    figures = {}
    for sample in json.loads((ROOT / "events/expected.json").read_bytes()):
        few, many = (collected(program, runs, sample) for runs in (FEW_RUNS, MANY_RUNS))
        figures[sample] = (many - few) // (MANY_RUNS - FEW_RUNS)
    return figures


# ── The size of the package ──────────────────────────────────────────────────────────────────────


def package_bytes() -> Figures:
    """The size of the zip that `make build` makes for arm64."""
    if not shutil.which("rustup"):
        raise LeftOut("rustup is not installed, which provides the target of arm64")
    subprocess.run(["make", "build", "ARCH=arm64"], cwd=ROOT, check=True)
    return {"arm64": (ROOT / "target/lambda/arm64/asp-events-arm64.zip").stat().st_size}


# ── All sections ─────────────────────────────────────────────────────────────────────────────────

SECTIONS = [
    Section("instructions", "instructions to parse and route", instructions),
    Section("package_bytes", "bytes of the zip", package_bytes),
]


def grown(section: Section, recorded: Figures, measured: Figures) -> list[str]:
    """The figures that have grown too much, and those that nobody has recorded."""
    told = []
    for name, value in measured.items():
        before = recorded.get(name)
        if before is None:
            told.append(f"{name}: {value:,} {section.unit}, not recorded")
        elif value > before * (1 + ALLOWED_GROWTH):
            growth = 100 * (value / before - 1)
            told.append(f"{name}: {value:,} {section.unit}, recorded {before:,} (+{growth:.1f} %)")
    return told


def change(recorded: Figures, measured: Figures) -> str:
    """How much all figures together differ from the recorded ones."""
    before = sum(recorded.get(name, 0) for name in measured)
    return f"{100 * (sum(measured.values()) / before - 1):+.1f} %" if before else "new"


def check() -> int:
    recorded = json.loads(RECORDED.read_bytes())
    failures = []
    for section in SECTIONS:
        figures = recorded.get(section.name)
        if figures is None:
            print(f"left out: {section.name}: nothing is recorded")
        elif figures["compiler"] != compiler():
            print(f"left out: {section.name}: recorded with {figures['compiler']}, not {compiler()}")
        else:
            try:
                measured = section.measure()
            except LeftOut as reason:
                print(f"left out: {section.name}: {reason}")
                continue
            failures += grown(section, figures["figures"], measured)
            print(f"{section.name}: {change(figures['figures'], measured)}")
    for failure in failures:
        print(failure, file=sys.stderr)
    if failures:
        print("If that is intended, record the new figures: make figures", file=sys.stderr)
    return 1 if failures else 0


def write() -> int:
    measured: dict[str, dict[str, str | Figures]] = {}
    for section in SECTIONS:
        try:
            figures = section.measure()
        except LeftOut as reason:
            print(f"left out: {section.name}: {reason}")
            continue
        measured[section.name] = {"compiler": compiler(), "figures": figures}
    recorded = json.loads(RECORDED.read_bytes()) | measured
    # As serde_json writes it in tests/guard.
    text = json.dumps(recorded, indent=2, sort_keys=True, ensure_ascii=False)
    RECORDED.write_text(f"{text}\n")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description="Check the recorded figures.")
    parser.add_argument("--write", action="store_true", help="record the figures of this machine")
    return write() if parser.parse_args().write else check()


if __name__ == "__main__":
    raise SystemExit(main())
