"""Sends events to a running stack and watches what comes out of it."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from stack import Stack

NAMESPACE, FAILURES = "AlexaSmartProperties", "SkillInteractionFailure"
QUEUES = ("RetryQueue", "ReadinessQueue", "QuarantineQueue")
KEPT = ("OnFailureQueue", "EventsDeadLetterQueue", *(queue.replace("Queue", "DeadLetterQueue") for queue in QUEUES))


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
        self.log_group = stack.outputs["AspEventsLogGroupArn"].removesuffix(":*").partition(":log-group:")[2]
        self.sns, self.sqs = stack.client("sns"), stack.client("sqs")
        self.cloudwatch, self.logs = stack.client("cloudwatch"), stack.client("logs")
        self.awslambda = stack.client("lambda")
        self.urls = {queue: stack.queue_url(f"{queue}Arn") for queue in QUEUES + KEPT}
        self.invocations = 0

    def publish(self, text: str) -> str:
        return str(self.sns.publish(TopicArn=self.outputs["EventsTopicArn"], Message=text)["MessageId"])

    def invoke(self, payload: Any) -> tuple[Any, bool]:
        """Invokes the function without SNS; its answer, and whether that is an error."""
        self.invocations += 1
        answer = self.awslambda.invoke(FunctionName=self.outputs["AspEventsFunctionArn"], Payload=json.dumps(payload))
        return json.load(answer["Payload"]), "FunctionError" in answer

    def invoke_later(self, payload: Any) -> None:
        """The same in the way of SNS: Lambda repeats it if it fails. `settle` waits for it."""
        self.awslambda.invoke(
            FunctionName=self.outputs["AspEventsFunctionArn"], Payload=json.dumps(payload), InvocationType="Event"
        )

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
