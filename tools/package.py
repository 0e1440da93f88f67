#!/usr/bin/env python3
"""Packages a built function: a zip for Lambda, and beside it a template that names the zip.

    tools/package.py --arch arm64 --version v1.2.3 --binary BOOTSTRAP --into FOLDER

`sam deploy --template-file` of that template needs neither Rust nor `sam build`. It is
template.yaml, comments included, with three lines of the function changed: its description gets the
version, `CodeUri` names the zip, and `Architectures` is what the binary was built for. The same
binary and version give the same bytes.
"""

from __future__ import annotations

import argparse
import re
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FUNCTION = "AspEventsFunction"
ARCHITECTURES = ("arm64", "x86_64")
# The start of an ELF file and its machine, at byte 18.
MACHINES = {"arm64": 183, "x86_64": 62}
# As `git describe` prints a version. It goes into YAML and into a description of 256 characters.
VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z._+/-]{0,99}")
# The earliest time that a zip can have: the time of the build must not change the package.
EPOCH = (1980, 1, 1, 0, 0, 0)


class PackageError(Exception):
    """The function cannot be packaged. The message says why."""


def zip_name(arch: str) -> str:
    return f"asp-events-{arch}.zip"


def template_name(arch: str) -> str:
    return f"template-{arch}.yaml"


def check_version(version: str) -> str:
    if not VERSION.fullmatch(version):
        raise PackageError(f"{version!r} is not a version, such as v1.2.3 or 0a1b2c3-dirty")
    return version


def packaged_template(template: str, arch: str, version: str) -> str:
    """The template for the zip of this architecture and version."""
    check_version(version)
    block = _block(template)
    changed = _replaced(block, r"^( {6}Description: \S.*)$", rf"\g<1> ({version})")
    changed = _replaced(changed, r"^( {6}CodeUri: )\.$", rf"\g<1>{zip_name(arch)}")
    changed = _replaced(changed, r"^( {6}Architectures: )\[\w+\]$", rf"\g<1>[{arch}]")
    head = (
        f"# asp-events {version} for {arch}. To deploy it:\n"
        f"# sam deploy --guided --stack-name asp-events --template-file {template_name(arch)}\n\n"
    )
    return head + template.replace(block, changed)


def _block(template: str) -> str:
    """The lines of the function."""
    found = re.search(rf"^  {FUNCTION}:\n(?:(?: {{3,}}.*)?\n)+", template, re.MULTILINE)
    if found is None:
        raise PackageError(f"template.yaml has no resource {FUNCTION}")
    return found[0]


def _replaced(block: str, pattern: str, by: str) -> str:
    changed, count = re.subn(pattern, by, block, flags=re.MULTILINE)
    if count != 1:
        raise PackageError(f"{FUNCTION} in template.yaml has {count} lines like {pattern}, not one")
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


def package(arch: str, version: str, binary: Path, into: Path) -> None:
    content = binary.read_bytes()
    check_machine(content, arch)
    template = packaged_template((ROOT / "template.yaml").read_text(), arch, version)
    into.mkdir(parents=True, exist_ok=True)
    write_zip(into / zip_name(arch), content)
    (into / template_name(arch)).write_text(template)


def main() -> None:
    parser = argparse.ArgumentParser(description="Packages a built function for Lambda.")
    parser.add_argument("--arch", choices=ARCHITECTURES, required=True)
    parser.add_argument("--version", required=True)
    parser.add_argument("--binary", type=Path, required=True)
    parser.add_argument("--into", type=Path, required=True)
    args = parser.parse_args()
    try:
        package(args.arch, args.version, args.binary, args.into)
    except (PackageError, OSError) as error:
        sys.exit(f"tools/package.py: {error}")
    print(f"{args.into / zip_name(args.arch)} and {template_name(args.arch)}: {args.version}")


if __name__ == "__main__":
    main()
