"""Faults: whatever is missing, the event is kept whole and takes effect once after the repair.

ASP_EVENTS_BOOTSTRAP=target/demo/asp-events python -m unittest discover tests/stack
"""

from __future__ import annotations

import json
import time
import unittest
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from case import StackTest, fresh, id_of, sns
from watch import Received


class FaultTest(StackTest):
    # ── Temporary faults ──

    @contextmanager
    def without_topic(self, name: str) -> Iterator[None]:
        """Deletes a topic; creates it again, with its subscription, at the end."""
        arn, subscription = self.stack.outputs[f"{name}Arn"], self.subscription(name)
        self.watch.sns.delete_topic(TopicArn=arn)
        try:
            yield
        finally:
            self.watch.sns.create_topic(Name=arn.rpartition(":")[2])
            self.subscribe(
                name, subscription["Endpoint"], RedrivePolicy=subscription["RedrivePolicy"]
            )

    def subscription(self, topic: str) -> dict[str, str]:
        """The only subscription of a topic, with its attributes."""
        arn = self.stack.outputs[f"{topic}Arn"]
        [subscription] = self.watch.sns.list_subscriptions_by_topic(TopicArn=arn)["Subscriptions"]
        attributes = self.watch.sns.get_subscription_attributes(
            SubscriptionArn=subscription["SubscriptionArn"]
        )
        return {**subscription, **attributes["Attributes"]}

    def subscribe(self, topic: str, queue: str, **attributes: str) -> str:
        subscription = self.watch.sns.subscribe(
            TopicArn=self.stack.outputs[f"{topic}Arn"],
            Protocol="sqs",
            Endpoint=queue,
            Attributes={"RawMessageDelivery": "true", **attributes},
            ReturnSubscriptionArn=True,
        )
        return str(subscription["SubscriptionArn"])

    @contextmanager
    def without_queue(self, name: str) -> Iterator[None]:
        """Deletes a queue; creates it again, with its policies, at the end."""
        sqs, url = self.watch.sqs, self.watch.urls[name]
        policies = sqs.get_queue_attributes(
            QueueUrl=url, AttributeNames=["Policy", "RedrivePolicy"]
        )["Attributes"]
        sqs.delete_queue(QueueUrl=url)
        try:
            yield
        finally:
            sqs.create_queue(
                QueueName=self.stack.outputs[f"{name}Arn"].rpartition(":")[2], Attributes=policies
            )

    @contextmanager
    def without_ledger(self) -> Iterator[None]:
        """Deletes the ledger's table; creates it again, empty, at the end."""
        dynamodb = self.watch.dynamodb
        table = dynamodb.describe_table(TableName=self.watch.ledger)["Table"]
        dynamodb.delete_table(TableName=self.watch.ledger)
        try:
            yield
        finally:
            dynamodb.create_table(
                BillingMode="PAY_PER_REQUEST",
                **{key: table[key] for key in ("TableName", "AttributeDefinitions", "KeySchema")},
            )

    @contextmanager
    def with_variable(self, name: str, value: str) -> Iterator[None]:
        """Sets an environment variable of the function; resets it at the end."""
        before = self.watch.variables()
        self.watch.configure(before | {name: value})
        try:
            yield
        finally:
            self.watch.configure(before)

    @contextmanager
    def without_permission(self, sid: str) -> Iterator[None]:
        """Removes a statement from the function's role; restores it at the end."""
        iam, role = (
            self.watch.iam,
            self.stack.outputs["AspEventsFunctionRoleArn"].rpartition("/")[2],
        )
        [name] = iam.list_role_policies(RoleName=role)["PolicyNames"]
        policy = iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
        kept = [statement for statement in policy["Statement"] if statement["Sid"] != sid]
        self.assertLess(len(kept), len(policy["Statement"]))
        iam.put_role_policy(
            RoleName=role, PolicyName=name, PolicyDocument=json.dumps(policy | {"Statement": kept})
        )
        try:
            yield
        finally:
            iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=json.dumps(policy))

    # ── The event's fate ──

    def invoke_until_given_up(self, event: dict[str, Any]) -> tuple[Any, Any]:
        """Invokes the function asynchronously until Lambda gives up; the kept payload and error.

        Without SNS, because MiniStack neither retries nor keeps what SNS delivers to a function.
        """
        payload = sns(json.dumps(event))
        self.watch.invoke_asynchronously(payload)
        self.assertEqual(self.watch.settle(3, seconds=10), [])
        [kept] = self.watch.wait_for("OnFailureQueue")
        self.assertEqual(kept.event["requestPayload"], payload)
        return kept.event["requestPayload"], kept.event["responsePayload"]

    def assert_handled_once(
        self, payload: Any, event: dict[str, Any], queue: str, kind: str
    ) -> None:
        """Invokes the function twice; only the first invocation has an effect."""
        counts = {"records": 1, "handled": 0, "duplicate": 0, "ignored": 0, "quarantined": 0}
        self.assertEqual(self.watch.invoke(payload), (counts | {"handled": 1}, False))
        self.only_signal(self.watch.settle(0), event, queue, kind)
        self.assertEqual(self.watch.invoke(payload), (counts | {"duplicate": 1}, False))
        self.assertEqual(self.watch.settle(0), [])

    def eventually(self, found: Callable[[], object], seconds: float = 30) -> None:
        deadline = time.monotonic() + seconds
        while not found():
            self.assertLess(time.monotonic(), deadline, f"not within {seconds:.0f} s")
            time.sleep(0.05)


