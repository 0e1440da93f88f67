"""The crates that the function is linked from, with their features: what its size and its start
depend on.

python3 tests/house/graph.py           compares them with what is recorded
python3 tests/house/graph.py --write   records them
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RECORDED = Path(__file__).with_name("graph.txt")
RECORD = "python3 tests/house/graph.py --write"
# The default of `make build`. Procedural macros run in the compiler and are not linked.
TARGET = "aarch64-unknown-linux-gnu"
TREE = ["cargo", "tree", "--locked", "--package", "asp-events", "--edges", "normal,no-proc-macro"]
LISTED = ["--target", TARGET, "--prefix", "none", "--no-dedupe", "--format", "{p}|{f}"]

CrateGraph = dict[str, set[str]]


def linked() -> CrateGraph:
    """The crates with their features, by name and major version."""
    listed = subprocess.run([*TREE, *LISTED], cwd=ROOT, capture_output=True, text=True, check=True)
    graph: CrateGraph = {}
    for line in listed.stdout.splitlines():
        crate, _, features = line.partition("|")
        name, version, *_ = crate.split()
        if name != "asp-events":
            key = f"{name} {compatible(version)}"
            graph.setdefault(key, set()).update(features.split(",") if features else [])
    return graph


def compatible(version: str) -> str:
    """The part of a version that Cargo takes for incompatible if it differs."""
    major, minor, _ = version.removeprefix("v").split(".", 2)
    return f"0.{minor}" if major == "0" else major


def recorded() -> CrateGraph:
    """The crates with their features, as the file has them."""
    graph: CrateGraph = {}
    for line in RECORDED.read_text().splitlines():
        name, version, *features = line.split()
        graph[f"{name} {version}"] = set(features)
    return graph


def differences(now: CrateGraph, before: CrateGraph) -> list[str]:
    """What is new and what is gone."""
    told = [f"new: {crate}" for crate in sorted(now.keys() - before.keys())]
    told += [f"gone: {crate}" for crate in sorted(before.keys() - now.keys())]
    for crate in sorted(now.keys() & before.keys()):
        told += [f"new: feature {name} of {crate}" for name in sorted(now[crate] - before[crate])]
        told += [f"gone: feature {name} of {crate}" for name in sorted(before[crate] - now[crate])]
    return told


def main() -> int:
    graph = linked()
    if "--write" in sys.argv[1:]:
        lines = [" ".join([crate, *sorted(features)]) for crate, features in sorted(graph.items())]
        RECORDED.write_text("\n".join(lines) + "\n")
        return 0
    told = differences(graph, recorded())
    print("\n".join(told) or f"{len(graph)} crates, as recorded")
    return 1 if told else 0


if __name__ == "__main__":
    sys.exit(main())
