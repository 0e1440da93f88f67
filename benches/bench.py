"""Measures the function beside functions that do the same: `make bench`.

Builds them all, has the harness compare and measure them, and prints the tables.

    python3 benches/bench.py                    measures, and prints the tables
    python3 benches/bench.py --quick            with few repetitions, Rust alone
    python3 benches/bench.py --against PROGRAM  also measures another build of the function
    python3 benches/bench.py --record           also writes benches/figures.json and the document
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import report

ROOT = Path(__file__).resolve().parents[1]
BENCHES = ROOT / "benches"
# Everything that is built or written lands here, outside of git.
WORK = ROOT / "target/bench"
FUNCTION = ROOT / "target/release/asp-events"
LEDGER = {"LEDGER_TABLE": "asp-events-LedgerTable"}
ONE_CERTIFICATE = {"SSL_CERT_FILE": str(WORK / "run/alone.pem")}
TOPIC = "arn:aws:sns:us-east-1:123456789012:asp-events"
# Without the flags of make, which cargo would take for its own.
BUILD_ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "MAKEFLAGS"}


@dataclass(frozen=True)
class Peer:
    """A function to measure; the harness knows what `expects` means."""

    name: str
    command: list[str]
    expects: str
    environment: dict[str, str] = field(default_factory=dict)


class LeftOut(Exception):
    """A peer that cannot be built here, with the reason."""


def run(*command: str | Path, **options: Any) -> None:
    print("$", *command, file=sys.stderr, flush=True)
    subprocess.run(command, check=True, stdout=sys.stderr, **options)


def output(*command: str | Path) -> str:
    """What a command says, or nothing if there is no such command."""
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


# ── The functions ────────────────────────────────────────────────────────────────────────────────


def cargo(command: str, package: str, profile: str, **environment: str) -> Path:
    """Builds or tests a package of the benchmark's workspace, and returns its program."""
    run(
        "cargo",
        command,
        "--locked",
        *("--profile", profile),
        *("--package", package),
        *("--manifest-path", BENCHES / "Cargo.toml"),
        *("--target-dir", WORK),
        env=BUILD_ENVIRONMENT | environment,
    )
    return WORK / profile / package


def functions(against: Path | None) -> list[Peer]:
    """The function of this repository, first as it is deployed, and another build of it."""
    build = ["cargo", "build", "--locked", "--release", "--package", "asp-events"]
    run(*build, "--target-dir", ROOT / "target", cwd=ROOT, env=BUILD_ENVIRONMENT)
    command = [str(FUNCTION)]
    # As far as the function knows, it is then not in Lambda.
    no_warm_up = {"AWS_LAMBDA_INITIALIZATION_TYPE": ""}
    peers = [
        Peer("asp-events-ledger", command, "all-calls", LEDGER),
        Peer("asp-events-memory", command, "effects"),
        Peer("asp-events-one-certificate", command, "all-calls", LEDGER | ONE_CERTIFICATE),
        Peer("asp-events-no-warm-up", command, "all-calls", LEDGER | no_warm_up),
    ]
    if against:
        # Its calls may differ; what others see of it may not.
        peers.append(Peer(report.BEFORE, [str(against.resolve())], "effects", LEDGER))
    return peers


def rust_peers() -> list[Peer]:
    same_calls = [str(cargo("build", "same-calls", "release"))]
    opens = {"CONNECTION_FOR_EACH_COUNT": "1"}
    return [
        Peer("floor", [str(cargo("build", "floor", "release"))], "nothing"),
        Peer("same-calls", same_calls, "all-calls", LEDGER),
        Peer("same-calls-one-certificate", same_calls, "all-calls", LEDGER | ONE_CERTIFICATE),
        Peer("same-connections", same_calls, "all-calls", LEDGER | opens),
    ]


def guide_peers() -> list[Peer]:
    """Built as a project of its own would be, without this repository's .cargo/config.toml."""
    try:
        program = cargo("build", "sdk-guide", "sdk-guide", AWS_LC_SYS_NO_JITTER_ENTROPY="")
    except subprocess.CalledProcessError as error:
        raise LeftOut("it cannot be built: its default features need a compiler for C") from error
    return [Peer("sdk-guide", [str(program)], "effects")]


def python_peers() -> list[Peer]:
    folder, environment = BENCHES / "peers/python", WORK / "python"
    python = environment / "bin/python"
    requirements, installed = folder / "requirements.txt", environment / "installed.txt"
    if not installed.exists() or installed.read_text() != requirements.read_text():
        try:
            run(sys.executable, "-m", "venv", "--clear", environment)
            pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            run(python, *pip, "--no-deps", "--requirement", requirements)
        except (OSError, subprocess.CalledProcessError) as error:
            raise LeftOut("its packages cannot be installed with pip") from error
        shutil.copy(requirements, installed)
    command = [str(python), "-m", "awslambdaric", "app.handler"]
    paths = {"PYTHONPATH": str(folder), "PYTHONPYCACHEPREFIX": str(WORK / "pycache")}
    return [
        Peer("python-once", command, "effects-once", paths | LEDGER),
        Peer("python", command, "effects", paths),
    ]


def node_peers() -> list[Peer]:
    node, npm = shutil.which("node"), shutil.which("npm")
    if not node or not npm:
        raise LeftOut("there is no Node.js with npm")
    folder = WORK / "node"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(BENCHES / "peers/node", folder)
    try:
        run(npm, "ci", "--no-audit", "--no-fund", "--silent", cwd=folder)
    except (OSError, subprocess.CalledProcessError) as error:
        raise LeftOut("its packages cannot be installed with npm") from error
    return [Peer("node", [node, str(folder / "runtime.mjs")], "effects")]


