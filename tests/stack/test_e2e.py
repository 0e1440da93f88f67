"""End to end: the deployed template and the real binary, from the events topic to the queues.

ASP_EVENTS_BOOTSTRAP=target/demo/asp-events python -m unittest discover tests/stack
"""

from __future__ import annotations

import json
import unittest
import uuid
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from botocore.exceptions import ClientError
from case import StackTest, fresh, id_of, sns, text_of
from stack import NAME, ROOT
from watch import Received


class EndToEnd(StackTest):
    # ── The table of events, row by row ──

    def test_skill_failure_raises_the_alarm_on_live_skills(self) -> None:
        event = fresh("skill-failure-invalid-response")
        skill = f"amzn1.ask.skill.{uuid.uuid4()}"
        event["payload"]["skill"]["id"] = skill
        live = self.watch.total(SkillStage="live")
        self.assertEqual(len(self.send(json.dumps(event))), 1)
        self.assertEqual(self.watch.total(SkillStage="live"), live + 1)
        self.assertEqual(
            self.watch.total(SkillId=skill, SkillStage="live", ErrorType="INVALID_RESPONSE"), 1
        )
        self.assertEqual(self.watch.alarms()["LiveSkillFailureAlarm"], "ALARM")

    def test_skill_failure_in_development_is_not_counted_as_live(self) -> None:
        live, development = (
            self.watch.total(SkillStage="live"),
            self.watch.total(SkillStage="development"),
        )
        self.assertEqual(len(self.send(json.dumps(fresh("skill-failure-development")))), 1)
        self.assertEqual(self.watch.total(SkillStage="live"), live)
        self.assertEqual(self.watch.total(SkillStage="development"), development + 1)

    def test_skill_failure_in_another_stage_is_counted_as_unknown(self) -> None:
        event = fresh("skill-failure-invalid-response")
        event["payload"]["skill"]["stage"] = "Certification"
        skill = event["payload"]["skill"]["id"] = f"amzn1.ask.skill.{uuid.uuid4()}"
        unknown = self.watch.total(SkillStage="unknown")
        signal, _ = self.send_and_check(event, "ReportQueue", "aspevents.skill.failure.v1")
        self.assert_data(signal, stage="certification")
        self.assertEqual(self.watch.total(SkillStage="unknown"), unknown + 1)
        self.assertEqual(
            self.watch.total(
                SkillId=skill, SkillStage="certification", ErrorType="INVALID_RESPONSE"
            ),
            1,
        )

    def test_skill_failure_is_reported_with_unit_intent_and_request(self) -> None:
        event = fresh("skill-failure-invalid-response")
        payload = event["payload"]
        skill, unit = payload["skill"]["id"], payload["unit"]["id"]
        signal, attributes = self.send_and_check(event, "ReportQueue", "aspevents.skill.failure.v1")
        self.assertEqual(signal["subject"], skill)
        self.assert_data(
            signal,
            skillId=skill,
            stage="live",
            errorType="INVALID_RESPONSE",
            unitId=unit,
            error=payload["error"],
            interaction={
                "type": "IntentRequest",
                "locale": "en-US",
                "intent": payload["interaction"]["intent"]["name"],
            },
            requestId=payload["requestId"],
            sessionId=payload["session"]["id"],
        )
        self.assertEqual(
            attributes,
            {
                "type": "aspevents.skill.failure.v1",
                "skillId": skill,
                "stage": "live",
                "errorType": "INVALID_RESPONSE",
                "unitId": unit,
            },
        )
        [line] = [
            json.loads(line)
            for line in self.watch.function_log()
            if event["header"]["eventId"]["id"] in line
        ]
        self.assertEqual((line["level"], line["skillId"], line["unitId"]), ("INFO", skill, unit))

    def test_failed_automation_triggers_a_retry(self) -> None:
        event = fresh("automation-failure-internal-error")
        automation = event["payload"]["automation"]["id"] = f"amzn1.alexa.automation.{uuid.uuid4()}"
        unit = event["header"]["entities"]["unit"]["id"]
        signal, attributes = self.send_and_check(
            event, "RetryQueue", "aspevents.automation.retry.v1"
        )
        self.assertEqual(signal["subject"], automation)
        self.assert_data(
            signal, automationId=automation, unitId=unit, decision="RETRY", attempt=1, maxAttempts=5
        )
        self.assertIn("notBefore", signal["data"])
        self.assertEqual([error["retryable"] for error in signal["data"]["errors"]], [True])
        self.assertEqual(
            attributes,
            {"type": "aspevents.automation.retry.v1", "decision": "RETRY", "unitId": unit},
        )

    def test_failed_automation_without_errors_triggers_a_retry(self) -> None:
        event = fresh("automation-failure-no-errors")
        signal, _ = self.send_and_check(event, "RetryQueue", "aspevents.automation.retry.v1")
        self.assert_data(signal, decision="RETRY", errors=[])

    def test_failed_automation_with_an_unknown_device_must_be_fixed_first(self) -> None:
        event = fresh("automation-failure-endpoint-not-found")
        signal, attributes = self.send_and_check(
            event, "RetryQueue", "aspevents.automation.retry.v1"
        )
        self.assert_data(signal, decision="FIX_THEN_RETRY")
        self.assertEqual(
            [error["type"] for error in signal["data"]["errors"]], ["ENDPOINT_NOT_FOUND"]
        )
        self.assertEqual([error["retryable"] for error in signal["data"]["errors"]], [False])
        self.assertEqual(attributes["decision"], "FIX_THEN_RETRY")

    def test_successful_automation_publishes_nothing(self) -> None:
        self.assertEqual(self.send(json.dumps(fresh("automation-success"))), [])

    def test_unit_is_ready_after_activation(self) -> None:
        event = fresh("subscription-activated")
        unit = event["header"]["entities"]["unit"]
        signal, attributes = self.send_and_check(
            event, "ReadinessQueue", "aspevents.unit.readiness.v1"
        )
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

    def test_unit_is_not_ready_after_a_failed_activation(self) -> None:
        event = fresh("subscription-activation-failed")
        signal, attributes = self.send_and_check(
            event, "ReadinessQueue", "aspevents.unit.readiness.v1"
        )
        self.assert_data(signal, ready=False, error=event["payload"]["result"]["error"])
        self.assertEqual(attributes["ready"], "false")

    def test_roles(self) -> None:
        for sample, change, ready in (
            ("role-assigned", "ASSIGNED", True),
            ("role-revoked", "REVOKED", False),
        ):
            with self.subTest(change):
                event = fresh(sample)
                unit = event["header"]["entities"]["resource"]["resourceId"]
                principal, role = (
                    event["payload"]["principal"]["id"],
                    event["payload"]["role"]["id"],
                )
                signal, attributes = self.send_and_check(
                    event, "ReadinessQueue", "aspevents.role.readiness.v1"
                )
                self.assertEqual(signal["subject"], principal)
                self.assert_data(
                    signal,
                    ready=ready,
                    change=change,
                    unitId=unit,
                    principalId=principal,
                    roleId=role,
                )
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

    def test_device_is_ready_after_setup(self) -> None:
        event = fresh("device-setup-completed")
        device = event["payload"]["endpoint"]["id"]
        signal, attributes = self.send_and_check(
            event, "ReadinessQueue", "aspevents.device.readiness.v1"
        )
        self.assertEqual(signal["subject"], device)
        self.assert_data(signal, ready=True, endpointId=device)
        self.assertEqual(
            attributes,
            {"type": "aspevents.device.readiness.v1", "ready": "true", "endpointId": device},
        )

    def test_quarantine_keeps_the_text_byte_for_byte(self) -> None:
        unknown, invalid = fresh("bad-unknown-type"), fresh("bad-invalid-event")
        status = fresh("automation-success")
        status["payload"]["result"]["status"] = "DONE"
        for reason, text in (
            ("NOT_JSON", text_of("bad-not-json")),
            ("NOT_JSON", '{"header": "cut o'),
            ("NOT_JSON", 'quotes " and \\ backslashes,\ttabs\r\nand ümläuts, 漢字, 🏨'),
            ("NOT_AN_EVENT", text_of("bad-not-an-event")),
            ("NOT_AN_EVENT", ' [ 1.0 , 1e2,\n"\\u00fc" ] '),
            ("INVALID_EVENT", json.dumps(invalid, indent=3)),
            ("UNKNOWN_EVENT_TYPE", json.dumps(unknown, separators=(" ,", " :"))),
            ("UNKNOWN_STATUS", json.dumps(status)),
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
                self.assertEqual(
                    received[0].attributes, {"type": "aspevents.quarantine.v1", "reason": reason}
                )

    def test_greeting_is_ignored(self) -> None:
        self.assertEqual(self.send("{}"), [])

    # ── The heartbeat ──

    def heartbeat(self) -> dict[str, Any]:
        """The schedule, as deployed."""
        scheduler = self.stack.client("scheduler")
        schedules = scheduler.list_schedules(NamePrefix=NAME)["Schedules"]
        [found] = [scheduler.get_schedule(Name=schedule["Name"]) for schedule in schedules]
        return dict(found)

    def test_heartbeat_is_counted_and_has_no_other_effect(self) -> None:
        schedule = self.heartbeat()
        lines = len(self.watch.function_log())
        # The same once more, due at once.
        self.stack.client("scheduler").create_schedule(
            Name="at-once",
            ScheduleExpression="at(2026-01-01T00:00:00)",
            FlexibleTimeWindow=schedule["FlexibleTimeWindow"],
            Target=schedule["Target"],
        )
        self.assertEqual(self.watch.settle(1), [])
        documents = [
            json.loads(line) for line in self.watch.function_log()[lines:] if '"_aws"' in line
        ]
        [counted] = [document for document in documents if "Events" in document]
        self.assertEqual((counted["EventType"], counted["Outcome"]), ("None", "ignored"))
        self.assertEqual(counted["Events"], 1)

    def test_heartbeat_may_publish_to_the_events_topic_and_to_no_other(self) -> None:
        role = self.heartbeat()["Target"]["RoleArn"]
        trust = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
        self.watch.iam.update_assume_role_policy(
            RoleName=role.rpartition("/")[2],
            PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}),
        )
        session = self.stack.client("sts").assume_role(RoleArn=role, RoleSessionName="heartbeat")
        sns_as_heartbeat = self.stack.client("sns", session["Credentials"])
        topics = [
            self.stack.outputs[f"{name}TopicArn"]
            for name in ("Retry", "Readiness", "Report", "Quarantine", "Alarm", "Ticket")
        ]
        for topic in topics:
            with self.assertRaisesRegex(ClientError, "AuthorizationError|AccessDenied"):
                sns_as_heartbeat.publish(TopicArn=topic, Message="{}")
        sns_as_heartbeat.publish(TopicArn=self.stack.outputs["EventsTopicArn"], Message="{}")
        self.assertEqual(self.watch.settle(1), [])

    # ── Answers, duplicates and failures ──

    def test_duplicate_event_has_no_effect(self) -> None:
        text = json.dumps(fresh("automation-failure-internal-error"))
        self.assertEqual(len(self.send(text)), 1)
        self.assertEqual(self.send(text), [])

    def test_events_topic_has_the_policy_statement_that_amazon_documents(self) -> None:
        statement = json.loads((ROOT / "tests/documented/topic-policy-statement.txt").read_text())
        topic = self.stack.outputs["EventsTopicArn"]
        statement["Resource"] = topic
        attributes = self.stack.client("sns").get_topic_attributes(TopicArn=topic)["Attributes"]
        self.assertIn(statement, json.loads(attributes["Policy"])["Statement"])

    def test_answers_count_the_records(self) -> None:
        ready = json.dumps(fresh("subscription-activated"))
        answer, is_error = self.watch.invoke(sns(ready, ready, "{}", "not JSON"))
        self.assertFalse(is_error, answer)
        self.assertEqual(
            answer, {"records": 4, "handled": 1, "duplicate": 1, "ignored": 1, "quarantined": 1}
        )
        queues = Counter(message.queue for message in self.watch.settle(0))
        self.assertEqual(queues, {"ReadinessQueue": 1, "QuarantineQueue": 1})

    def test_sqs_batch_has_no_item_failures(self) -> None:
        batch = json.loads((ROOT / "events/sqs-batch.json").read_bytes())
        answer, is_error = self.watch.invoke(batch)
        self.assertFalse(is_error, answer)
        self.assertEqual(answer, {"batchItemFailures": []})
        queues = Counter(message.queue for message in self.watch.settle(0))
        self.assertEqual(queues, {"RetryQueue": 1, "ReadinessQueue": 2, "ReportQueue": 1})

    def test_unsupported_envelope_is_an_error(self) -> None:
        payloads: tuple[Any, ...] = (
            {"source": "aws.events"},
            {"Records": [{"eventSource": "aws:s3"}]},
            [],
            "text",
            1,
        )
        for payload in payloads:
            with self.subTest(payload=payload):
                answer, is_error = self.watch.invoke(payload)
                self.assertTrue(is_error, answer)
                self.assertEqual(answer["errorType"], "UnsupportedEnvelope")
        self.assertEqual(self.watch.settle(0), [])

    # ── The ledger ──

    def completion(
        self, automation: str, at: datetime, sample: str = "automation-failure-internal-error"
    ) -> str:
        """An automation's completion event with this time, as text."""
        event = fresh(sample)
        event["payload"]["automation"]["id"] = automation
        event["header"]["eventTime"]["timestamp"] = at.isoformat()
        return json.dumps(event)

    def test_completed_event_stays_in_the_ledger_for_a_day(self) -> None:
        event = fresh("subscription-activated")
        self.send_and_check(event, "ReadinessQueue", "aspevents.unit.readiness.v1")
        item = self.watch.ledger_item(f"event#{id_of(event)}")
        now = datetime.now(UTC).timestamp()
        self.assertAlmostEqual(item["completedAt"] / 1000, now, delta=60)
        self.assertAlmostEqual(item["expiresAt"], now + 86400, delta=60)
        self.assertNotIn("heldBy", item)

    def test_last_readiness_stays_in_the_ledger_for_14_days(self) -> None:
        event = fresh("role-assigned")
        unit = f"amzn1.alexa.unit.did.{uuid.uuid4()}"
        event["header"]["entities"]["resource"]["resourceId"] = unit
        principal = event["payload"]["principal"]["id"] = f"amzn1.account.{uuid.uuid4()}"
        now = datetime.now(UTC).replace(microsecond=0)
        event["header"]["eventTime"]["timestamp"] = now.isoformat()
        [message] = self.send(json.dumps(event))
        self.only_signal([message], event, "ReadinessQueue", "aspevents.role.readiness.v1")

        older = fresh("role-revoked")
        older["header"]["entities"]["resource"]["resourceId"] = unit
        older["payload"]["principal"]["id"] = principal
        older["header"]["eventTime"]["timestamp"] = (now - timedelta(seconds=1)).isoformat()
        self.assertEqual(len(self.send(json.dumps(older))), 1)
        for key in (f"readiness#principal#{principal}", f"readiness#principal#{principal}#{unit}"):
            item = self.watch.ledger_item(key)
            data = json.loads(message.body)["data"]
            self.assertEqual(item["id"], json.loads(message.body)["id"])
            for field in ("ready", "change", "roleId"):
                self.assertEqual(item[field], data[field])
            self.assertNotIn("principalId", item)
            self.assertEqual(item["eventAt"], int(now.timestamp()) * 1000)
            self.assertAlmostEqual(item["expiresAt"], now.timestamp() + 14 * 86400, delta=60)

    def test_duplicate_in_another_execution_environment_has_no_effect(self) -> None:
        text = json.dumps(fresh("automation-failure-internal-error"))
        self.assertEqual(len(self.send(text)), 1)
        starts = self.watch.cold_starts()
        self.watch.end_execution_environments()
        self.assertEqual(self.send(text), [])
        self.assertEqual(self.watch.cold_starts(), starts + 1)
        answer, _ = self.watch.invoke(sns(text))
        self.assertEqual(
            answer, {"records": 1, "handled": 0, "duplicate": 1, "ignored": 0, "quarantined": 0}
        )

    def test_attempts_are_counted_across_execution_environments_until_a_success(self) -> None:
        automation = f"amzn1.alexa.automation.{uuid.uuid4()}"
        now = datetime.now(UTC)
        attempts = []
        for minutes in (-9, -8, -7):
            self.watch.end_execution_environments()
            [message] = self.send(self.completion(automation, now + timedelta(minutes=minutes)))
            attempts.append(message.event["data"]["attempt"])
        self.assertEqual(attempts, [1, 2, 3])
        self.assertEqual(
            self.send(
                self.completion(automation, now - timedelta(minutes=6), "automation-success")
            ),
            [],
        )
        self.watch.end_execution_environments()
        [message] = self.send(self.completion(automation, now - timedelta(minutes=5)))
        self.assertEqual(message.event["data"]["attempt"], 1)

    def test_concurrent_deliveries_of_an_event_have_one_effect(self) -> None:
        payload = sns(json.dumps(fresh("subscription-activated")))
        answers = self.watch.invoke_concurrently([payload] * 4)
        handled = [answer for answer, is_error in answers if not is_error and answer["handled"]]
        self.assertEqual(len(handled), 1, answers)
        self.assertEqual(len(self.watch.settle(0)), 1)

    def test_concurrent_failures_are_counted_as_separate_attempts(self) -> None:
        automation = f"amzn1.alexa.automation.{uuid.uuid4()}"
        now = datetime.now(UTC)
        failures = [
            self.completion(automation, now - timedelta(seconds=seconds)) for seconds in range(4)
        ]
        for answer, is_error in self.watch.invoke_concurrently(
            [sns(failure) for failure in failures]
        ):
            self.assertFalse(is_error, answer)
        attempts = sorted(message.event["data"]["attempt"] for message in self.watch.settle(0))
        self.assertEqual(attempts, [1, 2, 3, 4])

    # ── Retries exhausted ──

    def test_event_that_fails_all_retries_is_kept(self) -> None:
        payload = {"no": f"envelope {uuid.uuid4()}"}
        self.watch.invoke_asynchronously(payload)
        self.assertEqual(
            self.watch.settle(3), []
        )  # one try and the two retries of EventInvokeConfig
        kept = self.watch.wait_for("OnFailureQueue")
        self.assertEqual([message.event["requestPayload"] for message in kept], [payload])


