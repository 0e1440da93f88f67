"""Sends events to a running stack and watches what comes out of it."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from stack import ROOT, Stack

NAMESPACE, FAILURES = "AlexaSmartProperties", "SkillInteractionFailure"
QUEUES = ("RetryQueue", "ReadinessQueue", "QuarantineQueue")
KEPT = (
    "OnFailureQueue",
    "EventsDeadLetterQueue",
    "IngestionDeadLetterQueue",
    *(queue.replace("Queue", "DeadLetterQueue") for queue in QUEUES),
)


def samples() -> list[Path]:
    """The sample events, each a whole invocation payload."""
    return sorted(path for path in (ROOT / "events").glob("*.json") if path.name != "expected.json")


def messages(sample: Path) -> list[str]:
    """The texts of the SNS messages in a sample, which is a Lambda invocation payload from SNS or SQS."""
    return [_message(record) for record in json.loads(sample.read_bytes())["Records"]]


def _message(record: dict[str, Any]) -> str:
    if "Sns" in record:
        return str(record["Sns"]["Message"])
    body = str(record["body"])
    try:
        notification = json.loads(body)
    except ValueError:
        return body
    is_notification = isinstance(notification, dict) and notification.get("Type") == "Notification"
    return str(notification["Message"]) if is_notification else body


@dataclass(frozen=True)
class Received:
    """A message that the function published, as a consumer's queue holds it."""

    queue: str
    body: str
    attributes: dict[str, str]

    @property
    def event(self) -> dict[str, Any]:
        event: dict[str, Any] = json.loads(self.body)
        return event


