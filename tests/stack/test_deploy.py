"""`make deploy` and `make rollback` on the local stack, with the SAM CLI that they install.

ASP_EVENTS_BOOTSTRAP=target/demo/asp-events python -m unittest discover tests/stack
"""

from __future__ import annotations

import io
import json
import os
import sys
import tempfile
import tomllib
import unittest
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, ClassVar
from unittest.mock import patch

from samtranslator.yaml_helper import yaml_parse

from case import BOOTSTRAP
from stack import BUCKET, NAME, REGION, ROOT, Stack, adapt, output_of, running, script

sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "tests")]
import deploy  # noqa: E402
import package  # noqa: E402
from house.documents import Document  # noqa: E402

SAM = ROOT / ".venv-sam/bin"
DESCRIPTION = "Processes Alexa Smart Properties events"
# The stack of the fixture, and its bucket instead of the one that the SAM CLI would create.
LOCAL = f"""
[test.global.parameters]
stack_name = "{NAME}"

[test.deploy.parameters]
resolve_s3 = false
s3_bucket = "{BUCKET}"
"""
# Stands for the AWS CLI, as far as docs/deploying.md calls it for the renewal. The invocation
# answers with its payload, because a run of the function needs Alexa.
AWS_CLI = f"""#!{SAM}/python
import sys, boto3, jmespath
service, operation, *words = sys.argv[1:]
options = dict(zip(words[::2], words[1::2]))
if (service, operation) == ("cloudformation", "describe-stacks"):
    assert options["--output"] == "text"
    found = boto3.client(service).describe_stacks(StackName=options["--stack-name"])
    print(*jmespath.search(options["--query"], found))
elif (service, operation) == ("lambda", "invoke"):
    boto3.client(service).get_function(FunctionName=options["--function-name"])
    open(words[-1], "w").write(options["--payload"])
else:
    sys.exit(f"unexpected: {{sys.argv[1:]}}")
"""
# The function does not start with these: a word cannot mean success and failure.
CONTRADICTION = 'parameter_overrides = ["SuccessStatuses=DONE", "FailureStatuses=DONE"]\n'


