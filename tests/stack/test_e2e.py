"""End to end: the deployed template, the real binary, events through SNS, and what arrives at the consumers' queues.

ASP_EVENTS_BOOTSTRAP=target/debug/asp-events python -m unittest discover tests/stack
"""

from __future__ import annotations

import json
import os
import unittest
import uuid
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

from cloudevents.core.formats.json import JSONFormat
from jsonschema import Draft202012Validator, FormatChecker

from stack import ROOT, Stack, running
from watch import KEPT, Received, Watch, messages

BOOTSTRAP = Path(os.environ.get("ASP_EVENTS_BOOTSTRAP", ROOT / "target/debug/asp-events")).resolve()


def text_of(sample: str) -> str:
    return messages(ROOT / f"events/{sample}.json")[0]


def fresh(sample: str) -> dict[str, Any]:
    """The event of a sample under a new id, because the function remembers the ids that it has seen."""
    event: dict[str, Any] = json.loads(text_of(sample))
    event["header"]["eventId"]["id"] = f"{sample}-{uuid.uuid4()}"
    return event


def sns(*texts: str) -> dict[str, Any]:
    """An invocation by SNS with these messages, made from a sample."""
    record = json.loads((ROOT / "events/greeting.json").read_bytes())["Records"][0]
    return {
        "Records": [
            record | {"Sns": record["Sns"] | {"Message": text, "MessageId": str(uuid.uuid4())}} for text in texts
        ]
    }


