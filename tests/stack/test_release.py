"""What `make build` and `make release` make of a binary, and the workflows that run them.

The binaries themselves are not built here: that takes many minutes. A file of a few bytes with the
head of a program stands for each.

python -m unittest discover tests/stack
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import unittest
import zipfile
from pathlib import Path
from typing import Any, ClassVar

import yaml
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from expanded import expanded
from resolved import load
from stack import ROOT

sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "tests")]
import package  # noqa: E402
import install  # noqa: E402
import release  # noqa: E402
import sbom  # noqa: E402
from house.documents import make_targets  # noqa: E402

VERSION = "v1.2.3-4-g0a1b2c3"
TEMPLATE = (ROOT / "template.yaml").read_text()
FUNCTIONS = tuple(package.FUNCTIONS.values())
SAM = ROOT / ".venv-sam/bin"
# Variables of the reader's that change what make does.
MAKE_VARIABLES = {
    *("ARCH", "ASP_EVENTS_VERSION", "ENVIRONMENT", "MAKEFLAGS", "MAKELEVEL", "PREFIX"),
    *("CARGO_HOME", "CARGO_INSTALL_ROOT", "XDG_DATA_HOME"),
}
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


def program(arch: str) -> bytes:
    """The head of a Linux program for this architecture."""
    return b"\x7fELF".ljust(18, b"\0") + bytes([package.MACHINES[arch], 0]) + bytes(44)


class Folder(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))

    def built(self, version: str = VERSION) -> Path:
        """A folder with what `make build`, `build-renewal` and `aspctl-binary` leave."""
        packages = self.folder / "lambda"
        for arch in package.ARCHITECTURES:
            for name in release.PROGRAMS:
                path = packages / arch / name / "bootstrap"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(program(arch))
            for function in FUNCTIONS:
                self.package(function, arch, version)
        return packages

    def package(self, function: package.PackagedFunction, arch: str, version: str) -> None:
        into = self.folder / "lambda" / arch
        package.package(arch, version, into / function.name / "bootstrap", into, function)


class PackageTest(Folder):
    def test_the_template_differs_in_three_values_alone(self) -> None:
        packages = self.built()
        for arch in package.ARCHITECTURES:
            for function in FUNCTIONS:
                packaged = load(packages / arch / package.template_name(arch, function))
                original = load(function.template)
                properties = original["Resources"][function.resource]["Properties"]
                properties["Description"] += f" ({VERSION})"
                properties["CodeUri"] = f"{function.name}-{arch}.zip"
                properties["Architectures"] = [arch]
                self.assertEqual(packaged, original)

    def test_comments_stay(self) -> None:
        for function in FUNCTIONS:
            template = function.template.read_text()
            packaged = package.packaged_template(template, "arm64", VERSION, function)
            added = [line for line in packaged.splitlines() if line not in template.splitlines()]
            self.assertLessEqual(len(added), 5, added)
            self.assertIn(VERSION, packaged.splitlines()[0])

    def test_the_zip_has_a_program_that_lambda_may_run(self) -> None:
        packages = self.built()
        for name in ("asp-events-arm64.zip", "asp-renewal-arm64.zip"):
            with zipfile.ZipFile(packages / "arm64" / name) as archive:
                [entry] = archive.infolist()
                self.assertEqual(entry.filename, "bootstrap")
                self.assertEqual(entry.external_attr >> 16, 0o100755)
                self.assertEqual(archive.read(entry), program("arm64"))

    def test_a_binary_of_another_architecture_is_refused(self) -> None:
        path = self.folder / "bootstrap"
        for content in (program("x86_64"), b"#!/bin/sh\n", b""):
            path.write_bytes(content)
            with self.assertRaisesRegex(package.PackageError, "not a Linux program for arm64"):
                package.package("arm64", VERSION, path, self.folder)

    def test_only_a_version_is_put_into_the_template(self) -> None:
        for version in ("", "-dirty", "a b", "v1\n", "v1: x", "v1)", "x" * 101):
            with self.assertRaises(package.PackageError):
                package.packaged_template(TEMPLATE, "arm64", version)
        for version in ("0.1.0", "81783d6-dirty", "release/2.0+x"):
            package.packaged_template(TEMPLATE, "arm64", version)

    def test_a_template_without_the_lines_is_refused(self) -> None:
        for text in ("CodeUri: .", "Architectures: [arm64]", "AspEventsFunction:\n"):
            with self.assertRaises(package.PackageError, msg=text):
                package.packaged_template(TEMPLATE.replace(text, "X: Y\n"), "arm64", VERSION)

    @unittest.skipUnless(SAM.exists(), "the SAM CLI is missing: run make template")
    def test_linter_and_sam_accept_the_templates(self) -> None:
        """Each checks one of the two, because `make template` has checked what they are made of."""
        packages = self.built()
        for function in FUNCTIONS:
            arm64, x86_64 = (
                str(packages / arch / package.template_name(arch, function))
                for arch in ("arm64", "x86_64")
            )
            self.run_tool("cfn-lint", arm64)
            self.run_tool("sam", "validate", "--template-file", x86_64)

    def run_tool(self, *command: str) -> None:
        environment = os.environ | {"AWS_DEFAULT_REGION": "us-east-1"}
        done = subprocess.run(
            [SAM / command[0], *command[1:]],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


# Stands for the tool: prints a completion, or writes two man pages into a folder.
TOOL = """#!/bin/sh
case "$*" in
    "completion "*) echo "completion for $2" ;;
    "--quiet generate man "*) echo page > "$4/aspctl.1"; echo page > "$4/aspctl-wait.1" ;;
    *) exit 64 ;;
