"""What the template promises beyond what a linter knows, and a local stack cannot show because it enforces no policies.

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
    def setUp(self) -> None:
        self.template: dict[str, Any] = yaml_parse((ROOT / "template.yaml").read_text())
        self.resources: dict[str, Any] = self.template["Resources"]

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
        self.assertEqual(statements["KeepFailedEvents"]["Resource"], arn_of("OnFailureQueue"))
        self.assertEqual(
            set(statements), {"PublishSignals", "RaiseSkillFailures", "KeepFailedEvents", "WriteLogs", "Trace"}
        )

    def test_function_knows_its_topics_and_its_failures_are_kept(self) -> None:
        function = self.properties("AspEventsFunction")
        variables = function["Environment"]["Variables"]
        for name in TOPICS:
            self.assertEqual(variables[f"{name.removesuffix('Topic').upper()}_TOPIC_ARN"], {"Ref": name})
        on_failure = function["EventInvokeConfig"]["DestinationConfig"]["OnFailure"]
        self.assertEqual(on_failure["Destination"], arn_of("OnFailureQueue"))
        subscription = function["Events"]["Alexa"]["Properties"]
        self.assertEqual(subscription["Topic"], {"Ref": "EventsTopic"})
        self.assertEqual(subscription["RedrivePolicy"]["deadLetterTargetArn"], arn_of("EventsDeadLetterQueue"))

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

    def test_every_topic_queue_function_and_alarm_has_an_output(self) -> None:
        kinds = ("SNS::Topic", "SQS::Queue", "CloudWatch::Alarm", "Serverless::Function", "Logs::LogGroup")
        for kind in kinds:
            for name in self.of_type(f"AWS::{kind}"):
                self.assertIn(f"{name}Arn", self.template["Outputs"])


if __name__ == "__main__":
    unittest.main()
