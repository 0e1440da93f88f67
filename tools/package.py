#!/usr/bin/env python3
"""Packages a built function: a zip for Lambda, and beside it a template that names the zip.

    tools/package.py --function asp-events --arch arm64 --version v1.2.3 --binary BOOTSTRAP \
        --into FOLDER

`sam deploy --template-file` of that template needs neither Rust nor `sam build`. It is
template.yaml, or for the function asp-renewal renewal/template.yaml, comments included, with three
lines of the function changed: its description gets the version, `CodeUri` names the zip, and
`Architectures` is what the binary was built for. The same binary and version give the same bytes.
"""

from __future__ import annotations

import argparse
import re
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ARCHITECTURES = ("arm64", "x86_64")
# The start of an ELF file and its machine, at byte 18.
MACHINES = {"arm64": 183, "x86_64": 62}
# As `git describe` prints a version. It goes into YAML and into a description of 256 characters.
VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z._+/-]{0,99}")
# The earliest time that a zip can have: the time of the build must not change the package.
EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class PackagedFunction:
    """A function with its template. `prefix` precedes the name of the packaged template."""

    name: str
    template: Path
    resource: str  # the function in the template
    stack: str  # what the packaged template suggests
    prefix: str = ""


EVENTS = PackagedFunction(
    name="asp-events",
    template=ROOT / "template.yaml",
    resource="AspEventsFunction",
    stack="asp-events",
)
RENEWAL = PackagedFunction(
    name="asp-renewal",
    template=ROOT / "renewal/template.yaml",
    resource="RenewalFunction",
    stack="asp-events-renewal",
    prefix="renewal-",
)
FUNCTIONS = {function.name: function for function in (EVENTS, RENEWAL)}


class PackageError(Exception):
    """The function cannot be packaged. The message says why."""


def zip_name(arch: str, function: PackagedFunction = EVENTS) -> str:
    return f"{function.name}-{arch}.zip"


def template_name(arch: str, function: PackagedFunction = EVENTS) -> str:
    return f"{function.prefix}template-{arch}.yaml"


def check_version(version: str) -> str:
    if not VERSION.fullmatch(version):
        raise PackageError(f"{version!r} is not a version, such as v1.2.3 or 0a1b2c3-dirty")
    return version


def packaged_template(
    template: str, arch: str, version: str, function: PackagedFunction = EVENTS
) -> str:
    """The template for the zip of this architecture and version."""
    check_version(version)
    changed = block = _block(template, function)
    for pattern, by in (
        (r"^( {6}Description: \S.*)$", rf"\g<1> ({version})"),
        (r"^( {6}CodeUri: )\.{1,2}$", rf"\g<1>{zip_name(arch, function)}"),
        (r"^( {6}Architectures: )\[\w+\]$", rf"\g<1>[{arch}]"),
    ):
        changed = _replaced(changed, pattern, by, function)
    name = template_name(arch, function)
    head = (
        f"# {function.name} {version} for {arch}. To deploy it:\n"
        f"# sam deploy --guided --stack-name {function.stack} --template-file {name}\n\n"
    )
    return head + template.replace(block, changed)


def _block(template: str, function: PackagedFunction) -> str:
    """The lines of the function."""
    found = re.search(rf"^  {function.resource}:\n(?:(?: {{3,}}.*)?\n)+", template, re.MULTILINE)
    if found is None:
        raise PackageError(f"the template has no resource {function.resource}")
    return found[0]


def _replaced(block: str, pattern: str, by: str, function: PackagedFunction) -> str:
    changed, count = re.subn(pattern, by, block, flags=re.MULTILINE)
    if count != 1:
        name = function.resource
        raise PackageError(f"{name} in the template has {count} lines like {pattern}, not one")
    return changed


def check_machine(binary: bytes, arch: str) -> None:
    """Checks that the binary was built for the architecture that the template will have."""
    machine = int.from_bytes(binary[18:20], "little")
    if not binary.startswith(b"\x7fELF") or machine != MACHINES[arch]:
        raise PackageError(f"the binary is not a Linux program for {arch}")


def write_zip(path: Path, binary: bytes, level: int = 9) -> None:
    entry = zipfile.ZipInfo("bootstrap", EPOCH)
    entry.create_system = 3  # Unix: the mode below counts
    entry.external_attr = 0o100755 << 16
    entry.compress_type = zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(entry, binary, compresslevel=level)


def package(
    arch: str, version: str, binary: Path, into: Path, function: PackagedFunction = EVENTS
) -> None:
    content = binary.read_bytes()
    check_machine(content, arch)
    template = packaged_template(function.template.read_text(), arch, version, function)
    into.mkdir(parents=True, exist_ok=True)
    write_zip(into / zip_name(arch, function), content)
    (into / template_name(arch, function)).write_text(template)


def main() -> None:
    parser = argparse.ArgumentParser(description="Packages a built function for Lambda.")
    parser.add_argument("--function", choices=FUNCTIONS, required=True)
    parser.add_argument("--arch", choices=ARCHITECTURES, required=True)
    parser.add_argument("--version", required=True)
    parser.add_argument("--binary", type=Path, required=True)
    parser.add_argument("--into", type=Path, required=True)
    args = parser.parse_args()
    function = FUNCTIONS[args.function]
    try:
        package(args.arch, args.version, args.binary, args.into, function)
    except (PackageError, OSError) as error:
        sys.exit(f"tools/package.py: {error}")
    names = zip_name(args.arch, function), template_name(args.arch, function)
    print(f"{args.into / names[0]} and {names[1]}: {args.version}")


if __name__ == "__main__":
    main()
