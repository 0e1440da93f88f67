"""Runs template.yaml on this machine: deploys it to MiniStack, a local stand-in for AWS.

    with running(Path("target/demo/asp-events")) as stack:
        stack.client("sns").publish(TopicArn=stack.outputs["EventsTopicArn"], Message="{}")

Everything stays on the loopback interface and in one temporary folder, and is removed at the end.
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
from collections.abc import Callable, Iterator, Mapping, Sequence
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

# The client below has its own credentials; boto3 must not look up the caller's profile.
os.environ.pop("AWS_PROFILE", None)

Say = Callable[[str], None]
Resource = dict[str, Any]

# Resources that MiniStack 1.5.33 cannot create, by kind. Alarms on a sum of metrics are simplified
# before; all others are deployed as they are.
REFUSED: dict[str, Callable[[Resource], bool]] = {
    "metric query alarm": lambda r: (
        r["Type"] == "AWS::CloudWatch::Alarm" and "Metrics" in r["Properties"]
    ),
    "composite alarm": lambda r: r["Type"] == "AWS::CloudWatch::CompositeAlarm",
    "query definition": lambda r: r["Type"] == "AWS::Logs::QueryDefinition",
}


class StackError(Exception):
    """MiniStack did not start or did not accept the template. The message says why."""


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

    def client(self, service: str, session: Mapping[str, str] | None = None) -> Any:
        """A client of a service, as the account's root or with the credentials of a role."""
        make: Any = boto3.client  # the overloads need a literal name
        credentials = session or {"AccessKeyId": "test", "SecretAccessKey": "test"}
        return make(
            service,
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id=credentials["AccessKeyId"],
            aws_secret_access_key=credentials["SecretAccessKey"],
            aws_session_token=credentials.get("SessionToken"),
            # Ignore proxy settings: the endpoint is on this machine.
            config=Config(proxies={}, s3={"addressing_style": "path"}, retries={"max_attempts": 2}),
        )

    def name(self, resource: str) -> str:
        """The name of a resource whose ARN is an output."""
        return self.outputs[f"{resource}Arn"].replace("/", ":").rpartition(":")[2]

    def queue_url(self, output: str) -> str:
        name = self.outputs[output].rpartition(":")[2]
        return str(self.client("sqs").get_queue_url(QueueName=name)["QueueUrl"])

    def session_environment(self) -> dict[str, str]:
        """Environment variables that point a session of boto3 to the stack."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "NO_PROXY": "127.0.0.1",
        }

    def local_environment(self) -> dict[str, str]:
        """Environment variables for a function outside of the stack, with its ledger in memory.

        The stack's table knows the samples since the demo; to an empty ledger they are new.
        """
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "RETRY_TOPIC_ARN": self.outputs["RetryTopicArn"],
            "READINESS_TOPIC_ARN": self.outputs["ReadinessTopicArn"],
            "REPORT_TOPIC_ARN": self.outputs["ReportTopicArn"],
            "QUARANTINE_TOPIC_ARN": self.outputs["QuarantineTopicArn"],
        }

    def update(self, parameters: Mapping[str, str], seconds: float = 120) -> None:
        """Updates the stack with these parameters."""
        self.client("cloudformation").update_stack(
            StackName=NAME,
            UsePreviousTemplate=True,
            Parameters=_parameters(parameters),
            Capabilities=CAPABILITIES,
        )
        _wait_for(self, "UPDATE", seconds)

    def log_tail(self, lines: int = 25) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def stop(self) -> None:
        """Ends MiniStack and its functions (one process group) and deletes their folder."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.process.pid, number)
                self.process.wait(timeout=5)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue
        shutil.rmtree(self.folder, ignore_errors=True)


@contextmanager
def running(
    bootstrap: Path,
    say: Say = print,
    keep: bool = False,
    parameters: Mapping[str, str] | None = None,
) -> Iterator[Stack]:
    """Runs a stack with the given function; stops it on exit, error or signal, unless `keep`.

    `parameters` override defaults of the template.
    """
    if not os.access(bootstrap, os.X_OK):
        raise StackError(
            f"{bootstrap} is not an executable file. Build it with `make e2e` or `make demo`."
        )
    with signals_as_exceptions():
        stack = _start()
        atexit.register(stack.stop)  # unittest exits on Ctrl-C without leaving contexts
        try:
            say(f"MiniStack is running at {stack.endpoint} (log: {stack.log})")
            wait_until_healthy(stack, "MiniStack", "/_ministack/health", 60)
            _deploy(stack, bootstrap, say, parameters or {})
            yield stack
        except BaseException:
            keep = False
            raise
        finally:
            atexit.unregister(stack.stop)
            if not keep:
                with signals_ignored():
                    stack.stop()


