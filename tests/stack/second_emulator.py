"""Deploys template.yaml to LocalStack, a second stand-in for AWS. It does not run the function.

LocalStack keeps what MiniStack leaves out: alarms on metric math and on Metrics Insights queries,
and Deny statements. It runs in a process of its own, from .venv-emulator: without a container, an
account or the network, on the loopback interface only.
"""

from __future__ import annotations

import atexit
import io
import json
import os
import shutil
import signal
import tempfile
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from resolved import ResolvedTemplate, load
from stack import (
    BUCKET,
    CAPABILITIES,
    KEY,
    REGION,
    ROOT,
    Stack,
    StackError,
    free_port,
    signals_as_exceptions,
    signals_ignored,
    started,
    wait_until_healthy,
)

PYTHON = ROOT / ".venv-emulator/bin/python"
ACCOUNT = "000000000000"
MAIN = Path(__file__).with_name("second_emulator_main.py")
TEMPLATE_KEY = "template.json"
# No other settings of the caller reach LocalStack.
SETTINGS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_SECRET_ACCESS_KEY": "test",
    "CFN_IGNORE_UNSUPPORTED_RESOURCE_TYPES": "0",
    "DISABLE_EVENTS": "1",  # no usage data
    "DNS_ADDRESS": "0",  # no DNS server
    "DOCKER_BRIDGE_IP": "127.0.0.1",  # not searched for with ping
    "DOCKER_HOST": "unix:///nonexistent",
    "IN_MEMORY_CLIENT": "1",
    "NO_PROXY": "127.0.0.1,localhost",
    "SKIP_SSL_CERT_DOWNLOAD": "1",
    "SQS_ENDPOINT_STRATEGY": "path",  # no name to look up
    # The tests put the data points of the queues.
    "SQS_DISABLE_CLOUDWATCH_METRICS": "1",
}


@dataclass
class SecondEmulator(Stack):
    clients: dict[str, Any] = field(default_factory=dict)

    def client(self, service: str) -> Any:
        """Clients are kept, because it takes a while to make one."""
        if service not in self.clients:
            self.clients[service] = super().client(service)
        return self.clients[service]

    @property
    def log(self) -> Path:
        return self.folder / "localstack.log"

    def stop(self) -> None:
        """Kills LocalStack, which has nothing to save and needs seconds to end by itself."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


class LocalTemplate(ResolvedTemplate):
    """The template in LocalStack's account, with numbers for parameters that are numbers."""

    def __init__(self, parameters: Mapping[str, str], stack_name: str) -> None:
        super().__init__(_template(), parameters, stack_name)
        self.values |= {"AWS::AccountId": ACCOUNT} | {
            name: int(self.values[name])
            for name, parameter in self.template["Parameters"].items()
            if parameter["Type"] == "Number"
        }

    @property
    def outputs(self) -> dict[str, Any]:
        return {
            name: self.value(output["Value"])
            for name, output in self.template["Outputs"].items()
            if self.holds(output.get("Condition"))
        }


class Deployable(LocalTemplate):
    """The template for given parameters, with no function left but references to resources.

    LocalStack resolves references in resources and outputs whose condition does not hold, and fails
    over those to each other. It takes AWS::NoValue for a topic's name, and does not convert numbers
    to strings, nor strings to numbers.
    """

    def body(self) -> str:
        for resource in self.resources.values():
            if resource["Type"] == "AWS::Serverless::Function":
                resource["Properties"]["CodeUri"] = {"Bucket": BUCKET, "Key": KEY}
        return json.dumps(
            {
                "Transform": self.template["Transform"],
                "Resources": self.resources,
                "Outputs": {name: {"Value": value} for name, value in self.outputs.items()},
            }
        )

    def _reference(self, name: str) -> Any:
        return self.values[name] if name in self.values else {"Ref": name}

    def _attribute(self, name: str, attribute: str) -> Any:
        return {"Fn::GetAtt": [name, attribute]}

    def _substituted(self, text: str, variables: Mapping[str, Any]) -> Any:
        for name, value in (self.values | dict(variables)).items():
            text = text.replace(f"${{{name}}}", str(value))
        return {"Fn::Sub": text} if "${" in text else text