def all_peers(is_quick: bool, against: Path | None) -> tuple[list[Peer], dict[str, str]]:
    """All functions, and the reasons why others are left out."""
    peers, left_out = functions(against) + rust_peers(), dict[str, str]()
    for name, build in (
        ("sdk-guide", guide_peers),
        ("python", python_peers),
        ("node", node_peers),
    ):
        try:
            if is_quick and name != "sdk-guide":
                raise LeftOut("the run is a quick one")
            peers += build()
        except LeftOut as reason:
            left_out[name] = str(reason)
    return peers, left_out


# ── The plan ─────────────────────────────────────────────────────────────────────────────────────

REPEATS = {
    "cold": 31,
    "cold_slow": 11,
    "warm_blocks": 5,
    "warm_events": 300,
    "warm_slow": 60,
    "batches": 5,
    "flat_events": 100_000,
    "flat_seconds": 60,
}
QUICK_REPEATS = {
    "cold": 5,
    "cold_slow": 3,
    "warm_blocks": 2,
    "warm_events": 100,
    "warm_slow": 20,
    "batches": 1,
    "flat_events": 10_000,
    "flat_seconds": 5,
}


def environment() -> dict[str, str]:
    """What every function finds, as in Lambda."""
    topics = {
        f"{name}_TOPIC_ARN": f"{TOPIC}-{name.lower()}"
        for name in ("RETRY", "READINESS", "REPORT", "QUARANTINE")
    }
    certificates = str(WORK / "run/all.pem")
    return topics | {
        "PATH": os.environ["PATH"],
        "TZ": ":UTC",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_SESSION_TOKEN": "token",
        "AWS_LAMBDA_FUNCTION_NAME": "asp-events",
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
        "AWS_LAMBDA_LOG_FORMAT": "JSON",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "METRIC_NAMESPACE": "AlexaSmartProperties/asp-events",
        "NO_PROXY": "127.0.0.1,127.0.0.2,127.0.0.3",
        # What Lambda's system has in one file. Each of the SDKs looks elsewhere for it.
        "SSL_CERT_FILE": certificates,
        "AWS_CA_BUNDLE": certificates,
        "NODE_EXTRA_CA_CERTS": str(WORK / "run/alone.pem"),
    }


def plan(peers: list[Peer], is_quick: bool) -> dict[str, Any]:
    return {
        "samples": str(ROOT / "events"),
        "work": str(WORK / "run"),
        "environment": environment(),
        "peers": [vars(peer) for peer in peers],
        "events": list(report.EVENTS),
        "rounds": list(report.ROUNDS),
        "batches": [
            {"event": "skill-failure-invalid-response", "size": 1000},
            {"event": "subscription-activated", "size": 100},
        ],
        "latencies": {"dynamodb": 6, "sns": 15, "cloudwatch": 25},
        "repeats": QUICK_REPEATS if is_quick else REPEATS,
    }


# ── The figures ──────────────────────────────────────────────────────────────────────────────────


def condensed(observed: dict[str, Any]) -> dict[str, Any]:
    """How many calls go to each service and in how many rounds, without what they say."""
    calls = observed["calls"]
    return {
        "services": dict(sorted(Counter(call["service"] for call in calls).items())),
        "rounds": max((call["round"] for call in calls), default=0),
    }


def figures(results: dict[str, Any], left_out: dict[str, str], is_quick: bool) -> dict[str, Any]:
    """What is recorded: the results, and what they depend on."""
    for event in results["events"]:
        event["calls"] = condensed(event["calls"])
    for name, observed in results["rounds"].items():
        results["rounds"][name] = condensed(observed)
    return {
        "commit": output("git", "-C", ROOT, "describe", "--tags", "--always", "--dirty"),
        "compiler": output("rustc", "--version"),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}",
        "python": platform.python_version(),
        "node": output("node", "--version").removeprefix("v"),
        "load": round(os.getloadavg()[1], 1),
        "quick": is_quick,
        "left_out": left_out,
        **rounded(results),
    }


def rounded(value: Any) -> Any:
    """Figures with as many digits as mean anything."""
    match value:
        case float():
            return round(value, 3)
        case dict():
            return {name: rounded(inner) for name, inner in value.items()}
        case list():
            return [rounded(inner) for inner in value]
    return value


def measure(plan_file: Path, harness: Path) -> dict[str, Any]:
    """Runs the harness, with the highest priority if allowed, which the functions inherit."""
    with subprocess.Popen([harness, plan_file], stdout=subprocess.PIPE) as process:
        with suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, process.pid, -19)
        found, _ = process.communicate()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, "the harness")
    results: dict[str, Any] = json.loads(found)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="few repetitions, Rust alone")
    parser.add_argument("--against", type=Path, help="another build of the function")
    parser.add_argument("--record", action="store_true", help="write the figures and the document")
    arguments = parser.parse_args()
    if arguments.quick and arguments.record:
        parser.error("a quick run is not exact enough to be recorded")
    try:
        cargo("test", "harness", "harness")
        harness = cargo("build", "harness", "harness")
        peers, left_out = all_peers(arguments.quick, arguments.against)
        (WORK / "run").mkdir(parents=True, exist_ok=True)
        written = WORK / "run/plan.json"
        written.write_text(json.dumps(plan(peers, arguments.quick), indent=2))
        results = measure(written, harness)
    except subprocess.CalledProcessError as error:
        sys.exit(f"make bench: {error}")
    found = figures(results, left_out, arguments.quick)
    if arguments.record:
        report.record(found)
    (WORK / "run/figures.json").write_text(json.dumps(found, indent=2))
    print(report.tables(found))


if __name__ == "__main__":
    main()
