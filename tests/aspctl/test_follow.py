"""aspctl tail, wait and status on a local stack.

Its topics hand over at once, so that it cannot show a subscription that takes effect late.
"""

from __future__ import annotations

import json
import re
import shlex
import signal
import subprocess
import tempfile
import threading
import time
import unittest
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import tool
from alexa import EXAMPLE_ORGANIZATION, Alexa
from proxy import JSON_DENIED, XML_DENIED, Answer, proxy

from case import StackTest
from watch import QUEUES

SCHEMA = {
    "RetryQueue": "aspevents.automation.retry.v1",
    "ReadinessQueue": "aspevents.unit.readiness.v1",
    "ReportQueue": "aspevents.skill.failure.v1",
    "QuarantineQueue": "aspevents.quarantine.v1",
}


ROOM_105 = "amzn1.alexa.unit.did.EXAMPLEROOM105"


def unit() -> str:
    return f"amzn1.alexa.unit.did.{uuid.uuid4()}"


class FollowTest(StackTest):
    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.env = tool.aws(cls.stack)
        cls.patient = unit()
        # Started early: it runs until wait reads the ledger again, while other tests run.
        cls.reads_ledger_again = tool.start("wait", "--unit", cls.patient, env=cls.env)
        cls.addClassCleanup(cls.reads_ledger_again.kill)
        cls.following(cls.reads_ledger_again)
        cls.remember(cls.signal_of(cls.patient))

    @staticmethod
    def following(process: subprocess.Popen[str]) -> str:
        """Reads standard error until aspctl follows; the lines before that."""
        said = ""
        while line := process.stderr.readline():
            said += line
            if line.startswith("following "):
                return said
        raise AssertionError(f"it does not follow: {said}")

    def setUp(self) -> None:
        self.before = self.temporary()

    def tearDown(self) -> None:
        self.assertEqual(self.temporary() - self.before, set(), "left behind")
        super().tearDown()
        for queue in QUEUES:
            self.watch.drain(queue)

    @classmethod
    def temporary(cls) -> set[str]:
        """The temporary queues and subscriptions of aspctl."""
        queues = cls.watch.sqs.list_queues(QueueNamePrefix="aspctl-").get("QueueUrls", [])
        pages = cls.watch.sns.get_paginator("list_subscriptions").paginate()
        subscriptions = [subscription for page in pages for subscription in page["Subscriptions"]]
        return {*queues, *(s["SubscriptionArn"] for s in subscriptions if ":aspctl-" in s["Endpoint"])}

    def start(self, *args: str, endpoint: str | None = None) -> subprocess.Popen[str]:
        """Starts aspctl and waits until it follows."""
        process = self.begin(*args, endpoint=endpoint)
        self.following(process)
        return process

    def begin(self, *args: str, endpoint: str | None = None) -> subprocess.Popen[str]:
        process = tool.start(*args, env=self.env | ({"AWS_ENDPOINT_URL": endpoint} if endpoint else {}))
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        return process

    def run_tool(self, *args: str, endpoint: str | None = None) -> tool.Result:
        return tool.run(*args, env=self.env | ({"AWS_ENDPOINT_URL": endpoint} if endpoint else {}))

    def end(self, process: subprocess.Popen[str]) -> tool.Result:
        out, err = process.communicate(timeout=30)
        return tool.Result(process.returncode, out, err)

    def sent(self, *args: str) -> str:
        """Sends a sample event and waits for the function; the id of the message."""
        sent = self.run_tool("send", *args)
        self.assertEqual(sent.status, 0, sent.err)
        self.watch.invocations += 1
        while self.watch.ended_invocations() < self.watch.invocations:
            time.sleep(0.05)
        return sent.out.split()[0]

    @staticmethod
    def signal_of(subject: str, ready: bool = True, at: datetime | None = None) -> dict[str, Any]:
        at = at or datetime.now(UTC)
        return {
            "specversion": "1.0",
            "id": f"Alexa.Enterprise.Subscription.Activation/{uuid.uuid4()}",
            "source": "urn:alexa:smart-properties",
            "type": "aspevents.unit.readiness.v1",
            "subject": subject,
            "time": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "datacontenttype": "application/json",
            "data": {"ready": ready, "unitId": subject, "sourceEvent": {"header": {}}},
        }

    @staticmethod
    def item(message: dict[str, Any], expires_in: int = 3600) -> dict[str, Any]:
        at = datetime.fromisoformat(message["time"])
        return {
            "pk": {"S": f"readiness#unit#{message['subject']}"},
            "eventAt": {"N": str(int(at.timestamp() * 1000))},
            "id": {"S": message["id"]},
            "ready": {"BOOL": message["data"]["ready"]},
            "expiresAt": {"N": str(int(time.time()) + expires_in)},
        }

    @classmethod
    def remember(cls, message: dict[str, Any], expires_in: int = 3600) -> None:
        """Stores a signal in the ledger as the function does."""
        cls.watch.dynamodb.put_item(TableName=cls.watch.ledger, Item=cls.item(message, expires_in))

    # ── tail ──

    def test_tail_prints_json_lines_and_several_tails_can_run(self) -> None:
        tails = [self.start("tail", "--limit", "4") for _ in range(2)]
        self.sent("automation-failure")
        self.sent("subscription-activation")
        self.sent("skill-failure", "--stage", "development")
        self.watch.publish("no event")
        received = self.watch.settle(1)
        for message in received:
            self.checked(message, SCHEMA[message.queue])
        for tail in tails:
            ended = self.end(tail)
            self.assertEqual((ended.status, ended.err), (0, ""))
            self.assertEqual(sorted(ended.out.splitlines()), sorted(message.body for message in received))

    def test_tail_filters_messages(self) -> None:
        mine, automation = unit(), f"amzn1.alexa.automation.{uuid.uuid4()}"
        tails = [
            self.start("tail", "--limit", "1", "--decision", "FIX_THEN_RETRY"),
            self.start("tail", "--limit", "1", "--type", "readiness", "--unit", mine, "--unit", "other"),
            self.start("tail", "--limit", "1", "--type", "quarantine", "--unit", mine),
            self.start("tail", "--limit", "1", "--type", "report", "--unit", mine),
        ]
        # Send what the filter excludes first.
        self.sent("automation-failure", "--unit", mine)
        self.sent("subscription-activation")
        self.watch.publish("no event")
        self.watch.settle(1)
        self.sent("automation-failure", "--automation", automation, "--error", "ENDPOINT_NOT_FOUND")
        self.sent("role-assignment", "--unit", mine)
        failure = ("skill-failure", "--stage", "development")
        self.sent(*failure)
        self.sent(*failure, "--unit", mine, "--intent", "Order", "--request-id", "r")
        self.watch.publish(json.dumps({"header": {"eventType": {"namespace": "N", "name": "n"}}, "unit": mine}))
        self.watch.settle(1)
        retry, readiness, quarantined, report = (json.loads(self.end(tail).out) for tail in tails)
        self.assertEqual((retry["subject"], retry["data"]["decision"]), (automation, "FIX_THEN_RETRY"))
        self.assertEqual((readiness["type"], readiness["data"]["unitId"]), ("aspevents.role.readiness.v1", mine))
        self.assertEqual(quarantined["data"]["reason"], "UNKNOWN_EVENT_TYPE")
        self.assertEqual((report["type"], report["data"]["unitId"]), ("aspevents.skill.failure.v1", mine))
        self.assertEqual((report["data"]["interaction"]["intent"], report["data"]["requestId"]), ("Order", "r"))

    def test_tail_refuses_a_decision_for_topics_without_one(self) -> None:
        refused = self.run_tool("tail", "--type", "readiness", "--decision", "RETRY")
        self.assertEqual((refused.status, refused.out), (1, ""))
        self.assertIn("--decision: only retry triggers have a decision", refused.err)

    def test_tail_is_readable_and_escapes_control_characters(self) -> None:
        tail = self.start("tail", "--output", "text", "--color", "always", "--type", "readiness", "--limit", "1")
        self.sent("subscription-activation", "--error", "BAD\x1b[2J", "--unit", "u", "--at", "2026-11-22T09:00:00Z")
        line = self.end(tail).out
        self.assertIn("\x1b[31m", line)
        self.assertNotIn("\x1b[2J", line)
        plain = re.sub(r"\x1b\[[0-9;]*m", "", line)
        self.assertEqual(plain, "2026-11-22T09:00:00Z  unit        u  not ready: BAD\ufffd[2J, Made up by aspctl\n")

    def test_tail_says_what_a_number_or_duration_should_be(self) -> None:
        for option, wanted in {"--limit": "not a whole number from 1 to ", "--for": "not a duration"}.items():
            refused = self.run_tool("tail", option, "x")
            self.assertEqual((refused.status, refused.out), (64, ""))
            self.assertIn(f"invalid value 'x' for '{option}", refused.err)
            self.assertIn(wanted, refused.err)

    def test_tail_ends_after_its_duration(self) -> None:
        ended = self.run_tool("tail", "--for", "100ms")
        self.assertEqual((ended.status, ended.out), (0, ""))

    def test_signals_end_tail_and_its_resources_are_removed(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            tail = self.start("tail")
            # A queue and four subscriptions; otherwise the assertion below proves nothing.
            self.assertEqual(len(self.temporary() - self.before), 5)
            tail.send_signal(number)
            ended = self.end(tail)
            self.assertEqual((ended.status, ended.out, ended.err), (0, "", ""), number)
            self.assertEqual(self.temporary() - self.before, set(), number)

    def test_a_command_that_ends_by_itself_is_cut_short(self) -> None:
        for args in (["tail", "--limit", "1"], ["tail", "--for", "1h"], ["wait", "--unit", unit()]):
            with self.subTest(args):
                process = self.start(*args)
                process.send_signal(signal.SIGINT)
                ended = self.end(process)
                self.assertEqual((ended.status, ended.out), (130, ""))
                self.assertEqual(ended.err, "error: interrupted. The temporary queue was removed\n")
                self.assertEqual(self.temporary() - self.before, set())

    def test_tail_ends_on_a_closed_pipe_without_any_message(self) -> None:
        tail = self.start("tail")
        self.sent("device-setup")
        self.assertEqual(json.loads(tail.stdout.readline())["type"], "aspevents.device.readiness.v1")
        tail.stdout.close()
        self.assertEqual((tail.wait(timeout=10), tail.stderr.read()), (0, ""))

    def test_queue_is_tagged_and_accepts_only_the_followed_topics(self) -> None:
        tail = self.start("tail", "--type", "retry")
        [queue] = [part for part in self.temporary() - self.before if part.startswith("http")]
        self.assertRegex(queue, r"/aspctl-asp-events-[0-9a-f]{16}$")
        attributes = self.watch.sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])["Attributes"]
        self.assertEqual((attributes["MessageRetentionPeriod"], attributes["SqsManagedSseEnabled"]), ("3600", "true"))
        [statement] = json.loads(attributes["Policy"])["Statement"]
        self.assertEqual(statement["Principal"], {"Service": "sns.amazonaws.com"})
        self.assertEqual(statement["Resource"], attributes["QueueArn"])
        retry = self.stack.outputs["RetryTopicArn"]
        self.assertEqual(statement["Condition"], {"ArnEquals": {"aws:SourceArn": [retry]}})
        self.assertEqual(self.watch.sqs.list_queue_tags(QueueUrl=queue)["Tags"], {"aspctl": "asp-events"})
        tail.send_signal(signal.SIGINT)
        self.end(tail)

    def test_tail_mentions_leftovers_of_a_killed_run(self) -> None:
        tail = self.start("tail", "--type", "retry")
        left = self.temporary() - self.before
        tail.kill()
        tail.wait()
        [queue] = [part for part in left if part.startswith("http")]
        said = self.following(next_tail := self.begin("tail", "--type", "retry"))
        self.assertIn("there are other temporary queues: ", said)
        self.assertIn(queue.rpartition("/")[2], said)
        next_tail.send_signal(signal.SIGINT)
        self.end(next_tail)
        self.assertEqual(self.temporary() - self.before, left)
        self.remove(left)

    def remove(self, parts: set[str]) -> None:
        for part in parts:
            if part.startswith("arn:"):
                self.watch.sns.unsubscribe(SubscriptionArn=part)
            else:
                self.watch.sqs.delete_queue(QueueUrl=part)

    # ── Cleanup under failures ──

    def test_queue_is_removed_when_subscribing_is_denied(self) -> None:
        with proxy(self.stack.endpoint, Subscribe=lambda: XML_DENIED) as relay:
            denied = self.run_tool("tail", endpoint=relay.endpoint)
        self.assertEqual((denied.status, denied.out), (1, ""))
        self.assertIn("Allow sns:Subscribe for the identity that runs aspctl", denied.err)
        self.assertIn("DeleteQueue", relay.calls)

    def test_subscription_in_flight_when_another_fails_is_removed(self) -> None:
        first = threading.Lock()

        def deny_the_first() -> Answer | None:
            if first.acquire(blocking=False):
                return XML_DENIED
            time.sleep(0.3)  # longer than the denial takes
            return None

        with proxy(self.stack.endpoint, Subscribe=deny_the_first) as relay:
            self.assertEqual(self.run_tool("tail", endpoint=relay.endpoint).status, 1)
        self.assertEqual((relay.calls.count("Subscribe"), relay.calls.count("Unsubscribe")), (4, 3))

    def test_interrupt_during_setup_removes_everything(self) -> None:
        tails = []

        def interrupt() -> Answer | None:
            if relay.calls.count("Subscribe") == 1:
                tails[0].send_signal(signal.SIGINT)
                time.sleep(0.1)
            return None

        with proxy(self.stack.endpoint, Subscribe=interrupt) as relay:
            tails.append(self.begin("tail", endpoint=relay.endpoint))
            self.assertEqual(self.end(tails[0]).status, 0)
        self.assertEqual(relay.calls.count("Subscribe"), relay.calls.count("Unsubscribe"))

    def test_subscriptions_are_removed_before_the_queue(self) -> None:
        with proxy(self.stack.endpoint) as relay:
            self.assertEqual(self.run_tool("tail", "--for", "0s", endpoint=relay.endpoint).status, 0)
        # The cancelled poll may reach the proxy after the first removal.
        calls = [call for call in relay.calls if call != "ReceiveMessage"]
        self.assertEqual(calls[-5:], ["Unsubscribe"] * 4 + ["DeleteQueue"])

    def test_failed_removal_prints_the_commands_to_run(self) -> None:
        with proxy(self.stack.endpoint, Unsubscribe=lambda: XML_DENIED) as relay:
            ended = self.run_tool("tail", "--type", "retry", "--for", "0s", endpoint=relay.endpoint)
        [left] = self.temporary() - self.before
        self.assertEqual(ended.status, 1)
        self.assertIn("Allow sns:Unsubscribe", ended.err)
        self.assertIn(f"`aws sns unsubscribe --region us-east-1 --subscription-arn {left}`", ended.err)
        self.remove({left})

    def test_second_interrupt_ends_at_once_and_lists_what_is_left(self) -> None:
        asked, go_on = threading.Event(), threading.Event()

        def hang() -> Answer | None:
            asked.set()
            go_on.wait(30)
            return XML_DENIED

        with proxy(self.stack.endpoint, Unsubscribe=hang) as relay:
            tail = self.start("tail", "--type", "retry", endpoint=relay.endpoint)
            tail.send_signal(signal.SIGINT)
            asked.wait(10)
            said = tail.stderr.readline()
            while "finishing the current step; Ctrl-C again ends it at once" not in said:
                self.assertTrue(said, "it ended")
                said = tail.stderr.readline()
            tail.send_signal(signal.SIGTERM)
            ended = self.end(tail)
            go_on.set()
        left = self.temporary() - self.before
        self.assertEqual((ended.status, len(left)), (130, 2))
        commands = [shlex.split(command) for command in ended.err.split("`")[1].split("; ")]
        self.assertEqual({command[-1] for command in commands}, left)
        programs = [" ".join(command[:3]) for command in commands]
        self.assertEqual(programs, ["aws sns unsubscribe", "aws sqs delete-queue"])
        self.remove(left)

    # ── wait ──

    def test_wait_sees_a_later_message(self) -> None:
        subject = unit()
        wait = self.start("wait", "--unit", subject, "--output", "json")
        self.sent("subscription-activation")
        self.sent("subscription-activation", "--unit", subject)
        ended = self.end(wait)
        self.assertEqual(ended.status, 0)
        [message] = [m for m in self.watch.drain("ReadinessQueue") if m.event["subject"] == subject]
        shown = json.loads(ended.out)
        self.assertEqual((shown["raw"], shown["origin"]), (message.event, "TOPIC"))
        self.assertEqual((shown["version"], shown["readiness"]), (1, "READY"))
        self.assertEqual((shown["subject"]["unitId"], shown["at"]), (subject, message.event["time"]))

    def test_wait_sees_an_earlier_message(self) -> None:
        subject = unit()
        self.sent("subscription-activation", "--unit", subject)
        ended = self.run_tool("wait", "--unit", subject)
        self.assertEqual(ended.status, 0)
        self.assertRegex(ended.out, rf"^\S+Z  unit        {subject}  ready\n$")

    def test_wait_sees_a_message_between_subscribing_and_reading_the_ledger(self) -> None:
        # The ledger stays empty, so only the topic can deliver it: wait must subscribe first.
        subject = unit()

        def publish() -> Answer | None:
            if relay.calls.count("GetItem") == 1:
                self.sent("subscription-activation", "--unit", subject)
            return Answer(200, b"{}")

        with proxy(self.stack.endpoint, GetItem=publish) as relay:
            ended = self.run_tool("wait", "--unit", subject, "--timeout", "5s", endpoint=relay.endpoint)
        self.assertEqual(ended.status, 0, ended.err)

    def test_wait_prefers_the_newer_of_two(self) -> None:
        subject = unit()
        old = self.signal_of(subject, ready=False, at=datetime.now(UTC) - timedelta(hours=1))

        def publish() -> Answer | None:
            self.sent("subscription-activation", "--unit", subject)
            return Answer(200, json.dumps({"Item": self.item(old)}).encode())

        with proxy(self.stack.endpoint, GetItem=publish) as relay:
            ended = self.run_tool("wait", "--unit", subject, "--timeout", "5s", endpoint=relay.endpoint)
        self.assertEqual(ended.status, 0, ended.err)

    def test_wait_reads_the_ledger_once_more_at_its_timeout(self) -> None:
        subject, looks = unit(), []

        def only_the_second() -> Answer | None:
            looks.append(subject)
            item = {"Item": self.item(self.signal_of(subject))} if len(looks) == 2 else {}
            return Answer(200, json.dumps(item).encode())

        with proxy(self.stack.endpoint, GetItem=only_the_second) as relay:
            ended = self.run_tool("wait", "--unit", subject, "--timeout", "1s", endpoint=relay.endpoint)
        self.assertEqual((ended.status, len(looks)), (0, 2), ended.err)

    def test_wait_finds_a_missed_message_in_the_ledger(self) -> None:
        ended = self.end(self.reads_ledger_again)
        self.assertEqual(ended.status, 0, ended.err)
        self.assertIn(self.patient, ended.out)

    def test_wait_fails_when_the_subject_is_not_ready(self) -> None:
        subject = unit()
        wait = self.start("wait", "--unit", subject)
        self.sent("subscription-activation", "--unit", subject, "--error", "INTERNAL_SERVER_ERROR")
        ended = self.end(wait)
        self.assertEqual(ended.status, 2)
        self.assertIn("not ready: INTERNAL_SERVER_ERROR", ended.out)

    def test_wait_times_out_with_advice(self) -> None:
        ended = self.run_tool("wait", "--device", "amzn1.alexa.endpoint.never", "--timeout", "300ms")
        self.assertEqual((ended.status, ended.out), (3, ""))
        for words in ("timed out after 300ms", "amzn1.alexa.endpoint.never", "aspctl doctor", "aspctl devices"):
            self.assertIn(words, ended.err)

    def test_wait_can_be_interrupted(self) -> None:
        wait = self.start("wait", "--unit", unit())
        wait.send_signal(signal.SIGINT)
        ended = self.end(wait)
        self.assertEqual((ended.status, ended.out), (130, ""))
        self.assertIn("interrupted. The temporary queue was removed", ended.err)

    def test_wait_ignores_messages_before_since(self) -> None:
        subject = unit()
        self.remember(self.signal_of(subject, ready=False, at=datetime.now(UTC) - timedelta(hours=2)))
        wait = self.start("wait", "--unit", subject, "--since", "1h", "--output", "json")
        old = (datetime.now(UTC) - timedelta(hours=3)).isoformat()
        self.sent("subscription-activation", "--unit", subject, "--at", old)
        new = self.sent("subscription-activation", "--unit", subject)
        ended = self.end(wait)
        self.assertEqual(ended.status, 0, ended.err)
        self.assertTrue(json.loads(ended.out)["raw"]["id"].endswith(f"/{new}"))

    def test_wait_for_a_principal_on_a_unit(self) -> None:
        subject, principal = unit(), f"amzn1.account.{uuid.uuid4()}"
        on_unit = self.start("wait", "--principal", principal, "--unit", subject)
        anywhere = self.start("wait", "--principal", principal)
        self.sent("role-assignment", "--principal", principal, "--unit", unit())
        self.assertEqual(self.end(anywhere).status, 0)
        self.assertIsNone(on_unit.poll())
        self.sent("role-revocation", "--principal", principal, "--unit", subject)
        ended = self.end(on_unit)
        self.assertEqual(ended.status, 2)
        self.assertIn(f"not ready, REVOKED on {subject}", ended.out)

    def test_wait_for_a_device(self) -> None:
        device = f"amzn1.alexa.endpoint.{uuid.uuid4()}"
        wait = self.start("wait", "--device", device)
        self.sent("device-setup", "--device", device)
        self.assertEqual(self.end(wait).status, 0)

    def test_wait_works_without_the_ledger(self) -> None:
        subject = unit()
        with proxy(self.stack.endpoint, GetItem=lambda: JSON_DENIED) as relay:
            wait = self.start("wait", "--unit", subject, endpoint=relay.endpoint)
            self.assertIn("Allow dynamodb:GetItem", wait.stderr.readline())
            self.sent("subscription-activation", "--unit", subject)
            self.assertEqual(self.end(wait).status, 0)
            again = self.run_tool("wait", "--unit", subject, "--timeout", "0s", endpoint=relay.endpoint)
            self.assertEqual((again.status, again.err.count("Allow dynamodb:GetItem")), (3, 1))

    def test_a_clock_that_is_ahead_hides_no_later_signal(self) -> None:
        subject, ahead = unit(), datetime.now(UTC) + timedelta(days=3)
        tail = self.start("tail", "--type", "readiness", "--unit", subject, "--limit", "2")
        self.sent("subscription-activation", "--unit", subject, "--at", ahead.isoformat(timespec="seconds"))
        time.sleep(1.1)  # events have whole seconds
        self.sent("subscription-activation", "--unit", subject, "--error", "E")
        for command in ("status", "wait"):
            self.assertEqual(self.run_tool(command, "--unit", subject).status, 2, command)
        ready = [json.loads(line)["data"]["ready"] for line in self.end(tail).out.splitlines()]
        self.assertEqual(ready, [True, False])

    def test_wait_survives_a_short_outage(self) -> None:
        # One failure more than the three attempts of other calls.
        subject = unit()

        def fail() -> Answer | None:
            return Answer(503, b"") if relay.calls.count("ReceiveMessage") <= 3 else None

        with proxy(self.stack.endpoint, ReceiveMessage=fail) as relay:
            wait = self.start("wait", "--unit", subject, endpoint=relay.endpoint)
            self.sent("subscription-activation", "--unit", subject)
            ended = self.end(wait)
            self.assertEqual(ended.status, 0, ended.err)

    # ── wait without a queue ──

    def test_wait_reads_the_ledger_if_it_may_not_make_a_queue(self) -> None:
        subject = unit()
        self.remember(self.signal_of(subject))
        for denied in ({"CreateQueue": lambda: JSON_DENIED}, {"Subscribe": lambda: XML_DENIED}):
            with self.subTest(denied), proxy(self.stack.endpoint, **denied) as relay:
                ended = self.run_tool("wait", "--unit", subject, endpoint=relay.endpoint)
                self.assertEqual(ended.status, 0, ended.err)
                self.assertIn(subject, ended.out)
                [said] = [line for line in ended.err.splitlines() if "reading the ledger" in line]
                self.assertIn("reading the ledger every 5s until", said)
                [action] = denied
                self.assertRegex(said, rf"cannot follow the topic: \w+:{action} on .* failed")
                self.assertNotIn("ReceiveMessage", relay.calls)

    def test_wait_without_a_queue_sees_what_is_stored_later(self) -> None:
        subject, reads = unit(), []

        def later() -> Answer | None:
            reads.append(subject)
            if len(reads) == 2:
                self.remember(self.signal_of(subject, ready=False))
            return None

        with proxy(self.stack.endpoint, GetItem=later) as relay:
            ended = self.run_tool("wait", "--no-queue", "--unit", subject, endpoint=relay.endpoint)
        self.assertEqual((ended.status, len(reads)), (2, 2), ended.err)
        self.assertIn("(--no-queue); Ctrl-C stops", ended.err)
        self.assertEqual({"CreateQueue", "Subscribe"} & set(relay.calls), set())

    def test_wait_without_a_queue_ignores_what_happened_before_since(self) -> None:
        subject = unit()
        self.remember(self.signal_of(subject, at=datetime.now(UTC) - timedelta(hours=2)))
        args = ("wait", "--no-queue", "--unit", subject, "--timeout", "1s", "--output", "json")
        ended = self.run_tool(*args, "--since", "1h")
        self.assertEqual((ended.status, ended.json["readiness"]), (3, "UNKNOWN"))
        self.assertIn("timed out after 1s: no signal about the unit", ended.err)
        ended = self.run_tool(*args)
        self.assertEqual((ended.status, ended.json["origin"]), (0, "LEDGER"))

    def test_wait_without_a_queue_reads_the_ledger_at_its_end(self) -> None:
        subject, reads = unit(), []

        def only_the_second() -> Answer | None:
            reads.append(subject)
            item = {"Item": self.item(self.signal_of(subject))} if len(reads) == 2 else {}
            return Answer(200, json.dumps(item).encode())

        with proxy(self.stack.endpoint, GetItem=only_the_second) as relay:
            args = ("wait", "--no-queue", "--unit", subject, "--timeout", "1s")
            ended = self.run_tool(*args, endpoint=relay.endpoint)
        self.assertEqual((ended.status, len(reads)), (0, 2), ended.err)

    def test_wait_without_a_queue_fails_if_the_ledger_cannot_be_read(self) -> None:
        args = ("wait", "--no-queue", "--unit", unit(), "--timeout", "0s")
        with proxy(self.stack.endpoint, GetItem=lambda: JSON_DENIED) as relay:
            ended = self.run_tool(*args, endpoint=relay.endpoint)
        self.assertEqual((ended.status, ended.out), (1, ""))
        self.assertIn("Allow dynamodb:GetItem", ended.err)
        with proxy(self.stack.endpoint, GetItem=lambda: Answer(503, b"")) as relay:
            ended = self.run_tool(*args, endpoint=relay.endpoint)
        self.assertEqual((ended.status, ended.out), (1, ""), "not 3: nobody knows")

    # ── tail --since ──

    def logged(self, subject: str) -> dict[str, Any]:
        """The line of the log about a unit, as CloudWatch Logs shows it, a minute old."""
        [line] = [line for line in self.watch.function_log() if subject in line and '"done"' in line]
        at = int((time.time() - 60) * 1000)
        return {"eventId": f"line-{subject}", "timestamp": at, "message": line}

    def test_tail_since_shows_the_log_and_goes_on(self) -> None:
        subject = unit()
        self.sent("subscription-activation", "--unit", subject)
        self.sent("subscription-activation")
        tail = self.start("tail", "--since", "1h", "--unit", subject, "--limit", "2")
        logged = json.loads(tail.stdout.readline())
        self.sent("subscription-activation", "--unit", subject, "--error", "E")
        published = json.loads(self.end(tail).out)
        self.assertEqual((logged["type"], logged["subject"]), ("aspctl.logged-event.v1", subject))
        self.assertEqual((logged["data"]["outcome"], logged["data"]["ready"]), ("handled", True))
        self.assertEqual((published["type"], published["data"]["ready"]), ("aspevents.unit.readiness.v1", False))

    def test_tail_since_shows_nothing_twice(self) -> None:
        subject, first = unit(), []

        def process_meanwhile() -> Answer | None:
            if not first:
                first.append(self.sent("subscription-activation", "--unit", subject))
            return None

        # The first event is in the log and on the topic.
        with proxy(self.stack.endpoint, FilterLogEvents=process_meanwhile) as relay:
            args = ("tail", "--since", "1h", "--unit", subject, "--limit", "2")
            tail = self.start(*args, endpoint=relay.endpoint)
            logged = json.loads(tail.stdout.readline())
            second = self.sent("subscription-activation", "--unit", subject)
            published = json.loads(self.end(tail).out)
        self.assertEqual((logged["type"], logged["data"]["eventId"]), ("aspctl.logged-event.v1", first[0]))
        self.assertTrue(published["id"].endswith(f"/{second}"), published["id"])

    def test_tail_since_misses_nothing_that_the_log_shows_late(self) -> None:
        subject = unit()
        self.sent("subscription-activation", "--unit", subject)
        line = self.logged(subject)

        def late() -> Answer | None:
            lines = [line] if relay.calls.count("FilterLogEvents") > 1 else []
            return Answer(200, json.dumps({"events": lines}).encode(), "application/x-amz-json-1.1")

        with proxy(self.stack.endpoint, FilterLogEvents=late) as relay:
            args = ("tail", "--since", "1h", "--unit", subject, "--limit", "1")
            ended = self.end(self.start(*args, endpoint=relay.endpoint))
        self.assertEqual((ended.status, json.loads(ended.out)["id"]), (0, line["eventId"]))

    def test_tail_since_reads_all_pages_and_no_message(self) -> None:
        subject, pages = unit(), []
        self.sent("subscription-activation", "--unit", subject)
        line = self.logged(subject)

        def page() -> Answer | None:
            pages.append(json.loads(relay.bodies["FilterLogEvents"][-1]))
            number = len(pages)
            events = {"events": [line | {"eventId": f"line-{number}", "timestamp": line["timestamp"] - 3_600_000}]}
            more = {"nextToken": f"page-{number + 1}"} if number < 3 else {}
            return Answer(200, json.dumps(events | more).encode(), "application/x-amz-json-1.1")

        with proxy(self.stack.endpoint, FilterLogEvents=page) as relay:
            args = ("tail", "--since", "2h", "--for", "0s", "--output", "text", "--unit", subject)
            ended = self.run_tool(*args, endpoint=relay.endpoint)
        self.assertEqual((ended.status, len(ended.lines)), (0, 3), ended.err)
        for shown in ended.lines:
            self.assertRegex(shown, rf"^\S+Z  unit        {subject}  ready \(log\)$")
        self.assertEqual([one.get("nextToken") for one in pages], [None, "page-2", "page-3"])
        self.assertIn("marked (log): what was decided about each event, without the messages", ended.err)

    def test_tail_since_filters_the_log(self) -> None:
        subject = unit()
        self.sent("automation-failure", "--unit", subject, "--error", "ENDPOINT_NOT_FOUND")
        self.sent("automation-success", "--unit", subject)
        self.sent("subscription-activation", "--unit", subject)
        for args, shown in {
            ("--type", "retry"): ["FIX_THEN_RETRY"],
            ("--decision", "FIX_THEN_RETRY"): ["FIX_THEN_RETRY"],
            ("--decision", "RETRY"): [],
            ("--type", "quarantine"): [],
            (): ["FIX_THEN_RETRY", None],
        }.items():
            args = ("--since", "1h", "--for", "0s", "--unit", subject, *args)
            lines = [json.loads(line) for line in self.run_tool("tail", *args).lines]
            self.assertEqual([line["data"].get("decision") for line in lines], shown, args)

    def test_tail_since_needs_the_log(self) -> None:
        with proxy(self.stack.endpoint, FilterLogEvents=lambda: JSON_DENIED) as relay:
            denied = self.run_tool("tail", "--since", "1h", endpoint=relay.endpoint)
        self.assertEqual((denied.status, denied.out), (1, ""))
        self.assertIn("Allow logs:FilterLogEvents for the identity that runs aspctl", denied.err)

    # ── Names ──

    def test_names_stand_beside_ids_as_they_arrive(self) -> None:
        alexa = self.enterContext(Alexa())
        alexa.add_examples()
        folder = self.enterContext(tempfile.TemporaryDirectory())
        own = {"HOME": folder, "XDG_CACHE_HOME": "", "ASPCTL_ORGANIZATION": EXAMPLE_ORGANIZATION}
        env = self.env | alexa.environment | own
        # It learns the name by which it is asked about the unit.
        tail = tool.start("tail", "--unit", "room 105", "--limit", "2", "--output", "text", env=env)
        self.addCleanup(tail.communicate)
        self.addCleanup(tail.kill)
        self.assertIn(f"room 105 is {ROOM_105} (Room 105)", self.following(tail))
        self.sent("subscription-activation", "--unit", ROOM_105)
        self.sent("automation-failure", "--unit", ROOM_105)
        ended = self.end(tail)
        self.assertEqual(ended.status, 0, ended.err)
        for line in ended.lines:
            self.assertIn(f" {ROOM_105} (Room 105)", line)
        calls = len(alexa.requests)
        shown = tool.run("tail", "--since", "1h", "--for", "0s", "--unit", ROOM_105, "--output", "text", env=env)
        self.assertEqual(len(shown.lines), 2, shown.err)
        for line in shown.lines:
            self.assertIn(f" {ROOM_105} (Room 105)", line)
        waited = tool.run("wait", "--unit", ROOM_105, "--timeout", "0s", "--since", "0s", env=env)
        self.assertIn(f"no signal about the unit {ROOM_105} (Room 105)", waited.err)
        self.assertEqual(len(alexa.requests), calls)

    # ── status ──

    def test_status_shows_the_last_readiness(self) -> None:
        ready, failed, expired = self.signal_of(unit()), self.signal_of(unit(), ready=False), self.signal_of(unit())
        self.remember(ready)
        self.remember(failed)
        self.remember(expired, expires_in=-1)
        shown = self.run_tool("status", "--unit", ready["subject"], "--output", "json")
        stored = {**ready, "data": {"ready": True, "unitId": ready["subject"]}}
        self.assertEqual((shown.status, shown.err, shown.json["raw"]), (0, "", stored))
        self.assertEqual((shown.json["readiness"], shown.json["origin"]), ("READY", "LEDGER"))
        shown = self.run_tool("status", "--unit", failed["subject"])
        self.assertEqual(shown.status, 2)
        self.assertIn("not ready", shown.out)
        for unknown in (expired["subject"], unit()):
            shown = self.run_tool("status", "--unit", unknown)
            self.assertEqual((shown.status, shown.out), (3, ""))
            self.assertIn(f"nothing is known about the unit {unknown}", shown.err)
            self.assertIn("`aspctl units` shows them", shown.err)
        for option, id, hint in (
            ("--device", f"amzn1.alexa.endpoint.{uuid.uuid4()}", "`aspctl devices --unit UNIT` shows those"),
            ("--principal", f"amzn1.account.{uuid.uuid4()}", "`aspctl tail --since 14d --for 1s --type readiness` shows"),
        ):
            shown = self.run_tool("status", option, id)
            self.assertEqual((shown.status, shown.out), (3, ""))
            self.assertIn(hint, shown.err)
        shown = self.run_tool("status", "--unit", unknown, "--output", "json")
        self.assertEqual((shown.status, shown.json["readiness"], shown.json["raw"]), (3, "UNKNOWN", None))

    def test_status_reads_what_the_function_stored(self) -> None:
        subject, device, principal = unit(), f"amzn1.alexa.endpoint.{uuid.uuid4()}", f"amzn1.account.{uuid.uuid4()}"
        self.sent("device-setup", "--device", device)
        self.sent("role-assignment", "--principal", principal, "--unit", subject)
        self.sent("role-revocation", "--principal", principal, "--unit", f"{subject}-2")
        for args, status in {
            ("--device", device): 0,
            ("--principal", principal, "--unit", subject): 0,
            ("--principal", principal, "--unit", f"{subject}-2"): 2,
            ("--principal", principal): 2,
            ("--unit", subject): 3,
        }.items():
            self.assertEqual(self.run_tool("status", *args).status, status, args)


if __name__ == "__main__":
    unittest.main()