class EndToEnd(unittest.TestCase):
    stack: Stack
    watch: Watch

    @classmethod
    def setUpClass(cls) -> None:
        cls.stack = cls.enterClassContext(running(BOOTSTRAP, say=lambda _: None))
        cls.watch = Watch(cls.stack)

    def tearDown(self) -> None:
        for queue in KEPT:
            self.assertEqual(self.watch.drain(queue), [], f"left in {queue}")

    # ── What arrives ──

    def send(self, text: str) -> list[Received]:
        self.watch.publish(text)
        return self.watch.settle(1)

    def signal(self, event: dict[str, Any], queue: str, kind: str) -> tuple[dict[str, Any], dict[str, str]]:
        """Sends an Alexa event; the one signal that comes of it and the signal's attributes."""
        received = self.send(json.dumps(event))
        self.assertEqual([message.queue for message in received], [queue])
        signal = self.checked(received[0], kind)
        header = event["header"]
        name = f"{header['eventType']['namespace']}.{header['eventType']['name']}"
        self.assertEqual(signal["id"], f"{name}/{header['eventId']['id']}")
        self.assertEqual(
            datetime.fromisoformat(signal["time"]), datetime.fromisoformat(header["eventTime"]["timestamp"])
        )
        self.assertEqual(signal["data"]["sourceEvent"], event)
        return signal, received[0].attributes

    def checked(self, message: Received, kind: str) -> dict[str, Any]:
        """The message, which must be a CloudEvent of this type in the eyes of the SDK and of the schema."""
        accepted = JSONFormat().read(None, message.body)
        self.assertEqual(accepted.get_type(), kind)
        self.assertEqual(accepted.get_source(), "urn:alexa:smart-properties")
        schema = json.loads((ROOT / f"schemas/{kind}.json").read_bytes())
        Draft202012Validator.check_schema(schema)
        Draft202012Validator(schema, format_checker=FormatChecker()).validate(message.event)
        return message.event

    def assert_data(self, signal: dict[str, Any], **wanted: Any) -> None:
        self.assertEqual({key: signal["data"].get(key) for key in wanted}, wanted)

    # ── The rows of the table of events, in its order ──

    def test_skill_failure_raises_the_alarm_on_live_skills(self) -> None:
        event = fresh("skill-failure-invalid-response")
        skill = f"amzn1.ask.skill.{uuid.uuid4()}"
        event["payload"]["skill"]["id"] = skill
        live = self.watch.total(SkillStage="live")
        self.assertEqual(self.send(json.dumps(event)), [])
        self.assertEqual(self.watch.total(SkillStage="live"), live + 1)
        self.assertEqual(self.watch.total(SkillId=skill, SkillStage="live", ErrorType="INVALID_RESPONSE"), 1)
        self.assertEqual(self.watch.alarms()["LiveSkillFailureAlarm"], "ALARM")

    def test_skill_failure_in_development_is_not_counted_as_live(self) -> None:
        live, development = self.watch.total(SkillStage="live"), self.watch.total(SkillStage="development")
        self.assertEqual(self.send(json.dumps(fresh("skill-failure-development"))), [])
        self.assertEqual(self.watch.total(SkillStage="live"), live)
        self.assertEqual(self.watch.total(SkillStage="development"), development + 1)

    def test_failed_automation_is_to_be_retried(self) -> None:
        event = fresh("automation-failure-internal-error")
        automation = event["payload"]["automation"]["id"] = f"amzn1.alexa.automation.{uuid.uuid4()}"
        unit = event["header"]["entities"]["unit"]["id"]
        signal, attributes = self.signal(event, "RetryQueue", "aspevents.automation.retry.v1")
        self.assertEqual(signal["subject"], automation)
        self.assert_data(signal, automationId=automation, unitId=unit, decision="RETRY", attempt=1, maxAttempts=5)
        self.assertIn("notBefore", signal["data"])
        self.assertEqual([error["retryable"] for error in signal["data"]["errors"]], [True])
        self.assertEqual(attributes, {"type": "aspevents.automation.retry.v1", "decision": "RETRY", "unitId": unit})

    def test_failed_automation_without_errors_is_to_be_retried(self) -> None:
        event = fresh("automation-failure-no-errors")
        signal, _ = self.signal(event, "RetryQueue", "aspevents.automation.retry.v1")
        self.assert_data(signal, decision="RETRY", errors=[])

    def test_failed_automation_with_a_wrong_device_is_to_be_fixed_first(self) -> None:
        event = fresh("automation-failure-endpoint-not-found")
        signal, attributes = self.signal(event, "RetryQueue", "aspevents.automation.retry.v1")
        self.assert_data(signal, decision="FIX_THEN_RETRY")
        self.assertEqual([error["type"] for error in signal["data"]["errors"]], ["ENDPOINT_NOT_FOUND"])
        self.assertEqual([error["retryable"] for error in signal["data"]["errors"]], [False])
        self.assertEqual(attributes["decision"], "FIX_THEN_RETRY")

    def test_successful_automation_publishes_nothing(self) -> None:
        self.assertEqual(self.send(json.dumps(fresh("automation-success"))), [])

    def test_activated_unit_is_ready(self) -> None:
        event = fresh("subscription-activated")
        unit = event["header"]["entities"]["unit"]
        signal, attributes = self.signal(event, "ReadinessQueue", "aspevents.unit.readiness.v1")
        self.assertEqual(signal["subject"], unit["id"])
        self.assert_data(
            signal,
            ready=True,
            unitId=unit["id"],
            parentUnitId=unit["parent"]["id"],
            subscriptionId=event["payload"]["subscription"]["id"],
        )
        self.assertEqual(
            attributes,
            {
                "type": "aspevents.unit.readiness.v1",
                "ready": "true",
                "unitId": unit["id"],
                "parentUnitId": unit["parent"]["id"],
            },
        )

    def test_unit_whose_activation_failed_is_not_ready(self) -> None:
        event = fresh("subscription-activation-failed")
        signal, attributes = self.signal(event, "ReadinessQueue", "aspevents.unit.readiness.v1")
        self.assert_data(signal, ready=False, error=event["payload"]["result"]["error"])
        self.assertEqual(attributes["ready"], "false")

    def test_roles(self) -> None:
        for sample, change, ready in (("role-assigned", "ASSIGNED", True), ("role-revoked", "REVOKED", False)):
            with self.subTest(change):
                event = fresh(sample)
                unit = event["header"]["entities"]["resource"]["resourceId"]
                principal, role = event["payload"]["principal"]["id"], event["payload"]["role"]["id"]
                signal, attributes = self.signal(event, "ReadinessQueue", "aspevents.role.readiness.v1")
                self.assertEqual(signal["subject"], principal)
                self.assert_data(signal, ready=ready, change=change, unitId=unit, principalId=principal, roleId=role)
                self.assertEqual(
                    attributes,
                    {
                        "type": "aspevents.role.readiness.v1",
                        "ready": str(ready).lower(),
                        "change": change,
                        "unitId": unit,
                        "principalId": principal,
                    },
                )

    def test_device_that_is_set_up_is_ready(self) -> None:
        event = fresh("device-setup-completed")
        device = event["payload"]["endpoint"]["id"]
        signal, attributes = self.signal(event, "ReadinessQueue", "aspevents.device.readiness.v1")
        self.assertEqual(signal["subject"], device)
        self.assert_data(signal, ready=True, endpointId=device)
        self.assertEqual(attributes, {"type": "aspevents.device.readiness.v1", "ready": "true", "endpointId": device})

    def test_quarantine_keeps_the_text_byte_for_byte(self) -> None:
        unknown, invalid = fresh("bad-unknown-type"), fresh("bad-invalid-event")
        for reason, text in (
            ("NOT_JSON", text_of("bad-not-json")),
            ("NOT_JSON", '{"header": "cut o'),
            ("NOT_JSON", 'quotes " and \\ backslashes,\ttabs\r\nand ümläuts, 漢字, 🏨'),
            ("NOT_AN_EVENT", text_of("bad-not-an-event")),
            ("NOT_AN_EVENT", ' [ 1.0 , 1e2,\n"\\u00fc" ] '),
            ("INVALID_EVENT", json.dumps(invalid, indent=3)),
            ("UNKNOWN_EVENT_TYPE", json.dumps(unknown, separators=(" ,", " :"))),
        ):
            with self.subTest(reason, text=text):
                message_id = self.watch.publish(text)
                received = self.watch.settle(1)
                self.assertEqual([message.queue for message in received], ["QuarantineQueue"])
                kept = self.checked(received[0], "aspevents.quarantine.v1")
                self.assertTrue(kept["id"].startswith(f"quarantine/{message_id}-"), kept["id"])
                self.assertEqual(kept["subject"], message_id)
                self.assert_data(
                    kept,
                    reason=reason,
                    message=text,
                    messageId=message_id,
                    topicArn=self.stack.outputs["EventsTopicArn"],
                )
                self.assertTrue(kept["data"]["detail"])
                self.assertEqual(received[0].attributes, {"type": "aspevents.quarantine.v1", "reason": reason})

    def test_greeting_is_ignored(self) -> None:
        self.assertEqual(self.send("{}"), [])

    # ── What the function answers, and what becomes of events that come twice or fail ──

    def test_event_that_comes_twice_has_one_effect(self) -> None:
        text = json.dumps(fresh("automation-failure-internal-error"))
        self.assertEqual(len(self.send(text)), 1)
        self.assertEqual(self.send(text), [])

    def test_events_topic_has_the_statement_that_amazon_documents(self) -> None:
        statement = json.loads((ROOT / "tests/documented/topic-policy-statement.txt").read_text())
        topic = self.stack.outputs["EventsTopicArn"]
        statement["Resource"] = topic
        attributes = self.stack.client("sns").get_topic_attributes(TopicArn=topic)["Attributes"]
        self.assertIn(statement, json.loads(attributes["Policy"])["Statement"])

    def test_answers_count_the_records(self) -> None:
        ready = json.dumps(fresh("subscription-activated"))
        answer, is_error = self.watch.invoke(sns(ready, ready, "{}", "not JSON"))
        self.assertFalse(is_error, answer)
        self.assertEqual(answer, {"records": 4, "handled": 1, "duplicate": 1, "ignored": 1, "quarantined": 1})
        queues = Counter(message.queue for message in self.watch.settle(0))
        self.assertEqual(queues, {"ReadinessQueue": 1, "QuarantineQueue": 1})

    def test_batch_from_sqs_has_no_failures(self) -> None:
        batch = json.loads((ROOT / "events/sqs-batch.json").read_bytes())
        answer, is_error = self.watch.invoke(batch)
        self.assertFalse(is_error, answer)
        self.assertEqual(answer, {"batchItemFailures": []})
        queues = Counter(message.queue for message in self.watch.settle(0))
        self.assertEqual(queues, {"RetryQueue": 1, "ReadinessQueue": 2})

    def test_unsupported_envelope_is_an_error(self) -> None:
        payloads: tuple[Any, ...] = ({"source": "aws.events"}, {"Records": [{"eventSource": "aws:s3"}]}, [], "text", 1)
        for payload in payloads:
            with self.subTest(payload=payload):
                answer, is_error = self.watch.invoke(payload)
                self.assertTrue(is_error, answer)
                self.assertEqual(answer["errorType"], "UnsupportedEnvelope")
        self.assertEqual(self.watch.settle(0), [])

    def test_event_on_which_the_function_gives_up_is_kept(self) -> None:
        payload = {"no": f"envelope {uuid.uuid4()}"}
        self.watch.invoke_later(payload)
        self.assertEqual(self.watch.settle(3), [])  # once, and the two repeats of EventInvokeConfig
        kept = self.watch.wait_for("OnFailureQueue")
        self.assertEqual([message.event["requestPayload"] for message in kept], [payload])


if __name__ == "__main__":
    unittest.main()