class Direct(FaultTest):
    def test_topic_is_missing(self) -> None:
        event = fresh("subscription-activated")
        with self.without_topic("ReadinessTopic"):
            payload, error = self.invoke_until_given_up(event)
        self.assertEqual(error["errorType"], "Undeliverable")
        self.assertIn(self.stack.outputs["ReadinessTopicArn"], error["errorMessage"])
        self.assert_handled_once(payload, event, "ReadinessQueue", "aspevents.unit.readiness.v1")

    def test_report_topic_is_missing(self) -> None:
        # The failure counts at once and once; the report follows after the repair.
        event = fresh("skill-failure-invalid-response")
        skill = event["payload"]["skill"]["id"] = f"amzn1.ask.skill.{uuid.uuid4()}"
        dimensions = {"SkillId": skill, "SkillStage": "live", "ErrorType": "INVALID_RESPONSE"}
        with self.without_topic("ReportTopic"):
            payload, error = self.invoke_until_given_up(event)
            self.assertEqual(self.watch.total(**dimensions), 1)
        self.assertEqual(error["errorType"], "Undeliverable")
        self.assertIn(self.stack.outputs["ReportTopicArn"], error["errorMessage"])
        self.assert_handled_once(payload, event, "ReportQueue", "aspevents.skill.failure.v1")
        self.assertEqual(self.watch.total(**dimensions), 1)

    def test_ledger_is_missing(self) -> None:
        event = fresh("subscription-activated")
        with self.without_ledger():
            payload, error = self.invoke_until_given_up(event)
        self.assertEqual(error["errorType"], "Undeliverable")
        self.assertIn(self.watch.ledger, error["errorMessage"])
        self.assertIn("dynamodb:", error["errorMessage"])
        self.assert_handled_once(payload, event, "ReadinessQueue", "aspevents.unit.readiness.v1")

    def test_ledger_is_unreachable(self) -> None:
        payload = sns(json.dumps(fresh("subscription-activated")))
        lines = len(self.watch.function_log())
        with self.with_variable("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:1"):
            answer, is_error = self.watch.invoke(payload)
        self.assertFalse(is_error, answer)
        self.assertEqual(answer["handled"], 1)
        self.assertEqual(len(self.watch.settle(0)), 1)
        # The metric behind LedgerUnavailableAlarm.
        self.assertTrue(
            any('"LedgerUnavailable":1' in line for line in self.watch.function_log()[lines:])
        )

    def test_permission_is_missing(self) -> None:
        for sid, action, target in (
            ("PublishSignals", "sns:Publish", self.stack.outputs["ReadinessTopicArn"]),
            ("RememberEvents", "dynamodb:", self.watch.ledger),
        ):
            with self.subTest(sid):
                event = fresh("subscription-activated")
                with self.without_permission(sid):
                    payload, error = self.invoke_until_given_up(event)
                self.assertEqual(error["errorType"], "Undeliverable")
                self.assertIn(action, error["errorMessage"])
                self.assertIn(target, error["errorMessage"])
                self.assert_handled_once(
                    payload, event, "ReadinessQueue", "aspevents.unit.readiness.v1"
                )

    def test_function_does_not_start(self) -> None:
        event = fresh("automation-failure-internal-error")
        with self.with_variable("RETRY_TOPIC_ARN", "no ARN"):
            payload, error = self.invoke_until_given_up(event)
        self.assertIn("RETRY_TOPIC_ARN", error["errorMessage"])
        self.assert_handled_once(payload, event, "RetryQueue", "aspevents.automation.retry.v1")

    def test_consumer_queue_is_missing(self) -> None:
        # SNS moves undeliverable messages to the queue of the subscription's redrive policy.
        # MiniStack ignores the policy and drops them, so the test plays that part of SNS: a second
        # subscription delivers to the policy's queue. It shows that the deployed policy names the
        # right queue, that the queue accepts the topic, that the function does not depend on its
        # consumers, and that they can get the whole message from there.
        event = fresh("automation-failure-internal-error")
        dead_letters = json.loads(self.subscription("RetryTopic")["RedrivePolicy"])[
            "deadLetterTargetArn"
        ]
        self.assertEqual(dead_letters, self.stack.outputs["RetryDeadLetterQueueArn"])
        with self.without_queue("RetryQueue"):
            stand_in = self.subscribe("RetryTopic", dead_letters)
            answer, is_error = self.watch.invoke(sns(json.dumps(event)))
            self.watch.sns.unsubscribe(SubscriptionArn=stand_in)
            self.assertFalse(is_error, answer)
            self.assertEqual(answer["handled"], 1)
            kept = self.watch.drain("RetryDeadLetterQueue")
        _, attributes = self.only_signal(
            kept, event, "RetryDeadLetterQueue", "aspevents.automation.retry.v1"
        )
        self.watch.redrive(kept[0], "RetryQueue")
        _, again = self.only_signal(
            self.watch.settle(0), event, "RetryQueue", "aspevents.automation.retry.v1"
        )
        self.assertEqual(again, attributes)


