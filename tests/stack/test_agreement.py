"""The template and the function agree: alarms watch metrics that the function sends, its role
allows what it calls and no more, and the ledger expires items by an attribute that they have.

ASP_EVENTS_BOOTSTRAP=target/demo/asp-events python -m unittest discover tests/stack
"""

from __future__ import annotations

import json
import re
import unittest
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from case import StackTest, fresh, id_of, sns, text_of
from samtranslator.yaml_helper import yaml_parse
from stack import ROOT

# Namespace, name and dimensions of a metric.
Metric = tuple[str, str, frozenset[str]]


class Agreement(StackTest):
    resources: dict[str, Any]

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.resources = yaml_parse((ROOT / "template.yaml").read_text())["Resources"]

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
            r'SELECT SUM\((\w+)\) FROM SCHEMA\("\$\{MetricNamespace}", ([\w, ]+)\) ',
            query["Expression"]["Fn::Sub"],
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
        event = fresh("subscription-activated")
        batch = json.loads((ROOT / "events/sqs-batch.json").read_bytes())
        batch["Records"] = [batch["Records"][0] | {"body": json.dumps(event)}]
        with self.without_action("sns:Publish"):
            answer, is_error = self.watch.invoke(batch)
        self.assertFalse(is_error, answer)
        self.assertEqual(len(answer["batchItemFailures"]), 1)

        variables = self.watch.variables()
        self.watch.configure(variables | {"AWS_ENDPOINT_URL_DYNAMODB": "http://127.0.0.1:1"})
        self.addCleanup(self.watch.configure, variables)
        answer, is_error = self.watch.invoke(sns(json.dumps(fresh("subscription-activated"))))
        self.assertFalse(is_error, answer)
        self.assertEqual(len(self.watch.settle(0)), 1)

        logged = self.logged_metrics()
        for alarm in ("FailedEventsAlarm", "LedgerUnavailableAlarm"):
            metric = (self.namespace(), self.properties(alarm)["MetricName"], frozenset())
            self.assertIn(metric, logged)

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
        metric = (self.namespace(), "Quarantined", frozenset(["Reason"]))
        self.assertIn(metric, self.logged_metrics())
        alarm = self.properties("UnknownStatusAlarm")
        for metric in (alarm, *self.added_metrics("QuarantineAlarm")):
            self.assertEqual(metric["MetricName"], "Quarantined")
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
        lines = [line for line in self.watch.function_log() if '"_aws"' in line]
        return {
            (directive["Namespace"], metric["Name"], frozenset(dimensions))
            for line in lines
            for directive in json.loads(line)["_aws"]["CloudWatchMetrics"]
            for metric in directive["Metrics"]
            for dimensions in directive["Dimensions"]
        }

    # ── Permissions ──

    def test_function_needs_each_permission_on_the_ledger(self) -> None:
        policy = self.properties("AspEventsFunctionRole")["Policies"][0]["PolicyDocument"]
        [ledger] = [one for one in policy["Statement"] if one["Sid"] == "RememberEvents"]
        self.assertTrue(ledger["Action"])
        for action in ledger["Action"]:
            with self.subTest(action):
                # Several events are inserted together. MiniStack has an action of its own for that.
                number = 2 if action == "dynamodb:PartiQLInsert" else 1
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

    # ── The ledger ──

    def test_items_have_the_attribute_by_which_the_ledger_expires_them(self) -> None:
        event = fresh("subscription-activated")
        self.assertEqual(len(self.send(json.dumps(event))), 1)
        item = self.watch.ledger_item(f"event#{id_of(event)}")
        expires = item[self.properties("LedgerTable")["TimeToLiveSpecification"]["AttributeName"]]
        self.assertGreater(expires, datetime.now(UTC).timestamp())


if __name__ == "__main__":
    unittest.main()
