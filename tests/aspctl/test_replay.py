"""aspctl replay sends kept events back where they belong and loses none.

ASP_EVENTS_BOOTSTRAP=target/demo/asp-events ASPCTL=target/debug/aspctl \
    python -m unittest discover -v -s tests/aspctl -p test_replay.py
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import unittest
import uuid
from collections import Counter
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

from kept_messages import KeptMessagesTest, intercepted
from proxy import Answer
from tool import ASPCTL, OWN, Result, run, start

from case import fresh, id_of, sns  # isort: skip
from watch import Received  # isort: skip


def setUpModule() -> None:
    ReplayTest.set_up_module()


class ReplayTest(KeptMessagesTest):
    """All tests share a stack. Each test must leave its queues empty."""

    def notification(self, text: str) -> dict[str, Any]:
        """A message of the events topic as SNS delivers it to a queue."""
        return {
            "Type": "Notification",
            "MessageId": str(uuid.uuid4()),
            "TopicArn": self.stack.outputs["EventsTopicArn"],
            "Message": text,
            "Timestamp": "2026-11-20T09:00:00.000Z",
            "SignatureVersion": "1",
            "Signature": "EXAMPLE",
            "SigningCertURL": "https://sns.us-east-1.amazonaws.com/x.pem",
            "UnsubscribeURL": "https://sns.us-east-1.amazonaws.com/?Action=Unsubscribe",
        }

    # ── Runs and effects ──

    def replay(self, *args: str, env: dict[str, str] | None = None, stdin: str = "") -> Result:
        return run("replay", *args, env=env or self.env, stdin=stdin)

    def succeed(self, *args: str, stdin: str = "") -> Result:
        done = self.replay(*args, stdin=stdin)
        self.assertEqual(done.status, 0, done.err + done.out)
        return done

    def took_effect(self, events: list[dict[str, Any]], extra: int = 0) -> list[Received]:
        """Waits for the function; exactly these events must have had their effect.

        `extra` invocations have no effect.
        """
        received = self.watch.settle(len(events) + extra)
        self.assertEqual(Counter(message.event["id"] for message in received), Counter(map(id_of, events)))
        return received


def units(count: int) -> list[dict[str, Any]]:
    return [fresh("subscription-activated") for _ in range(count)]


class Sources(ReplayTest):
    def fail_for_good(self, payload: dict[str, Any]) -> None:
        """Makes the function fail with this payload until Lambda gives up."""
        variables = self.watch.variables()
        self.watch.configure(variables | {"READINESS_TOPIC_ARN": "arn:aws:sns:us-east-1:000000000000:gone"})
        try:
            self.watch.invoke_asynchronously(payload)
            self.assertEqual(self.watch.settle(3), [])
        finally:
            self.watch.configure(variables)
        self.eventually(lambda: self.counts("OnFailureQueue") == (1, 0))

    def test_event_that_the_function_failed(self) -> None:
        first, second = units(2)
        self.fail_for_good(sns(json.dumps(first), json.dumps(second)))
        done = self.succeed("on-failure", "--yes")
        self.assertIn("2 events sent", done.out)
        self.assertEqual(self.counts("OnFailureQueue"), (0, 0))
        self.took_effect([first, second])

    def test_to_the_function_with_the_original_message_id(self) -> None:
        payload = sns("not JSON")
        self.put("OnFailureQueue", {"requestContext": {}, "requestPayload": payload})
        self.succeed("on-failure", "--to", "function", "--yes")
        [kept] = self.watch.settle(1)
        self.assertEqual(kept.event["data"]["messageId"], payload["Records"][0]["Sns"]["MessageId"])
        self.assertEqual(kept.event["data"]["message"], "not JSON")

    def test_messages_that_sns_could_not_deliver(self) -> None:
        # MiniStack ignores redrive policies of subscriptions, so the test fills the queue.
        for source, queue in (("events-dlq", "EventsDeadLetterQueue"), ("ingestion-dlq", "IngestionDeadLetterQueue")):
            with self.subTest(source):
                wrapped, raw = units(2)
                self.put(queue, self.notification(json.dumps(wrapped)), raw, "not JSON")
                self.succeed(source, "--yes")
                *effects, kept = self.watch.settle(3)
                self.assertEqual({message.event["id"] for message in effects}, {id_of(wrapped), id_of(raw)})
                self.assertEqual(kept.event["data"]["message"], "not JSON")

    def test_quarantine_by_reason(self) -> None:
        texts = ["not JSON", "{ ", '{"AlarmName": 1.50}']
        for text in texts:
            self.watch.publish(text)
        self.eventually(lambda: self.counts("QuarantineQueue") == (3, 0))
        done = self.succeed("quarantine", "--reason", "NOT_JSON", "--yes")
        self.assertIn("NOT_JSON", done.out)
        self.assertNotIn("NOT_AN_EVENT", done.out)
        self.assertIn("2 events sent", done.out)
        self.assertIn("would quarantine these again, as NOT_JSON: no event type (2 events). Such messages", done.err)
        # The function quarantines both again.
        self.assertCountEqual([message.event["data"]["message"] for message in self.watch.settle(5)], texts)

    def test_unknown_statuses_are_counted_before_the_question(self) -> None:
        events = [fresh("automation-success") for _ in range(3)]
        for event, status in zip(events, ("PARTIAL", "Odd", "PARTIAL"), strict=True):
            event["payload"]["result"] = {"status": status}
            self.watch.publish(json.dumps(event))
        self.eventually(lambda: self.counts("QuarantineQueue") == (3, 0))
        done = self.succeed("quarantine", "--reason", "UNKNOWN_STATUS", "--dry-run")
        event_type = "Alexa.Automation.Execution.Completion"
        rows = [line.split()[:4] for line in done.lines]
        for status, count in (("Odd", "1"), ("PARTIAL", "2")):
            self.assertIn([event_type, "UNKNOWN_STATUS", status, count], rows)
        self.assertIn("again, as UNKNOWN_STATUS: Odd (1 event), PARTIAL (2 events). Find out", done.err)
        # Taught meanwhile, but not by the stack's parameters.
        variables = self.watch.variables()
        self.watch.configure(variables | {"SUCCESS_STATUSES": "partial,odd"})
        try:
            self.succeed("quarantine", "--reason", "UNKNOWN_STATUS", "--yes")
            self.assertEqual(self.watch.settle(6), [])
        finally:
            self.watch.configure(variables)

    def test_types_that_would_come_back_are_named_before_the_question(self) -> None:
        event = fresh("bad-unknown-type")
        self.watch.publish(json.dumps(event))
        self.eventually(lambda: self.counts("QuarantineQueue") == (1, 0))
        done = self.succeed("quarantine", "--dry-run")
        named = "again, as UNKNOWN_EVENT_TYPE: Alexa.Group.Management.Update (1 event). To get"
        self.assertIn(named, done.err)
        # So they are in a file with the message of the quarantine, but not with the event alone.
        [kept] = self.watch.settle(1)
        done = self.succeed("--file", "-", "--dry-run", stdin=kept.body)
        self.assertIn(named, done.err)
        done = self.succeed("--file", "-", "--dry-run", stdin=json.dumps(event))
        self.assertNotIn("again", done.err)

    def test_the_topic_marks_what_a_replay_sends(self) -> None:
        sqs, name = self.watch.sqs, f"marked-{uuid.uuid4()}"
        url = sqs.create_queue(QueueName=name)["QueueUrl"]
        self.addCleanup(sqs.delete_queue, QueueUrl=url)
        arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        topic = self.stack.outputs["EventsTopicArn"]
        service = {"Service": "sns.amazonaws.com"}
        statement = {"Effect": "Allow", "Principal": service, "Action": "sqs:SendMessage", "Resource": arn}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
        subscribed = self.watch.sns.subscribe(
            TopicArn=topic, Protocol="sqs", Endpoint=arn, ReturnSubscriptionArn=True
        )
        self.addCleanup(self.watch.sns.unsubscribe, SubscriptionArn=subscribed["SubscriptionArn"])
        events = units(1)
        self.succeed("--file", "-", "--yes", stdin=json.dumps(events[0]))
        self.took_effect(events)
        [message] = sqs.receive_message(QueueUrl=url)["Messages"]
        notification = json.loads(message["Body"])
        self.assertEqual(json.loads(notification["Message"]), events[0])
        self.assertEqual(notification["MessageAttributes"], {"aspevents-replay": {"Type": "String", "Value": "true"}})

    def test_quarantine_to_a_function_that_still_cannot_read_it(self) -> None:
        # The ledger knows quarantined messages by message id and would drop the same id.
        self.watch.publish("not JSON")
        for number in range(1, 3):
            self.eventually(lambda: self.counts("QuarantineQueue") == (1, 0))
            self.succeed("quarantine", "--to", "function", "--yes")
            ended = self.watch.invocations + 1 + number
            self.eventually(lambda ended=ended: self.watch.ended_invocations() == ended)
        [kept] = self.watch.settle(3)
        self.assertEqual(kept.event["data"]["message"], "not JSON")

    def test_messages_that_arrive_meanwhile_stay(self) -> None:
        events, late = units(1), units(1)
        self.put("EventsDeadLetterQueue", *events)

        def intercept(operation: str, ask: Callable[[], Answer]) -> Answer:
            if operation == "ReceiveMessage" and late:
                self.put("EventsDeadLetterQueue", late.pop())
            return ask()

        with intercepted(self.stack, intercept) as env:
            done = self.replay("events-dlq", "--yes", env=env)
        self.assertIn("1 message left in EventsDeadLetterQueue: 1 received after the replay began", done.out)
        self.took_effect(events)
        self.assertEqual(len(self.watch.drain("EventsDeadLetterQueue")), 1)

    def test_quarantined_event_of_a_newly_supported_type(self) -> None:
        # As quarantined by a version that did not support the type.
        [event] = units(1)
        text = json.dumps(event, indent=1)
        data = {"reason": "UNKNOWN_EVENT_TYPE", "detail": "new", "message": text, "messageId": "m-1"}
        self.put("QuarantineQueue", {"specversion": "1.0", "id": "q", "type": "aspevents.quarantine.v1", "data": data})
        self.succeed("quarantine", "--event", "Alexa.Enterprise.Subscription.Activation", "--yes")
        self.took_effect([event])

    def test_signal_returns_to_its_queue_unchanged(self) -> None:
        for queue in ("Retry", "Readiness", "Report", "Quarantine"):
            source = f"{queue.lower()}-dlq"
            with self.subTest(source):
                body = json.dumps({"specversion": "1.0", "id": "A.B/1", "data": {"reason": "NOT_JSON"}}, indent=2)
                self.put(f"{queue}DeadLetterQueue", body, decision="RETRY", unitId="u-1")
                done = self.succeed(source, "--yes")
                self.assertIn(f"1 event sent to {queue}Queue", done.out)
                self.assertIn("the ledger would drop", done.err)
                attributes = {"decision": "RETRY", "unitId": "u-1"}
                self.assertEqual(self.watch.settle(0), [Received(f"{queue}Queue", body, attributes)])

    def test_meaningless_options_are_refused_before_any_call(self) -> None:
        nowhere = self.env | {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}
        for args, problem in (
            (("retry-dlq", "--to", "function"), "--to function"),
            (("on-failure", "--reason", "NOT_JSON"), "--reason"),
        ):
            done = self.replay(*args, env=nowhere)
            self.assertEqual((done.status, done.out), (1, ""))
            self.assertIn(problem, done.err)
        self.assertEqual(self.replay().status, 64)


class Files(ReplayTest):
    def test_forms(self) -> None:
        events = units(9)
        texts = [json.dumps(event) for event in events]
        trigger = {"specversion": "1.0", "id": "A.B/1", "type": "t", "data": {"sourceEvent": events[3]}}
        kept = {"specversion": "1.0", "id": "q", "type": "t", "data": {"reason": "NOT_JSON", "message": texts[4]}}
        items = [{"messageId": "i-1", "eventSource": "aws:sqs", "body": json.dumps(self.notification(texts[5]))}]
        files = {
            "lines.jsonl": f"{texts[0]}\n\n{texts[1]}\n",
            "payload.json": json.dumps(sns(texts[2]), indent=2),
            "messages.jsonl": f"{json.dumps(trigger)}\n{json.dumps(kept)}\n",
            "items.json": json.dumps({"Records": items}),
            "array.json": f"[{texts[6]},\n {texts[7]}]",
        }
        for name, text in files.items():
            path = self.stack.folder / name
            path.write_text(text)
            self.succeed("--file", str(path), "--yes", "--rate", "100")
        self.succeed("--file", "-", "--yes", stdin=json.dumps(events[8], indent=2))
        self.took_effect(events)

    def test_text_is_sent_byte_for_byte(self) -> None:
        header = '{"eventType":{"namespace":"Alexa.New","name":"Thing"}}'
        text = f'{{ "header" : {header},\n"n": [1.50, 1e3, "\\u00e4"] }}'
        for target in ("topic", "function"):
            self.succeed("--file", "-", "--to", target, "--yes", stdin=f"\n{text}\n")
            [kept] = self.watch.settle(1)
            self.assertEqual(kept.event["data"]["message"], text)

    def test_file_with_an_error_sends_nothing(self) -> None:
        path = self.stack.folder / "mistake.jsonl"
        path.write_text(f"{json.dumps(units(1)[0])}\n\nhello\n")
        done = self.replay("--file", str(path), "--yes")
        self.assertEqual((done.status, done.out), (1, ""))
        self.assertIn(f"{path}, line 3:", done.err)
        done = self.replay("--file", str(path.with_name("none")), "--yes")
        self.assertEqual(done.status, 1)
        self.assertIn("No such file", done.err)
        self.assertEqual(self.watch.settle(0), [])

    def test_event_without_an_id_has_one_effect_by_the_function(self) -> None:
        [event] = units(1)
        del event["header"]["eventId"]
        for _ in range(2):
            self.succeed("--file", "-", "--to", "function", "--yes", stdin=json.dumps(event))
        self.assertEqual(len(self.watch.settle(2)), 1)


class Choice(ReplayTest):
    def test_filters_keep_other_messages_visible(self) -> None:
        mine, other, older = units(3)
        mine["header"]["entities"]["unit"]["id"] = older["header"]["entities"]["unit"]["id"] = "unit-of-mine"
        older["header"]["eventTime"]["timestamp"] = "2020-01-01T00:00:00Z"
        device = fresh("device-setup-completed")
        self.put("EventsDeadLetterQueue", *map(json.dumps, (mine, other, older, device)))
        activation = ("--event", "Alexa.Enterprise.Subscription.Activation")
        mine_alone = ("--unit", "unit-of-mine", "--since", "2021-01-01T00:00:00Z")
        done = self.succeed("events-dlq", *activation, *mine_alone, "--yes")
        self.assertIn("3 messages left in EventsDeadLetterQueue: 3 not selected", done.out)
        self.assertEqual(self.counts("EventsDeadLetterQueue"), (3, 0))
        self.took_effect([mine])
        done = self.succeed("events-dlq", *activation, "--limit", "1", "--yes")
        self.assertEqual(self.counts("EventsDeadLetterQueue"), (2, 0))
        self.assertIn("1 event sent", done.out)
        self.succeed("events-dlq", "--yes")
        self.took_effect([other, older, device])

    def test_partly_selected_message_stays(self) -> None:
        event, device = fresh("subscription-activated"), fresh("device-setup-completed")
        payload = sns(json.dumps(event), json.dumps(device))
        self.put("OnFailureQueue", {"requestContext": {}, "requestPayload": payload})
        done = self.succeed("on-failure", "--event", "Alexa.Endpoint.Lifecycle.SetupCompletion", "--yes")
        self.assertIn("stays in the queue for its other events", done.err)
        self.assertIn("1 message left in OnFailureQueue: 1 partly selected", done.out)
        self.took_effect([device])
        self.succeed("on-failure", "--yes")
        self.took_effect([event], extra=1)

    def test_message_without_an_event_stays(self) -> None:
        [event] = units(1)
        junk = {"requestContext": {}, "requestPayload": {"detail": {}}}
        self.put("OnFailureQueue", junk, {"requestContext": {}, "requestPayload": sns(json.dumps(event))})
        done = self.succeed("on-failure", "--yes")
        self.assertIn('1 without an event ($: an object without "Records"', done.out)
        self.took_effect([event])
        self.assertEqual([message.event for message in self.watch.drain("OnFailureQueue")], [junk])

    def test_few_among_many_are_read_once(self) -> None:
        bodies = [json.dumps({"id": f"A.B/{n}", "data": {"unitId": f"u-{n % 20}"}}) for n in range(60)]
        self.put("RetryDeadLetterQueue", *bodies)
        done = self.succeed("retry-dlq", "--unit", "u-19", "--yes")
        self.assertIn("3 events sent", done.out)
        self.assertEqual(self.counts("RetryDeadLetterQueue"), (57, 0))
        kept = self.watch.settle(0) + self.watch.drain("RetryDeadLetterQueue")
        self.assertCountEqual([message.body for message in kept], bodies)

    def test_preview_of_many_messages_is_limited(self) -> None:
        self.put("RetryDeadLetterQueue", *map(str, range(510)))
        calls: Counter[str] = Counter()

        def count(operation: str, ask: Callable[[], Answer]) -> Answer:
            calls[operation] += 1
            return ask()

        with intercepted(self.stack, count) as env:
            done = self.replay("retry-dlq", "--yes", "--rate", "1000", env=env)
        self.assertIn("500 events, plus matching events in about 10 more messages, from", done.out)
        self.assertIn("510 events sent", done.out)
        self.assertEqual((calls["SendMessageBatch"], calls["DeleteMessageBatch"]), (51, 51))
        self.assertEqual((self.counts("RetryDeadLetterQueue"), self.counts("RetryQueue")), ((0, 0), (510, 0)))
        self.watch.sqs.purge_queue(QueueUrl=self.watch.urls["RetryQueue"])


class Question(ReplayTest):
    def filled(self) -> list[dict[str, Any]]:
        events = units(2)
        self.put("EventsDeadLetterQueue", *events)
        return events

    def assert_untouched(self, events: list[dict[str, Any]]) -> None:
        self.assertEqual(self.counts("EventsDeadLetterQueue"), (2, 0))
        self.assertEqual(self.watch.settle(0), [])
        kept = self.watch.drain("EventsDeadLetterQueue")
        self.assertCountEqual([message.event for message in kept], events)

    def test_dry_run_changes_nothing(self) -> None:
        events = self.filled()
        events[0]["header"]["eventTime"]["timestamp"] = "2026-11-20T09:07:03Z"
        done = self.succeed("events-dlq", "--dry-run")
        self.assertIn("2 events from EventsDeadLetterQueue to the topic", done.out)
        row = ["Alexa.Enterprise.Subscription.Activation", "2", "2026-11-20T09:07:03Z", "2026-11-20T09:07:03Z"]
        self.assertIn([*row, "amzn1.alexa.unit.did.EXAMPLEROOM105"], [line.split() for line in done.lines])
        self.assertNotIn("\x1b", done.out + done.err)
        self.assert_untouched(events)

    def test_no_terminal_to_prompt_on(self) -> None:
        events = self.filled()
        done = self.replay("events-dlq")
        self.assertEqual(done.status, 1)
        self.assertIn("nothing was changed: cannot prompt: standard input is not a terminal", done.err)
        self.assertIn("hint: Pass --yes to proceed without confirmation", done.err)
        self.assert_untouched(events)

    def test_nothing_to_replay(self) -> None:
        done = self.succeed("events-dlq")
        self.assertIn("0 events from EventsDeadLetterQueue", done.out)
        self.succeed("--file", "-", "--yes")

    def test_answer_no(self) -> None:
        events = self.filled()
        process, user = self.prompting("replay", "events-dlq", "--color", "always")
        os.write(user, b"n\n")
        _, err = process.communicate(timeout=30)
        self.assertEqual(process.returncode, 1)
        self.assertIn("nothing was changed", err)
        self.assert_untouched(events)

    def test_answer_yes(self) -> None:
        events = self.filled()
        process, user = self.prompting("replay", "events-dlq", "--color", "always")
        os.write(user, b"y\n")
        out, err = process.communicate(timeout=30)
        self.assertEqual(process.returncode, 0, err)
        self.assertIn("Send 2 events?", err)
        self.assertIn("\x1b[32m2 events sent", out)
        self.took_effect(events)

    def test_interrupt_at_the_prompt(self) -> None:
        events = self.filled()
        process, _ = self.prompting("replay", "events-dlq", "--color", "always")
        assert process.stderr
        read = ""
        while "[y/N]" not in read:
            self.assertTrue(character := process.stderr.read(1), read)
            read += character
        self.assertEqual(self.counts("EventsDeadLetterQueue"), (0, 2))
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
        self.assertEqual(process.returncode, 130)
        self.assertIn("interrupted. Nothing was sent", err)
        self.assert_untouched(events)

    def test_quiet_prints_only_the_result(self) -> None:
        self.filled()
        done = self.succeed("events-dlq", "--unit", "nobody", "--dry-run", "--quiet")
        self.assertEqual(done.err, "")
        self.assertIn("0 events", done.out)
        self.assertEqual(len(self.watch.drain("EventsDeadLetterQueue")), 2)

    def test_closed_pipe_does_not_stop_the_replay(self) -> None:
        events = self.filled()
        reader, writer = os.pipe()
        os.close(reader)
        try:
            args = [ASPCTL, "replay", "events-dlq", "--yes"]
            done = subprocess.run(args, env=OWN | self.env, stdout=writer, stderr=subprocess.PIPE, timeout=30)
        finally:
            os.close(writer)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.took_effect(events)


class Interrupted(ReplayTest):
    def test_signal_during_the_replay(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            with self.subTest(number):
                events = units(5)
                self.put("EventsDeadLetterQueue", *events)
                published = 0

                def intercept(operation: str, ask: Callable[[], Answer], number: signal.Signals = number) -> Answer:
                    nonlocal published
                    published += operation == "PublishBatch"
                    if operation == "PublishBatch" and published == 2:
                        process.send_signal(number)
                    return ask()

                with intercepted(self.stack, intercept) as env:
                    process = start("replay", "events-dlq", "--yes", env=env)
                    out, err = process.communicate(timeout=30)
                self.assertEqual(process.returncode, 130)
                self.assertIn("interrupted. Events that were not sent remain where they were", err)
                self.assertIn("2 events sent", out)
                self.assertIn("3 messages left in EventsDeadLetterQueue", out)
                # Messages in flight were accepted and deleted; the others are visible at once.
                self.assertEqual(self.counts("EventsDeadLetterQueue"), (3, 0))
                self.succeed("events-dlq", "--yes")
                self.took_effect(events)

    def test_killed_between_acceptance_and_deletion(self) -> None:
        events = units(3)
        self.put("EventsDeadLetterQueue", *events)
        receipts: list[str] = []

        def intercept(operation: str, ask: Callable[[], Answer]) -> Answer:
            if operation == "DeleteMessageBatch":
                process.kill()
                return Answer(500, b"")
            answer = ask()
            if operation == "ReceiveMessage":
                receipts.extend(message["ReceiptHandle"] for message in json.loads(answer.body).get("Messages", []))
            return answer

        with intercepted(self.stack, intercept) as env:
            process = start("replay", "events-dlq", "--yes", env=env)
            process.communicate(timeout=30)
        self.assertEqual(process.returncode, -signal.SIGKILL)
        # One was accepted, and all are still in the queue, invisible until the timeout.
        [received] = self.watch.settle(1)
        self.assertIn(received.event["id"], map(id_of, events))
        self.assertEqual(self.counts("EventsDeadLetterQueue"), (0, 3))
        done = self.succeed("events-dlq", "--yes")
        self.assertIn("3 messages in EventsDeadLetterQueue cannot be received at present", done.err)
        for receipt in receipts:
            url = self.watch.urls["EventsDeadLetterQueue"]
            self.watch.sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=receipt, VisibilityTimeout=0)
        self.succeed("events-dlq", "--yes")
        self.took_effect([event for event in events if id_of(event) != received.event["id"]], extra=1)


class Refused(ReplayTest):
    def test_topic_refuses_everything(self) -> None:
        events = units(3)
        self.put("EventsDeadLetterQueue", *events)

        def deny(operation: str, ask: Callable[[], Answer]) -> Answer:
            if operation != "PublishBatch":
                return ask()
            error = (
                "<Error><Type>Sender</Type><Code>AuthorizationError</Code>"
                "<Message>not you</Message></Error>"
            )
            return Answer(403, f"<ErrorResponse>{error}</ErrorResponse>".encode())

        with intercepted(self.stack, deny) as env:
            done = self.replay("events-dlq", "--yes", env=env)
        self.assertEqual(done.status, 1)
        self.assertIn("0 events sent", done.out)
        self.assertIn("3 messages left in EventsDeadLetterQueue", done.out)
        self.assertIn("sns:Publish", done.err)
        self.assertIn("not you", done.err)
        self.assertEqual(self.counts("EventsDeadLetterQueue"), (3, 0))
        self.succeed("events-dlq", "--yes")
        self.took_effect(events)

    def test_one_entry_of_a_batch_is_refused(self) -> None:
        events = units(3)
        self.put("EventsDeadLetterQueue", *events)

        def refuse_second(operation: str, ask: Callable[[], Answer]) -> Answer:
            answer = ask()
            if operation != "PublishBatch":
                return answer
            # It was published although the answer says otherwise; the ledger drops the repeat.
            taken = ElementTree.fromstring(answer.body)
            [successful], [failed] = taken.iterfind(".//{*}Successful"), taken.iterfind(".//{*}Failed")
            [second] = [entry for entry in successful if entry.findtext("{*}Id") == "1"]
            successful.remove(second)
            entry = "<member><Id>1</Id><Code>InternalError</Code><Message>later</Message></member>"
            failed.append(ElementTree.fromstring(entry))
            return Answer(200, ElementTree.tostring(taken))

        with intercepted(self.stack, refuse_second) as env:
            done = self.replay("events-dlq", "--yes", "--rate", "100", env=env)
        self.assertEqual(done.status, 1, done.out + done.err)
        self.assertIn("2 events sent", done.out)
        self.assertIn("1 event refused. First error: SNS: InternalError: later", done.out)
        self.assertEqual(self.counts("EventsDeadLetterQueue"), (1, 0))
        self.succeed("events-dlq", "--yes")
        self.took_effect(events, extra=1)

    def test_too_large_for_the_topic_but_not_for_the_function(self) -> None:
        small, large = units(2)
        large["payload"]["x"] = "x" * 262_144
        self.put("EventsDeadLetterQueue", large, small)
        done = self.replay("events-dlq", "--yes")
        self.assertEqual(done.status, 1)
        self.assertIn("1 event will be refused", done.err)
        self.assertIn("--to function accepts more", done.out)
        self.assertEqual(self.counts("EventsDeadLetterQueue"), (1, 0))
        self.succeed("events-dlq", "--to", "function", "--yes")
        self.took_effect([small, large])

    def test_undeleted_message_is_replayed_again(self) -> None:
        [event] = units(1)
        self.put("EventsDeadLetterQueue", event)

        def keep(operation: str, ask: Callable[[], Answer]) -> Answer:
            if operation != "DeleteMessageBatch":
                return ask()
            failed = {"Id": "0", "Code": "InternalError", "SenderFault": False}
            return Answer(200, json.dumps({"Successful": [], "Failed": [failed]}).encode())

        with intercepted(self.stack, keep) as env:
            done = self.replay("events-dlq", "--yes", env=env)
        self.assertEqual(done.status, 1)
        self.assertIn("1 message sent, but not deleted", done.out)
        self.took_effect([event])
        self.assertEqual(self.counts("EventsDeadLetterQueue"), (0, 1))
        self.watch.sqs.purge_queue(QueueUrl=self.watch.urls["EventsDeadLetterQueue"])


if __name__ == "__main__":
    unittest.main()