class Buffered(FaultTest):
    parameters: ClassVar[dict[str, str]] = {"Ingestion": "Buffered"}

    @contextmanager
    def ingestion_paused(self) -> Iterator[None]:
        """Keeps events in the queue; the function receives them together at the end."""
        [mapping] = self.watch.awslambda.list_event_source_mappings()["EventSourceMappings"]
        self.watch.awslambda.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
        try:
            yield
        finally:
            self.watch.awslambda.update_event_source_mapping(UUID=mapping["UUID"], Enabled=True)

    def published_to(self, queue: str) -> list[Received]:
        """Waits until IngestionQueue is empty; the messages that the function published."""
        received = self.watch.wait_for(queue)
        self.eventually(lambda: self.watch.waiting("IngestionQueue") == 0)
        return received + self.watch.drain(queue)

    def test_events_pass_the_queue_with_their_message_ids(self) -> None:
        event = fresh("subscription-activated")
        self.watch.publish(json.dumps(event))
        received = self.published_to("ReadinessQueue")
        self.only_signal(received, event, "ReadinessQueue", "aspevents.unit.readiness.v1")
        message_id = self.watch.publish("not JSON")
        [message] = self.published_to("QuarantineQueue")
        kept = self.checked(message, "aspevents.quarantine.v1")
        topic = self.stack.outputs["EventsTopicArn"]
        self.assert_data(kept, message="not JSON", messageId=message_id, topicArn=topic)

    def test_failed_item_of_a_batch_is_retried_alone_and_kept(self) -> None:
        retry, readiness = (
            fresh("automation-failure-internal-error"),
            fresh("subscription-activated"),
        )
        # So that the fifth attempt ends within seconds.
        self.watch.sqs.set_queue_attributes(
            QueueUrl=self.watch.urls["IngestionQueue"], Attributes={"VisibilityTimeout": "1"}
        )
        with self.without_topic("ReadinessTopic"):
            with self.ingestion_paused():
                self.watch.publish(json.dumps(retry))
                message_id = self.watch.publish(json.dumps(readiness))
            self.eventually(lambda: self.watch.waiting("IngestionDeadLetterQueue"))
        self.assertEqual(self.watch.waiting("IngestionQueue"), 0)
        received = self.watch.drain("RetryQueue")
        self.only_signal(received, retry, "RetryQueue", "aspevents.automation.retry.v1")
        [kept] = self.watch.drain("IngestionDeadLetterQueue")
        self.assertEqual(kept.event["MessageId"], message_id)
        self.assertEqual(json.loads(kept.event["Message"]), readiness)
        request_ids = self.watch.request_ids_of(readiness)
        self.assertEqual(len(request_ids), 5)
        self.assertEqual(self.watch.request_ids_of(retry), request_ids[:1])
        for effects in (1, 0):
            self.watch.redrive(kept, "IngestionQueue")
            self.eventually(lambda: self.watch.waiting("IngestionQueue") == 0)
            received = self.watch.drain("ReadinessQueue")
            self.assertEqual(
                [message.event["id"] for message in received], [id_of(readiness)] * effects
            )

    def test_changing_the_ingestion_mode_loses_no_event(self) -> None:
        early, late = fresh("subscription-activated"), fresh("subscription-activated")
        with self.ingestion_paused():
            self.watch.publish(json.dumps(early))
            self.stack.update({"Ingestion": "Direct"})
            self.addCleanup(self.stack.update, self.parameters)
            self.assertEqual(self.watch.waiting("IngestionQueue"), 1)
            self.watch.publish(json.dumps(late))
            received = self.watch.wait_for("ReadinessQueue")
            self.only_signal(received, late, "ReadinessQueue", "aspevents.unit.readiness.v1")
        received = self.published_to("ReadinessQueue")
        self.only_signal(received, early, "ReadinessQueue", "aspevents.unit.readiness.v1")


if __name__ == "__main__":
    unittest.main()
