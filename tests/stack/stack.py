"""Runs template.yaml on this machine: starts MiniStack, a local stand-in for AWS, and deploys the template to it.

    with running(Path("target/demo/asp-events")) as stack:
        stack.client("sns").publish(TopicArn=stack.outputs["EventsTopicArn"], Message="{}")

Everything stays on the loopback interface and in one temporary folder, and all of it is gone afterwards.
"""

from __future__ import annotations

import atexit
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from samtranslator.yaml_helper import yaml_parse

ROOT = Path(__file__).resolve().parents[2]
REGION = "us-east-1"
NAME = "asp-events"
BUCKET, KEY = "code", "function.zip"
CAPABILITIES = ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"]

# The client below brings its own credentials; the caller's profile must not even be looked up.
os.environ.pop("AWS_PROFILE", None)

Say = Callable[[str], None]
Resource = dict[str, Any]

# What MiniStack 1.5.33 refuses to create, by kind. All else in the template is deployed as it is.
REFUSED: dict[str, Callable[[Resource], bool]] = {
    "metric-math alarm": lambda r: r["Type"] == "AWS::CloudWatch::Alarm" and "Metrics" in r["Properties"],
    "composite alarm": lambda r: r["Type"] == "AWS::CloudWatch::CompositeAlarm",
    "query definition": lambda r: r["Type"] == "AWS::Logs::QueryDefinition",
}


class StackError(Exception):
    """MiniStack did not start, or did not take the template. The message says why."""