esac
"""
SHARED = {
    "bash-completion/completions/aspctl": b"completion for bash\n",
    "zsh/site-functions/_aspctl": b"completion for zsh\n",
    "fish/vendor_completions.d/aspctl.fish": b"completion for fish\n",
    "man/man1/aspctl.1": b"page\n",
    "man/man1/aspctl-wait.1": b"page\n",
}


def write_tool(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(TOOL)
    path.chmod(0o755)
    return path


class ReleaseTest(Folder):
    def release(self) -> Path:
        into, tool = self.folder / "dist", write_tool(self.folder / "aspctl")
        release.release(VERSION, self.built(), tool, into)
        return into

    def test_a_release_is_complete_and_the_same_each_time(self) -> None:
        dist = self.release()
        first = {path.name: path.read_bytes() for path in dist.iterdir()}
        self.assertEqual(sorted(first), sorted([*release.release_names(), "SHA256SUMS"]))
        self.release()
        self.assertEqual({path.name: path.read_bytes() for path in dist.iterdir()}, first)
        self.check_checksums(dist)
        self.check_templates(dist)
        self.check_archives(dist)

    def check_checksums(self, dist: Path) -> None:
        command = ["sha256sum", "--check", "--strict", "SHA256SUMS"]
        done = subprocess.run(command, cwd=dist, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual(done.stdout.count(": OK"), len(release.release_names()))

    def check_templates(self, dist: Path) -> None:
        """Each template names a zip that lies beside it."""
        for arch in package.ARCHITECTURES:
            for name, resource in (
                ("template", "AspEventsFunction"),
                ("renewal-template", "RenewalFunction"),
            ):
                function = load(dist / f"{name}-{arch}.yaml")["Resources"][resource]
                self.assertTrue((dist / function["Properties"]["CodeUri"]).is_file())

    def check_archives(self, dist: Path) -> None:
        for arch in package.ARCHITECTURES:
            with tarfile.open(dist / f"aspctl-linux-{arch}.tar.gz") as archive:
                modes = {entry.name: entry.mode for entry in archive}
                shared = {f"share/{name}": text for name, text in SHARED.items()}
                plain = dict.fromkeys(["LICENSE", *shared], 0o644)
                self.assertEqual(modes, {"aspctl": 0o755} | plain)
                for name, text in {"aspctl": program(arch), **shared}.items():
                    content = archive.extractfile(name)
                    assert content is not None
                    self.assertEqual(content.read(), text)

    def test_a_package_of_another_version_is_refused(self) -> None:
        tool = write_tool(self.folder / "aspctl")
        for function in FUNCTIONS:
            packages = self.built()
            self.package(function, "x86_64", "v1.2.2")
            stale = f"{package.template_name('x86_64', function)} is not of version {VERSION}"
            with self.assertRaisesRegex(package.PackageError, stale):
                release.release(VERSION, packages, tool, self.folder / "dist")

    def test_the_document_lists_the_files_of_a_release(self) -> None:
        document = (ROOT / "docs/deploying.md").read_text()
        _, _, section = document.partition("\n## Releases\n")
        rows = re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)
        listed = [name for row in rows for name in re.findall(r"`([^`]+)`", row)]
        self.assertCountEqual(listed, [*release.release_names(), "SHA256SUMS"])


class BillOfMaterialsTest(unittest.TestCase):
    bills: ClassVar[dict[str, dict[str, Any]]]

    @classmethod
    def setUpClass(cls) -> None:
        cls.bills = {program: sbom.bill_of(program, VERSION) for program in release.PROGRAMS}

    def test_bills_follow_the_schema_of_cyclonedx(self) -> None:
        for program, bill in self.bills.items():
            with self.subTest(program):
                error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(bill))
                self.assertIsNone(error, str(error))

    def test_every_component_is_reached_from_the_program(self) -> None:
        for program, bill in self.bills.items():
            graph = {one["ref"]: one["dependsOn"] for one in bill["dependencies"]}
            root = bill["metadata"]["component"]["bom-ref"]
            reached, open_ones = set(), [root]
            while open_ones:
                if (one := open_ones.pop()) not in reached:
                    reached.add(one)
                    open_ones += graph[one]
            components = {one["bom-ref"] for one in bill["components"]}
            self.assertEqual(reached, components | {root}, program)

    def test_components_have_licences_and_the_checksums_of_the_lock_file(self) -> None:
        locked = tomllib.loads((ROOT / "Cargo.lock").read_text())["package"]
        checksums = {(one["name"], one["version"]): one.get("checksum") for one in locked}
        for program, bill in self.bills.items():
            for component in bill["components"]:
                with self.subTest(program, component=component["name"]):
                    self.assertTrue(component["licenses"][0]["expression"])
                    checksum = checksums[component["name"], component["version"]]
                    hashes = [one["content"] for one in component.get("hashes", [])]
                    self.assertEqual(hashes, [checksum] if checksum else [])

    def test_a_bill_has_the_dependencies_of_its_program_alone(self) -> None:
        names = {
            program: {one["name"] for one in bill["components"]}
            for program, bill in self.bills.items()
        }
        self.assertTrue({"lambda_runtime", "rustls", "serde_json"} <= names["asp-events"])
        self.assertTrue({"asp-events", "clap", "rustls", "serde_json"} <= names["aspctl"])
        self.assertTrue({"asp-alexa", "aws-sdk-s3", "rustls"} <= names["asp-renewal"])
        for function in ("asp-events", "asp-renewal"):
            self.assertFalse({"aspctl", "clap"} & names[function])
        for found in names.values():
            self.assertFalse({"axum", "proptest"} & found, "of tests alone")

    def test_the_version_is_that_of_the_build(self) -> None:
        for program, bill in self.bills.items():
            component = bill["metadata"]["component"]
            self.assertEqual((component["name"], component["version"]), (program, VERSION))


class InstallTest(Folder):
    def setUp(self) -> None:
        super().setUp()
        self.program, self.share = write_tool(self.folder / "bin/aspctl"), self.folder / "share"

    def run_tool(self, action: str, **variables: str) -> str:
        """Runs tools/install.py as the Makefile does."""
        command = [sys.executable, str(ROOT / "tools/install.py"), "--root", str(self.folder)]
        own = {"HOME": str(self.folder), "PATH": os.environ["PATH"]} | variables
        done = subprocess.run(
            [*command, "--share", str(self.share), action],
            env=own,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.assertEqual(done.returncode, 0, done.stdout)
        return done.stdout

    def files(self) -> dict[str, bytes]:
        paths = (path for path in self.share.rglob("*") if path.is_file())
        return {str(path.relative_to(self.share)): path.read_bytes() for path in paths}

    def test_completions_and_man_pages_go_where_shells_and_man_look(self) -> None:
        of_an_earlier_version = self.share / "man/man1/aspctl-gone.1"
        of_another = self.share / "man/man1/other.1"
        for path in (of_an_earlier_version, of_another):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        output = self.run_tool("install")
        self.assertEqual(self.files(), SHARED | {"man/man1/other.1": b""})
        for path in install.COMPLETIONS.values():
            self.assertIn(str(self.share / path), output)
        removed = self.run_tool("uninstall")
        self.assertIn(f"Removed {len(SHARED)} completions and man pages", removed)
        self.assertEqual(self.files(), {"man/man1/other.1": b""})

    def test_the_size_is_told_and_what_a_shell_needs(self) -> None:
        with open(self.program, "ab") as program:
            program.write(b"#" * 12_340_000)
        output = self.run_tool("install")
        self.assertIn(f"{self.program} (12.3 MB)", output)
        self.assertIn(f'export PATH="{self.program.parent}:$PATH"', output)
        self.assertIn(f"fpath=({self.share}/zsh/site-functions $fpath)", output)
        self.assertIn(f"export XDG_DATA_DIRS={self.share}:", output)
        first = f"{self.program.parent}{os.pathsep}{os.environ['PATH']}"
        output = self.run_tool("install", PATH=first, XDG_DATA_HOME=str(self.share))
        self.assertNotIn("export PATH", output)
        self.assertNotIn("XDG_DATA_DIRS", output)

    def test_another_aspctl_that_comes_first_is_named(self) -> None:
        other = write_tool(self.folder / "other/aspctl")
        path = os.pathsep.join([str(other.parent), str(self.program.parent), os.environ["PATH"]])
        self.assertIn(f"{other} comes first in PATH", self.run_tool("install", PATH=path))

    @unittest.skipUnless(shutil.which("man"), "man is missing")
    def test_it_says_how_man_finds_the_pages(self) -> None:
        advice = f'export MANPATH="{self.share}/man:"'
        self.assertIn(advice, self.run_tool("install"))
        found = self.run_tool("install", MANPATH=f"{self.share}/man:")
        self.assertNotIn("MANPATH", found)


class MakefileTest(unittest.TestCase):
    def make(
        self, *words: str, folder: Path = ROOT, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        environment = {
            name: value for name, value in os.environ.items() if name not in MAKE_VARIABLES
        } | variables
        command = ["make", "--dry-run", *words]
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)

    def test_arch_sets_the_build_and_the_template(self) -> None:
        for arch, option in (("arm64", "--arm64"), ("x86_64", "--x86-64")):
            for targets, function in (
                (("build", "deploy"), package.EVENTS),
                (("build-renewal", "deploy-renewal"), package.RENEWAL),
            ):
                for target in targets:
                    text = self.make(target, f"ARCH={arch}").stdout
                    self.assert_built(text, function.name, arch, option)
                template = package.template_name(arch, function)
                self.assertIn(f" target/lambda/{arch}/{template}", text)

    def assert_built(self, text: str, function: str, arch: str, option: str) -> None:
        """Checks that make would build this function for this architecture and package it."""
        self.assertRegex(text, f"cargo lambda build .*{option} .*--bin {function} ")
        self.assertRegex(text, f"tools/package.py --function {function} --arch {arch} ")

    def test_a_release_builds_every_program_for_both_architectures(self) -> None:
        text = self.make("release").stdout
        for arch, option in (("arm64", "--arm64"), ("x86_64", "--x86-64")):
            for function in FUNCTIONS:
                self.assert_built(text, function.name, arch, option)
            self.assertRegex(text, f"--bin aspctl --lambda-dir target/lambda/{arch}\n")
        self.assertNotIn("sam ", text)

    def test_an_installation_goes_where_cargo_says_or_into_one_prefix(self) -> None:
        home = {"HOME": "/home/you"}
        for variables, root, share in (
            (home, "/home/you/.cargo", "/home/you/.local/share"),
            (home | {"CARGO_HOME": "/c", "XDG_DATA_HOME": "/x"}, "/c", "/x"),
            (home | {"CARGO_INSTALL_ROOT": "/opt/you"}, "/opt/you", "/opt/you/share"),
            (home | {"PREFIX": "/usr/local"}, "/usr/local", "/usr/local/share"),
        ):
            with self.subTest(variables):
                text = self.make("install", **variables).stdout
                self.assertIn(f'cargo install --locked --path aspctl --root "{root}"\n', text)
                self.assertIn(f'--root "{root}" --share "{share}" install', text)
                text = self.make("uninstall", **variables).stdout
                self.assertIn(f'--root "{root}" --share "{share}" uninstall', text)
                self.assertIn(f'cargo uninstall --root "{root}" aspctl', text)

    def test_what_is_installed_is_optimized_and_stripped(self) -> None:
        profile = tomllib.loads((ROOT / "Cargo.toml").read_text())["profile"]["release"]
        self.assertEqual((profile["opt-level"], profile["strip"]), ("s", "symbols"))

    def test_an_unknown_arch_stops_the_build(self) -> None:
        for target in ("build", "build-renewal"):
            lines = self.make(target, "ARCH=arm").stdout.splitlines()
            [check] = [line for line in lines if "case" in line]
            done = subprocess.run(["bash", "-c", check], capture_output=True, text=True)
            self.assertEqual(done.returncode, 2)
            self.assertIn("ARCH must be arm64 or x86_64, not arm", done.stdout)

    def test_a_deployment_asks_no_questions_of_an_environment(self) -> None:
        text = self.make("deploy", "ENVIRONMENT=test").stdout
        self.assertIn("tools/deploy.py --environment test deploy", text)
        self.assertNotIn("--guided", text)

    def test_the_version_is_what_git_describes(self) -> None:
        text = self.make("build").stdout
        self.assertRegex(text, r"ASP_EVENTS_VERSION=\S+ cargo lambda build")
        version = re.findall(r"--version (\S+)", text)[0]
        self.assertEqual(package.check_version(version), version)

    def test_outside_of_git_the_version_is_the_packages(self) -> None:
        """Also in a folder of another repository, which has a version of its own."""
        outer = Path(self.enterContext(tempfile.TemporaryDirectory()))
        git = ["git", "-C", str(outer), "-c", "user.name=a", "-c", "user.email=a@example.com"]
        subprocess.run([*git, "init", "--quiet"], check=True)
        subprocess.run([*git, "commit", "--quiet", "--allow-empty", "-m", "x"], check=True)
        subprocess.run([*git, "tag", "v9"], check=True)
        inner = outer / "asp-events"
        inner.mkdir()
        for name in ("Makefile", "Cargo.toml"):
            (inner / name).write_bytes((ROOT / name).read_bytes())
        (inner / "tests/stack").mkdir(parents=True)
        (inner / "tests/stack/requirements-build.txt").touch()
        text = self.make("build", folder=inner).stdout
        cargo = tomllib.loads((ROOT / "Cargo.toml").read_text())
        version = cargo["workspace"]["package"]["version"]
        self.assertIn(f"--version {version} ", text)


class AliasTest(unittest.TestCase):
    """Why the template has no alias. Once this fails, docs/operations.md is out of date."""

    def version(self, parameters: dict[str, str], **properties: Any) -> str:
        """The logical name of the version that SAM would publish behind an alias."""
        template = load()
        function = template["Resources"]["AspEventsFunction"]["Properties"]
        function |= {"AutoPublishAlias": "live"} | properties
        function["AutoPublishAliasAllProperties"] = True
        resources = expanded(template, parameters)["Resources"]
        [name] = [key for key, one in resources.items() if one["Type"] == "AWS::Lambda::Version"]
        return str(name)

    def test_sam_publishes_no_version_for_a_changed_parameter(self) -> None:
        first, second = ({"SuccessStatuses": word} for word in ("DONE", "FINISHED"))
        self.assertEqual(self.version(first), self.version(second))
        self.assertNotEqual(self.version(first), self.version(first, Description="x"))


class SettingsTest(unittest.TestCase):
    def setUp(self) -> None:
        self.settings = tomllib.loads((ROOT / "samconfig.toml").read_text())

    def test_every_environment_deploys_without_questions(self) -> None:
        for name in ("default", "test", "production"):
            options = self.settings[name]["deploy"]["parameters"]
            with self.subTest(name):
                self.assertIs(options["confirm_changeset"], False)
                self.assertIs(options["fail_on_empty_changeset"], False)
                self.assertIs(options["resolve_s3"], True)
                self.assertEqual(options["capabilities"], "CAPABILITY_IAM")
                self.assertIn("application=asp-events", options["tags"])
                if name != "default":
                    self.assertIn(f"environment={name}", options["tags"])

    def test_the_stacks_of_test_and_production_are_two(self) -> None:
        names = {
            self.settings[name]["global"]["parameters"]["stack_name"]
            for name in ("test", "production")
        }
        self.assertEqual(len(names), 2)

    def test_git_ignores_the_local_answers(self) -> None:
        self.assertIn("/samconfig.local.toml", (ROOT / ".gitignore").read_text().splitlines())


class WorkflowTest(unittest.TestCase):
    def setUp(self) -> None:
        # YAML 1.1 reads the key `on` as true.
        self.workflows = {path.name: yaml.safe_load(path.read_text()) for path in WORKFLOWS}

    def jobs(self) -> dict[str, dict[str, Any]]:
        return {
            f"{name}:{key}": job
            for name, workflow in self.workflows.items()
            for key, job in workflow["jobs"].items()
        }

    def commands(self, job: dict[str, Any]) -> list[str]:
        scripts = (step["run"] for step in job["steps"] if "run" in step)
        return [line for script in scripts for line in script.splitlines()]

    def targets(self, workflow: str) -> list[str]:
        lines = [
            line.split()
            for job in self.workflows[workflow]["jobs"].values()
            for line in self.commands(job)
        ]
        return [word for line in lines if line[0] == "make" for word in line[1:]]

    def test_they_run_the_targets_that_everybody_runs(self) -> None:
        for name in ("ci.yml", "release.yml"):
            expected = ["test", "guard", "release"] if name == "ci.yml" else ["test", "release"]
            self.assertEqual(self.targets(name), expected)
            self.assertLessEqual(set(self.targets(name)), make_targets())

    def test_pushes_are_tested_and_tags_are_released(self) -> None:
        self.assertEqual(set(self.workflows["ci.yml"][True]), {"push", "pull_request"})
        self.assertEqual(self.workflows["release.yml"][True], {"push": {"tags": ["v*"]}})
        publish = self.workflows["release.yml"]["jobs"]["publish"]
        self.assertEqual(publish["needs"], ["test", "build"])
        self.assertIn("sha256sum --check SHA256SUMS", self.commands(publish)[0])
        self.assertIn("dist/*", self.commands(publish)[1])

    def test_only_the_job_that_publishes_may_write(self) -> None:
        for name, workflow in self.workflows.items():
            self.assertEqual(workflow["permissions"], {"contents": "read"}, name)
        writers = {
            name: job["permissions"] for name, job in self.jobs().items() if "permissions" in job
        }
        self.assertEqual(writers, {"release.yml:publish": {"contents": "write"}})
        steps = self.workflows["release.yml"]["jobs"]["publish"]["steps"]
        self.assertNotIn("actions/checkout", str(steps), "it runs no code of the repository")

    def test_actions_are_pinned_by_commit_and_say_their_version(self) -> None:
        pinned = r"uses: [\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$"
        for path in WORKFLOWS:
            for line in path.read_text().splitlines():
                if "uses:" in line:
                    with self.subTest(path.name, line=line.strip()):
                        self.assertRegex(line, pinned)

    def test_one_compiler_in_all_workflows(self) -> None:
        versions = {workflow["env"]["RUSTUP_TOOLCHAIN"] for workflow in self.workflows.values()}
        self.assertEqual(len(versions), 1)

    def test_checkouts_keep_no_credentials_and_a_release_has_no_cache(self) -> None:
        for name, job in self.jobs().items():
            for step in job["steps"]:
                if step.get("uses", "").startswith("actions/checkout@"):
                    self.assertIs(step["with"]["persist-credentials"], False, name)
                if name.startswith("release.yml"):
                    self.assertNotIn("actions/cache", step.get("uses", ""))

    def test_every_job_ends_in_time_and_runs_do_not_pile_up(self) -> None:
        for name, job in self.jobs().items():
            self.assertLessEqual(job["timeout-minutes"], 120, name)
        self.assertIs(self.workflows["ci.yml"]["concurrency"]["cancel-in-progress"], True)
        self.assertIs(self.workflows["release.yml"]["concurrency"]["cancel-in-progress"], False)

    def test_a_release_knows_the_tags(self) -> None:
        for name, job in self.jobs().items():
            if "make release" in self.commands(job):
                self.assertEqual(job["steps"][0]["with"]["fetch-depth"], 0, name)


if __name__ == "__main__":
    unittest.main()