class WithoutConsumers(StackTest):
    parameters: ClassVar[dict[str, str]] = {
        f"{name}Consumer": "None" for name in ("Retry", "Readiness", "Report")
    }

    def test_events_take_effect_although_no_queue_keeps_their_messages(self) -> None:
        samples = (
            "automation-failure-internal-error",
            "subscription-activated",
            "skill-failure-invalid-response",
        )
        live = self.watch.total(SkillStage="live")
        answer, is_error = self.watch.invoke(sns(*(json.dumps(fresh(one)) for one in samples)))
        self.assertFalse(is_error, answer)
        self.assertEqual(answer["handled"], len(samples))
        self.assertEqual(self.watch.total(SkillStage="live"), live + 1)
        self.assertEqual(self.watch.settle(0), [])

    def test_a_subscriber_of_ones_own_gets_the_messages(self) -> None:
        sqs, topic = self.watch.sqs, self.stack.outputs["ReadinessTopicArn"]
        url = sqs.create_queue(QueueName="own")["QueueUrl"]
        attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        arn = attributes["Attributes"]["QueueArn"]
        allowed = {"Effect": "Allow", "Principal": "*", "Action": "sqs:*", "Resource": arn}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
        self.watch.sns.subscribe(
            TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes={"RawMessageDelivery": "true"}
        )
        event = fresh("subscription-activated")
        self.assertEqual(self.send(json.dumps(event)), [])
        [message] = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=1)["Messages"]
        self.assertEqual(json.loads(message["Body"])["id"], id_of(event))

    def test_quarantine_always_has_its_queue(self) -> None:
        [kept] = self.send(text_of("bad-not-json"))
        self.assertEqual(kept.queue, "QuarantineQueue")