def _start() -> Stack:
    folder = Path(tempfile.mkdtemp(prefix="asp-events-"))
    port = free_port()
    endpoint = f"http://127.0.0.1:{port}"
    # The caller's AWS configuration must not reach MiniStack or the function.
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("AWS_")
    } | {
        "GATEWAY_PORT": str(port),
        "BIND_HOST": "127.0.0.1",
        "MINISTACK_HOST": "127.0.0.1",
        "MINISTACK_REGION": REGION,
        "AWS_ENDPOINT_URL": endpoint,  # passed on to the function
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
        "IOT_MTLS_ENABLED": "0",  # would listen on all interfaces
        "SFTP_ENABLED": "0",
        # Enforces the policies of the function's role, the topics and the queues. Not enforced:
        # PutMetricData, Lambda's own use of the role (event source mapping, destination), and
        # permission to invoke the function.
        "AUTH": "true",
        "LAMBDA_EXECUTOR": "local",
        "LAMBDA_ASYNC_RETRY_BASE_SECONDS": "0.2",  # Lambda waits for minutes
        "TMPDIR": str(folder),
        "STATE_DIR": str(folder / "state"),
        "S3_DATA_DIR": str(folder / "s3"),
    }
    command = [sys.executable, "-m", "ministack"]
    return Stack(started(command, environment, folder / "ministack.log"), endpoint, folder)


def output_of(
    command: Sequence[str],
    environment: Mapping[str, str],
    folder: Path | None = None,
    seconds: float | None = None,
) -> tuple[int, str]:
    """Runs a command without a terminal; exit status and output."""
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=seconds,
    )
    return done.returncode, done.stdout


def script(commands: str) -> list[str]:
    """The command that runs a block of a document, up to its first failure."""
    return ["bash", "-eu", "-o", "pipefail", "-c", commands]


def free_port() -> int:
    """A port of the loopback interface that nobody uses at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def started(
    command: Sequence[str | Path], environment: Mapping[str, str], log: Path
) -> subprocess.Popen[bytes]:
    """Starts a server in the folder of its log, as the leader of a process group of its own."""
    with open(log, "wb") as output:
        return subprocess.Popen(
            command,
            cwd=log.parent,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def wait_until_healthy(stack: Stack, server: str, path: str, seconds: float) -> None:
    """Waits until the server answers at this path."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if (code := stack.process.poll()) is not None:
            raise StackError(
                f"{server} ended with code {code}. The end of its log:\n{stack.log_tail()}"
            )
        try:
            with direct.open(f"{stack.endpoint}{path}", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise StackError(
        f"{server} did not answer within {seconds:.0f} s. The end of its log:\n{stack.log_tail()}"
    )


def _deploy(
    stack: Stack, bootstrap: Path, say: Say, parameters: Mapping[str, str], seconds: float = 120
) -> None:
    s3 = stack.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    s3.put_object(Bucket=BUCKET, Key=KEY, Body=_zipped(bootstrap))

    template = yaml_parse((ROOT / "template.yaml").read_text())
    for name, watched in _simplify_alarms(template).items():
        say(f"{name} watches {watched} alone: MiniStack does not support metric math")
    for kind, names in _leave_out(template).items():
        for name in names:
            stack.left_out.append(name)
            say(f"left out {name}: MiniStack does not support {kind}s")
    _point_functions_to_upload(template)
    _adapt_policies(template)

    stack.client("cloudformation").create_stack(
        StackName=NAME,
        TemplateURL=_uploaded(stack, template),
        Parameters=_parameters(parameters),
        Capabilities=CAPABILITIES,
    )
    _wait_for(stack, "CREATE", seconds)
    resources, outputs = len(template["Resources"]), len(stack.outputs)
    say(f"deployed template.yaml: {resources} resources, {outputs} outputs")


def _uploaded(stack: Stack, template: Resource) -> str:
    """The URL of a template in the bucket: it is too large to be part of a request."""
    key = "template.json"
    stack.client("s3").put_object(Bucket=BUCKET, Key=key, Body=json.dumps(template).encode())
    return f"{stack.endpoint}/{BUCKET}/{key}"


def _parameters(values: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"ParameterKey": name, "ParameterValue": value} for name, value in values.items()]


def _wait_for(stack: Stack, change: str, seconds: float) -> None:
    cloudformation = stack.client("cloudformation")
    deadline = time.monotonic() + seconds
    while True:
        state = cloudformation.describe_stacks(StackName=NAME)["Stacks"][0]
        status = state["StackStatus"]
        if not status.endswith("IN_PROGRESS") or time.monotonic() > deadline:
            break
        time.sleep(0.2)
    if status != f"{change}_COMPLETE":
        lines = [f"The stack is in {status}:", *_failures(cloudformation), f"See {stack.log}"]
        raise StackError("\n".join(lines))
    _limit_concurrency(stack)
    stack.outputs = {
        output["OutputKey"]: output["OutputValue"] for output in state.get("Outputs", [])
    }


def _failures(cloudformation: Any) -> Iterator[str]:
    """The events of the stack that say why it failed, oldest first."""
    events = cloudformation.describe_stack_events(StackName=NAME)["StackEvents"]
    for event in reversed(events):
        status, resource = event["ResourceStatus"], event["LogicalResourceId"]
        if status.endswith("FAILED") or status.startswith("ROLLBACK"):
            reason = event.get("ResourceStatusReason")
            yield f"  {status} {resource} ({event['ResourceType']}): {reason}"