class Deployed(LocalTemplate):
    """A stack on LocalStack, with the resources as the template declares them for it."""

    def __init__(self, emulator: Stack, name: str, parameters: Mapping[str, str]) -> None:
        super().__init__(parameters, name)
        self.emulator, self.name = emulator, name

    @cached_property
    def physical_ids(self) -> dict[str, str]:
        cloudformation = self.emulator.client("cloudformation")
        resources = cloudformation.describe_stack_resources(StackName=self.name)["StackResources"]
        return {r["LogicalResourceId"]: r["PhysicalResourceId"] for r in resources}

    @cached_property
    def emulated_outputs(self) -> dict[str, str]:
        cloudformation = self.emulator.client("cloudformation")
        [stack] = cloudformation.describe_stacks(StackName=self.name)["Stacks"]
        return {o["OutputKey"]: o["OutputValue"] for o in stack["Outputs"]}

    def name_of(self, resource: str) -> str:
        """The name of a resource, which is the last part of its physical ID."""
        return self.physical_ids[resource].rpartition("/")[2].rpartition(":")[2]

    def _reference(self, name: str) -> Any:
        return self.values[name] if name in self.values else self.physical_ids[name]

    def _attribute(self, name: str, attribute: str) -> str:
        short = self.name_of(name)
        if attribute != "Arn":
            return short
        kind = self.template["Resources"][name]["Type"]
        service, resource = {
            "AWS::SQS::Queue": ("sqs", short),
            "AWS::DynamoDB::Table": ("dynamodb", f"table/{short}"),
            "AWS::Serverless::Function": ("lambda", f"function:{short}"),
            "AWS::Logs::LogGroup": ("logs", f"log-group:{self.physical_ids[name]}:*"),
            "AWS::CloudWatch::Alarm": ("cloudwatch", f"alarm:{short}"),
            "AWS::IAM::Role": ("iam", f"role/{short}"),
        }[kind]
        region = "" if service == "iam" else REGION
        return f"arn:aws:{service}:{region}:{ACCOUNT}:{resource}"


@contextmanager
def second_emulator() -> Iterator[Stack]:
    """Runs LocalStack; stops it on exit, error or signal."""
    with signals_as_exceptions():
        emulator = _start()
        atexit.register(emulator.stop)  # unittest exits on Ctrl-C without leaving contexts
        try:
            wait_until_healthy(emulator, "LocalStack", "/_localstack/health", 120)
            s3 = emulator.client("s3")
            s3.create_bucket(Bucket=BUCKET)
            s3.put_object(Bucket=BUCKET, Key=KEY, Body=_package())
            yield emulator
        finally:
            atexit.unregister(emulator.stop)
            with signals_ignored():
                emulator.stop()


def deploy(
    emulator: Stack, name: str, parameters: Mapping[str, str], seconds: float = 120
) -> Deployed:
    # Too long for a request.
    s3 = emulator.client("s3")
    s3.put_object(Bucket=BUCKET, Key=TEMPLATE_KEY, Body=Deployable(parameters, name).body())
    cloudformation = emulator.client("cloudformation")
    cloudformation.create_stack(
        StackName=name,
        TemplateURL=f"{emulator.endpoint}/{BUCKET}/{TEMPLATE_KEY}",
        Capabilities=CAPABILITIES,
    )
    deadline = time.monotonic() + seconds
    while True:
        [stack] = cloudformation.describe_stacks(StackName=name)["Stacks"]
        if stack["StackStatus"] == "CREATE_COMPLETE":
            return Deployed(emulator, name, parameters)
        if stack["StackStatus"] != "CREATE_IN_PROGRESS" or time.monotonic() > deadline:
            events = cloudformation.describe_stack_events(StackName=name)["StackEvents"]
            failed = [e for e in events if e["ResourceStatus"].endswith("FAILED")]
            reasons = [f"{e['LogicalResourceId']}: {e.get('ResourceStatusReason')}" for e in failed]
            raise StackError("\n".join([f"{name} is in {stack['StackStatus']}:", *reasons]))
        time.sleep(0.1)


@cache
def _template() -> dict[str, Any]:
    """The template without saved queries, which LocalStack does not know.

    It is read once, because that takes a second.
    """
    template = load()
    resources = template["Resources"]
    for name in [n for n, r in resources.items() if r["Type"] == "AWS::Logs::QueryDefinition"]:
        del resources[name]
    return template


def _package() -> bytes:
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("bootstrap", "")
    return package.getvalue()


def _start() -> Stack:
    if not PYTHON.exists():
        raise StackError(f"{PYTHON} is missing. Run: make .venv-emulator/.done")
    folder = Path(tempfile.mkdtemp(prefix="asp-events-"))
    port = free_port()
    environment = SETTINGS | {
        "CONFIG_DIR": str(folder / "config"),
        "FILESYSTEM_ROOT": str(folder / "root"),
        "GATEWAY_LISTEN": f"127.0.0.1:{port}",
        "LOCALSTACK_HOST": f"127.0.0.1:{port}",
        "HOME": str(folder),
        "PATH": os.environ["PATH"],
        "TMPDIR": str(folder),
    }
    process = started([PYTHON, "-P", MAIN], environment, folder / "localstack.log")
    return SecondEmulator(process, f"http://127.0.0.1:{port}", folder)
