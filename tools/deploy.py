#!/usr/bin/env python3
"""Deploys a packaged template with the SAM CLI, checks that the function starts, and goes back.

    tools/deploy.py [--environment NAME] deploy --template FILE --version VERSION [--guided]
    tools/deploy.py [--environment NAME] rollback

`make deploy` and `make rollback` call it, with the Python and the `sam` of .venv-sam. The settings
of an environment are those of samconfig.toml, with those of samconfig.local.toml over them, which
git ignores: answers to questions are saved there. Only `--guided`, and the first deployment without
an environment, ask questions.

CloudFormation reports success for a function that cannot start, because it never runs it. Therefore
a deployment ends with an invocation: a greeting, which the function counts and ignores.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

ROOT = Path(__file__).resolve().parents[1]
SHARED, LOCAL = "samconfig.toml", "samconfig.local.toml"
OWN = "default"
GREETING = ROOT / "events/greeting.json"
CAPABILITIES = ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"]
# Longer than the function's time-out.
READ_TIMEOUT_SECONDS = 60
COMPLETED = re.compile("(CREATE|UPDATE|IMPORT)_.*COMPLETE")
CODE_IN_S3 = re.compile(r"CodeUri:\s*s3://([^/\s]+)/(\S+)")

Settings = dict[str, Any]


class DeployError(Exception):
    """The deployment failed, or could not begin. The message says why and what to do."""


class StartError(DeployError):
    """The function was deployed, and does not work."""


# ── Settings ──


def merged(base: Settings, over: Settings) -> Settings:
    """The settings of both files; where both have one, that of `over`."""
    result = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(base.get(key), dict)
        result[key] = merged(base[key], value) if both else value
    return result


def changes(before: Settings, after: Settings) -> Settings:
    """The settings of `after` that `before` lacks or has otherwise."""
    result: Settings = {}
    for key, value in after.items():
        old = before.get(key)
        if isinstance(value, dict) and isinstance(old, dict):
            if inner := changes(old, value):
                result[key] = inner
        elif value != old:
            result[key] = value
    return result


def as_toml(settings: Settings, path: tuple[str, ...] = ()) -> str:
    """Settings as TOML, of which JSON's strings, numbers, booleans and lists are a part."""
    plain = {key: value for key, value in settings.items() if not isinstance(value, dict)}
    lines = [f"\n[{'.'.join(path)}]\n"] if path and plain else []
    lines += [f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in plain.items()]
    tables = (key for key in settings if key not in plain)
    return "".join([*lines, *(as_toml(settings[key], (*path, key)) for key in tables)])


def read(path: Path) -> Settings:
    try:
        return tomllib.loads(path.read_text()) if path.exists() else {}
    except tomllib.TOMLDecodeError as error:
        raise DeployError(f"{path.name} is not valid TOML: {error}") from error


class Configuration:
    """The settings of one environment, from both files of a folder."""

    def __init__(self, folder: Path, environment: str) -> None:
        self.folder, self.environment = folder, environment
        self.shared, self.local = read(folder / SHARED), read(folder / LOCAL)
        self.settings = merged(self.shared, self.local)
        environments = [name for name, table in self.settings.items() if isinstance(table, dict)]
        if environment not in environments:
            raise DeployError(
                f"{SHARED} has no environment {environment}, only {', '.join(environments)}."
            )

    @property
    def is_answered(self) -> bool:
        """Whether a deployment of this environment needs no questions."""
        return self.environment != OWN or OWN in self.local

    @property
    def deployment(self) -> Settings:
        """The options of `sam deploy`."""
        sections = [self.settings[self.environment].get(name, {}) for name in ("global", "deploy")]
        general, own = (section.get("parameters", {}) for section in sections)
        return {**general, **own}

    @property
    def stack_name(self) -> str:
        return str(self.deployment["stack_name"])

    def write_for_sam(self) -> Path:
        """Writes the settings of both files into one, because the SAM CLI reads only one."""
        path = self.folder / "target/deploy/samconfig.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(as_toml(self.settings))
        return path

    def keep_answers(self, path: Path) -> None:
        """Saves the answers that `sam deploy --guided` wrote into its file."""
        answers = changes(self.settings, read(path))
        if not answers:
            return
        self.local = merged({"version": 0.1, **self.local}, answers)
        self.settings = merged(self.settings, answers)
        (self.folder / LOCAL).write_text(
            f"# Answers of `make deploy`, in addition to {SHARED}. Not in git.\n"
            + as_toml(self.local)
        )
        print(f"Saved the answers in {LOCAL}.")


# ── The stack ──


@dataclass(frozen=True)
class StackState:
    """What a stack runs: enough to deploy it again."""

    template: str
    parameters: list[dict[str, str]]
    tags: list[dict[str, str]]
    version: str
    changed: str