class ParametersOfEventProcessing(StackTest):
    parameters: ClassVar[dict[str, str]] = {
        "SuccessStatuses": "Done, ALL_WELL",
        "FailureStatuses": "BROKEN",
        "ForwardEventTypes": "Alexa.Automation.Execution.Completion,Alexa.Unknown.Namespace.*",
    }

    def forwarded(self, event: dict[str, Any], message: Received) -> None:
        """Checks that a message is an event, whole, with the id of a forwarded one."""
        self.assertEqual(message.queue, "ReportQueue")
        signal = self.checked(message, "aspevents.event.v1")
        self.assertEqual(signal["id"], f"{id_of(event)}/forwarded")
        self.assertEqual(signal["data"]["sourceEvent"], event)
        kind = event["header"]["eventType"]
        self.assert_data(signal, namespace=kind["namespace"], name=kind["name"])
        self.assertEqual(message.attributes["name"], kind["name"])

    def test_additional_statuses_have_the_effects_of_the_built_in_ones(self) -> None:
        for status, queues in (
            ("done", ["ReportQueue"]),
            ("ALL_WELL", ["ReportQueue"]),
            ("Broken", ["RetryQueue", "ReportQueue"]),
        ):
            with self.subTest(status):
                event = fresh("automation-success")
                event["payload"]["result"]["status"] = status
                event["payload"]["automation"]["id"] = f"amzn1.alexa.automation.{uuid.uuid4()}"
                received = self.send(json.dumps(event))
                self.assertEqual([message.queue for message in received], queues)
                self.forwarded(event, received[-1])

    def test_event_of_a_type_without_an_effect_is_forwarded_instead_of_quarantined(self) -> None:
        event = fresh("automation-success")
        event["header"]["eventType"] = {"namespace": "Alexa.Unknown.Namespace", "name": "Any"}
        [message] = self.send(json.dumps(event))
        self.forwarded(event, message)
        event["header"]["eventType"]["namespace"] += ".More"
        [message] = self.send(json.dumps(event))
        self.assertEqual(message.queue, "QuarantineQueue")


if __name__ == "__main__":
    unittest.main()
