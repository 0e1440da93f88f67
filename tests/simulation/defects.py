"""Shows that the simulation finds defects: applies each patch of defects/ to a copy of the tree,
builds it, and expects that one of 2,000 worlds breaks a promise.

python3 tests/simulation/defects.py [name …]
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PATCHES = Path(__file__).resolve().parent / "defects"
COPY = ROOT / "target" / "defects" / "tree"
# Not the project's own: Cargo would take what was built from the copy for up to date.
BUILT = ROOT / "target" / "defects" / "build"
WORLDS = "2000"
TEST = ["cargo", "test", "--locked", "--workspace", "--test", "simulation"]


def main() -> int:
    names = sys.argv[1:] or sorted(patch.stem for patch in PATCHES.glob("*.patch"))
    copy_tree()
    missed = [name for name in names if not is_found(name)]
    if missed:
        print(f"not found: {', '.join(missed)}")
    return 1 if missed else 0


def copy_tree() -> None:
    """Copies the files of the project that have changed since the last time."""
    listed = run(["git", "ls-files", "-co", "--exclude-standard"], ROOT)
    for name in listed.stdout.splitlines():
        source, copy = ROOT / name, COPY / name
        if source.is_file() and (not copy.exists() or source.read_bytes() != copy.read_bytes()):
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, copy)


def is_found(name: str) -> bool:
    """Whether the simulation finds the defect. The copy is as before afterwards."""
    patch = PATCHES / f"{name}.patch"
    applied = run(["git", "apply", str(patch)], COPY)
    if applied.returncode:
        print(f"{name:<30} does not apply: {applied.stderr.strip()}")
        return False
    try:
        return simulate(name)
    finally:
        copy_tree()


def simulate(name: str) -> bool:
    built = run([*TEST, "--no-run"], COPY)
    if built.returncode:
        print(f"{name:<30} does not build:\n{built.stderr}")
        return False
    started = time.monotonic()
    done = run([*TEST, "--", "--nocapture", "every_world"], COPY)
    worlds = re.search(r"(\d+) worlds in", done.stdout)
    broken = re.findall(r"^BROKEN (\w+) in", done.stdout, re.MULTILINE)
    seed = re.search(r"make simulate SEED=(\d+)", done.stdout + done.stderr)
    if not (worlds and broken and seed):
        print(f"{name:<30} NOT FOUND\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        return False
    seconds = time.monotonic() - started
    print(
        f"{name:<30} seed {seed[1]}, after {worlds[1]} worlds and {seconds:.0f} s: "
        f"{', '.join(broken)}",
        flush=True,
    )
    return True


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {
        "CARGO_TARGET_DIR": os.environ.get("DEFECTS_TARGET_DIR", str(BUILT)),
        "SIMULATION_SEEDS": WORLDS,
        "SIMULATION_ENDS_AT_FIRST": "1",
        # The copy lies within the project, and git is to take it for a folder of its own.
        "GIT_CEILING_DIRECTORIES": str(COPY.parent),
    }
    return subprocess.run(
        command,
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


if __name__ == "__main__":
    sys.exit(main())