@unittest.skipUnless(SAM.exists(), "the SAM CLI is missing: run make template")
class DeployTest(unittest.TestCase):
    stack: ClassVar[Stack]
    folder: ClassVar[Path]
    packages: ClassVar[Path]

    @classmethod
    def setUpClass(cls) -> None:
        cls.stack = cls.enterClassContext(running(BOOTSTRAP, say=lambda _: None))
        cls.folder = Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        settings = (ROOT / deploy.SHARED).read_text()
        (cls.folder / deploy.SHARED).write_text(settings)
        cls.packages = cls.folder / "packages"
        cls.packages.mkdir()
        for function in package.FUNCTIONS.values():
            # The renewal needs Alexa to run; therefore the other function stands for it.
            path = cls.packages / package.zip_name("x86_64", function)
            package.write_zip(path, BOOTSTRAP.read_bytes(), level=1)

    def environment(self) -> dict[str, str]:
        return {
            name: value for name, value in os.environ.items() if not name.startswith("AWS_")
        } | {
            "AWS_ENDPOINT_URL": self.stack.endpoint,
            "AWS_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "NO_PROXY": "127.0.0.1",
            "SAM_CLI_TELEMETRY": "0",
            "PATH": f"{SAM}{os.pathsep}{os.environ['PATH']}",
        }

    def run_tool(self, *words: str) -> tuple[int, str]:
        """Runs tools/deploy.py as the Makefile does; exit status and output."""
        tool = [str(SAM / "python"), str(ROOT / "tools/deploy.py"), "--environment", "test"]
        return output_of([*tool, "--folder", str(self.folder), *words], self.environment())

    def write_template(self, version: str, function: package.PackagedFunction) -> Path:
        """Writes what would be packaged beside the zip, as far as the local stack supports it."""
        text = function.template.read_text()
        text = package.packaged_template(text, "x86_64", version, function)
        template: dict[str, Any] = yaml_parse(text)
        adapt(template)
        path = self.packages / package.template_name("x86_64", function)
        path.write_text(json.dumps(template))
        return path

    def deploy_version(self, version: str, settings: str = "") -> tuple[int, str]:
        """Deploys what `make build` would package."""
        (self.folder / deploy.LOCAL).write_text(LOCAL + settings)
        path = self.write_template(version, package.EVENTS)
        return self.run_tool("deploy", "--template", str(path), "--version", version)

    def description(self) -> str:
        described = self.stack.client("cloudformation").describe_stacks(StackName=NAME)
        [stack] = described["Stacks"]
        outputs = {one["OutputKey"]: one["OutputValue"] for one in stack["Outputs"]}
        function = self.stack.client("lambda").get_function_configuration(
            FunctionName=outputs["AspEventsFunctionArn"]
        )
        return str(function["Description"])

    def test_a_deployment_that_does_not_start_fails_and_goes_back(self) -> None:
        status, output = self.deploy_version("v1")
        self.assertEqual(status, 0, output)
        self.assertIn(f"has started and answers: {DESCRIPTION} (v1)", output)
        self.assertEqual(self.description(), f"{DESCRIPTION} (v1)")

        status, output = self.deploy_version("v2", CONTRADICTION)
        self.assertEqual(status, 1, output)
        self.assertIn("DONE is both a success and a failure", output)
        self.assertTrue(output.endswith("make rollback ENVIRONMENT=test\n"), output)
        self.assertEqual(self.description(), f"{DESCRIPTION} (v2)")

        status, output = self.run_tool("rollback")
        self.assertEqual(status, 0, output)
        self.assertEqual(self.description(), f"{DESCRIPTION} (v1)")
        self.assertIn(f"has started and answers: {DESCRIPTION} (v1)", output)

        with self.subTest("another stack is not taken for the deployed one"):
            stack = self.deployed_stack()
            with self.assertRaisesRegex(deploy.DeployError, "not the one just deployed, v2"):
                stack.check("v2")

    def test_a_released_renewal_is_deployed_by_the_commands_of_the_document(self) -> None:
        self.write_template("v1", package.RENEWAL)
        environment = self.environment()
        environment["PATH"] = f"{self.packages}{os.pathsep}{environment['PATH']}"
        aws_cli = self.packages / "aws"
        aws_cli.write_text(AWS_CLI)
        aws_cli.chmod(0o755)

        commands = script(documented_renewal())
        status, output = output_of(commands, environment, self.packages)
        self.assertEqual(status, 0, output)
        answer = (self.packages / "answer.json").read_text()
        self.assertEqual(json.loads(answer), {"dryRun": True})
        described = self.stack.client("cloudformation").describe_stacks(
            StackName=package.RENEWAL.stack
        )
        [stack] = described["Stacks"]
        found = {one["ParameterKey"]: one["ParameterValue"] for one in stack["Parameters"]}
        topics = ("EventsTopicArn", "AlarmTopicArn", "TicketTopicArn")
        self.assertEqual(
            [found[name] for name in ("EventsTopicArn", "PageTopicArn", "TicketTopicArn")],
            [self.stack.outputs[name] for name in topics],
        )

    def deployed_stack(self) -> deploy.DeployedStack:
        with patch.dict(os.environ, self.stack.session_environment()):
            return deploy.DeployedStack(deploy.Configuration(self.folder, "test"))


def documented_renewal() -> str:
    """The commands of docs/deploying.md that deploy the renewal from a release, for this machine.

    The SAM CLI cannot create its bucket on the local stack.
    """
    blocks = Document(ROOT / "docs/deploying.md").blocks()
    [block] = [one.commands for one in blocks if "renewal-template-" in one.commands]
    assert "--resolve-s3" in block
    return block.replace("--resolve-s3", f"--s3-bucket {BUCKET}").replace("-arm64", "-x86_64")


