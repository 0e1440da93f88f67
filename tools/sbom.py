"""Lists what a released program consists of: a software bill of materials in CycloneDX 1.6.

From Cargo's own records: `cargo tree` says which packages are compiled into the program for the
architectures of a release, `cargo metadata` their licences and dependencies, and Cargo.lock the
checksum of each. `cargo metadata` alone would list what all packages of the workspace and their
tests need. There is no time in the document, so that the same sources give the same bytes.
"""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TARGETS = ("aarch64-unknown-linux-gnu", "x86_64-unknown-linux-gnu")
# "name v1.2.3 (proc-macro) (*)"
TREE_LINE = re.compile(r"^(\S+) v(\S+)")

Identity = tuple[str, str]
Bill = dict[str, Any]


def purl(identity: Identity) -> str:
    name, version = identity
    # A plus sign is reserved in package URLs.
    return f"pkg:cargo/{name}@{version.replace('+', '%2B')}"


def bill_of_materials(
    package: str, version: str, compiled: set[Identity], metadata: Mapping[str, Any], lock: str
) -> Bill:
    """The bill of a program, which is built from this package and has this version."""
    packages = {one["id"]: one for one in metadata["packages"]}
    identities = {key: (one["name"], one["version"]) for key, one in packages.items()}
    records = {identities[key]: packages[key] for key in packages if identities[key] in compiled}
    [root] = [identity for identity in records if identity[0] == package]
    checksums = {
        (one["name"], one["version"]): one.get("checksum") for one in tomllib.loads(lock)["package"]
    }
    needs = {
        identities[node["id"]]: sorted(
            purl(identities[dependency["pkg"]])
            for dependency in node["deps"]
            if identities[dependency["pkg"]] in compiled and _is_compiled(dependency)
        )
        for node in metadata["resolve"]["nodes"]
        if identities[node["id"]] in compiled
    }
    main = _component(records[root], None) | {"type": "application", "version": version}
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'{purl(root)}#{version}')}",
        "version": 1,
        "metadata": {"component": main},
        "components": [
            _component(records[identity], checksums.get(identity))
            for identity in sorted(records)
            if identity != root
        ],
        "dependencies": [
            {"ref": purl(identity), "dependsOn": needs[identity]} for identity in sorted(needs)
        ],
    }


def _is_compiled(dependency: Mapping[str, Any]) -> bool:
    """Whether a dependency is needed to build the program, and not only its tests."""
    return any(kind["kind"] in (None, "build") for kind in dependency["dep_kinds"])


def _component(record: Mapping[str, Any], checksum: str | None) -> dict[str, Any]:
    identity = record["name"], record["version"]
    component = {
        "type": "library",
        "bom-ref": purl(identity),
        "name": record["name"],
        "version": record["version"],
        "purl": purl(identity),
    }
    if licence := record["license"]:
        # Cargo once separated alternatives by a slash.
        expression = re.sub(r"\s*/\s*", " OR ", licence)
        component["licenses"] = [{"expression": expression}]
    if checksum:
        component["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    if repository := record["repository"]:
        component["externalReferences"] = [{"type": "vcs", "url": repository}]
    return component


def compiled_packages(tree: str) -> set[Identity]:
    """The packages in the output of `cargo tree --prefix none`."""
    found = (TREE_LINE.match(line) for line in tree.splitlines())
    return {(line[1], line[2]) for line in found if line}


def bill_of(package: str, version: str) -> Bill:
    """The bill of a program of this workspace. Asks Cargo, which must have its dependencies."""
    targets = [word for target in TARGETS for word in ("--target", target)]
    of_program = ["--package", package, "--edges", "normal,build", "--prefix", "none"]
    tree = _cargo("tree", *of_program, *targets)
    metadata = json.loads(_cargo("metadata", "--format-version", "1"))
    lock = (ROOT / "Cargo.lock").read_text()
    return bill_of_materials(package, version, compiled_packages(tree), metadata, lock)


def _cargo(*words: str) -> str:
    command = ["cargo", *words, "--locked"]
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