class Watch:
    def __init__(self, stack: Stack) -> None:
        self.outputs = stack.outputs
        self.ledger = stack.outputs["LedgerTableArn"].rpartition("/")[2]
        self.log_group = stack.outputs["AspEventsLogGroupArn"].removesuffix(":*").partition(":log-group:")[2]
        self.sns, self.sqs = stack.client("sns"), stack.client("sqs")
        self.cloudwatch, self.logs = stack.client("cloudwatch"), stack.client("logs")
        self.awslambda, self.dynamodb, self.iam = stack.client("lambda"), stack.client("dynamodb"), stack.client("iam")
        self.urls = {queue: stack.queue_url(f"{queue}Arn") for queue in ("IngestionQueue", *QUEUES, *KEPT)}
        self.invocations = 0

    def publish(self, text: str) -> str:
        return str(self.sns.publish(TopicArn=self.outputs["EventsTopicArn"], Message=text)["MessageId"])

    def invoke(self, payload: Any) -> tuple[Any, bool]:
        """Invokes the function without SNS; its answer, and whether that is an error."""
        [answer] = self.invoke_at_once([payload])
        return answer

    def invoke_at_once(self, payloads: list[Any]) -> list[tuple[Any, bool]]:
        """The same for several payloads at a time, each in an execution environment of its own."""

        def answer_to(payload: Any) -> tuple[Any, bool]:
            answer = self.awslambda.invoke(
                FunctionName=self.outputs["AspEventsFunctionArn"], Payload=json.dumps(payload)
            )
            return json.load(answer["Payload"]), "FunctionError" in answer

        self.invocations += len(payloads)
        with ThreadPoolExecutor(len(payloads)) as pool:
            return list(pool.map(answer_to, payloads))

    def invoke_later(self, payload: Any) -> None:
        """Invokes it in the way of SNS: Lambda repeats it if it fails. `settle` waits for it."""
        self.awslambda.invoke(
            FunctionName=self.outputs["AspEventsFunctionArn"], Payload=json.dumps(payload), InvocationType="Event"
        )

    def variables(self) -> dict[str, str]:
        """The function's environment variables."""
        function = self.awslambda.get_function_configuration(FunctionName=self.outputs["AspEventsFunctionArn"])
        return dict(function["Environment"]["Variables"])

    def configure(self, variables: dict[str, str]) -> None:
        """Gives the function these environment variables. That ends its execution environments, in any case."""
        function = self.outputs["AspEventsFunctionArn"]
        self.awslambda.update_function_configuration(FunctionName=function, Environment={"Variables": variables})
        self.awslambda.get_waiter("function_updated_v2").wait(FunctionName=function, WaiterConfig={"Delay": 0.1})

    def renew(self) -> None:
        """Ends the execution environments, so that the next event comes to one that has seen none."""
        self.configure(self.variables())

    def settle(self, count: int, seconds: float = 30, tick: Callable[[float], None] = lambda _: None) -> list[Received]:
        """Waits until the function has ended `count` more invocations, and returns all that came out.

        Topics hand over to queues before Publish returns, so that nothing is still under way by then.
        """
        self.invocations += count
        began = time.monotonic()
        while (ended := self.ended_invocations()) < self.invocations:
            if (elapsed := time.monotonic() - began) > seconds:
                missing, self.invocations = self.invocations - ended, ended
                raise TimeoutError(f"{missing} of {count} invocations had not ended after {seconds:.0f} s")
            tick(elapsed)
            time.sleep(0.05)
        return [message for queue in QUEUES for message in self.drain(queue)]

    def ended_invocations(self) -> int:
        # From the log, because MiniStack counts no metric for an invocation by SNS.
        return sum(line.startswith("END RequestId") for line in self.function_log())

    def function_log(self) -> list[str]:
        pages = self.logs.get_paginator("filter_log_events").paginate(logGroupName=self.log_group)
        return [event["message"].rstrip() for page in pages for event in page["events"]]

    def cold_starts(self) -> int:
        return sum('"ColdStarts":1' in line for line in self.function_log())

    def remembered(self, key: str) -> dict[str, Any]:
        """An item of the ledger, with its numbers as such."""
        item = self.dynamodb.get_item(TableName=self.ledger, Key={"pk": {"S": key}}, ConsistentRead=True)["Item"]
        return {name: int(value["N"]) if "N" in value else value.get("S") for name, value in item.items()}

    def tries(self, event: dict[str, Any]) -> list[str]:
        """The ids of the invocations that had this Alexa event, in their order."""
        event_id = event["header"]["eventId"]["id"]
        lines = [json.loads(line) for line in self.function_log() if f'"eventId":"{event_id}"' in line]
        return [line["requestId"] for line in lines]

    def drain(self, queue: str) -> list[Received]:
        url, received = self.urls[queue], []
        while batch := self.sqs.receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=0, MessageAttributeNames=["All"]
        ).get("Messages"):
            for message in batch:
                self.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
                attributes = {
                    name: value["StringValue"] for name, value in message.get("MessageAttributes", {}).items()
                }
                received.append(Received(queue, message["Body"], attributes))
        return received

    def wait_for(self, queue: str, seconds: float = 10) -> list[Received]:
        """What is in a queue, once something is."""
        deadline = time.monotonic() + seconds
        while not (received := self.drain(queue)) and time.monotonic() < deadline:
            time.sleep(0.05)
        return received

    def waiting(self, queue: str) -> int:
        """How many messages are in a queue, be they visible or not."""
        counts = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
        attributes = self.sqs.get_queue_attributes(QueueUrl=self.urls[queue], AttributeNames=counts)["Attributes"]
        return sum(int(attributes[count]) for count in counts)

    def put_back(self, message: Received, queue: str) -> None:
        """Sends what was in a dead-letter queue to the queue where it belongs, as a redrive of SQS does."""
        attributes = {name: {"DataType": "String", "StringValue": value} for name, value in message.attributes.items()}
        self.sqs.send_message(QueueUrl=self.urls[queue], MessageBody=message.body, MessageAttributes=attributes)

    def failures(self) -> Counter[tuple[str, str, str]]:
        """Skill failures counted so far, by stage, skill and type of error."""
        counted: Counter[tuple[str, str, str]] = Counter()
        for metric in self.cloudwatch.list_metrics(Namespace=NAMESPACE, MetricName=FAILURES)["Metrics"]:
            dimensions = {dimension["Name"]: dimension["Value"] for dimension in metric["Dimensions"]}
            if len(dimensions) == 3:
                key = dimensions["SkillStage"], dimensions["SkillId"], dimensions["ErrorType"]
                counted[key] = int(self.total(**dimensions))
        return counted

    def total(self, **dimensions: str) -> float:
        """Sum of the skill failures in the metric with exactly these dimensions."""
        now = datetime.now(UTC)
        points = self.cloudwatch.get_metric_statistics(
            Namespace=NAMESPACE,
            MetricName=FAILURES,
            Dimensions=[{"Name": name, "Value": value} for name, value in dimensions.items()],
            StartTime=now - timedelta(hours=1),
            EndTime=now + timedelta(hours=1),
            Period=3600,
            Statistics=["Sum"],
        )["Datapoints"]
        return float(sum(point["Sum"] for point in points))

    def alarms(self) -> dict[str, str]:
        """The state of each alarm, by its name in the template."""
        names = {arn: output.removesuffix("Arn") for output, arn in self.outputs.items() if output.endswith("AlarmArn")}
        states = self.cloudwatch.describe_alarms()["MetricAlarms"]
        return {names[alarm["AlarmArn"]]: alarm["StateValue"] for alarm in states}