class DeployedStack:
    """A stack in AWS, or in a local stand-in that AWS_ENDPOINT_URL names."""

    def __init__(self, configuration: Configuration) -> None:
        options = configuration.deployment
        session = boto3.Session(
            profile_name=options.get("profile"), region_name=options.get("region")
        )
        if session.region_name is None:
            raise DeployError(
                f"No region. Set AWS_REGION, or region in [{configuration.environment}.global."
                f"parameters] of {LOCAL}."
            )
        config = Config(read_timeout=READ_TIMEOUT_SECONDS)
        self.name, self.region = configuration.stack_name, session.region_name
        self.folder = configuration.folder
        self.cloudformation = session.client("cloudformation", config=config)
        self.functions = session.client("lambda", config=config)
        self.s3 = session.client("s3", config=config)

    def __str__(self) -> str:
        return f"stack {self.name} in {self.region}"

    @property
    def memory(self) -> Path:
        """The file that remembers what the last deployment replaced."""
        return self.folder / f"target/rollback/{self.region}/{self.name}.json"

    def state(self) -> StackState | None:
        """What the stack runs now; None if it does not exist or was never completed."""
        stack = self._described()
        if stack is None or not COMPLETED.fullmatch(stack["StackStatus"]):
            return None
        body = self.cloudformation.get_template(StackName=self.name, TemplateStage="Original")
        template = body["TemplateBody"]
        return StackState(
            template=template if isinstance(template, str) else json.dumps(template),
            parameters=[
                {name: parameter[name] for name in ("ParameterKey", "ParameterValue")}
                for parameter in stack.get("Parameters", [])
            ],
            tags=stack.get("Tags", []),
            version=self._version(stack),
            changed=str(stack.get("LastUpdatedTime", stack["CreationTime"])),
        )

    def check(self, version: str | None = None) -> None:
        """Invokes the function with a greeting, which publishes nothing and must be ignored."""
        stack = self._described()
        if stack is None:
            raise DeployError(f"There is no {self}.")
        function = self._function_configuration(stack)
        description = function.get("Description", "")
        if version is not None and not description.endswith(f"({version})"):
            raise DeployError(
                f"The function of {self} is not the one just deployed, {version}: its description "
                f"is {description!r}. Was the stack given another name?"
            )
        answer = self.functions.invoke(
            FunctionName=function["FunctionArn"], Payload=GREETING.read_bytes(), LogType="Tail"
        )
        payload = answer["Payload"].read().decode(errors="replace")
        if "FunctionError" in answer or not is_ignored(payload):
            raise StartError(
                f"The function of {self} does not work. It answered a greeting with:\n  {payload}"
                + errors_of(answer.get("LogResult", ""))
            )
        print(f"The function of {self} has started and answers: {description}")

    def remember(self, before: StackState | None) -> bool:
        """Keeps the state before a deployment that changed the stack; whether there is one."""
        after = self.state()
        if before and after and before.changed != after.changed:
            self.memory.parent.mkdir(parents=True, exist_ok=True)
            self.memory.write_text(json.dumps(asdict(before), indent=2))
        return self.memory.exists()

    def restore(self) -> None:
        """Deploys again what the last deployment replaced."""
        if not self.memory.exists():
            raise DeployError(
                f"Nothing is remembered of {self}: {self.memory.relative_to(self.folder)} does not "
                "exist. Check out the version to go back to, and run make deploy."
            )
        previous = StackState(**json.loads(self.memory.read_text()))
        print(f"Going back to: {previous.version}")
        try:
            self.cloudformation.update_stack(
                StackName=self.name,
                TemplateURL=self._uploaded(previous.template),
                Parameters=previous.parameters,
                Tags=previous.tags,
                Capabilities=CAPABILITIES,
            )
        except ClientError as error:
            if "No updates are to be performed" not in str(error):
                raise
            print(f"The {self} already is what it was before.")
            return
        self.cloudformation.get_waiter("stack_update_complete").wait(StackName=self.name)

    def _uploaded(self, template: str) -> str:
        """Puts a template beside the code that it names; it is too large for a request."""
        bucket, key = code_of(template)
        key = f"{key}.rollback.template"
        self.s3.put_object(Bucket=bucket, Key=key, Body=template.encode())
        url = self.s3.generate_presigned_url("get_object", {"Bucket": bucket, "Key": key})
        return str(url).partition("?")[0]

    def _described(self) -> dict[str, Any] | None:
        try:
            found = self.cloudformation.describe_stacks(StackName=self.name)["Stacks"]
        except ClientError as error:
            if "does not exist" in str(error):
                return None
            raise
        stack: dict[str, Any] = found[0]
        return None if stack["StackStatus"] == "REVIEW_IN_PROGRESS" else stack

    def _version(self, stack: dict[str, Any]) -> str:
        """The description of the function, for people. It ends with the version."""
        try:
            return str(self._function_configuration(stack).get("Description"))
        except (DeployError, ClientError):
            return "unknown version"

    def _function_configuration(self, stack: dict[str, Any]) -> dict[str, Any]:
        outputs = {one["OutputKey"]: one["OutputValue"] for one in stack.get("Outputs", [])}
        arn = outputs.get("AspEventsFunctionArn")
        if arn is None:
            raise DeployError(f"The {self} has no output AspEventsFunctionArn: is it asp-events?")
        found: dict[str, Any] = self.functions.get_function_configuration(FunctionName=arn)
        return found


