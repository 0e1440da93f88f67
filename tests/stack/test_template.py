"""What the template promises beyond what a linter knows, and a local stack does not show.

python -m unittest discover tests/stack
"""

from __future__ import annotations

import re
import unittest
from typing import Any

from samtranslator.yaml_helper import yaml_parse

from stack import ROOT

TOPICS = ("RetryTopic", "ReadinessTopic", "QuarantineTopic")


def arn_of(name: str) -> dict[str, Any]:
    return {"Fn::GetAtt": [name, "Arn"]}


class Template(unittest.TestCase):
    template: dict[str, Any]
    resources: dict[str, Any]

    @classmethod
    def setUpClass(cls) -> None:
        cls.template = yaml_parse((ROOT / "template.yaml").read_text())
        cls.resources = cls.template["Resources"]

    def properties(self, name: str) -> dict[str, Any]:
        properties: dict[str, Any] = self.resources[name]["Properties"]
        return properties

    def of_type(self, kind: str) -> dict[str, Any]:
        return {name: r.get("Properties", {}) for name, r in self.resources.items() if r["Type"] == kind}

    def test_skill_alarms_watch_the_metric_that_the_function_sends(self) -> None:
        source = (ROOT / "src/metric.rs").read_text()
        metric = re.search(r'SKILL_INTERACTION_FAILURE: &str = "(\w+)"', source)
        assert metric
        live = self.properties("LiveSkillFailureAlarm")
        self.assertEqual(live["MetricName"], metric[1])
        self.assertEqual(live["Dimensions"], [{"Name": "SkillStage", "Value": "live"}])
        self.assertIn('("SkillStage", ', source)
        [query] = self.properties("SkillFailureBySkillAlarm")["Metrics"]
        dimensions = sorted(re.findall(r'\("(\w+)", failure\.\w+', source))
        self.assertEqual(len(dimensions), 3)
        self.assertEqual(
            query["Expression"]["Fn::Sub"],
            f'SELECT SUM({metric[1]}) FROM SCHEMA("${{MetricNamespace}}", {", ".join(dimensions)}) '
            "WHERE SkillStage = 'live' GROUP BY SkillId ORDER BY SUM() DESC",
        )
        for alarm in (live, self.properties("SkillFailureBySkillAlarm")):
            self.assertEqual(alarm["TreatMissingData"], "notBreaching")
            self.assertEqual(alarm["ComparisonOperator"], "GreaterThanOrEqualToThreshold")

    def test_every_alarm_tells_the_alarm_topic(self) -> None:
        alarms = self.of_type("AWS::CloudWatch::Alarm")
        self.assertGreater(len(alarms), 10)
        for name, alarm in alarms.items():
            self.assertEqual(alarm["AlarmActions"], [{"Ref": "AlarmTopic"}], name)
            self.assertEqual(alarm["OKActions"], [{"Ref": "AlarmTopic"}], name)
            self.assertEqual(alarm["TreatMissingData"], "notBreaching", name)

    def test_function_may_do_what_it_does_and_no_more(self) -> None:
        [policy] = self.properties("AspEventsFunctionRole")["Policies"]
        statements = {s["Sid"]: s for s in policy["PolicyDocument"]["Statement"]}
        self.assertEqual(statements["PublishSignals"]["Action"], "sns:Publish")
        self.assertEqual(statements["PublishSignals"]["Resource"], [{"Ref": name} for name in TOPICS])
        self.assertEqual(statements["RaiseSkillFailures"]["Action"], "cloudwatch:PutMetricData")
        self.assertEqual(
            statements["RaiseSkillFailures"]["Condition"],
            {"StringEquals": {"cloudwatch:namespace": {"Ref": "MetricNamespace"}}},
        )
        remember, take = statements["RememberEvents"], statements["TakeFromIngestionQueue"]
        calls = set(re.findall(r'"(dynamodb:\w+)"', (ROOT / "src/ledger/dynamodb.rs").read_text()))
        self.assertEqual(set(remember["Action"]), calls)
        self.assertEqual(remember["Resource"], arn_of("LedgerTable"))
        self.assertEqual(take["Action"], ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"])
        self.assertEqual(take["Resource"], arn_of("IngestionQueue"))
        self.assertEqual(statements["KeepFailedEvents"]["Resource"], arn_of("OnFailureQueue"))
        self.assertEqual(
            set(statements),
            {
                "PublishSignals",
                "RaiseSkillFailures",
                "RememberEvents",
                "TakeFromIngestionQueue",
                "KeepFailedEvents",
                "WriteLogs",
                "Trace",
            },
        )
        self.assertEqual({statement["Effect"] for statement in statements.values()}, {"Allow"})

    def test_function_knows_its_topics_and_its_ledger_and_its_failures_are_kept(self) -> None:
        function = self.properties("AspEventsFunction")
        variables = function["Environment"]["Variables"]
        for name in TOPICS:
            self.assertEqual(variables[f"{name.removesuffix('Topic').upper()}_TOPIC_ARN"], {"Ref": name})
        self.assertEqual(variables["LEDGER_TABLE"], {"Ref": "LedgerTable"})
        on_failure = function["EventInvokeConfig"]["DestinationConfig"]["OnFailure"]
        self.assertEqual(on_failure["Destination"], arn_of("OnFailureQueue"))

    def test_ledger_forgets_by_the_attribute_that_the_function_writes(self) -> None:
        table = self.properties("LedgerTable")
        forgotten = table["TimeToLiveSpecification"]
        self.assertIs(forgotten["Enabled"], True)
        self.assertIn(f'"{forgotten["AttributeName"]}"', (ROOT / "src/ledger/dynamodb.rs").read_text())
        self.assertEqual(table["KeySchema"], [{"AttributeName": "pk", "KeyType": "HASH"}])
        self.assertEqual(table["AttributeDefinitions"], [{"AttributeName": "pk", "AttributeType": "S"}])
        self.assertEqual(table["BillingMode"], "PAY_PER_REQUEST")
        self.assertIs(table["SSESpecification"]["SSEEnabled"], True)
        recovery = table["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"]
        self.assertEqual(recovery, {"Ref": "LedgerPointInTimeRecovery"})

    def test_ledger_remembers_longer_than_lambda_repeats(self) -> None:
        repeats = self.properties("AspEventsFunction")["EventInvokeConfig"]["MaximumEventAgeInSeconds"]
        self.assertGreaterEqual(self.template["Parameters"]["LedgerTtlSeconds"]["MinValue"], repeats)

    def test_alarms_on_the_functions_own_metrics_watch_what_it_sends(self) -> None:
        for name, metric in (("LedgerUnavailableAlarm", "LedgerUnavailable"), ("FailedEventsAlarm", "FailedEvents")):
            alarm = self.properties(name)
            self.assertEqual((alarm["Namespace"], alarm["MetricName"]), ({"Ref": "MetricNamespace"}, metric))
            self.assertIn(f'"{metric}"', (ROOT / "src/telemetry.rs").read_text())
            self.assertNotIn("Dimensions", alarm)
            self.assertEqual((alarm["Statistic"], alarm["Threshold"], alarm["Period"]), ("Sum", 1, 300))

    def test_failed_events_of_a_batch_have_their_own_alarm(self) -> None:
        # Of a single event, FunctionErrorsAlarm tells.
        for part in (self.resources["FailedEventsAlarm"], self.template["Outputs"]["FailedEventsAlarmArn"]):
            self.assertEqual(part["Condition"], "IsBuffered")

    # ── From the topic to the function ──

    def test_each_ingestion_has_one_subscription_which_loses_nothing(self) -> None:
        conditions = {
            name: self.template["Conditions"][resource["Condition"]]
            for name, resource in self.resources.items()
            if resource["Type"] == "AWS::SNS::Subscription"
            and resource["Properties"]["TopicArn"] == {"Ref": "EventsTopic"}
        }
        self.assertEqual(
            conditions,
            {
                "AspEventsFunctionAlexa": {"Fn::Equals": [{"Ref": "Ingestion"}, "Direct"]},
                "IngestionSubscription": {"Fn::Equals": [{"Ref": "Ingestion"}, "Buffered"]},
            },
        )
        ingestion = self.template["Parameters"]["Ingestion"]
        self.assertEqual((ingestion["Default"], ingestion["AllowedValues"]), ("Direct", ["Direct", "Buffered"]))
        for name in conditions:
            dead = self.properties(name)["RedrivePolicy"]["deadLetterTargetArn"]
            self.assertEqual(dead, arn_of("EventsDeadLetterQueue"))
        direct, buffered = self.properties("AspEventsFunctionAlexa"), self.properties("IngestionSubscription")
        self.assertEqual((direct["Protocol"], direct["Endpoint"]), ("lambda", arn_of("AspEventsFunction")))
        self.assertEqual((buffered["Protocol"], buffered["Endpoint"]), ("sqs", arn_of("IngestionQueue")))
        self.assertNotIn("RawMessageDelivery", buffered)

    def test_nothing_else_depends_on_the_ingestion(self) -> None:
        conditional = {name for name, resource in self.resources.items() if "Condition" in resource}
        subscriptions = {"AspEventsFunctionAlexa", "IngestionSubscription", "AlarmEmailSubscription"}
        self.assertEqual(conditional, subscriptions | {"FailedEventsAlarm"})

    def test_only_the_events_topic_may_invoke_the_function(self) -> None:
        [permission] = self.of_type("AWS::Lambda::Permission").values()
        self.assertEqual(permission["Principal"], "sns.amazonaws.com")
        self.assertEqual(permission["SourceArn"], {"Ref": "EventsTopic"})

    def test_subscriptions_of_the_function_have_the_names_that_sam_gave_them(self) -> None:
        # Others would cost a stack of an earlier version its subscription. The comment in the template says how.
        self.assertIn("AspEventsFunctionAlexa", self.of_type("AWS::SNS::Subscription"))
        self.assertIn("AspEventsFunctionAlexaPermission", self.of_type("AWS::Lambda::Permission"))

    def test_a_failed_message_of_a_batch_comes_again_alone_and_is_kept_in_the_end(self) -> None:
        [mapping] = self.of_type("AWS::Lambda::EventSourceMapping").values()
        self.assertEqual(mapping["FunctionResponseTypes"], ["ReportBatchItemFailures"])
        self.assertEqual(mapping["EventSourceArn"], arn_of("IngestionQueue"))
        self.assertEqual(mapping["FunctionName"], {"Ref": "AspEventsFunction"})
        redrive = self.properties("IngestionQueue")["RedrivePolicy"]
        self.assertEqual(redrive["deadLetterTargetArn"], arn_of("IngestionDeadLetterQueue"))
        self.assertGreaterEqual(redrive["maxReceiveCount"], 5)

    def test_messages_stay_hidden_while_a_batch_gathers_and_the_function_tries(self) -> None:
        timeout = self.properties("AspEventsFunction")["Timeout"]
        longest = self.template["Parameters"]["BatchWindowSeconds"]["MaxValue"]
        hidden = self.properties("IngestionQueue")["VisibilityTimeout"]
        self.assertGreaterEqual(hidden, 6 * timeout + longest)

    def test_batch_parameters_are_within_the_limits_of_lambda(self) -> None:
        [mapping] = self.of_type("AWS::Lambda::EventSourceMapping").values()
        self.assertEqual(mapping["BatchSize"], {"Ref": "BatchSize"})
        self.assertEqual(mapping["MaximumBatchingWindowInSeconds"], {"Ref": "BatchWindowSeconds"})
        self.assertEqual(mapping["ScalingConfig"], {"MaximumConcurrency": {"Ref": "BatchConcurrency"}})
        for name, least, most in (
            ("BatchSize", 1, 10_000),
            ("BatchWindowSeconds", 1, 300),  # 0 is refused with batches of more than 10
            ("BatchConcurrency", 2, 1_000),
        ):
            parameter = self.template["Parameters"][name]
            self.assertGreaterEqual(parameter["MinValue"], least, name)
            self.assertLessEqual(parameter["MaxValue"], most, name)
            self.assertTrue(parameter["MinValue"] <= parameter["Default"] <= parameter["MaxValue"], name)

    # ── Queues and topics ──

    def test_every_queue_is_encrypted_and_keeps_its_messages_for_14_days(self) -> None:
        for name, queue in self.of_type("AWS::SQS::Queue").items():
            self.assertIs(queue["SqsManagedSseEnabled"], True, name)
            self.assertEqual(queue["MessageRetentionPeriod"], 14 * 86400, name)
            self.assertEqual(self.resources[name]["UpdateReplacePolicy"], "Retain", name)

    def test_every_queue_refuses_connections_without_tls_and_senders_that_are_not_its_topic(self) -> None:
        policies = {
            policy["Queues"][0]["Ref"]: policy["PolicyDocument"]["Statement"]
            for policy in self.of_type("AWS::SQS::QueuePolicy").values()
        }
        self.assertEqual(set(policies), set(self.of_type("AWS::SQS::Queue")))
        for queue, statements in policies.items():
            [tls] = [s for s in statements if s["Effect"] == "Deny"]
            self.assertEqual((tls["Principal"], tls["Action"]), ("*", "sqs:*"), queue)
            self.assertEqual(tls["Condition"], {"Bool": {"aws:SecureTransport": "false"}}, queue)
            for statement in statements:
                self.assertEqual(statement["Resource"], arn_of(queue))
                if statement["Effect"] == "Allow":
                    self.assertEqual(statement["Principal"], {"Service": "sns.amazonaws.com"}, queue)
                    self.assertEqual(statement["Action"], "sqs:SendMessage", queue)
                    self.assertEqual(set(statement["Condition"]["ArnEquals"]), {"aws:SourceArn"}, queue)

    def test_every_queue_of_a_subscription_lets_its_topic_in(self) -> None:
        allowed = {
            (statement["Resource"]["Fn::GetAtt"][0], statement["Condition"]["ArnEquals"]["aws:SourceArn"]["Ref"])
            for policy in self.of_type("AWS::SQS::QueuePolicy").values()
            for statement in policy["PolicyDocument"]["Statement"]
            if statement["Effect"] == "Allow"
        }
        needed = set()
        for subscription in self.of_type("AWS::SNS::Subscription").values():
            if subscription["Protocol"] == "email":
                continue
            topic = subscription["TopicArn"]["Ref"]
            needed.add((subscription["RedrivePolicy"]["deadLetterTargetArn"]["Fn::GetAtt"][0], topic))
            if subscription["Protocol"] == "sqs":
                needed.add((subscription["Endpoint"]["Fn::GetAtt"][0], topic))
        self.assertEqual(allowed, needed)

    def test_every_queue_that_keeps_failures_has_an_alarm_on_what_lies_in_it(self) -> None:
        watched = {
            alarm["Dimensions"][0]["Value"]["Fn::GetAtt"][0]
            for alarm in self.of_type("AWS::CloudWatch::Alarm").values()
            if alarm.get("MetricName") == "ApproximateNumberOfMessagesVisible"
        }
        kept = {name for name in self.of_type("AWS::SQS::Queue") if "DeadLetter" in name}
        self.assertEqual(watched, kept | {"OnFailureQueue", "QuarantineQueue"})

    def test_every_queue_that_somebody_must_empty_has_an_alarm_on_its_age(self) -> None:
        aged = {
            alarm["Dimensions"][0]["Value"]["Fn::GetAtt"][0]
            for alarm in self.of_type("AWS::CloudWatch::Alarm").values()
            if alarm.get("MetricName") == "ApproximateAgeOfOldestMessage"
        }
        self.assertEqual(aged, {"RetryQueue", "ReadinessQueue", "IngestionQueue"})

    def test_every_consumers_queue_and_subscription_has_a_dead_letter_queue(self) -> None:
        for name in TOPICS:
            queue = name.replace("Topic", "Queue")
            dead = arn_of(name.replace("Topic", "DeadLetterQueue"))
            self.assertEqual(self.properties(queue)["RedrivePolicy"]["deadLetterTargetArn"], dead)
            [subscription] = [
                s for s in self.of_type("AWS::SNS::Subscription").values() if s["Endpoint"] == arn_of(queue)
            ]
            self.assertEqual(subscription["TopicArn"], {"Ref": name})
            self.assertEqual(subscription["RedrivePolicy"]["deadLetterTargetArn"], dead)
            self.assertIs(subscription["RawMessageDelivery"], True)

    def test_no_log_level_drops_the_functions_own_metrics(self) -> None:
        level = self.template["Parameters"]["ApplicationLogLevel"]
        self.assertLessEqual(set(level["AllowedValues"]), {"TRACE", "DEBUG", "INFO"})
        logging = self.properties("AspEventsFunction")["LoggingConfig"]
        self.assertEqual((logging["LogFormat"], logging["ApplicationLogLevel"]), ("JSON", {"Ref": "ApplicationLogLevel"}))
        self.assertEqual(self.properties("AspEventsLogGroup")["RetentionInDays"], {"Ref": "LogRetentionDays"})

    def test_every_topic_queue_table_function_and_alarm_has_an_output(self) -> None:
        kinds = (
            "SNS::Topic",
            "SQS::Queue",
            "DynamoDB::Table",
            "CloudWatch::Alarm",
            "Serverless::Function",
            "Logs::LogGroup",
        )
        for kind in kinds:
            for name in self.of_type(f"AWS::{kind}"):
                self.assertIn(f"{name}Arn", self.template["Outputs"])


if __name__ == "__main__":
    unittest.main()
