"""The template and the function agree: alarms watch metrics that the function sends, its role
allows what it calls and no more, and the ledger expires items by an attribute that they have.

ASP_EVENTS_BOOTSTRAP=target/demo/asp-events python -m unittest discover tests/stack
"""

from __future__ import annotations

import json
import re
import unittest
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from case import StackTest, fresh, id_of, sns, text_of
from resolved import ResolvedTemplate, load, metrics_of
from stack import ROOT
from test_access import EVERY_OPTION
from watch import FAILURES

# Namespace, name and dimensions of a metric, these with their values.
Metric = tuple[str, str, frozenset[tuple[str, str]]]


class Agreement(StackTest):
    template: dict[str, Any]
    resources: dict[str, Any]

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.template = load()
        cls.resources = cls.template["Resources"]

    def properties(self, name: str) -> dict[str, Any]:
        properties: dict[str, Any] = self.resources[name]["Properties"]
        return properties

    # ── Metrics ──

    def test_skill_alarms_watch_metrics_that_the_function_sends(self) -> None:
        other = fresh("skill-failure-invalid-response")
        other["payload"]["skill"]["stage"] = "certification"
        for event in (fresh("skill-failure-invalid-response"), other):
            self.assertEqual(len(self.send(json.dumps(event))), 1)
        [query] = self.properties("SkillFailureBySkillAlarm")["Metrics"]
        selected = re.match(
            r'SELECT SUM\((\w+)\) FROM SCHEMA\("\$\{Namespace}", ([\w, ]+)\) ',
            query["Expression"]["Fn::Sub"][0],
        )
        assert selected
        sent = self.watch.cloudwatch.list_metrics(
            Namespace=self.namespace(), MetricName=selected[1]
        )["Metrics"]
        dimensions = {frozenset(one["Name"] for one in metric["Dimensions"]) for metric in sent}
        self.assertEqual(
            dimensions, {frozenset(["SkillStage"]), frozenset(selected[2].split(", "))}
        )
        for watched in self.added_metrics("LiveSkillFailureAlarm"):
            self.assertEqual(watched["MetricName"], selected[1])
            self.assertIn(watched["Dimensions"], [metric["Dimensions"] for metric in sent])

    def test_alarms_watch_metrics_in_the_functions_log(self) -> None:
        for text in ("{}", *self.events_with_findings(), *self.exhausted_automation()):
            self.send(text)
        self.fail_in_a_batch()
        self.contend()
        self.handle_without_the_ledger()
        for reason in ("not-json", "not-an-event", "invalid-event", "unknown-type"):
            self.send(text_of(f"bad-{reason}"))
        self.send(text_of("automation-unknown-status"))

        logged = self.logged_metrics()
        everything = {"Ingestion": "Buffered", "SilenceHours": "1"}
        alarms = ResolvedTemplate(self.template, everything).properties_of_type(
            "AWS::CloudWatch::Alarm"
        )
        watched = set()
        for name, alarm in alarms.items():
            for metric in metrics_of(alarm):
                if metric["Namespace"] != self.namespace() or metric["MetricName"] == FAILURES:
                    continue
                dimensions = {one["Name"]: one["Value"] for one in metric.get("Dimensions", [])}
                key = (metric["Namespace"], metric["MetricName"], frozenset(dimensions.items()))
                self.assertIn(key, logged, name)
                watched.add(metric["MetricName"])
        self.assertGreater(len(watched), 8)

    def events_with_findings(self) -> list[str]:
        """Late events that are not ready, lack a field, or have an unknown status."""
        odd = fresh("role-assigned")
        odd["payload"]["result"]["status"] = "ODD"
        samples = (
            "subscription-activation-failed",
            "device-setup-serial-number",
            "role-assigned-without-principal",
        )
        late = [fresh(sample) for sample in samples] + [odd]
        for event in late:
            hour = datetime.now(UTC) - timedelta(hours=1)
            event["header"]["eventTime"]["timestamp"] = hour.isoformat()
        return [json.dumps(event) for event in late]

    def exhausted_automation(self) -> list[str]:
        """As many failures of one automation as its budget has, and one more."""
        automation = f"amzn1.alexa.automation.{uuid.uuid4()}"
        failures = [fresh("automation-failure-internal-error") for _ in range(6)]
        for seconds, event in enumerate(failures):
            event["payload"]["automation"]["id"] = automation
            at = datetime.now(UTC) - timedelta(seconds=60 - seconds)
            event["header"]["eventTime"]["timestamp"] = at.isoformat()
        return [json.dumps(event) for event in failures]

    def fail_in_a_batch(self) -> None:
        event = fresh("subscription-activated")
        batch = json.loads((ROOT / "events/sqs-batch.json").read_bytes())
        batch["Records"] = [batch["Records"][0] | {"body": json.dumps(event)}]
        with self.without_action("sns:Publish"):
            answer, is_error = self.watch.invoke(batch)
        self.assertFalse(is_error, answer)
        self.assertEqual(len(answer["batchItemFailures"]), 1)

    def contend(self) -> None:
        """Invokes the function for an event that another execution environment has claimed."""
        event = fresh("subscription-activated")
        now = int(datetime.now(UTC).timestamp())
        self.watch.dynamodb.put_item(
            TableName=self.watch.ledger,
            Item={
                "pk": {"S": f"event#{id_of(event)}"},
                "heldBy": {"S": "another"},
                "leaseUntil": {"N": str((now + 600) * 1000)},
                "expiresAt": {"N": str(now + 600)},
            },
        )
        answer, is_error = self.watch.invoke(sns(json.dumps(event)))
        self.assertTrue(is_error, answer)
        self.assertEqual(answer["errorType"], "Retryable")

    def handle_without_the_ledger(self) -> None:
        variables = self.watch.variables()
        self.watch.configure(variables | {"AWS_ENDPOINT_URL_DYNAMODB": "http://127.0.0.1:1"})
        self.addCleanup(self.watch.configure, variables)
        answer, is_error = self.watch.invoke(sns(json.dumps(fresh("subscription-activated"))))
        self.assertFalse(is_error, answer)
        self.watch.configure(variables)
        self.assertEqual(len(self.watch.settle(0)), 1)

    def test_alarms_watch_the_reasons_of_quarantined_messages(self) -> None:
        unknown = fresh("automation-success")
        unknown["payload"]["result"]["status"] = "DONE"
        for text in (
            text_of("bad-not-json"),
            text_of("bad-not-an-event"),
            json.dumps(fresh("bad-invalid-event")),
            json.dumps(fresh("bad-unknown-type")),
            json.dumps(unknown),
        ):
            self.assertEqual([kept.queue for kept in self.send(text)], ["QuarantineQueue"])
        logged = [json.loads(line) for line in self.watch.function_log() if '"_aws"' in line]
        counted = {document["Reason"] for document in logged if "Quarantined" in document}
        alarms = ("UnknownStatusAlarm", "QuarantineAlarm")
        for metric in [one for alarm in alarms for one in self.added_metrics(alarm)]:
            if metric["MetricName"] != "Quarantined":
                continue
            [reason] = metric["Dimensions"]
            self.assertEqual(reason["Name"], "Reason")
            counted.remove(reason["Value"])
        self.assertEqual(counted, set())

    def added_metrics(self, alarm: str) -> list[dict[str, Any]]:
        """The metrics that an alarm adds up."""
        queries = self.properties(alarm)["Metrics"]
        return [query["MetricStat"]["Metric"] for query in queries if "MetricStat" in query]

    def namespace(self) -> str:
        return self.watch.variables()["METRIC_NAMESPACE"]

    def logged_metrics(self) -> set[Metric]:
        """The metrics that the function has written to its log, in embedded metric format."""
        documents = [json.loads(line) for line in self.watch.function_log() if '"_aws"' in line]
        return {
            (
                directive["Namespace"],
                metric["Name"],
                frozenset((name, document[name]) for name in dimensions),
            )
            for document in documents
            for directive in document["_aws"]["CloudWatchMetrics"]
            for metric in directive["Metrics"]
            for dimensions in directive["Dimensions"]
        }

    # ── Permissions ──

    def test_function_needs_each_permission_on_the_ledger(self) -> None:
        role = ResolvedTemplate(self.template).resources["AspEventsFunctionRole"]["Properties"]
        policy = role["Policies"][0]["PolicyDocument"]
        [ledger] = [one for one in policy["Statement"] if one["Sid"] == "RememberEvents"]
        self.assertTrue(ledger["Action"])
        for action in ledger["Action"]:
            with self.subTest(action):
                # More than three are inserted together. MiniStack has an action of its own for that.
                number = 4 if action == "dynamodb:PartiQLInsert" else 1
                removed = action.replace("PartiQLInsert", "BatchExecuteStatement")
                events = [fresh("automation-failure-internal-error") for _ in range(number)]
                payload = sns(*map(json.dumps, events))
                with self.without_action(removed):
                    answer, is_error = self.watch.invoke(payload)
                if action == "dynamodb:BatchWriteItem":  # too late to fail the event
                    self.assertFalse(is_error, answer)
                    refused = [line for line in self.watch.function_log() if f"Allow {action}" in line]
                    self.assertTrue(refused)
                    self.assertEqual(len(self.watch.settle(0)), 1)
                    continue
                self.assertTrue(is_error, answer)
                self.assertEqual(answer["errorType"], "Undeliverable")
                self.assertIn(action, answer["errorMessage"])
        self.assertEqual(self.watch.settle(0), [])

    @contextmanager
    def without_action(self, action: str) -> Iterator[None]:
        """Removes an action from the policy of the function's role, for as long as this lasts."""
        iam = self.watch.iam
        role = self.stack.outputs["AspEventsFunctionRoleArn"].rpartition("/")[2]
        [name] = iam.list_role_policies(RoleName=role)["PolicyNames"]
        policy = iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
        reduced = json.loads(json.dumps(policy))
        for statement in reduced["Statement"]:
            actions = statement["Action"]
            actions = [actions] if isinstance(actions, str) else actions
            # sns:Publish allows PublishBatch too, which MiniStack takes for an action of its own.
            statement["Action"] = [one for one in actions if not one.startswith(action)]
        reduced["Statement"] = [one for one in reduced["Statement"] if one["Action"]]
        self.assertNotEqual(reduced, policy)
        iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=json.dumps(reduced))
        try:
            yield
        finally:
            iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=json.dumps(policy))

    # ── The log ──

    def test_log_does_not_name_the_events_topic(self) -> None:
        # Whoever knows its ARN can have Alexa publish to it.
        lines = len(self.watch.function_log())
        texts = ["{}", text_of("bad-not-json"), json.dumps(fresh("bad-unknown-type"))]
        texts += [json.dumps(fresh("subscription-activated")), text_of("bad-not-an-event")]
        for text in texts:
            self.send(text)
        answer, is_error = self.watch.invoke({"TopicArn": self.stack.outputs["EventsTopicArn"]})
        self.assertTrue(is_error, answer)
        written = self.watch.function_log()[lines:]
        self.assertGreater(len(written), len(texts))
        self.assertNotIn(self.stack.outputs["EventsTopicArn"], "\n".join(written))

    # ── The ledger ──

    def test_items_have_the_attribute_by_which_the_ledger_expires_them(self) -> None:
        event = fresh("subscription-activated")
        self.assertEqual(len(self.send(json.dumps(event))), 1)
        item = self.watch.ledger_item(f"event#{id_of(event)}")
        expires = item[self.properties("LedgerTable")["TimeToLiveSpecification"]["AttributeName"]]
        self.assertGreater(expires, datetime.now(UTC).timestamp())


class EveryOption(StackTest):
    """The stack with everything that a platform team may choose, as far as MiniStack knows it."""

    parameters: ClassVar[dict[str, str]] = EVERY_OPTION

    def test_events_take_effect(self) -> None:
        for sample, queue, kind in (
            ("automation-failure-internal-error", "RetryQueue", "aspevents.automation.retry.v1"),
            ("subscription-activated", "ReadinessQueue", "aspevents.unit.readiness.v1"),
            ("skill-failure-invalid-response", "ReportQueue", "aspevents.skill.failure.v1"),
            ("bad-unknown-type", "QuarantineQueue", "aspevents.quarantine.v1"),
        ):
            [message] = self.send(json.dumps(fresh(sample)))
            self.assertEqual(message.queue, queue)
            self.checked(message, kind)

    def test_roles_have_the_path(self) -> None:
        roles = self.watch.iam.list_roles()["Roles"]
        self.assertEqual({role["Path"] for role in roles}, {EVERY_OPTION["RolePath"]})
        names = {role["RoleName"].split("-")[2] for role in roles}
        self.assertEqual(names, {"AspEventsFunctionRole", "HeartbeatRole", "DeliveryStatusRole"})


if __name__ == "__main__":
    unittest.main()
