"""aspctl explain: what it says is what the function does and what the template's alarms watch."""

from __future__ import annotations

import json
import unittest
import uuid
from datetime import UTC, datetime
from typing import Any

import tool
from tool import ROOT

from case import StackTest, fresh, text_of  # isort: skip
from resolved import ResolvedTemplate, load, metrics_of  # isort: skip
from watch import Received, messages, samples  # isort: skip

# Proxies that nobody listens on, and no credentials: nothing could be asked of AWS or Alexa.
OFFLINE = {name: "http://127.0.0.1:1" for name in ("HTTPS_PROXY", "HTTP_PROXY", "AWS_ENDPOINT_URL")}

Event = dict[str, Any]


def explain(text: str, *options: str) -> tuple[int, list[Event]]:
    """The exit status, and the explained events."""
    done = tool.run("explain", "-", "--output", "json", *options, stdin=text, env=OFFLINE)
    if done.err:
        raise AssertionError(done.err)
    events: list[Event] = done.json["events"]
    return done.status, events


class OfflineTest(unittest.TestCase):
    """What needs no stack."""

    def test_the_exit_status_says_what_becomes_of_the_events(self) -> None:
        destination = {"requestContext": {}, "requestPayload": {"foo": 1}}
        for text, status in (
            (text_of("subscription-activated"), 0),
            (text_of("greeting"), 0),
            (text_of("bad-unknown-type"), 2),
            ("hello", 2),
            (json.dumps(destination), 3),
            ((ROOT / "events/batch.json").read_text(), 2),
        ):
            self.assertEqual(explain(text)[0], status, text)

    def test_what_cannot_be_read_is_an_error(self) -> None:
        for args, text, status, said in (
            (["nowhere.json"], "", 1, "error: nowhere.json: cannot be read"),
            (["-"], "", 1, "error: standard input: there is no event in it"),
            (["-"], "{}\noops", 1, "error: standard input, line 2: not JSON"),
            ([], "", 64, "<FILE>"),
            (["-", "--parameter", "Tracing=Active"], "{}", 64, "Tracing does not matter here"),
            (
                ["-", "--parameter", "SuccessStatuses=X", "--parameter", "FailureStatuses=X"],
                "{}",
                1,
                "error: --parameter: SuccessStatuses and FailureStatuses conflict",
            ),
        ):
            done = tool.run("explain", *args, stdin=text, env=OFFLINE)
            self.assertEqual((done.status, done.out), (status, ""), done.err)
            self.assertIn(said, done.err)

    def test_a_list_of_the_quarantine_has_no_texts(self) -> None:
        fields = ("id", "reason", "detail", "eventType", "subject", "status", "eventTime", "queuedAt")
        item: Event = dict.fromkeys(fields)
        for text in (
            {"version": 1, "messages": [item], "unread": 0},
            {"version": 1, "messages": [], "unread": 0},
            item,
        ):
            done = tool.run("explain", "-", stdin=json.dumps(text, indent=2), env=OFFLINE)
            self.assertEqual((done.status, done.out), (1, ""))
            self.assertIn("standard input: it is the output of aspctl quarantine", done.err)
            self.assertIn("aspctl quarantine show ID --output json | aspctl explain -", done.err)

    def test_what_the_quarantine_shows_people_is_no_message(self) -> None:
        for text in ("FIELD   VALUE\nid      m-1\nreason  NOT_JSON\n\nhello\n", "ID   REASON    RECEIVED  EVENT TYPE\n"):
            done = tool.run("explain", "-", stdin=text, env=OFFLINE)
            self.assertEqual((done.status, done.out), (1, ""))
            self.assertIn("aspctl quarantine show ID --output json | aspctl explain -", done.err)

    def test_times_have_milliseconds_at_most(self) -> None:
        for options in ((), ("--at", "2h")):
            _, [event] = explain("hello", *options)
            self.assertRegex(event["receivedAt"], r"^[^.]+(\.\d{3})?Z$")

    def test_people_see_what_programs_see(self) -> None:
        path = ROOT / "events/skill-failure-invalid-response.json"
        shown = tool.run("explain", path, env=OFFLINE)
        self.assertEqual((shown.status, shown.err), (0, ""))
        _, [event] = explain(path.read_text())
        [message] = event["messages"]
        told = [event["eventType"], event["messageId"], event["read"]["unitId"], message["type"]]
        told += [alarm["name"] for alarm in event["alarms"]] + event["queues"] + event["effects"]
        told += [f"{name} = {value}" for name, value in message["attributes"].items()]
        told += ["SkillInteractionFailure SkillStage=live: 1", "Assumed: no event was processed"]
        for text in told:
            self.assertIn(text, shown.out)

    def test_the_sample_of_the_document_is_what_is_printed(self) -> None:
        document = (ROOT / "docs/aspctl.md").read_text()
        command = "$ aspctl explain events/bad-unknown-type.json    # exit status 2\n"
        sample = document.split(command)[1].split("\n```")[0].splitlines()
        shown = tool.run("explain", ROOT / "events/bad-unknown-type.json", env=OFFLINE)
        self.assertEqual(shown.status, 2)
        printed = iter(shown.lines)
        for line in sample:
            if line.strip() != "…":  # stands for further lines
                self.assertIn(line, printed, "in this order")

    def test_what_is_printed_is_safe_for_a_terminal(self) -> None:
        event = fresh("bad-unknown-type")
        event["header"]["eventType"]["name"] = "X\x1b[2J"
        shown = tool.run("explain", "-", stdin=json.dumps(event), env=OFFLINE)
        self.assertEqual(shown.status, 2)
        self.assertIn("X\ufffd[2J", shown.out)
        self.assertNotIn("\x1b", shown.out)
        secret = {"LWA_REFRESH_TOKEN": "Atzr|explain-secret"}
        event = fresh("subscription-activated")
        event["payload"]["subscription"] = {"id": "Atzr|explain-secret"}
        for output in ("table", "json"):
            shown = tool.run(
                "explain", "-", "--output", output, stdin=json.dumps(event), env=OFFLINE | secret
            )
            self.assertEqual(shown.status, 0, shown.err)
            self.assertNotIn("explain-secret", shown.out)
            self.assertIn("[hidden]", shown.out)

    def test_each_alarm_of_the_template_that_watches_what_an_event_does_is_told(self) -> None:
        parameters = {"SilenceHours": "6", "QueueAgeLimitSeconds": "60"}
        template = ResolvedTemplate(load(), parameters)
        alarms = template.properties_of_type("AWS::CloudWatch::Alarm")
        options = [f"--parameter={name}={value}" for name, value in parameters.items()]
        seen = set()
        for path in samples():
            for event in explain(path.read_text(), *options)[1]:
                watching = {
                    name
                    for name, alarm in alarms.items()
                    if any(_is_seen(metric, event) for metric in metrics_of(alarm))
                }
                told = {alarm["name"]: alarm for alarm in event["alarms"]}
                # The query of this one names no single metric; tests in Rust compare it.
                watching |= told.keys() & {"SkillFailureBySkillAlarm"}
                self.assertEqual(set(told), watching, path.name)
                for name, alarm in told.items():
                    description = alarms[name]["AlarmDescription"]
                    self.assertTrue(description.startswith(f"{alarm['severity']}: "), name)
                    self.assertTrue(description.endswith(alarm["runbook"]), name)
                seen |= watching
        self.assertGreater(len(seen), 8)