class ConfigurationTest(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        (self.folder / deploy.SHARED).write_text((ROOT / deploy.SHARED).read_text())

    def configuration(self, environment: str = deploy.OWN) -> deploy.Configuration:
        return deploy.Configuration(self.folder, environment)

    def test_only_a_stack_of_ones_own_needs_answers(self) -> None:
        self.assertFalse(self.configuration().is_answered)
        self.assertTrue(self.configuration("test").is_answered)
        self.assertTrue(self.configuration("production").is_answered)

    def test_answers_are_kept_apart_and_take_precedence(self) -> None:
        before = (self.folder / deploy.SHARED).read_text()
        configuration = self.configuration()
        path = configuration.write_for_sam()
        answered = tomllib.loads(path.read_text())
        answered["default"]["deploy"]["parameters"] |= {
            "region": "eu-west-1",
            "parameter_overrides": 'AlarmEmail="a@example.com" RunbookUrl="é \\"x\\""',
        }
        answered["default"]["global"]["parameters"]["stack_name"] = "mine"
        path.write_text(deploy.as_toml(answered))
        with redirect_stdout(io.StringIO()):
            configuration.keep_answers(path)

        self.assertEqual((self.folder / deploy.SHARED).read_text(), before)
        local = tomllib.loads((self.folder / deploy.LOCAL).read_text())
        self.assertEqual(set(local), {"version", "default"})
        self.assertNotIn("tags", local["default"]["deploy"]["parameters"])
        again = self.configuration()
        self.assertTrue(again.is_answered)
        self.assertEqual(again.stack_name, "mine")
        self.assertEqual(again.settings, answered)
        self.assertEqual(again.deployment["tags"], ["application=asp-events"])
        self.assertEqual(self.configuration("production").stack_name, "asp-events")

    def test_what_sam_reads_is_what_both_files_say(self) -> None:
        path = self.configuration("test").write_for_sam()
        shared = tomllib.loads((ROOT / deploy.SHARED).read_text())
        self.assertEqual(tomllib.loads(path.read_text()), shared)

    def test_an_unknown_environment_names_the_known_ones(self) -> None:
        with self.assertRaisesRegex(deploy.DeployError, "only default, test, production"):
            self.configuration("staging")

    def test_without_a_terminal_it_does_not_ask(self) -> None:
        with patch("sys.stdin", open(os.devnull)) as stdin:  # noqa: SIM115
            self.addCleanup(stdin.close)
            with self.assertRaisesRegex(deploy.DeployError, "make deploy ENVIRONMENT=test"):
                deploy.deploy(self.configuration(), Path("template.yaml"), "v1", guided=False)

    def test_without_anything_to_go_back_to_it_says_so(self) -> None:
        way = deploy.way_back(self.configuration("production"), can_go_back=False)
        self.assertIn("Nothing is remembered", way)
        self.assertTrue(way.endswith("make deploy ENVIRONMENT=production"))


class AnswerTest(unittest.TestCase):
    def test_only_an_ignored_greeting_is_success(self) -> None:
        self.assertTrue(deploy.is_ignored('{"records":1,"handled":0,"ignored":1}'))
        for payload in ("", "null", "[1]", "1", '{"ignored":0}', '{"ignored":true', "{}", "x"):
            self.assertFalse(deploy.is_ignored(payload), payload)

    def test_the_code_of_a_deployed_template_is_found(self) -> None:
        body = {"Type": "AWS::Serverless::Function", "Properties": {}}
        body["Properties"] = {"CodeUri": {"Bucket": "b", "Key": "k"}}
        resources = {"F": body, "T": {"Type": "AWS::SNS::Topic"}}
        self.assertEqual(deploy.code_of(json.dumps({"Resources": resources})), ("b", "k"))
        self.assertEqual(deploy.code_of("      CodeUri: s3://b/p/k\n"), ("b", "p/k"))
        with self.assertRaises(deploy.DeployError):
            deploy.code_of("Resources: {}")


if __name__ == "__main__":
    unittest.main()
