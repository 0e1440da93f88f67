"""What the template guarantees beyond what a linter checks and a local stack shows.

test_agreement.py compares the template with what the function does.

python -m unittest discover tests/stack
"""

from __future__ import annotations

import json
import re
import unittest
from typing import Any

from samcli.yamlhelper import yaml_dump
from samtranslator.yaml_helper import yaml_parse
from stack import ROOT

TOPICS = ("RetryTopic", "ReadinessTopic", "ReportTopic", "QuarantineTopic")
# The stages under which the function counts a skill failure by stage alone.
STAGES = {"live", "development", "unknown"}
WITHOUT_TLS = {"Bool": {"aws:SecureTransport": "false"}}


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
        return {
            name: resource.get("Properties", {})
            for name, resource in self.resources.items()
            if resource["Type"] == kind
        }

    def queue_statements(self) -> list[tuple[str, dict[str, Any]]]:
        """Each queue with each statement of the policies that are attached to it."""
        return [
            (queue["Ref"], statement)
            for policy in self.of_type("AWS::SQS::QueuePolicy").values()
            for queue in policy["Queues"]
            for statement in policy["PolicyDocument"]["Statement"]
        ]

    def queues_watched_by(self, metric: str) -> set[str]:
        """The queues that have an alarm on this metric."""
        return {
            alarm["Dimensions"][0]["Value"]["Fn::GetAtt"][0]
            for alarm in self.of_type("AWS::CloudWatch::Alarm").values()
            if alarm.get("MetricName") == metric
        }

    def added_metrics(self, alarm: str) -> list[dict[str, Any]]:
        """The metrics that an alarm adds up; checks that its expression is their sum."""
        [total, *queries] = self.properties(alarm)["Metrics"]
        self.assertIs(total["ReturnData"], True)
        # SUM over a list adds what is there: a part without data must not hide the others.
        ids = ", ".join(query["Id"] for query in queries)
        self.assertEqual(total["Expression"], f"SUM([{ids}])")
        for query in queries:
            self.assertIs(query["ReturnData"], False)
            self.assertEqual(query["MetricStat"]["Stat"], "Sum")
            metric = query["MetricStat"]["Metric"]
            self.assertEqual(metric["Namespace"], {"Ref": "MetricNamespace"})
        return [query["MetricStat"] for query in queries]

    def pattern_of(self, parameter: str) -> re.Pattern[str]:
        return re.compile(self.template["Parameters"][parameter]["AllowedPattern"], re.ASCII)

    def test_sam_build_writes_less_than_the_limit_of_an_inline_template(self) -> None:
        # CloudFormation's limit of a template that is part of the request. The dump is what
        # `sam build` writes, except for a path and a line of metadata.
        self.assertLess(len(yaml_dump(self.template).encode()) + 100, 51_200)

    def test_skill_alarms_watch_every_stage_but_development(self) -> None:
        live, by_skill = map(self.properties, ("LiveSkillFailureAlarm", "SkillFailureBySkillAlarm"))
        stages = []
        for added in self.added_metrics("LiveSkillFailureAlarm"):
            self.assertEqual(added["Period"], {"Ref": "SkillFailurePeriodSeconds"})
            self.assertEqual(added["Metric"]["MetricName"], "SkillInteractionFailure")
            [stage] = added["Metric"]["Dimensions"]
            self.assertEqual(stage["Name"], "SkillStage")
            stages.append(stage["Value"])
        self.assertEqual(sorted(stages), sorted(STAGES - {"development"}))
        [query] = by_skill["Metrics"]
        self.assertEqual(
            query["Expression"]["Fn::Sub"],
            "SELECT SUM(SkillInteractionFailure) "
            'FROM SCHEMA("${MetricNamespace}", ErrorType, SkillId, SkillStage) '
            "WHERE SkillStage != 'development' GROUP BY SkillId ORDER BY SUM() DESC",
        )
        for alarm in (live, by_skill):
            for place in ("ReportQueue", "aspctl tail", "log"):
                self.assertIn(place, alarm["AlarmDescription"])
            self.assertEqual(alarm["TreatMissingData"], "notBreaching")
            self.assertEqual(alarm["ComparisonOperator"], "GreaterThanOrEqualToThreshold")

    def test_every_alarm_notifies_the_alarm_topic(self) -> None:
        alarms = self.of_type("AWS::CloudWatch::Alarm")
        self.assertGreater(len(alarms), 10)
        for name, alarm in alarms.items():
            self.assertEqual(alarm["AlarmActions"], [{"Ref": "AlarmTopic"}], name)
            self.assertEqual(alarm["OKActions"], [{"Ref": "AlarmTopic"}], name)
            self.assertEqual(alarm["TreatMissingData"], "notBreaching", name)

    def test_function_has_only_the_permissions_that_it_needs(self) -> None:
        [policy] = self.properties("AspEventsFunctionRole")["Policies"]
        statements = {s["Sid"]: s for s in policy["PolicyDocument"]["Statement"]}
        publish = statements["PublishSignals"]
        self.assertEqual(publish["Action"], "sns:Publish")
        self.assertEqual(publish["Resource"], [{"Ref": name} for name in TOPICS])
        self.assertEqual(statements["RaiseSkillFailures"]["Action"], "cloudwatch:PutMetricData")
        self.assertEqual(
            statements["RaiseSkillFailures"]["Condition"],
            {"StringEquals": {"cloudwatch:namespace": {"Ref": "MetricNamespace"}}},
        )
        remember, take = statements["RememberEvents"], statements["TakeFromIngestionQueue"]
        # test_agreement.py shows that the function needs each of these.
        self.assertEqual({action.partition(":")[0] for action in remember["Action"]}, {"dynamodb"})
        self.assertFalse([action for action in remember["Action"] if "*" in action])
        self.assertEqual(remember["Resource"], arn_of("LedgerTable"))
        self.assertEqual(
            take["Action"], ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"]
        )
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

    def test_parameters_of_event_processing_reach_the_function(self) -> None:
        variables = self.properties("AspEventsFunction")["Environment"]["Variables"]
        for parameter, variable in (
            ("SuccessStatuses", "SUCCESS_STATUSES"),
            ("FailureStatuses", "FAILURE_STATUSES"),
            ("ForwardEventTypes", "FORWARD_EVENT_TYPES"),
        ):
            self.assertEqual(variables[variable], {"Ref": parameter})
            self.assertEqual(self.template["Parameters"][parameter]["Default"], "")
            self.assertTrue(self.pattern_of(parameter).fullmatch(""))

    def test_statuses_are_words_separated_by_commas(self) -> None:
        for parameter in ("SuccessStatuses", "FailureStatuses"):
            for accepted in ("DONE", "Done,FINISHED", " DONE , PARTIALLY_DONE,", "ALL-WELL 2"):
                self.assertTrue(self.pattern_of(parameter).fullmatch(accepted), accepted)
            for refused in ("DONE;FINISHED", '"DONE"', "['DONE']", "DONE\nFINISHED"):
                self.assertFalse(self.pattern_of(parameter).fullmatch(refused), refused)

    def test_forwarded_types_have_the_form_that_the_function_accepts(self) -> None:
        pattern = self.pattern_of("ForwardEventTypes")
        for accepted in (
            "Alexa.Automation.Execution.Completion",
            "Alexa.Enterprise.Endpoint.*",
            " Alexa.Enterprise.Endpoint.* ,Alexa.Group_1.Created",
            "Alexa.*",
        ):
            self.assertTrue(pattern.fullmatch(accepted), accepted)
        for refused in (
            "*",
            "Alexa",
            "Alexa.*.Voice",
            ".Name",
            "Alexa.",
            "Alexa Group.Name",
            "A.B;C.D",
        ):
            self.assertFalse(pattern.fullmatch(refused), refused)

    def test_function_has_its_topics_its_ledger_and_an_on_failure_queue(self) -> None:
        function = self.properties("AspEventsFunction")
        variables = function["Environment"]["Variables"]
        for name in TOPICS:
            variable = f"{name.removesuffix('Topic').upper()}_TOPIC_ARN"
            self.assertEqual(variables[variable], {"Ref": name})
        self.assertEqual(variables["LEDGER_TABLE"], {"Ref": "LedgerTable"})
        on_failure = function["EventInvokeConfig"]["DestinationConfig"]["OnFailure"]
        self.assertEqual(on_failure["Destination"], arn_of("OnFailureQueue"))

    def test_ledger_is_encrypted_and_expires_its_items(self) -> None:
        table = self.properties("LedgerTable")
        expiry = table["TimeToLiveSpecification"]
        self.assertEqual(expiry, {"AttributeName": "expiresAt", "Enabled": True})
        self.assertEqual(table["KeySchema"], [{"AttributeName": "pk", "KeyType": "HASH"}])
        [key] = table["AttributeDefinitions"]
        self.assertEqual(key, {"AttributeName": "pk", "AttributeType": "S"})
        self.assertEqual(table["BillingMode"], "PAY_PER_REQUEST")
        self.assertIs(table["SSESpecification"]["SSEEnabled"], True)
        recovery = table["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"]
        self.assertEqual(recovery, {"Ref": "LedgerPointInTimeRecovery"})

    def test_ledger_retains_event_ids_for_as_long_as_lambda_retries(self) -> None:
        invocation = self.properties("AspEventsFunction")["EventInvokeConfig"]
        shortest = self.template["Parameters"]["LedgerTtlSeconds"]["MinValue"]
        self.assertGreaterEqual(shortest, invocation["MaximumEventAgeInSeconds"])

    def test_alarms_on_the_functions_own_metrics(self) -> None:
        for metric in ("LedgerUnavailable", "FailedEvents"):
            alarm = self.properties(f"{metric}Alarm")
            self.assertEqual(alarm["Namespace"], {"Ref": "MetricNamespace"})
            self.assertEqual(alarm["MetricName"], metric)
            self.assertNotIn("Dimensions", alarm)
            self.assertEqual((alarm["Statistic"], alarm["Threshold"]), ("Sum", 1))
            self.assertEqual(alarm["Period"], 300)

    def test_an_unknown_status_and_every_other_reason_for_quarantine_have_alarms(self) -> None:
        # Of different metrics, so that a flood of one unknown status does not hide other messages.
        schema = json.loads((ROOT / "schemas/aspevents.quarantine.v1.json").read_bytes())
        reasons = schema["properties"]["data"]["properties"]["reason"]["enum"]
        unknown = self.properties("UnknownStatusAlarm")
        watched = []
        for metric, period in [
            (unknown, unknown["Period"]),
            *(
                (added["Metric"], added["Period"])
                for added in self.added_metrics("QuarantineAlarm")
            ),
        ]:
            self.assertEqual(metric["MetricName"], "Quarantined")
            self.assertEqual(metric["Namespace"], {"Ref": "MetricNamespace"})
            self.assertEqual(period, 300)
            [reason] = metric["Dimensions"]
            self.assertEqual(reason["Name"], "Reason")
            watched.append(reason["Value"])
        self.assertEqual(watched[0], "UNKNOWN_STATUS")
        self.assertEqual(sorted(watched), sorted(reasons))
        self.assertEqual(unknown["Statistic"], "Sum")
        for alarm in (unknown, self.properties("QuarantineAlarm")):
            self.assertEqual(alarm["Threshold"], 1)
            self.assertEqual(alarm["ComparisonOperator"], "GreaterThanOrEqualToThreshold")
            self.assertIn("QuarantineQueue", alarm["AlarmDescription"])

    def test_failed_events_of_a_batch_have_their_own_alarm(self) -> None:
        # In Direct mode FunctionErrorsAlarm covers a failed event.
        self.assertEqual(self.resources["FailedEventsAlarm"]["Condition"], "IsBuffered")
        output = self.template["Outputs"]["FailedEventsAlarmArn"]
        self.assertEqual(output["Condition"], "IsBuffered")

    # ── From the topic to the function ──

    def test_each_ingestion_mode_has_one_subscription_with_a_dead_letter_queue(self) -> None:
        conditions = {
            name: self.template["Conditions"][resource["Condition"]]
            for name, resource in self.resources.items()
            if resource["Type"] == "AWS::SNS::Subscription"
            and resource["Properties"]["TopicArn"] == {"Ref": "EventsTopic"}
        }
        self.assertEqual(
            conditions,
            {
                "FunctionSubscription": {"Fn::Equals": [{"Ref": "Ingestion"}, "Direct"]},
                "IngestionSubscription": {"Fn::Equals": [{"Ref": "Ingestion"}, "Buffered"]},
            },
        )
        ingestion = self.template["Parameters"]["Ingestion"]
        self.assertEqual(ingestion["Default"], "Direct")
        self.assertEqual(ingestion["AllowedValues"], ["Direct", "Buffered"])
        for name in conditions:
            redrive = self.properties(name)["RedrivePolicy"]
            self.assertEqual(redrive["deadLetterTargetArn"], arn_of("EventsDeadLetterQueue"))
        direct, buffered = map(self.properties, ("FunctionSubscription", "IngestionSubscription"))
        self.assertEqual(direct["Protocol"], "lambda")
        self.assertEqual(direct["Endpoint"], arn_of("AspEventsFunction"))
        self.assertEqual(buffered["Protocol"], "sqs")
        self.assertEqual(buffered["Endpoint"], arn_of("IngestionQueue"))
        self.assertNotIn("RawMessageDelivery", buffered)

    def test_nothing_else_depends_on_the_ingestion_mode(self) -> None:
        conditional = {
            name: resource["Condition"]
            for name, resource in self.resources.items()
            if "Condition" in resource
        }
        self.assertEqual(
            conditional,
            {
                "FunctionSubscription": "IsDirect",
                "IngestionSubscription": "IsBuffered",
                "FailedEventsAlarm": "IsBuffered",
                "AlarmEmailSubscription": "HasAlarmEmail",
            },
        )

    def test_only_the_events_topic_may_invoke_the_function(self) -> None:
        [permission] = self.of_type("AWS::Lambda::Permission").values()
        self.assertEqual(permission["Principal"], "sns.amazonaws.com")
        self.assertEqual(permission["SourceArn"], {"Ref": "EventsTopic"})

    def test_events_subscriptions_are_created_after_what_permits_them(self) -> None:
        # SNS does not retry a delivery that a policy denies.
        direct = self.resources["FunctionSubscription"]["DependsOn"]
        self.assertEqual(direct, ["FunctionPermission", "EventsQueuePolicy"])
        buffered = self.resources["IngestionSubscription"]["DependsOn"]
        self.assertEqual(buffered, "EventsQueuePolicy")
        queues = self.properties("EventsQueuePolicy")["Queues"]
        self.assertEqual(queues, [{"Ref": "EventsDeadLetterQueue"}, {"Ref": "IngestionQueue"}])

    def test_only_failed_messages_of_a_batch_are_retried_and_then_dead_lettered(self) -> None:
        [mapping] = self.of_type("AWS::Lambda::EventSourceMapping").values()
        self.assertEqual(mapping["FunctionResponseTypes"], ["ReportBatchItemFailures"])
        self.assertEqual(mapping["EventSourceArn"], arn_of("IngestionQueue"))
        self.assertEqual(mapping["FunctionName"], {"Ref": "AspEventsFunction"})
        redrive = self.properties("IngestionQueue")["RedrivePolicy"]
        self.assertEqual(redrive["deadLetterTargetArn"], arn_of("IngestionDeadLetterQueue"))
        self.assertGreaterEqual(redrive["maxReceiveCount"], 5)

    def test_a_retry_trigger_can_be_hidden_until_it_is_due(self) -> None:
        # SQS hides a message for 12 hours at most. A consumer that polls instead sees it often.
        self.assertEqual(self.template["Parameters"]["RetryMaxSeconds"]["MaxValue"], 12 * 3600)
        self.assertEqual(self.properties("RetryQueue")["RedrivePolicy"]["maxReceiveCount"], 1000)

    def test_visibility_timeout_covers_the_batching_window_and_six_invocations(self) -> None:
        timeout = self.properties("AspEventsFunction")["Timeout"]
        longest = self.template["Parameters"]["BatchWindowSeconds"]["MaxValue"]
        visibility = self.properties("IngestionQueue")["VisibilityTimeout"]
        self.assertGreaterEqual(visibility, 6 * timeout + longest)

    def test_batch_parameters_are_within_the_limits_of_lambda(self) -> None:
        [mapping] = self.of_type("AWS::Lambda::EventSourceMapping").values()
        self.assertEqual(mapping["BatchSize"], {"Ref": "BatchSize"})
        self.assertEqual(mapping["MaximumBatchingWindowInSeconds"], {"Ref": "BatchWindowSeconds"})
        concurrency = mapping["ScalingConfig"]["MaximumConcurrency"]
        self.assertEqual(concurrency, {"Ref": "BatchConcurrency"})
        for name, minimum, maximum in (
            ("BatchSize", 1, 10_000),
            ("BatchWindowSeconds", 1, 300),  # Lambda refuses 0 for batches of more than 10
            ("BatchConcurrency", 2, 1_000),
        ):
            parameter = self.template["Parameters"][name]
            self.assertGreaterEqual(parameter["MinValue"], minimum, name)
            self.assertLessEqual(parameter["MaxValue"], maximum, name)
            self.assertGreaterEqual(parameter["Default"], parameter["MinValue"], name)
            self.assertLessEqual(parameter["Default"], parameter["MaxValue"], name)

    # ── Queues and topics ──

    def test_every_queue_is_encrypted_and_retains_messages_for_14_days(self) -> None:
        for name, queue in self.of_type("AWS::SQS::Queue").items():
            self.assertIs(queue["SqsManagedSseEnabled"], True, name)
            self.assertEqual(queue["MessageRetentionPeriod"], 14 * 86400, name)
            self.assertEqual(self.resources[name]["UpdateReplacePolicy"], "Retain", name)

    def test_every_queue_has_one_policy(self) -> None:
        # A queue has a single policy: of two that are attached to it, the last one would count.
        attached = [
            queue["Ref"]
            for policy in self.of_type("AWS::SQS::QueuePolicy").values()
            for queue in policy["Queues"]
        ]
        self.assertEqual(sorted(attached), sorted(self.of_type("AWS::SQS::Queue")))

    def test_every_queue_requires_tls_and_accepts_messages_only_from_topics(self) -> None:
        denied = set()
        for queue, statement in self.queue_statements():
            self.assertEqual(statement["Resource"], "*", queue)
            if statement["Effect"] == "Deny":
                denied.add(queue)
                self.assertEqual(statement["Principal"], "*", queue)
                self.assertEqual(statement["Action"], "sqs:*", queue)
                self.assertEqual(statement["Condition"], WITHOUT_TLS, queue)
            else:
                self.assertEqual(statement["Principal"], {"Service": "sns.amazonaws.com"}, queue)
                self.assertEqual(statement["Action"], "sqs:SendMessage", queue)
                self.assertEqual(set(statement["Condition"]), {"ArnEquals"}, queue)
                self.assertEqual(set(statement["Condition"]["ArnEquals"]), {"aws:SourceArn"}, queue)
        self.assertEqual(denied, set(self.of_type("AWS::SQS::Queue")))

    def test_every_topic_has_one_policy_which_requires_tls(self) -> None:
        attached = []
        for policy in self.of_type("AWS::SNS::TopicPolicy").values():
            attached += [topic["Ref"] for topic in policy["Topics"]]
            statements = policy["PolicyDocument"]["Statement"]
            [tls] = [one for one in statements if one["Effect"] == "Deny"]
            self.assertEqual((tls["Principal"], tls["Action"]), ("*", "sns:Publish"))
            self.assertEqual(tls["Condition"]["Bool"], WITHOUT_TLS["Bool"])
        self.assertEqual(sorted(attached), sorted(self.of_type("AWS::SNS::Topic")))

    def test_every_queue_of_a_subscription_accepts_messages_from_its_topic(self) -> None:
        allowed = {
            (queue, statement["Condition"]["ArnEquals"]["aws:SourceArn"]["Ref"])
            for queue, statement in self.queue_statements()
            if statement["Effect"] == "Allow"
        }
        needed = set()
        for subscription in self.of_type("AWS::SNS::Subscription").values():
            if subscription["Protocol"] == "email":
                continue
            topic = subscription["TopicArn"]["Ref"]
            dead_letters = subscription["RedrivePolicy"]["deadLetterTargetArn"]["Fn::GetAtt"][0]
            needed.add((dead_letters, topic))
            if subscription["Protocol"] == "sqs":
                needed.add((subscription["Endpoint"]["Fn::GetAtt"][0], topic))
        self.assertEqual(allowed, needed)

    def test_every_queue_of_failures_has_an_alarm_on_its_messages(self) -> None:
        # But for QuarantineQueue: its alarms watch the reasons.
        dead_letters = {name for name in self.of_type("AWS::SQS::Queue") if "DeadLetter" in name}
        self.assertEqual(
            self.queues_watched_by("ApproximateNumberOfMessagesVisible"),
            dead_letters | {"OnFailureQueue"},
        )

    def test_every_topic_with_a_dead_letter_queue_has_an_alarm_on_what_it_loses(self) -> None:
        watched = {
            alarm["Dimensions"][0]["Value"]["Fn::GetAtt"][0]
            for alarm in self.of_type("AWS::CloudWatch::Alarm").values()
            if alarm.get("MetricName") == "NumberOfNotificationsFailedToRedriveToDlq"
        }
        self.assertEqual(watched, {"EventsTopic", *TOPICS})

    def test_every_queue_that_needs_a_consumer_has_an_alarm_on_its_age(self) -> None:
        # ReportQueue needs none: people look into it after an alarm.
        self.assertEqual(
            self.queues_watched_by("ApproximateAgeOfOldestMessage"),
            {"RetryQueue", "ReadinessQueue", "IngestionQueue"},
        )

    def test_every_consumers_queue_and_subscription_has_a_dead_letter_queue(self) -> None:
        for name in TOPICS:
            queue = name.replace("Topic", "Queue")
            dead_letters = arn_of(name.replace("Topic", "DeadLetterQueue"))
            redrive = self.properties(queue)["RedrivePolicy"]
            self.assertEqual(redrive["deadLetterTargetArn"], dead_letters)
            subscriptions = self.of_type("AWS::SNS::Subscription").values()
            [subscription] = [one for one in subscriptions if one["Endpoint"] == arn_of(queue)]
            self.assertEqual(subscription["TopicArn"], {"Ref": name})
            self.assertEqual(subscription["RedrivePolicy"]["deadLetterTargetArn"], dead_letters)
            self.assertIs(subscription["RawMessageDelivery"], True)

    def test_no_log_level_drops_the_functions_own_metrics(self) -> None:
        level = self.template["Parameters"]["ApplicationLogLevel"]
        self.assertLessEqual(set(level["AllowedValues"]), {"TRACE", "DEBUG", "INFO"})
        logging = self.properties("AspEventsFunction")["LoggingConfig"]
        self.assertEqual(logging["LogFormat"], "JSON")
        self.assertEqual(logging["ApplicationLogLevel"], {"Ref": "ApplicationLogLevel"})
        retention = self.properties("AspEventsLogGroup")["RetentionInDays"]
        self.assertEqual(retention, {"Ref": "LogRetentionDays"})

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