def _zipped(bootstrap: Path) -> bytes:
    """The function's package: a single executable file named bootstrap."""
    entry = zipfile.ZipInfo("bootstrap")
    entry.external_attr = 0o755 << 16
    entry.compress_type = zipfile.ZIP_DEFLATED
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w", compresslevel=1) as archive:
        archive.writestr(entry, bootstrap.read_bytes(), compresslevel=1)
    return package.getvalue()


def _simplify_alarms(template: Resource) -> dict[str, str]:
    """Lets alarms on an expression watch its first metric instead; returns that metric's id."""
    simplified = {}
    for name, resource in template["Resources"].items():
        queries = resource.get("Properties", {}).get("Metrics", [])
        if found := [query for query in queries if "MetricStat" in query]:
            resource["Properties"].pop("Metrics")
            stat = found[0]["MetricStat"]
            resource["Properties"] |= stat["Metric"] | {
                "Period": stat["Period"],
                "Statistic": stat["Stat"],
            }
            simplified[name] = found[0]["Id"]
    return simplified


def _leave_out(template: Resource) -> dict[str, list[str]]:
    """Removes the resources that MiniStack refuses and the outputs that name them."""
    resources, removed = template["Resources"], {}
    for kind, is_refused in REFUSED.items():
        if names := [name for name, resource in resources.items() if is_refused(resource)]:
            removed[kind] = names
            for name in names:
                del resources[name]
                template["Outputs"] = {
                    key: o for key, o in template["Outputs"].items() if not _mentions(o, name)
                }
    return removed


def _mentions(value: Any, name: str) -> bool:
    """Whether a template value refers to a resource by Ref, Fn::GetAtt or Fn::Sub."""
    if isinstance(value, dict):
        if value.get("Ref") == name or (value.get("Fn::GetAtt") or [None])[0] == name:
            return True
        sub = value.get("Fn::Sub")
        if isinstance(sub, str) and (f"${{{name}}}" in sub or f"${{{name}." in sub):
            return True
        return any(_mentions(item, name) for item in value.values())
    return isinstance(value, list) and any(_mentions(item, name) for item in value)


def adapt(template: Resource) -> None:
    """Changes a template so that MiniStack can deploy it, as `running` does with template.yaml."""
    _simplify_alarms(template)
    _leave_out(template)
    _adapt_policies(template)


def _point_functions_to_upload(template: Resource) -> None:
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            resource["Properties"]["CodeUri"] = {"Bucket": BUCKET, "Key": KEY}


def _adapt_policies(template: Resource) -> None:
    """Changes the policies so that MiniStack can enforce them.

    Connections on this machine have no TLS, and MiniStack does not know aws:PrincipalArn, so
    statements that deny something for lack of either are removed. On AWS, sns:Publish also allows
    PublishBatch, and dynamodb:PartiQLInsert a batch of INSERTs; MiniStack has separate actions for
    them, and does not see the table of the second.
    """
    for resource in template["Resources"].values():
        if resource["Type"] in ("AWS::SNS::TopicPolicy", "AWS::SQS::QueuePolicy"):
            document = resource["Properties"]["PolicyDocument"]
            statements = document["Statement"]
            document["Statement"] = [one for one in statements if one.get("Effect") != "Deny"]
        elif resource["Type"] == "AWS::IAM::Role":
            for policy in resource["Properties"].get("Policies", []):
                statements = policy["PolicyDocument"]["Statement"]
                for statement in statements:
                    if statement.get("Action") == "sns:Publish":
                        statement["Action"] = ["sns:Publish", "sns:PublishBatch"]
                actions = [statement.get("Action", []) for statement in statements]
                if any("dynamodb:PartiQLInsert" in allowed for allowed in actions):
                    inserts = {"Action": "dynamodb:BatchExecuteStatement", "Resource": "*"}
                    statements.append({"Sid": "InsertEvents", "Effect": "Allow", **inserts})


def _limit_concurrency(stack: Stack) -> None:
    """Sets the concurrency limit again as a number: from a template, MiniStack keeps it as text."""
    awslambda = stack.client("lambda")
    for mapping in awslambda.list_event_source_mappings()["EventSourceMappings"]:
        limit = int(mapping["ScalingConfig"]["MaximumConcurrency"])
        awslambda.update_event_source_mapping(
            UUID=mapping["UUID"], ScalingConfig={"MaximumConcurrency": limit}
        )


@contextmanager
def signals_as_exceptions() -> Iterator[None]:
    """Makes SIGTERM and SIGHUP unwind as Ctrl-C does, so that nothing keeps running."""

    def unwind(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    with _signal_handlers(unwind, signal.SIGTERM, signal.SIGHUP):
        yield


def signals_ignored() -> Any:
    return _signal_handlers(signal.SIG_IGN, signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def _signal_handlers(handler: Any, *numbers: int) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread() or sys.is_finalizing():
        yield  # only the main thread may set handlers, and not during shutdown
        return
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, old in before.items():
            if not sys.is_finalizing():
                signal.signal(number, old)