def is_ignored(payload: str) -> bool:
    """Whether an answer says that the greeting was ignored, as it must be."""
    try:
        answer = json.loads(payload)
    except ValueError:
        return False
    return isinstance(answer, dict) and answer.get("ignored") == 1


def errors_of(log: str) -> str:
    """The errors in the end of a log, which Lambda returns in Base64, each on a line."""
    lines = base64.b64decode(log).decode(errors="replace").splitlines()
    return "".join(f"\n  {line}" for line in lines if "error" in line.lower())


def code_of(template: str) -> tuple[str, str]:
    """Bucket and key of the function's code in a template that was deployed."""
    if found := CODE_IN_S3.search(template):
        return found[1], found[2].strip("'\"")
    try:
        [code] = [
            resource["Properties"]["CodeUri"]
            for resource in json.loads(template)["Resources"].values()
            if resource["Type"] == "AWS::Serverless::Function"
        ]
        return code["Bucket"], code["Key"]
    except (KeyError, TypeError, ValueError) as error:
        raise DeployError("The template to go back to does not say where its code is.") from error


# ── Commands ──


def deploy(configuration: Configuration, template: Path, version: str, guided: bool) -> None:
    guided = guided or not configuration.is_answered
    if guided and not sys.stdin.isatty():
        raise DeployError(
            "Cannot prompt: standard input is not a terminal. Name an environment of "
            f"{SHARED}: make deploy ENVIRONMENT=test"
        )
    target, before = known_state(configuration)
    path = configuration.write_for_sam()
    command = ["sam", "deploy", "--template-file", str(template.resolve())]
    command += ["--config-file", str(path), "--config-env", configuration.environment]
    done = subprocess.run([*command, *(["--guided"] if guided else [])], check=False)
    if done.returncode != 0:
        raise DeployError("sam deploy failed; CloudFormation keeps or restores what ran before.")
    if guided:
        configuration.keep_answers(path)
    stack = DeployedStack(configuration)
    can_go_back = stack.remember(before if str(stack) == target else None)
    try:
        stack.check(version)
    except StartError as error:
        raise StartError(f"{error}\n{way_back(configuration, can_go_back)}") from error


def known_state(configuration: Configuration) -> tuple[str | None, StackState | None]:
    """The stack that the settings name so far, and its state. The answers can name another one."""
    try:
        stack = DeployedStack(configuration)
    except DeployError:
        if configuration.is_answered:
            raise
        return None, None
    return str(stack), stack.state()


def way_back(configuration: Configuration, can_go_back: bool) -> str:
    """The command that goes back, after a deployment that does not start."""
    target = "" if configuration.environment == OWN else f" ENVIRONMENT={configuration.environment}"
    if can_go_back:
        return f"To go back to what ran before: make rollback{target}"
    return (
        "Nothing is remembered to go back to. Correct the cause, or check out a version that "
        f"starts, and run: make deploy{target}"
    )


def rollback(configuration: Configuration) -> None:
    stack = DeployedStack(configuration)
    stack.restore()
    stack.check()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Deploys, checks that the function starts.")
    parser.add_argument("--environment", default=OWN)
    parser.add_argument("--folder", type=Path, default=ROOT, help="where the settings are")
    commands = parser.add_subparsers(dest="command", required=True)
    deploying = commands.add_parser("deploy")
    deploying.add_argument("--template", type=Path, required=True)
    deploying.add_argument("--version", required=True)
    deploying.add_argument("--guided", action="store_true")
    commands.add_parser("rollback")
    return parser.parse_args()


@contextmanager
def deployment() -> Iterator[None]:
    """Runs a deployment in the region that the AWS CLI would use, and says why it failed."""
    # boto3 and the SAM CLI read only the second of the two; the AWS CLI prefers the first.
    if region := os.environ.get("AWS_REGION"):
        os.environ["AWS_DEFAULT_REGION"] = region
    try:
        yield
    except (DeployError, BotoCoreError, ClientError) as error:
        sys.exit(f"\n{error}")


def main() -> None:
    args = arguments()
    with deployment():
        configuration = Configuration(args.folder, args.environment)
        if args.command == "deploy":
            deploy(configuration, args.template, args.version, args.guided)
        else:
            rollback(configuration)


if __name__ == "__main__":
    main()
