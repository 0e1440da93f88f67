#!/usr/bin/env python3
"""Puts together what a release consists of, from what `make build`, `build-renewal` and
`aspctl-binary` built.

    tools/release.py --version v1.2.3 --packages target/lambda --aspctl target/demo/aspctl \
        --into target/dist

    asp-events-ARCH.zip           the function
    template-ARCH.yaml            the template that names the zip beside it, with the version
    asp-renewal-ARCH.zip          the scheduled renewal
    renewal-template-ARCH.yaml    its template, likewise
    aspctl-linux-ARCH.tar.gz      the command-line tool, with completions, man pages and licence
    asp-events.cdx.json           bill of materials of the function (CycloneDX)
    asp-renewal.cdx.json          bill of materials of the renewal
    aspctl.cdx.json               bill of materials of the tool
    SHA256SUMS                    checksums of all others: sha256sum --check SHA256SUMS

The same inputs give the same bytes. `--aspctl` is the same tool, built for this machine: it writes
its completions and man pages.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from install import share_files
from package import (
    ARCHITECTURES,
    FUNCTIONS,
    PackageError,
    check_machine,
    check_version,
    template_name,
    zip_name,
)
from sbom import ROOT, bill_of

PROGRAMS = (*FUNCTIONS, "aspctl")
CHECKSUMS = "SHA256SUMS"


def archive_name(arch: str) -> str:
    return f"aspctl-linux-{arch}.tar.gz"


def bill_name(program: str) -> str:
    return f"{program}.cdx.json"


def release_names() -> list[str]:
    """The files of a release, besides the checksums."""
    names = [bill_name(program) for program in PROGRAMS]
    for arch in ARCHITECTURES:
        names.append(archive_name(arch))
        for function in FUNCTIONS.values():
            names += [zip_name(arch, function), template_name(arch, function)]
    return sorted(names)


def write_archive(path: Path, files: dict[str, tuple[bytes, int]]) -> None:
    """Writes a compressed archive of these files, each with its content and mode."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, (content, mode) in files.items():
            entry = tarfile.TarInfo(name)  # owned by root, from 1970
            entry.size, entry.mode = len(content), mode
            archive.addfile(entry, io.BytesIO(content))
    # Without name and time.
    path.write_bytes(gzip.compress(buffer.getvalue(), mtime=0))


def write_checksums(folder: Path) -> None:
    """Writes a file that `sha256sum --check` reads, about all others of the folder."""
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n"
        for path in sorted(folder.iterdir())
        if path.name != CHECKSUMS
    ]
    (folder / CHECKSUMS).write_text("".join(lines))


def check_template(template: Path, version: str) -> None:
    """Checks that a template was packaged by this version, and not left from an earlier build."""
    if f"({version})\n" not in template.read_text():
        raise PackageError(f"{template} is not of version {version}: run make release")


def release(version: str, packages: Path, aspctl: Path, into: Path) -> None:
    check_version(version)
    into.mkdir(parents=True, exist_ok=True)
    licence = (ROOT / "LICENSE").read_bytes()
    shared = {f"share/{name}": (text, 0o644) for name, text in share_files(aspctl).items()}
    for arch in ARCHITECTURES:
        built = packages / arch
        for function in FUNCTIONS.values():
            check_template(built / template_name(arch, function), version)
            for name in (zip_name(arch, function), template_name(arch, function)):
                shutil.copyfile(built / name, into / name)
        tool = (built / "aspctl/bootstrap").read_bytes()  # as cargo-lambda names every program
        check_machine(tool, arch)
        files = {"aspctl": (tool, 0o755), "LICENSE": (licence, 0o644), **shared}
        write_archive(into / archive_name(arch), files)
    for program in PROGRAMS:
        text = json.dumps(bill_of(program, version), indent=1) + "\n"
        (into / bill_name(program)).write_text(text)
    write_checksums(into)


def main() -> None:
    parser = argparse.ArgumentParser(description="Puts together what a release consists of.")
    parser.add_argument("--version", required=True)
    parser.add_argument("--packages", type=Path, required=True)
    parser.add_argument("--aspctl", type=Path, required=True)
    parser.add_argument("--into", type=Path, required=True)
    args = parser.parse_args()
    try:
        release(args.version, args.packages, args.aspctl.resolve(), args.into)
    except (PackageError, OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"tools/release.py: {error}")
    print((args.into / CHECKSUMS).read_text(), end="")


if __name__ == "__main__":
    main()