@dataclass
class Stack:
    process: subprocess.Popen[bytes]
    endpoint: str
    folder: Path
    outputs: dict[str, str] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    @property
    def log(self) -> Path:
        return self.folder / "ministack.log"

    def client(self, service: str) -> Any:
        make: Any = boto3.client  # by a name that is known only at run time, so without a type
        return make(
            service,
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id="test",
            aws_secret_access_key="test",
            # No proxy, whatever the environment says: the endpoint is on this machine.
            config=Config(proxies={}, s3={"addressing_style": "path"}, retries={"max_attempts": 2}),
        )

    def queue_url(self, output: str) -> str:
        name = self.outputs[output].rpartition(":")[2]
        return str(self.client("sqs").get_queue_url(QueueName=name)["QueueUrl"])

    def local_environment(self) -> dict[str, str]:
        """Environment variables for a function that runs outside the stack, with a ledger in memory.

        The table of the stack has seen the samples of the demo; in a memory of its own they are new.
        """
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "RETRY_TOPIC_ARN": self.outputs["RetryTopicArn"],
            "READINESS_TOPIC_ARN": self.outputs["ReadinessTopicArn"],
            "QUARANTINE_TOPIC_ARN": self.outputs["QuarantineTopicArn"],
        }

    def update(
        self, parameters: Mapping[str, str], seconds: float = 120, outputs: Mapping[str, str] | None = None
    ) -> None:
        """Deploys the same template with these parameters, and with outputs in place of those that were left out."""
        cloudformation = self.client("cloudformation")
        template: dict[str, Any] = {"UsePreviousTemplate": True}
        if outputs:
            body = cloudformation.get_template(StackName=NAME)["TemplateBody"]
            body = json.loads(body) if isinstance(body, str) else body
            body["Outputs"].update({name: {"Value": value} for name, value in outputs.items()})
            template = {"TemplateBody": json.dumps(body)}
        cloudformation.update_stack(
            StackName=NAME, **template, Parameters=_parameters(parameters), Capabilities=CAPABILITIES
        )
        _wait_for(self, "UPDATE", seconds)

    def log_tail(self, lines: int = 25) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def stop(self) -> None:
        """Ends MiniStack and the functions it started (one process group), and deletes their folder."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.process.pid, number)
                self.process.wait(timeout=5)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue
        shutil.rmtree(self.folder, ignore_errors=True)


@contextmanager
def running(
    bootstrap: Path, say: Say = print, keep: bool = False, parameters: Mapping[str, str] | None = None
) -> Iterator[Stack]:
    """A running stack with the given function. Stopped on leaving, also by an error or a signal, unless `keep`.

    `parameters` are those of the template that shall not have their defaults.
    """
    if not os.access(bootstrap, os.X_OK):
        raise StackError(f"{bootstrap} is not an executable file. `cargo build` makes one.")
    with _signals_as_exceptions():
        stack = _start()
        atexit.register(stack.stop)  # for a caller that ends without leaving, as unittest does on Ctrl-C
        try:
            say(f"MiniStack runs at {stack.endpoint} (log: {stack.log})")
            _wait_until_healthy(stack)
            _deploy(stack, bootstrap, say, parameters or {})
            yield stack
        except BaseException:
            keep = False
            raise
        finally:
            atexit.unregister(stack.stop)
            if not keep:
                with _signals_ignored():
                    stack.stop()


def _start() -> Stack:
    folder = Path(tempfile.mkdtemp(prefix="asp-events-"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    endpoint = f"http://127.0.0.1:{port}"
    # Nothing of the caller's own AWS configuration may reach MiniStack or the function.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")} | {
        "GATEWAY_PORT": str(port),
        "BIND_HOST": "127.0.0.1",
        "MINISTACK_HOST": "127.0.0.1",
        "MINISTACK_REGION": REGION,
        "AWS_ENDPOINT_URL": endpoint,  # handed on to the function
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
        "IOT_MTLS_ENABLED": "0",  # would listen on all interfaces
        "SFTP_ENABLED": "0",
        # Enforces the policies of the function's role, of topics and of queues; but not on PutMetricData, not on what
        # Lambda itself does with the role (its mapping, its destination), and not on who may invoke the function.
        "AUTH": "true",
        "LAMBDA_EXECUTOR": "local",
        "LAMBDA_ASYNC_RETRY_BASE_SECONDS": "0.2",  # Lambda itself waits for minutes
        "TMPDIR": str(folder),
        "STATE_DIR": str(folder / "state"),
        "S3_DATA_DIR": str(folder / "s3"),
    }
    with open(folder / "ministack.log", "wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "ministack"],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return Stack(process, endpoint, folder)


def _wait_until_healthy(stack: Stack, seconds: float = 60) -> None:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if (code := stack.process.poll()) is not None:
            raise StackError(f"MiniStack ended with code {code}. The end of its log:\n{stack.log_tail()}")
        try:
            with direct.open(f"{stack.endpoint}/_ministack/health", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise StackError(f"MiniStack did not answer within {seconds:.0f} s. The end of its log:\n{stack.log_tail()}")


def _deploy(stack: Stack, bootstrap: Path, say: Say, parameters: Mapping[str, str], seconds: float = 120) -> None:
    s3 = stack.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    s3.put_object(Bucket=BUCKET, Key=KEY, Body=_zipped(bootstrap))

    template = yaml_parse((ROOT / "template.yaml").read_text())
    for kind, names in _leave_out(template).items():
        for name in names:
            stack.left_out.append(name)
            say(f"left out {name}: MiniStack has no {kind}s")
    _point_functions_to_upload(template)
    _adapt_policies(template)

    stack.client("cloudformation").create_stack(
        StackName=NAME,
        TemplateBody=json.dumps(template),
        Parameters=_parameters(parameters),
        Capabilities=CAPABILITIES,
    )
    _wait_for(stack, "CREATE", seconds)
    say(f"deployed template.yaml: {len(template['Resources'])} resources, {len(stack.outputs)} outputs")


def _parameters(values: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"ParameterKey": name, "ParameterValue": value} for name, value in values.items()]


def _wait_for(stack: Stack, change: str, seconds: float) -> None:
    cloudformation = stack.client("cloudformation")
    deadline = time.monotonic() + seconds
    while (state := cloudformation.describe_stacks(StackName=NAME)["Stacks"][0])["StackStatus"].endswith("IN_PROGRESS"):
        if time.monotonic() > deadline:
            break
        time.sleep(0.2)
    if state["StackStatus"] != f"{change}_COMPLETE":
        events = cloudformation.describe_stack_events(StackName=NAME)["StackEvents"]
        reasons = [
            f"  {e['ResourceStatus']} {e['LogicalResourceId']} ({e['ResourceType']}): {e.get('ResourceStatusReason')}"
            for e in reversed(events)
            if e["ResourceStatus"].endswith("FAILED") or e["ResourceStatus"].startswith("ROLLBACK")
        ]
        raise StackError("\n".join([f"The stack is in {state['StackStatus']}:", *reasons, f"See {stack.log}"]))
    _limit_concurrency(stack)
    stack.outputs = {output["OutputKey"]: output["OutputValue"] for output in state.get("Outputs", [])}


def _zipped(bootstrap: Path) -> bytes:
    """The function's package: one file that must be named bootstrap and be executable."""
    entry = zipfile.ZipInfo("bootstrap")
    entry.external_attr = 0o755 << 16
    entry.compress_type = zipfile.ZIP_DEFLATED
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w", compresslevel=1) as archive:
        archive.writestr(entry, bootstrap.read_bytes(), compresslevel=1)
    return package.getvalue()


