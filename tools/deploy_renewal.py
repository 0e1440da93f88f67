#!/usr/bin/env python3
"""Deploys the scheduled renewal beside a deployed stack, and checks that it can do its work.

    tools/deploy_renewal.py [--environment NAME] --template FILE [NAME=VALUE …]

`make deploy-renewal` calls it. The stack is called like the one of the events, with -renewal behind
it, and takes that one's topics. The parameters that are given are those of renewal/template.yaml;
what is not given keeps its value, and at the first time its default.

A deployment ends with a dry run: it reads the file and the credentials, compares with what Alexa
has, and changes nothing.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError
from deploy import OWN, ROOT, Configuration, DeployError, StartError, deployment, errors_of

# Longer than the dry run may take.
READ_TIMEOUT_SECONDS = 910
DRY_RUN = b'{"dryRun": true}'
SUFFIX = "-renewal"
# The parameters that the stack of the events gives, by its outputs.
CONNECTIONS = {
    "EventsTopicArn": "EventsTopicArn",
    "PageTopicArn": "AlarmTopicArn",
    "TicketTopicArn": "TicketTopicArn",
}
REQUIRED = {"SubscriptionsArn": "FILE", "LoginSecretArn": "SECRET"}
ASSIGNMENT = re.compile(r"(\w+)=(\S*)")


class RenewalStack:
    """The stack of the renewal, and the stack of the events that it belongs to."""

    def __init__(self, configuration: Configuration) -> None:
        self.options = configuration.deployment
        session = boto3.Session(
            profile_name=self.options.get("profile"), region_name=self.options.get("region")
        )
        if session.region_name is None:
            raise DeployError("No region. Set AWS_REGION, or region in samconfig.local.toml.")
        config = Config(read_timeout=READ_TIMEOUT_SECONDS, retries={"total_max_attempts": 1})
        self.events, self.region = configuration.stack_name, session.region_name
        self.name = f"{self.events}{SUFFIX}"
        self.cloudformation = session.client("cloudformation", config=config)
        self.functions = session.client("lambda", config=config)

    def described(self, name: str) -> dict[str, Any] | None:
        try:
            [stack] = self.cloudformation.describe_stacks(StackName=name)["Stacks"]
        except ClientError as error:
            if "does not exist" in str(error):
                return None
            raise
        return dict(stack)

    def outputs(self, name: str) -> dict[str, str]:
        stack = self.described(name)
        if stack is None:
            raise DeployError(
                f"There is no stack {name} in {self.region}: deploy it first, with make deploy."
            )
        return {one["OutputKey"]: one["OutputValue"] for one in stack.get("Outputs", [])}

    def parameters(self, given: dict[str, str]) -> dict[str, str]:
        """The values to deploy with: those of the stack of the events, and the given ones."""
        outputs = self.outputs(self.events)
        if missing := set(CONNECTIONS.values()) - outputs.keys():
            raise DeployError(
                f"The stack {self.events} has no output {', '.join(sorted(missing))}: deploy this "
                "version of it first, with make deploy."
            )
        if self.described(self.name) is None:
            for name, variable in REQUIRED.items():
                if name not in given:
                    raise DeployError(
                        f"The first deployment needs {variable}, the ARN for {name}: "
                        "docs/renewal.md says how to get it."
                    )
        connections = {name: outputs[output] for name, output in CONNECTIONS.items()}
        return {"EventsStack": self.events, **connections, **given}

    def command(self, template: Path, parameters: dict[str, str]) -> list[str]:
        command = ["sam", "deploy", "--template-file", str(template.resolve())]
        command += ["--stack-name", self.name, "--region", self.region]
        command += ["--capabilities", "CAPABILITY_IAM", "--s3-prefix", self.name]
        command += ["--no-confirm-changeset", "--no-fail-on-empty-changeset"]
        if profile := self.options.get("profile"):
            command += ["--profile", profile]
        if bucket := self.options.get("s3_bucket"):
            command += ["--s3-bucket", bucket]
        else:
            command += ["--resolve-s3"]
        if tags := self.options.get("tags"):
            command += ["--tags", *tags]
        overrides = [f"{name}={value}" for name, value in parameters.items()]
        return [*command, "--parameter-overrides", *overrides]

    def check(self) -> None:
        """Invokes the function with a dry run, which changes nothing."""
        function = self.outputs(self.name)["RenewalFunctionArn"]
        answer = self.functions.invoke(FunctionName=function, Payload=DRY_RUN, LogType="Tail")
        payload = answer["Payload"].read().decode(errors="replace")
        if "FunctionError" in answer:
            raise StartError(
                f"The renewal was deployed, but cannot do its work:\n  {message_of(payload)}"
                + errors_of(answer.get("LogResult", ""))
            )
        found = json.loads(payload)
        print(
            f"The renewal of {self.events} works: of {found['wanted']} subscriptions in the file, "
            f"{found['kept']} are there, {found['missing']} are missing and {found['ending']} are "
            "to be renewed. It runs by its schedule."
        )


def message_of(payload: str) -> str:
    """The error in the answer of a function."""
    try:
        return str(json.loads(payload)["errorMessage"])
    except (KeyError, TypeError, ValueError):
        return payload


def assignment(text: str) -> tuple[str, str]:
    if found := ASSIGNMENT.fullmatch(text):
        return found[1], found[2]
    raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Deploys the scheduled renewal.")
    parser.add_argument("--environment", default=OWN)
    parser.add_argument("--folder", type=Path, default=ROOT, help="where the settings are")
    parser.add_argument("--template", type=Path, required=True)
    parser.add_argument("parameters", nargs="*", type=assignment, metavar="NAME=VALUE")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    with deployment():
        stack = RenewalStack(Configuration(args.folder, args.environment))
        command = stack.command(args.template, stack.parameters(dict(args.parameters)))
        if subprocess.run(command, check=False).returncode != 0:
            raise DeployError("sam deploy failed; CloudFormation keeps what ran before.")
        stack.check()


if __name__ == "__main__":
    main()
