"""Sends events to a running stack and observes their effects."""

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

from stack import NAME, ROOT, Stack

FAILURES = "SkillInteractionFailure"
QUEUES = ("RetryQueue", "ReadinessQueue", "ReportQueue", "QuarantineQueue")
FAILURE_QUEUES = (
    "OnFailureQueue",
    "EventsDeadLetterQueue",
    "IngestionDeadLetterQueue",
    *(queue.replace("Queue", "DeadLetterQueue") for queue in QUEUES),
)


def samples() -> list[Path]:
    """The sample events, each a whole invocation payload."""
    return sorted(path for path in (ROOT / "events").glob("*.json") if path.name != "expected.json")


def messages(sample: Path) -> list[str]:
    """The texts of a sample's SNS messages; the sample is an invocation payload of SNS or SQS."""
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
    """A message that the function published, as a consumer receives it from its queue."""

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
        self.log_group = (
            stack.outputs["AspEventsLogGroupArn"].removesuffix(":*").partition(":log-group:")[2]
        )
        self.sns, self.sqs = stack.client("sns"), stack.client("sqs")
        self.cloudwatch, self.logs = stack.client("cloudwatch"), stack.client("logs")
        self.awslambda, self.dynamodb, self.iam = (
            stack.client("lambda"),
            stack.client("dynamodb"),
            stack.client("iam"),
        )
        self.urls = {
            queue: stack.queue_url(f"{queue}Arn")
            for queue in ("IngestionQueue", *QUEUES, *FAILURE_QUEUES)
            if f"{queue}Arn" in stack.outputs  # a queue without a consumer is left out
        }
        self.namespace = self.variables()["METRIC_NAMESPACE"]
        self.invocations = 0

    def publish(self, text: str) -> str:
        return str(
            self.sns.publish(TopicArn=self.outputs["EventsTopicArn"], Message=text)["MessageId"]
        )

    def invoke(self, payload: Any) -> tuple[Any, bool]:
        """Invokes the function directly; returns its answer and whether that is an error."""
        [answer] = self.invoke_concurrently([payload])
        return answer

    def invoke_concurrently(self, payloads: list[Any]) -> list[tuple[Any, bool]]:
        """Invokes the function with several payloads at once, each in its own environment."""

        def answer_to(payload: Any) -> tuple[Any, bool]:
            answer = self.awslambda.invoke(
                FunctionName=self.outputs["AspEventsFunctionArn"], Payload=json.dumps(payload)
            )
            return json.load(answer["Payload"]), "FunctionError" in answer

        self.invocations += len(payloads)
        with ThreadPoolExecutor(len(payloads)) as pool:
            return list(pool.map(answer_to, payloads))

    def invoke_asynchronously(self, payload: Any) -> None:
        """Invokes the function as SNS does: Lambda retries on failure. `settle` waits for it."""
        self.awslambda.invoke(
            FunctionName=self.outputs["AspEventsFunctionArn"],
            Payload=json.dumps(payload),
            InvocationType="Event",
        )

    def variables(self) -> dict[str, str]:
        """The function's environment variables."""
        function = self.awslambda.get_function_configuration(
            FunctionName=self.outputs["AspEventsFunctionArn"]
        )
        return dict(function["Environment"]["Variables"])

    def configure(self, variables: dict[str, str]) -> None:
        """Sets the function's environment variables; this ends its execution environments."""
        function = self.outputs["AspEventsFunctionArn"]
        self.awslambda.update_function_configuration(
            FunctionName=function, Environment={"Variables": variables}
        )
        self.awslambda.get_waiter("function_updated_v2").wait(
            FunctionName=function, WaiterConfig={"Delay": 0.1}
        )

    def end_execution_environments(self) -> None:
        """Ends the execution environments, so that the next event starts a new one."""
        self.configure(self.variables())

    def settle(
        self, count: int, seconds: float = 30, tick: Callable[[float], None] = lambda _: None
    ) -> list[Received]:
        """Waits for `count` more invocations to end and returns all messages published since.

        MiniStack delivers to the queues before Publish returns, so no message is in flight by then.
        """
        self.invocations += count
        began = time.monotonic()
        while (ended := self.ended_invocations()) < self.invocations:
            if (elapsed := time.monotonic() - began) > seconds:
                missing, self.invocations = self.invocations - ended, ended
                raise TimeoutError(
                    f"{missing} of {count} invocations had not ended after {seconds:.0f} s"
                )
            tick(elapsed)
            time.sleep(0.05)
        return [message for queue in QUEUES if queue in self.urls for message in self.drain(queue)]

    def ended_invocations(self) -> int:
        # From the log: MiniStack has no metrics of invocations by SNS.
        return sum(line.startswith("END RequestId") for line in self.function_log())

    def function_log(self) -> list[str]:
        pages = self.logs.get_paginator("filter_log_events").paginate(logGroupName=self.log_group)
        return [event["message"].rstrip() for page in pages for event in page["events"]]

    def cold_starts(self) -> int:
        return sum('"ColdStarts":1' in line for line in self.function_log())

    def ledger_item(self, key: str) -> dict[str, Any]:
        """An item of the ledger as plain values."""
        item = self.dynamodb.get_item(
            TableName=self.ledger, Key={"pk": {"S": key}}, ConsistentRead=True
        )["Item"]
        return {
            name: int(value["N"]) if "N" in value else value.get("S", value.get("BOOL"))
            for name, value in item.items()
        }

    def request_ids_of(self, event: dict[str, Any]) -> list[str]:
        """The request ids of the invocations that received this Alexa event, in order."""
        event_id = event["header"]["eventId"]["id"]
        lines = [
            json.loads(line) for line in self.function_log() if f'"eventId":"{event_id}"' in line
        ]
        return [line["requestId"] for line in lines]

    def drain(self, queue: str) -> list[Received]:
        url, received = self.urls[queue], []
        while batch := self.sqs.receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=0, MessageAttributeNames=["All"]
        ).get("Messages"):
            for message in batch:
                self.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
                attributes = {
                    name: value["StringValue"]
                    for name, value in message.get("MessageAttributes", {}).items()
                }
                received.append(Received(queue, message["Body"], attributes))
        return received

    def wait_for(self, queue: str, seconds: float = 10) -> list[Received]:
        """Waits for messages in a queue and returns them."""
        deadline = time.monotonic() + seconds
        while not (received := self.drain(queue)) and time.monotonic() < deadline:
            time.sleep(0.05)
        return received

    def waiting(self, queue: str) -> int:
        """The number of messages in a queue, visible or not."""
        counts = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
        attributes = self.sqs.get_queue_attributes(
            QueueUrl=self.urls[queue], AttributeNames=counts
        )["Attributes"]
        return sum(int(attributes[count]) for count in counts)

    def redrive(self, message: Received, queue: str) -> None:
        """Sends a dead-letter message to its source queue, as an SQS redrive does."""
        attributes = {
            name: {"DataType": "String", "StringValue": value}
            for name, value in message.attributes.items()
        }
        self.sqs.send_message(
            QueueUrl=self.urls[queue], MessageBody=message.body, MessageAttributes=attributes
        )

    def failures(self) -> Counter[tuple[str, str, str]]:
        """The skill failures counted so far, by stage, skill and error type."""
        counted: Counter[tuple[str, str, str]] = Counter()
        for metric in self.cloudwatch.list_metrics(
            Namespace=self.namespace, MetricName=FAILURES
        )["Metrics"]:
            dimensions = {
                dimension["Name"]: dimension["Value"] for dimension in metric["Dimensions"]
            }
            if len(dimensions) == 3:
                key = dimensions["SkillStage"], dimensions["SkillId"], dimensions["ErrorType"]
                counted[key] = int(self.total(**dimensions))
        return counted

    def total(self, **dimensions: str) -> float:
        """The sum of the skill failures with exactly these dimensions."""
        now = datetime.now(UTC)
        points = self.cloudwatch.get_metric_statistics(
            Namespace=self.namespace,
            MetricName=FAILURES,
            Dimensions=[{"Name": name, "Value": value} for name, value in dimensions.items()],
            StartTime=now - timedelta(hours=1),
            EndTime=now + timedelta(hours=1),
            Period=3600,
            Statistics=["Sum"],
        )["Datapoints"]
        return float(sum(point["Sum"] for point in points))

    def alarms(self) -> dict[str, str]:
        """The state of each alarm, by its logical id in the template."""
        states = self.cloudwatch.describe_alarms(AlarmNamePrefix=f"{NAME}-")["MetricAlarms"]
        return {
            state["AlarmName"].removeprefix(f"{NAME}-").partition("-")[0]: state["StateValue"]
            for state in states
        }
