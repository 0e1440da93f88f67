"""aspctl send on a local stack."""

from __future__ import annotations

import json
import unittest
import uuid

import tool

from case import StackTest
from watch import Received

UNIT, RETRY = "aspevents.unit.readiness.v1", "aspevents.automation.retry.v1"
ROLE, DEVICE = "aspevents.role.readiness.v1", "aspevents.device.readiness.v1"
SKILL = "aspevents.skill.failure.v1"


class SendTest(StackTest):
    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.env = tool.aws(cls.stack)

    def sent(self, *args: str) -> tuple[str, list[Received]]:
        """Sends an event; its id and the messages that the function published."""
        sent = tool.run("send", *args, env=self.env)
        self.assertEqual(sent.status, 0, sent.err)
        self.assertRegex(sent.out, r"^\S+  [0-9a-f-]{36}\n$")
        self.assertIn(self.stack.outputs["EventsTopicArn"], sent.err)
        return sent.out.split()[0], self.watch.settle(1)

    def test_each_kind_of_event_has_its_signal(self) -> None:
        for kind, message_type, ready in [
            ("subscription-activation", UNIT, True),
            ("role-assignment", ROLE, True),
            ("role-revocation", ROLE, False),
            ("device-setup", DEVICE, True),
            ("automation-failure", RETRY, None),
        ]:
            event_id, [message] = self.sent(kind)
            signal = self.checked(message, message_type)
            self.assertTrue(signal["id"].endswith(f"/{event_id}"), kind)
            self.assertEqual(signal["data"].get("ready"), ready, kind)

    def test_options_set_the_fields_of_the_event(self) -> None:
        _, [message] = self.sent(
            "subscription-activation", "--unit", "u", "--parent", "p", "--skill", "s",
            "--error", "E", "--at", "2026-11-22T10:00:00+01:00",
            "--event-id", f"mine-{self.stack.process.pid}",
        )  # fmt: skip
        signal = self.checked(message, UNIT)
        self.assertEqual((signal["subject"], signal["time"]), ("u", "2026-11-22T09:00:00Z"))
        self.assert_data(signal, ready=False, unitId="u", parentUnitId="p", subscriptionId="s")
        self.assertEqual(signal["data"]["error"]["type"], "E")
        self.assertTrue(signal["id"].endswith(f"/mine-{self.stack.process.pid}"))

    def test_a_failed_skill_is_reported_and_counted_and_raises_the_alarm(self) -> None:
        skill = f"amzn1.ask.skill.{uuid.uuid4()}"
        event_id, [message] = self.sent("skill-failure", "--skill", skill)
        report = self.checked(message, SKILL)
        self.assertEqual((message.queue, report["subject"]), ("ReportQueue", skill))
        self.assertTrue(report["id"].endswith(f"/{event_id}"))
        self.assertEqual(self.watch.total(SkillId=skill, SkillStage="live", ErrorType="INVALID_RESPONSE"), 1)
        self.assertEqual(self.watch.alarms()["LiveSkillFailureAlarm"], "ALARM")

    def test_a_success_ends_the_retry_budget_of_the_automation(self) -> None:
        automation = ("--automation", f"amzn1.alexa.automation.{uuid.uuid4()}")
        attempts = []
        for kind in ("failure", "failure", "success", "failure"):
            received = self.sent(f"automation-{kind}", *automation)[1]
            attempts += [message.event["data"]["attempt"] for message in received]
        self.assertEqual(attempts, [1, 2, 1])

    def test_options_set_the_fields_of_the_report(self) -> None:
        options = ("--unit", "u", "--parent", "p", "--intent", "i", "--request-id", "r")
        _, [message] = self.sent("skill-failure", "--stage", "development", *options)
        report = self.checked(message, SKILL)
        self.assert_data(report, stage="development", unitId="u", parentUnitId="p", requestId="r")
        self.assertEqual(report["data"]["interaction"]["intent"], "i")

    def test_printed_events_need_no_aws(self) -> None:
        printed = tool.run("send", "device-setup", "--print", "--count", "3")
        self.assertEqual((printed.status, printed.err), (0, ""))
        events = [json.loads(line) for line in printed.out.splitlines()]
        self.assertEqual(len({event["header"]["eventId"]["id"] for event in events}), 3)
        self.assertEqual({event["payload"]["endpoint"]["id"] for event in events}, {"amzn1.alexa.endpoint.example"})

    def test_several_events_have_different_ids(self) -> None:
        sent = tool.run("send", "subscription-activation", "--count", "12", env=self.env)
        ids = {line.split()[0] for line in sent.out.splitlines()}
        received = self.watch.settle(12)
        self.assertEqual((len(ids), {m.event["id"].rpartition("/")[2] for m in received}), (12, ids))

    def test_meaningless_options_are_refused(self) -> None:
        for args, said in {
            ("role-revocation", "--error", "E"): "error: --error: not supported for role-revocation events\n",
            ("automation-success", "--device", "d"): "hint: Supported options: --unit, --automation\n",
            ("device-setup", "--device", ""): "--device: the value is empty\n",
            ("device-setup", "--event-id", "i", "--count", "2"): "--event-id: all events would have the same id, and count as one\n",
        }.items():
            refused = tool.run("send", *args, "--print", env=self.env)
            self.assertEqual((refused.status, refused.out), (1, ""), args)
            self.assertIn(said, refused.err)
        self.assertEqual(tool.run("send", "coffee", env=self.env).status, 64)


if __name__ == "__main__":
    unittest.main()
