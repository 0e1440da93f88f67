"""A stack that leaves the consumers, and the topic of the pages, to others.

ASP_EVENTS_BOOTSTRAP=target/demo/asp-events ASPCTL=target/debug/aspctl \
    python -m unittest discover -v -s tests/aspctl -p test_consumers.py
"""

from __future__ import annotations

import unittest
from typing import ClassVar

import test_doctor
from test_doctor import ALARM_TOPICS, HEARTBEAT, SIGNALS, SUBSCRIBERS
from tool import Result, run

KINDS = ("Retry", "Readiness", "Report")
ON_CALL = "arn:aws:sns:us-east-1:000000000000:on-call"
OTHER_QUEUE = "arn:aws:sqs:us-east-1:000000000000:elsewhere"


class LeftToOthers(test_doctor.DoctorTest):
    """Other queues are subscribed to the topics, and somebody to the topic of the pages."""

    parameters: ClassVar[dict[str, str]] = {
        "AlarmEmail": "alarms@example.com",
        "Heartbeat": "No",
        "PageTopicArn": ON_CALL,
        "QueueAgeLimitSeconds": "3600",
        "SilenceHours": "6",
        **{f"{kind}Consumer": "None" for kind in KINDS},
    }

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.client("sns").create_topic(Name="on-call")
        cls.subscribe_email()
        for kind in KINDS:
            cls.subscribe_queue(f"{kind}Topic")

    @classmethod
    def subscribe_email(cls) -> None:
        address = {"Protocol": "email", "Endpoint": "on-call@example.com"}
        cls.client("sns").subscribe(TopicArn=ON_CALL, **address)

    @classmethod
    def subscribe_queue(cls, topic: str) -> None:
        cls.client("sns").subscribe(TopicArn=cls.arn(topic), Protocol="sqs", Endpoint=OTHER_QUEUE)

    # ── doctor ──

    def test_everything_is_ok(self) -> None:
        status, rows = self.doctor()
        self.assertEqual([row for row in rows if row["state"] != "ok"], [])
        self.assertEqual(status, 0)
        details = {row["link"]: row["detail"] for row in rows}
        self.assertIn("off (Heartbeat is No)", details[HEARTBEAT])
        others = "or another subscriber (RetryTopic, ReadinessTopic, ReportTopic)"
        self.assertIn(others, details[SIGNALS])
        self.assertIn("on-call", details[ALARM_TOPICS])
        subscribers = "pages: email on-call@example.com; tickets: email alarms@example.com"
        self.assertEqual(details[SUBSCRIBERS], subscribers)

    def test_nobody_else_is_subscribed(self) -> None:
        for kind in KINDS:
            with self.subTest(kind):
                subscription = self.subscription(f"{kind}Topic")
                self.client("sns").unsubscribe(SubscriptionArn=subscription)
                self.addCleanup(self.subscribe_queue, f"{kind}Topic")
                problem = f"the messages of {kind}Topic are lost: {kind}Consumer is None"
                self.assert_fails(SIGNALS, problem, f"{kind}Consumer=Queue")
                self.doCleanups()

    def set_on_call_policy(self, policy: str) -> None:
        attribute = {"AttributeName": "Policy", "AttributeValue": policy}
        self.client("sns").set_topic_attributes(TopicArn=ON_CALL, **attribute)

    def test_cloudwatch_may_not_publish_to_the_given_topic(self) -> None:
        attributes = self.client("sns").get_topic_attributes(TopicArn=ON_CALL)["Attributes"]
        self.addCleanup(self.set_on_call_policy, attributes["Policy"])
        self.set_on_call_policy('{"Statement": []}')
        problem = "no statement grants CloudWatch permission to publish pages to"
        self.assert_fails(ALARM_TOPICS, problem, ON_CALL)

    def test_the_key_of_the_given_topic_may_not_be_read(self) -> None:
        sns, key = self.client("sns"), {"TopicArn": ON_CALL, "AttributeName": "KmsMasterKeyId"}
        self.addCleanup(sns.set_topic_attributes, **key, AttributeValue="")
        sns.set_topic_attributes(**key, AttributeValue=self.new_key())
        status, rows = self.doctor(**self.caller_without(["kms:DescribeKey"]))
        self.assertEqual(status, 1)
        states = {row["link"]: row["state"] for row in rows if row["state"] != "ok"}
        self.assertEqual(states, {ALARM_TOPICS: "warning"}, rows)
        unknown = f"cannot tell whether CloudWatch may use the key of {ON_CALL}"
        self.assert_said(rows, "warning", ALARM_TOPICS, unknown, "which PageTopicArn names")

    def test_nobody_is_subscribed_to_the_given_topic(self) -> None:
        sns = self.client("sns")
        [subscription] = sns.list_subscriptions_by_topic(TopicArn=ON_CALL)["Subscriptions"]
        sns.unsubscribe(SubscriptionArn=subscription["SubscriptionArn"])
        self.addCleanup(self.subscribe_email)
        problem = "nobody is notified of pages"
        row = self.assert_fails(SUBSCRIBERS, problem, "Subscribe somebody to it")
        self.assertNotIn("AlarmEmail", row["advice"])

    def test_the_given_topic_does_not_exist(self) -> None:
        sns = self.client("sns")
        sns.delete_topic(TopicArn=ON_CALL)
        self.addCleanup(self.subscribe_email)
        self.addCleanup(sns.create_topic, Name="on-call")
        status, rows = self.doctor()
        self.assertEqual(status, 1)
        failed = [row["link"] for row in rows if row["state"] != "ok"]
        self.assertEqual(failed, [ALARM_TOPICS, SUBSCRIBERS])
        self.assert_said(rows, "failed", ALARM_TOPICS, ON_CALL, "an existing topic in PageTopicArn")

    def test_the_given_topic_may_not_be_read(self) -> None:
        denied = ["sns:GetTopicAttributes", "sns:ListSubscriptionsByTopic"]
        status, rows = self.doctor(**self.caller_without(denied, ON_CALL))
        self.assertEqual(status, 1)
        states = {row["link"]: row["state"] for row in rows if row["state"] != "ok"}
        self.assertEqual(states, {ALARM_TOPICS: "warning", SUBSCRIBERS: "warning"}, rows)
        for link, unknown in (
            (ALARM_TOPICS, f"cannot tell whether CloudWatch may publish to {ON_CALL}"),
            (SUBSCRIBERS, f"cannot tell who is subscribed to {ON_CALL}"),
        ):
            self.assert_said(rows, "warning", link, unknown)

    def test_the_test_event_has_its_effect(self) -> None:
        result = self.run_doctor("--send", "automation-failure")
        self.assertEqual(result.status, 0, result.out)
        self.assertRegex(result.out, "(?m)^✓ ok +synthetic event .*retry trigger published")

    # ── The other commands ──

    def aspctl(self, *args: str) -> Result:
        return run(*args, env=self.environment())

    def test_replay_says_that_there_is_no_queue(self) -> None:
        for kind in KINDS:
            for args in ([], ["--dry-run"]):
                done = self.aspctl("replay", f"{kind.lower()}-dlq", *args)
                self.assertEqual((done.status, done.out), (1, ""))
                queues = f"it has no {kind}Queue and no {kind}DeadLetterQueue"
                problem = f"{queues}, because {kind}Consumer is None"
                self.assertIn(f"error: the stack asp-events: {problem}", done.err)
                self.assertIn(f"set {kind}Consumer=Queue in parameter_overrides", done.err)
        self.assertEqual(self.aspctl("replay", "quarantine-dlq", "--dry-run").status, 0)

    def test_the_topics_can_be_followed(self) -> None:
        self.assertEqual(self.aspctl("tail", "--for", "1s").status, 0)
        unit = ("--unit", "amzn1.alexa.unit.did.EXAMPLEROOM101")
        self.assertEqual(self.aspctl("send", "subscription-activation", *unit).status, 0)
        for command in (["wait"], ["status"]):
            done = self.aspctl(*command, *unit)
            self.assertEqual(done.status, 0, done.err)
            self.assertIn("ready", done.out)


if __name__ == "__main__":
    unittest.main()