def _is_seen(metric: Event, event: Event) -> bool:
    """Whether a metric that an alarm watches is one of the event, or of a queue that keeps it."""
    dimensions = {one["Name"]: one["Value"] for one in metric.get("Dimensions", [])}
    if metric["Namespace"] == "AWS/SQS":
        return dimensions.get("QueueName") in event["queues"]
    return any(
        (one["namespace"], one["name"], one["dimensions"])
        == (metric["Namespace"], metric["MetricName"], dimensions)
        for one in event["metrics"]
    )


class StackAgreementTest(StackTest):
    """What the deployed function does is what was explained."""

    def test_the_function_does_with_each_sample_what_is_explained(self) -> None:
        for path in samples():
            for text in messages(path):
                text = _renewed(text)
                status, [event] = explain(_published(text))
                received = self.send(text)
                with self.subTest(path.name, text=text[:80]):
                    self.assertEqual(status, 2 if event["outcome"] == "QUARANTINED" else 0)
                    self.assertEqual(
                        sorted(message.queue for message in received), event["queues"]
                    )
                    for told, message in zip(event["messages"], received, strict=True):
                        self.assert_same(told, message)

    def assert_same(self, told: Event, received: Received) -> None:
        """The same attributes and body, but for what depends on the publication."""
        self.assertEqual(told["attributes"], received.attributes)
        body, sent = told["body"], received.event
        self.assertEqual(body["type"], sent["type"])
        for one in (body, sent):
            one["data"].pop("notBefore", None)
            if one["type"] == "aspevents.quarantine.v1":
                for field in ("id", "subject", "time"):
                    one.pop(field, None)
                for field in ("messageId", "topicArn"):
                    one["data"].pop(field, None)
        self.assertEqual(body, sent)

    def test_a_quarantined_message_is_explained_as_it_lies_in_its_queue(self) -> None:
        text = json.dumps(fresh("bad-unknown-type"))
        self.watch.publish(text)
        [kept] = self.watch.settle(1)
        status, [event] = explain(kept.body)
        self.assertEqual((status, event["containers"]), (2, ["QUARANTINED_MESSAGE"]))
        self.assertEqual(event["raw"], text)
        self.assertEqual(event["quarantinedBefore"]["reason"], event["quarantine"]["reason"])
        self.assertEqual(event["quarantinedBefore"]["detail"], event["quarantine"]["detail"])
        # The message id and the text make the key: a replay would be quarantined under the same.
        [message] = event["messages"]
        self.assertEqual(message["body"]["id"], kept.event["id"])
        self.assertEqual(message["body"]["data"], kept.event["data"])

    def test_what_the_quarantine_shows_can_be_explained(self) -> None:
        env = tool.aws(self.stack)
        text = json.dumps(fresh("bad-unknown-type"))
        url = self.watch.urls["QuarantineQueue"]
        body = {
            "specversion": "1.0", "id": "i", "source": "urn:alexa:smart-properties",
            "type": "aspevents.quarantine.v1",
            "data": {"reason": "UNKNOWN_EVENT_TYPE", "detail": "d", "message": text, "messageId": "m-1"},
        }  # fmt: skip
        self.watch.sqs.send_message(QueueUrl=url, MessageBody=json.dumps(body))
        shown = tool.run("quarantine", "show", "m-1", "--output", "json", env=env)
        self.assertEqual(shown.status, 0, shown.err)
        status, [event] = explain(shown.out)
        self.assertEqual((status, event["raw"]), (2, text))
        self.assertEqual((event["messageId"], event["quarantinedBefore"]["detail"]), ("m-1", "d"))
        received = self.watch.sqs.receive_message(
            QueueUrl=url, MessageSystemAttributeNames=["All"], WaitTimeSeconds=5
        )
        [kept] = received["Messages"]
        printed = {name: kept[name] for name in ("MessageId", "Body", "Attributes")}
        status, [event] = explain(json.dumps({"Messages": [printed]}))
        self.assertEqual((status, event["raw"]), (2, text))
        self.assertEqual(event["containers"], ["SQS_MESSAGE", "QUARANTINED_MESSAGE"])
        self.watch.drain("QuarantineQueue")

    def test_a_failed_invocation_is_explained_as_it_lies_in_its_queue(self) -> None:
        payload = {"foo": 1}
        answer, is_error = self.watch.invoke(payload)
        self.assertTrue(is_error, answer)
        destination = {
            "requestContext": {"condition": "RetriesExhausted", "approximateInvokeCount": 3},
            "requestPayload": payload,
            "responsePayload": answer,
        }
        status, [event] = explain(json.dumps(destination))
        self.assertEqual(status, 3)
        self.assertEqual(event["failure"]["error"], answer["errorMessage"])
        self.assertEqual(event["failedBefore"]["errorMessage"], answer["errorMessage"])


def _renewed(text: str) -> str:
    """The same event under a new id and with the present time, so that it is no repeat."""
    try:
        event = json.loads(text)
    except ValueError:
        return f"{text} {uuid.uuid4()}"
    if event.get("Type") == "Notification":
        return json.dumps(event | {"Message": _renewed(event["Message"])})
    if "header" not in event or "eventId" not in event["header"]:
        return text
    event["header"]["eventId"]["id"] = str(uuid.uuid4())
    event["header"]["eventTime"]["timestamp"] = datetime.now(UTC).isoformat()
    automation = event["payload"].get("automation", {})
    if "id" in automation:
        automation["id"] = f"amzn1.alexa.automation.{uuid.uuid4()}"
    return json.dumps(event)


def _published(text: str) -> str:
    """The text as one of the messages of a queue: `explain` reads a text that is not JSON as well."""
    return json.dumps({"Type": "Notification", "Message": text})


if __name__ == "__main__":
    unittest.main()