def _leave_out(template: Resource) -> dict[str, list[str]]:
    """Removes the resources that MiniStack refuses and the outputs that name them."""
    resources, removed = template["Resources"], {}
    for kind, is_refused in REFUSED.items():
        if names := [name for name, resource in resources.items() if is_refused(resource)]:
            removed[kind] = names
            for name in names:
                del resources[name]
                template["Outputs"] = {key: o for key, o in template["Outputs"].items() if not _mentions(o, name)}
    return removed


def _mentions(value: Any, name: str) -> bool:
    """Whether a template value refers to the resource by Ref, Fn::GetAtt or Fn::Sub."""
    if isinstance(value, dict):
        if value.get("Ref") == name or (value.get("Fn::GetAtt") or [None])[0] == name:
            return True
        sub = value.get("Fn::Sub")
        if isinstance(sub, str) and (f"${{{name}}}" in sub or f"${{{name}." in sub):
            return True
        return any(_mentions(item, name) for item in value.values())
    return isinstance(value, list) and any(_mentions(item, name) for item in value)


def _point_functions_to_upload(template: Resource) -> None:
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            resource["Properties"]["CodeUri"] = {"Bucket": BUCKET, "Key": KEY}


def _adapt_policies(template: Resource) -> None:
    """The policies as MiniStack can enforce them.

    No connection on this machine has TLS, so that what refuses those without is removed. On AWS sns:Publish allows
    PublishBatch too; MiniStack takes it for an action of its own.
    """
    for resource in template["Resources"].values():
        if resource["Type"] in ("AWS::SNS::TopicPolicy", "AWS::SQS::QueuePolicy"):
            document = resource["Properties"]["PolicyDocument"]
            document["Statement"] = [statement for statement in document["Statement"] if statement["Effect"] == "Allow"]
        elif resource["Type"] == "AWS::IAM::Role":
            for policy in resource["Properties"]["Policies"]:
                for statement in policy["PolicyDocument"]["Statement"]:
                    if statement["Action"] == "sns:Publish":
                        statement["Action"] = ["sns:Publish", "sns:PublishBatch"]


def _limit_concurrency(stack: Stack) -> None:
    """MiniStack leaves a template's number a text, with which its poller cannot count. Its API takes numbers."""
    awslambda = stack.client("lambda")
    for mapping in awslambda.list_event_source_mappings()["EventSourceMappings"]:
        limit = int(mapping["ScalingConfig"]["MaximumConcurrency"])
        awslambda.update_event_source_mapping(UUID=mapping["UUID"], ScalingConfig={"MaximumConcurrency": limit})


@contextmanager
def _signals_as_exceptions() -> Iterator[None]:
    """SIGTERM and SIGHUP unwind as Ctrl-C does, so that nothing is left running."""

    def unwind(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    with _signal_handlers(unwind, signal.SIGTERM, signal.SIGHUP):
        yield


def _signals_ignored() -> Any:
    return _signal_handlers(signal.SIG_IGN, signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def _signal_handlers(handler: Any, *numbers: int) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread() or sys.is_finalizing():
        yield  # only the main thread of a living process may set handlers
        return
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, old in before.items():
            if not sys.is_finalizing():
                signal.signal(number, old)
