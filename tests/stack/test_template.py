"""What the template guarantees beyond what a linter checks and a local stack shows.

test_agreement.py compares the template with what the function does.

python -m unittest discover tests/stack
"""

from __future__ import annotations

import json
import re
import sys
import unittest
from collections.abc import Iterator
from datetime import timedelta
from itertools import product
from typing import Any

import yaml

from alarm_situations import PAGES
from resolved import ResolvedTemplate, load, metrics_of
from stack import ROOT

sys.path.insert(0, str(ROOT / "tools"))
import package  # noqa: E402

TOPICS = ("RetryTopic", "ReadinessTopic", "ReportTopic", "QuarantineTopic")
CONSUMERS = ("Retry", "Readiness", "Report")
# The namespace of the function's metrics.
NAMESPACE = {
    "Fn::If": [
        "HasNamespace",
        {"Ref": "MetricNamespace"},
        {"Fn::Sub": "AlexaSmartProperties/${AWS::StackName}"},
    ]
}
# Two values of each parameter that a condition depends on: the default and another one.
ALTERNATIVES = {
    "EventsTopicName": "asp-events-0123456789abcdef",
    "Ingestion": "Buffered",
    "RetryConsumer": "None",
    "ReadinessConsumer": "None",
    "ReportConsumer": "None",
    "AlarmEmail": "alarms@example.com",
    "PageTopicArn": "arn:aws:sns:us-east-1:123456789012:pages",
    "TicketTopicArn": "arn:aws:sns:us-east-1:123456789012:tickets",
    "MetricNamespace": "Mine",
    "SkillFailureThreshold": "2",
    "QueueAgeLimitSeconds": "86400",
    "Heartbeat": "No",
    "SilenceHours": "24",
    "Dashboard": "Yes",
    "AlexaTls": "Optional",
    "ConsumerAccounts": "210987654321",
    "ConsumerOrganizationId": "o-abcdefghij",
    "RetainOnDelete": "Yes",
    "DeliveryStatusLogging": "Yes",
    "Tracing": "Active",
    "ReservedConcurrency": "20",
    "KmsKeyArn": "arn:aws:kms:us-east-1:123456789012:key/12345678-1234-1234-1234-123456789012",
    "PermissionsBoundaryArn": "arn:aws:iam::123456789012:policy/boundary",
}
# All alarms exist with these parameters.
EVERYTHING = {"Ingestion": "Buffered", "QueueAgeLimitSeconds": "86400", "SilenceHours": "24"}
DAYS = 86400
# Of the template, comments included, and of what `make build` makes of it.
READABLE_BYTES = 100_000
# Of what `sam build` and `sam deploy` make of that: the same without comments, each value on a line
# of its own. Nobody reads it, but it should not grow.
UPLOADED_BYTES = 104_000
# The stages under which the function counts a skill failure by stage alone.
STAGES = {"live", "development", "unknown"}
WITHOUT_TLS = {"Bool": {"aws:SecureTransport": "false"}}


def arn_of(name: str) -> dict[str, Any]:
    return {"Fn::GetAtt": [name, "Arn"]}


def alarms_of(template: ResolvedTemplate) -> dict[str, dict[str, Any]]:
    return template.properties_of_type("AWS::CloudWatch::Alarm")


def watched(alarm: dict[str, Any], metric: str) -> list[str]:
    """What a resolved alarm watches by this metric: the value of its only dimension."""
    found = [one for one in metrics_of(alarm) if one["MetricName"] == metric]
    return [dimension["Value"] for one in found for dimension in one["Dimensions"]]


# A condition that an Fn::If has met, and whether it holds there.
Guard = tuple[str, bool]


def references(value: Any, guards: tuple[Guard, ...] = ()) -> Iterator[tuple[str, Any]]:
    """The names that a value refers to, with the conditions under which it does."""
    if isinstance(value, list):
        for item in value:
            yield from references(item, guards)
    elif isinstance(value, dict):
        for key, inner in value.items():
            if key == "Fn::If":
                condition, then, otherwise = inner
                yield from references(then, (*guards, (condition, True)))
                yield from references(otherwise, (*guards, (condition, False)))
            elif key == "Ref":
                yield inner, guards
            elif key == "Fn::GetAtt":
                yield inner[0], guards
            elif key == "Fn::Sub":
                text, *variables = [inner] if isinstance(inner, str) else inner
                for name in re.findall(r"\$\{([\w:]+)", text):
                    yield name, guards
                yield from references(variables, guards)
            else:
                yield from references(inner, guards)


class Template(unittest.TestCase):
    template: dict[str, Any]
    resources: dict[str, Any]

    @classmethod
    def setUpClass(cls) -> None:
        cls.template = load()
        cls.resources = cls.template["Resources"]

    def resolved(self, **parameters: str) -> ResolvedTemplate:
        return ResolvedTemplate(self.template, parameters)

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

    def queues_watched_by(self, metric: str, **parameters: str) -> dict[str, list[str]]:
        """The queues or topics that alarms watch by this metric, by alarm."""
        found = {
            name: watched(alarm, metric)
            for name, alarm in alarms_of(self.resolved(**parameters)).items()
        }
        return {name: queues for name, queues in found.items() if queues}

    def added_metrics(self, alarm: str, form: str = "{}") -> list[dict[str, Any]]:
        """The metrics that an alarm adds up; checks that its expression is their sum."""
        [total, *queries] = self.properties(alarm)["Metrics"]
        self.assertIs(total["ReturnData"], True)
        # SUM over a list adds what is there: a part without data must not hide the others.
        self.assertEqual(total["Expression"], form.format("SUM(METRICS())"))
        for query in queries:
            self.assertIs(query["ReturnData"], False)
            self.assertEqual(query["MetricStat"]["Stat"], "Sum")
        return [query["MetricStat"] for query in queries]

    def own_metrics(self, alarm: str) -> list[tuple[str, dict[str, str]]]:
        """The function's metrics that an alarm adds up over 5 minutes: names and dimensions."""
        metrics = []
        for added in self.added_metrics(alarm):
            self.assertEqual(added["Period"], 300)
            metric = added["Metric"]
            self.assertEqual(metric["Namespace"], NAMESPACE)
            dimensions = {one["Name"]: one["Value"] for one in metric.get("Dimensions", [])}
            metrics.append((metric["MetricName"], dimensions))
        return metrics

    def pattern_of(self, parameter: str) -> re.Pattern[str]:
        return re.compile(self.template["Parameters"][parameter]["AllowedPattern"], re.ASCII)

    def test_template_stays_readable_in_size(self) -> None:
        # More than CloudFormation accepts in a request: `sam deploy` sends it by S3.
        text = (ROOT / "template.yaml").read_text()
        self.assertLessEqual(len(text.encode()), READABLE_BYTES)
        for arch in package.ARCHITECTURES:
            packaged = package.packaged_template(text, arch, "v10.20.30-100-g0123456789ab-dirty")
            self.assertLessEqual(len(packaged.encode()), READABLE_BYTES)
        uploaded = yaml.dump(self.template, sort_keys=False, allow_unicode=True)
        self.assertLessEqual(len(uploaded.encode()), UPLOADED_BYTES)

    def test_every_source_is_listed(self) -> None:
        comments = re.findall(r"^ *# .*$", (ROOT / "template.yaml").read_text(), re.MULTILINE)
        document = (ROOT / "docs/configuration.md").read_text()
        named = set(re.findall(r"\[[a-z-]+\]", "\n".join(comments)))
        listed = re.findall(r"^\| `(\[[a-z-]+\])` \|", document, re.MULTILINE)
        self.assertCountEqual(listed, named)

    def test_skill_alarms_watch_every_stage_but_development(self) -> None:
        live, by_skill = map(self.properties, ("LiveSkillFailureAlarm", "SkillFailureBySkillAlarm"))
        stages = []
        for added in self.added_metrics("LiveSkillFailureAlarm", "FILL({}, 0)"):
            self.assertEqual(added["Period"], {"Ref": "SkillFailurePeriodSeconds"})
            self.assertEqual(added["Metric"]["Namespace"], NAMESPACE)
            self.assertEqual(added["Metric"]["MetricName"], "SkillInteractionFailure")
            [stage] = added["Metric"]["Dimensions"]
            self.assertEqual(stage["Name"], "SkillStage")
            stages.append(stage["Value"])
        self.assertEqual(sorted(stages), sorted(STAGES - {"development"}))
        [query] = by_skill["Metrics"]
        self.assertEqual(
            query["Expression"]["Fn::Sub"],
            [
                "SELECT SUM(SkillInteractionFailure) "
                'FROM SCHEMA("${Namespace}", ErrorType, SkillId, SkillStage) '
                "WHERE SkillStage != 'development' GROUP BY SkillId ORDER BY SUM() DESC",
                {"Namespace": NAMESPACE},
            ],
        )
        for alarm in (live, by_skill):
            for place in ("ReportQueue", "aspctl tail", "log"):
                self.assertIn(place, alarm["AlarmDescription"]["Fn::Sub"])
            self.assertEqual(alarm["TreatMissingData"], "notBreaching")
            self.assertEqual(alarm["ComparisonOperator"], "GreaterThanOrEqualToThreshold")

    # ── Severities, runbooks and notifications ──

    def test_description_says_severity_what_to_do_and_where_the_runbook_is(self) -> None:
        alarms = alarms_of(self.resolved(**EVERYTHING))
        self.assertEqual(set(alarms), set(self.of_type("AWS::CloudWatch::Alarm")))
        for name, alarm in alarms.items():
            severity = "PAGE" if name in PAGES else "TICKET"
            text = rf"{severity}: .+\. Runbook: docs/operations\.md#{name.lower()}"
            self.assertRegex(alarm["AlarmDescription"], rf"\A{text}\Z")
        self.assertLess(PAGES, set(alarms))

    def test_longest_runbook_url_leaves_room_for_the_description(self) -> None:
        url = "u" * 300
        self.assertTrue(self.pattern_of("RunbookUrl").fullmatch(url))
        self.assertFalse(self.pattern_of("RunbookUrl").fullmatch(url + "u"))
        for name, alarm in alarms_of(self.resolved(RunbookUrl=url, **EVERYTHING)).items():
            self.assertLessEqual(len(alarm["AlarmDescription"]), 1024, name)

    def test_every_alarm_has_a_section_in_the_runbooks_and_no_section_is_without_one(self) -> None:
        document = (ROOT / "docs/operations.md").read_text()
        sections = re.findall(r"^### (\w+Alarm)$", document, re.MULTILINE)
        self.assertEqual(sorted(sections), sorted(self.of_type("AWS::CloudWatch::Alarm")))

    def test_alarms_notify_the_topic_of_their_severity_and_only_pages_say_that_they_are_ok(
        self,
    ) -> None:
        own = {True: "AlarmTopic", False: "TicketTopic"}
        given = {True: ALTERNATIVES["PageTopicArn"], False: ALTERNATIVES["TicketTopicArn"]}
        arns = {key: self.resolved().value({"Ref": name}) for key, name in own.items()}
        for parameters, topics in (
            ({}, arns),
            ({"PageTopicArn": given[True]}, {True: given[True], False: arns[False]}),
            ({"TicketTopicArn": given[False]}, {True: arns[True], False: given[False]}),
        ):
            template = self.resolved(**EVERYTHING, **parameters)
            for name, alarm in alarms_of(template).items():
                is_page = name in PAGES
                topic = [topics[is_page]]
                self.assertEqual(alarm["AlarmActions"], topic, name)
                self.assertEqual(alarm.get("OKActions", []), topic if is_page else [], name)
                self.assertNotIn("InsufficientDataActions", alarm, name)
                self.assertNotIn("ActionsEnabled", alarm, name)
            outputs = self.template["Outputs"]
            for is_page, output in ((True, "AlarmTopicArn"), (False, "TicketTopicArn")):
                self.assertEqual(template.value(outputs[output]["Value"]), topics[is_page])

    def test_a_given_topic_replaces_that_of_the_stack_with_its_policy_and_email(self) -> None:
        email = {"AlarmEmail": "alarms@example.com"}
        before = self.resolved(**email).resources
        for parameter, prefix in (("PageTopicArn", "Alarm"), ("TicketTopicArn", "Ticket")):
            after = self.resolved(**email, **{parameter: ALTERNATIVES[parameter]}).resources
            removed = {f"{prefix}{kind}" for kind in ("Topic", "TopicPolicy", "EmailSubscription")}
            self.assertEqual(set(before) - set(after), removed)
        without = self.resolved().resources
        self.assertEqual(
            set(before) - set(without), {"AlarmEmailSubscription", "TicketEmailSubscription"}
        )

    # ── What alarms watch, and how ──

    def test_alarms_evaluate_in_one_of_few_ways(self) -> None:
        happened, lasts, level = (300, 12, 1), (60, 30, 20), (60, 15, 1)
        alarms = self.of_type("AWS::CloudWatch::Alarm")
        levels = {name for name in alarms if name.endswith("QueueAlarm")}
        lasting = {
            "FunctionErrorsAlarm",
            "FailedEventsAlarm",
            "FunctionDurationAlarm",
        }
        own_ways = {
            "FunctionThrottlesAlarm": (60, 25, 15),
            "UnprocessedEventsAlarm": (60, 60, 1),
            "LateEventsAlarm": (1800, 1, 1),
            "HeartbeatAlarm": (3600, 3, 3),
            "SilenceAlarm": (3600, 24, 24),
        }
        for name, alarm in alarms_of(self.resolved(**EVERYTHING)).items():
            periods = {int(metric["Period"]) for metric in metrics_of(alarm)} or {
                int(query["Period"]) for query in alarm["Metrics"]
            }
            [period] = periods
            way = (period, int(alarm["EvaluationPeriods"]), int(alarm["DatapointsToAlarm"]))
            general = level if name in levels else lasts if name in lasting else happened
            self.assertEqual(way, own_ways.get(name, general), name)

    def test_a_threshold_above_one_failure_counts_within_the_last_period(self) -> None:
        for name in ("LiveSkillFailureAlarm", "SkillFailureBySkillAlarm"):
            for seconds in (60, 300, 900, 3600):
                period = {"SkillFailurePeriodSeconds": str(seconds)}
                one = alarms_of(self.resolved(**period))[name]
                self.assertEqual(int(one["EvaluationPeriods"]) * seconds, 3600)
                two = alarms_of(self.resolved(SkillFailureThreshold="2", **period))[name]
                self.assertEqual((two["Threshold"], two["EvaluationPeriods"]), ("2", 1))

    def test_where_older_periods_must_not_count_each_period_has_a_value(self) -> None:
        # CloudWatch looks further back where values are missing.
        alarms = alarms_of(self.resolved(**EVERYTHING))
        filled = {
            name
            for name, alarm in alarms.items()
            if any("FILL(" in query.get("Expression", "") for query in alarm.get("Metrics", []))
        }
        self.assertEqual(
            filled,
            {
                "HeartbeatAlarm",
                "LateEventsAlarm",
                "LiveSkillFailureAlarm",
                "SilenceAlarm",
            },
        )

    def test_missing_data_is_a_failure_only_where_something_must_arrive(self) -> None:
        awaited = {"HeartbeatAlarm", "SilenceAlarm"}
        for name, alarm in alarms_of(self.resolved(**EVERYTHING)).items():
            is_awaited = name in awaited
            missing = "breaching" if is_awaited else "notBreaching"
            self.assertEqual(alarm["TreatMissingData"], missing, name)
            operator = "LessThan" if is_awaited else "GreaterThanOrEqualTo"
            self.assertEqual(alarm["ComparisonOperator"], f"{operator}Threshold", name)

    def test_alarms_keep_the_limits_of_cloudwatch(self) -> None:
        for seconds, hours in product((60, 300, 900, 3600), (1, 48)):
            template = self.resolved(
                **EVERYTHING | {"SilenceHours": str(hours)},
                SkillFailurePeriodSeconds=str(seconds),
            )
            for name, alarm in alarms_of(template).items():
                queries = alarm.get("Metrics", [])
                periods = [int(metric["Period"]) for metric in metrics_of(alarm)]
                insights = [int(query["Period"]) for query in queries if "Period" in query]
                [period] = {*periods, *insights}
                reach = timedelta(seconds=period * int(alarm["EvaluationPeriods"]))
                limit = timedelta(days=7 if period >= 3600 else 1)
                self.assertLessEqual(reach, timedelta(hours=3) if insights else limit, name)
                self.assertLessEqual(len(periods), 10, name)

    def test_expressions_use_each_metric_of_their_alarm_and_nothing_else(self) -> None:
        functions = {"SUM", "MAX", "DIFF", "FILL", "IF", "METRICS"}
        for values in product(("Direct", "Buffered"), *(("Queue", "None") for _ in CONSUMERS)):
            names = ("Ingestion", *(f"{consumer}Consumer" for consumer in CONSUMERS))
            parameters = EVERYTHING | dict(zip(names, values, strict=True))
            for name, alarm in alarms_of(self.resolved(**parameters)).items():
                queries = {query["Id"]: query for query in alarm.get("Metrics", [])}
                if not queries or name == "SkillFailureBySkillAlarm":
                    continue
                self.assertEqual(len(queries), len(alarm["Metrics"]), name)
                returned = [one["Id"] for one in queries.values() if one["ReturnData"]]
                self.assertEqual(returned, [alarm["Metrics"][0]["Id"]], name)
                expressions = [one["Expression"] for one in queries.values() if "Expression" in one]
                words = set(re.findall(r"[A-Za-z]\w*", " ".join(expressions)))
                self.assertLessEqual(words, functions | set(queries), name)
                if "METRICS" in words:
                    # All metrics, whatever their ids.
                    self.assertEqual(len(expressions), 1, name)
                    words |= set(queries) - set(returned)
                self.assertEqual(set(queries) - words, set(returned), name)

    def test_errors_and_failed_events_count_beyond_contention(self) -> None:
        contended = ("AlexaSmartProperties/asp-events", "Contended")
        for mode, name, failures, expression in (
            ("Direct", "FunctionErrorsAlarm", ("AWS/Lambda", "Errors"), "errors - contended"),
            # In Buffered mode contention fails no invocation, but an event of a batch.
            ("Buffered", "FunctionErrorsAlarm", ("AWS/Lambda", "Errors"), "errors - 0 * contended"),
            ("Buffered", "FailedEventsAlarm", (contended[0], "FailedEvents"), "failed - contended"),
        ):
            alarm = alarms_of(self.resolved(Ingestion=mode))[name]
            self.assertEqual(alarm["Metrics"][0]["Expression"], expression)
            metrics = [(one["Namespace"], one["MetricName"]) for one in metrics_of(alarm)]
            self.assertEqual(metrics, [failures, contended])

    def test_two_default_stacks_share_no_metric(self) -> None:
        namespaces = []
        for stack in ("asp-events", "asp-events-test"):
            template = ResolvedTemplate(self.template, EVERYTHING, stack)
            own = f"AlexaSmartProperties/{stack}"
            for name, alarm in alarms_of(template).items():
                for metric in metrics_of(alarm):
                    # AWS's own metrics have a dimension that names a resource of the stack.
                    values = [dimension["Value"] for dimension in metric.get("Dimensions", [])]
                    is_aws = metric["Namespace"].startswith("AWS/")
                    self.assertTrue(
                        set(values) <= set(self.resources) and values
                        if is_aws
                        else metric["Namespace"] == own,
                        f"{name}: {metric}",
                    )
            function = template.resources["AspEventsFunction"]["Properties"]
            self.assertEqual(function["Environment"]["Variables"]["METRIC_NAMESPACE"], own)
            role = template.resources["AspEventsFunctionRole"]["Properties"]
            self.assertEqual(json.dumps(role).count(own), 1)
            [query] = alarms_of(template)["SkillFailureBySkillAlarm"]["Metrics"]
            self.assertIn(f'SCHEMA("{own}", ', query["Expression"])
            namespaces.append(own)
        self.assertEqual(len(set(namespaces)), 2)

    def test_a_given_namespace_replaces_that_of_the_stack_everywhere(self) -> None:
        template = self.resolved(MetricNamespace="Mine", **EVERYTHING)
        self.assertNotIn("AlexaSmartProperties/", json.dumps(template.resources))

    def test_unprocessed_events_are_more_in_the_queues_that_page_than_before(self) -> None:
        alarm = alarms_of(self.resolved())["UnprocessedEventsAlarm"]
        queues = watched(alarm, "ApproximateNumberOfMessagesVisible")
        self.assertEqual(
            {f"{queue}Alarm" for queue in queues},
            {name for name in PAGES if name.endswith("QueueAlarm")},
        )
        depths = [query["Id"] for query in alarm["Metrics"] if "MetricStat" in query]
        self.assertEqual(
            {one["Id"]: one["Expression"] for one in alarm["Metrics"] if "Expression" in one},
            {
                # The first message raises only the alarm of its queue.
                "more": "(held > before) * (before > 0) * known",
                # Missing in the first 5 minutes that CloudWatch fetches.
                "known": "0 * DIFF(DIFF(DIFF(DIFF(DIFF(held))))) == 0",
                # Longer than people hide messages by looking at them.
                "before": "MAX([held_1, held_2, held_3, held_4, held_5])",
                "held_5": "held_4 - DIFF(held_4)",
                "held_4": "held_3 - DIFF(held_3)",
                "held_3": "held_2 - DIFF(held_2)",
                "held_2": "held_1 - DIFF(held_1)",
                "held_1": "held - DIFF(held)",
                "held": " + ".join(depths),
            },
        )

    def test_failed_deliveries_of_every_topic_but_that_of_the_alarm_raise_it(self) -> None:
        given = {"PageTopicArn": ALTERNATIVES["PageTopicArn"]}
        for parameters, pages in (({}, "AlarmTopic"), (given, "pages")):
            template = self.resolved(**parameters)
            alarm = alarms_of(template)["FailedDeliveriesAlarm"]
            topics = watched(alarm, "NumberOfNotificationsFailed")
            own = set(template.properties_of_type("AWS::SNS::Topic")) - {"TicketTopic"}
            self.assertEqual(sorted(topics), sorted(own | {pages}))

    def test_alarms_on_the_log_watch_the_functions_log_group(self) -> None:
        alarm = alarms_of(self.resolved())["EmbeddedMetricsAlarm"]
        metrics = {metric["MetricName"]: metric for metric in metrics_of(alarm)}
        self.assertEqual(set(metrics), {"EMFParsingErrors", "EMFValidationErrors"})
        for metric in metrics.values():
            self.assertEqual(
                metric["Dimensions"], [{"Name": "LogGroupName", "Value": "AspEventsLogGroup"}]
            )

    # ── Heartbeat and silence ──

    def test_heartbeat_is_a_greeting_that_only_the_events_topic_accepts(self) -> None:
        schedule = self.properties("HeartbeatSchedule")
        self.assertEqual(schedule["ScheduleExpression"], "rate(1 hour)")
        target = schedule["Target"]
        self.assertEqual(target["Arn"], {"Ref": "EventsTopic"})
        self.assertEqual(target["RoleArn"], arn_of("HeartbeatRole"))
        greeting = json.loads((ROOT / "events/greeting.json").read_bytes())["Records"][0]
        self.assertEqual(target["Input"], greeting["Sns"]["Message"])
        role = self.properties("HeartbeatRole")
        [trust] = role["AssumeRolePolicyDocument"]["Statement"]
        self.assertEqual(trust["Principal"], {"Service": "scheduler.amazonaws.com"})
        self.assertEqual(
            trust["Condition"], {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}
        )
        [policy] = role["Policies"]
        [statement] = policy["PolicyDocument"]["Statement"]
        self.assertEqual(statement["Effect"], "Allow")
        self.assertEqual(statement["Action"], "sns:Publish")
        self.assertEqual(statement["Resource"], {"Ref": "EventsTopic"})
        self.assertNotIn("ManagedPolicyArns", role)

    def test_alarms_that_wait_for_data_start_when_it_can_be_there(self) -> None:
        alarms = alarms_of(self.resolved(**EVERYTHING | {"SilenceHours": "48"}))
        waiting = {name: one for name, one in alarms.items() if "WarmUpConfiguration" in one}
        self.assertEqual(
            set(waiting),
            {name for name, one in alarms.items() if one["TreatMissingData"] == "breaching"},
        )
        for name, extra in (("HeartbeatAlarm", 1), ("SilenceAlarm", 0)):
            warm_up = waiting[name]["WarmUpConfiguration"]
            hours = int(waiting[name]["EvaluationPeriods"]) + extra
            self.assertGreaterEqual(warm_up["WarmUpPeriodDurationInMinutes"], 60 * hours)
            self.assertLessEqual(warm_up["WarmUpPeriodDurationInMinutes"], 2880)
            # FILL has data from the start, which would end the warm-up early.
            self.assertIs(warm_up["OnlyStartEvaluatingAfterWarmUpPeriodEnds"], True)
            [filled, metric] = waiting[name]["Metrics"]
            self.assertEqual(filled["Expression"], f"FILL({metric['Id']}, 0)")

    # ── The function ──

    def test_role_of_the_function_denies_nothing_and_has_no_wildcard_but_where_aws_has_no_resource(
        self,
    ) -> None:
        # test_access.py shows which calls it allows, and test_agreement.py that the function needs
        # those on the ledger.
        for options in ({}, dict(ALTERNATIVES)):
            role = self.resolved(**options).resources["AspEventsFunctionRole"]["Properties"]
            self.assertNotIn("ManagedPolicyArns", role)
            [policy] = role["Policies"]
            statements = policy["PolicyDocument"]["Statement"]
            self.assertEqual({statement["Effect"] for statement in statements}, {"Allow"})
            everywhere = {one["Sid"] for one in statements if one["Resource"] == "*"}
            self.assertLessEqual(everywhere, {"RaiseSkillFailures", "Trace"})
            self.assertNotIn("*", json.dumps([one["Action"] for one in statements]))

    def test_function_can_be_traced_limited_and_given_memory(self) -> None:
        def function(**parameters: str) -> dict[str, Any]:
            resources = self.resolved(**parameters).resources
            properties: dict[str, Any] = resources["AspEventsFunction"]["Properties"]
            return properties

        default = function()
        self.assertEqual((default["Tracing"], default["MemorySize"]), ("PassThrough", "256"))
        self.assertNotIn("ReservedConcurrentExecutions", default)
        chosen = function(Tracing="Active", MemorySize="1769", ReservedConcurrency="20")
        self.assertEqual((chosen["Tracing"], chosen["MemorySize"]), ("Active", "1769"))
        self.assertEqual(chosen["ReservedConcurrentExecutions"], "20")

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
        for name, metric, dimensions in (
            ("LedgerUnavailableAlarm", "LedgerUnavailable", None),
            (
                "RetryExhaustedAlarm",
                "RetryDecisions",
                [{"Name": "Decision", "Value": "EXHAUSTED"}],
            ),
        ):
            alarm = self.properties(name)
            self.assertEqual(alarm["Namespace"], NAMESPACE)
            self.assertEqual(alarm["MetricName"], metric)
            self.assertEqual(alarm.get("Dimensions"), dimensions)
            self.assertEqual(alarm["Statistic"], "Sum")
        late = alarms_of(self.resolved())["LateEventsAlarm"]
        [counted] = metrics_of(late)
        self.assertEqual((counted["MetricName"], late["Threshold"]), ("LateEvents", 3))
        self.assertNotIn("Dimensions", counted)
        self.assertEqual(
            self.own_metrics("NotReadyAlarm"),
            [("Readiness", {"Kind": kind, "Ready": "false"}) for kind in ("UNIT", "DEVICE")],
        )

    def test_ledger_alarm_also_says_that_a_record_was_throttled_or_refused(self) -> None:
        text = self.properties("LedgerUnavailableAlarm")["AlarmDescription"]["Fn::Sub"]
        for cause in ("out of reach", "throttled", "refused"):
            self.assertIn(cause, text)

    def test_alarms_on_lambdas_metrics_count_in_milliseconds(self) -> None:
        function = self.properties("AspEventsFunction")
        duration, age = map(self.properties, ("FunctionDurationAlarm", "FunctionEventAgeAlarm"))
        self.assertEqual(duration["Threshold"], 24 * 1000)
        self.assertLess(duration["Threshold"], function["Timeout"] * 1000)
        self.assertEqual(age["Threshold"], 15 * 60 * 1000)
        for alarm, metric in ((duration, "Duration"), (age, "AsyncEventAge")):
            [watched_metric] = metrics_of(alarm)
            self.assertEqual(watched_metric["MetricName"], metric)
            self.assertEqual(watched_metric["Statistic"], "Maximum")

    def test_an_unknown_status_and_every_other_reason_for_quarantine_have_alarms(self) -> None:
        # Of different metrics, so that a flood of one unknown status does not hide other messages.
        schema = json.loads((ROOT / "schemas/aspevents.quarantine.v1.json").read_bytes())
        reasons = schema["properties"]["data"]["properties"]["reason"]["enum"]
        unknown, quarantined = map(self.own_metrics, ("UnknownStatusAlarm", "QuarantineAlarm"))
        status = ("Quarantined", {"Reason": "UNKNOWN_STATUS"})
        self.assertEqual(unknown, [("FieldNotFound", {}), ("UnknownStatus", {}), status])
        every = [("Quarantined", {"Reason": reason}) for reason in reasons]
        self.assertCountEqual([*quarantined, status], every)
        for name in ("UnknownStatusAlarm", "QuarantineAlarm"):
            alarm = self.properties(name)
            self.assertEqual(alarm["Threshold"], 1)
            self.assertIn("QuarantineQueue", alarm["AlarmDescription"]["Fn::Sub"])

    def test_failed_events_of_a_batch_have_their_own_alarm(self) -> None:
        # In Direct mode FunctionErrorsAlarm covers a failed event.
        self.assertEqual(self.resources["FailedEventsAlarm"]["Condition"], "IsBuffered")

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
        direct, buffered = (
            self.resolved(Ingestion=mode).resources for mode in ("Direct", "Buffered")
        )
        self.assertEqual(set(direct) - set(buffered), {"FunctionSubscription"})
        self.assertEqual(
            set(buffered) - set(direct), {"IngestionSubscription", "FailedEventsAlarm"}
        )
        common = set(direct) & set(buffered)
        different = {name for name in common if direct[name] != buffered[name]}
        self.assertEqual(different, {"FunctionErrorsAlarm"})

    # ── Conditions ──

    def test_nothing_that_exists_refers_to_something_that_does_not(self) -> None:
        parameters = self.template["Parameters"]
        for name, value in ALTERNATIVES.items():
            self.assertNotEqual(value, str(parameters[name]["Default"]), name)
        conditional = {
            name: resource["Condition"]
            for name, resource in self.resources.items()
            if "Condition" in resource
        }
        # The conditions under which a reference is made, and that of what it refers to.
        made = {
            (*self.guard(part), *guards, (conditional[name], False))
            for part in (*self.resources.values(), *self.template["Outputs"].values())
            for name, guards in references(part)
            if name in conditional
        }
        self.assertGreater(len(made), 10)
        # Every combination of those on which these conditions depend.
        deciding = {condition for guards in made for condition, _ in guards}
        names = [name for name in ALTERNATIVES if name in self.parameters_of(deciding)]
        for chosen in product((False, True), repeat=len(names)):
            values = {
                name: ALTERNATIVES[name]
                for name, is_chosen in zip(names, chosen, strict=True)
                if is_chosen
            }
            template = self.resolved(**values)
            holds = {name: template.holds(name) for name in deciding}
            for guards in made:
                is_broken = all(holds[name] == expected for name, expected in guards)
                self.assertFalse(is_broken, f"{guards} with {values}")

    def parameters_of(self, conditions: set[str]) -> set[str]:
        """The parameters on which conditions depend."""
        found: set[str] = set()
        for condition in conditions:
            text = json.dumps(self.template["Conditions"][condition])
            found |= set(re.findall(r'"Ref": "(\w+)"', text))
            found |= self.parameters_of(set(re.findall(r'"Condition": "(\w+)"', text)))
        return found

    def guard(self, part: dict[str, Any]) -> tuple[Guard, ...]:
        return ((part["Condition"], True),) if "Condition" in part else ()

    def test_dependencies_always_exist(self) -> None:
        for name, resource in self.resources.items():
            depends = resource.get("DependsOn", [])
            for other in [depends] if isinstance(depends, str) else depends:
                condition = self.resources[other].get("Condition")
                self.assertIn(condition, (None, resource.get("Condition")), name)

    def test_every_condition_is_used_and_depends_on_known_parameters(self) -> None:
        used = set(re.findall(r'"(?:Condition|Fn::If)": \[?"(\w+)"', json.dumps(self.template)))
        self.assertEqual(used, set(self.template["Conditions"]))
        parameters = set(re.findall(r'"Ref": "(\w+)"', json.dumps(self.template["Conditions"])))
        self.assertEqual(parameters, set(ALTERNATIVES))

    def test_without_a_consumer_its_queues_policies_alarms_and_outputs_are_gone(self) -> None:
        ages = {"QueueAgeLimitSeconds": "86400"}
        for chosen in product(("Queue", "None"), repeat=len(CONSUMERS)):
            parameters = {
                f"{name}Consumer": value for name, value in zip(CONSUMERS, chosen, strict=True)
            }
            gone = [name for name in CONSUMERS if parameters[f"{name}Consumer"] == "None"]
            full, template = self.resolved(**ages), self.resolved(**ages, **parameters)
            queues = {f"{name}{kind}" for name in gone for kind in ("Queue", "DeadLetterQueue")}
            alarms = {
                f"{name}{kind}Alarm"
                for name in gone
                for kind in ("Redrive", "DeadLetterQueue", "QueueAge")
            }
            links = {f"{name}{kind}" for name in gone for kind in ("Subscription", "QueuePolicy")}
            self.assertEqual(
                set(full.resources) - set(template.resources), queues | alarms | links
            )
            missing = self.outputs_of(full) - self.outputs_of(template)
            self.assertEqual(missing, {f"{name}Arn" for name in queues})
            # The topics stay, and their messages can be seen to fail.
            self.assertLessEqual(set(TOPICS), set(template.resources))

    def outputs_of(self, template: ResolvedTemplate) -> set[str]:
        outputs = self.template["Outputs"].items()
        return {name for name, output in outputs if template.holds(output.get("Condition"))}

    def test_age_alarms_of_consumers_exist_only_with_a_limit(self) -> None:
        ages = {f"{name}QueueAgeAlarm" for name in CONSUMERS}
        self.assertFalse(ages & set(self.resolved().resources))
        for name in CONSUMERS:
            template = self.resolved(QueueAgeLimitSeconds="60", **{f"{name}Consumer": "None"})
            self.assertEqual(ages & set(template.resources), ages - {f"{name}QueueAgeAlarm"})

    def test_every_string_parameter_is_a_choice_or_has_a_pattern_that_its_default_matches(
        self,
    ) -> None:
        for name, parameter in self.template["Parameters"].items():
            if parameter["Type"] == "Number":
                bounds = {"AllowedValues"} & set(parameter) or {"MinValue", "MaxValue"}
                self.assertLessEqual(bounds, set(parameter), name)
                continue
            self.assertIn(parameter["Type"], ("String", "CommaDelimitedList"), name)
            if "AllowedValues" in parameter:
                self.assertIn(parameter["Default"], parameter["AllowedValues"], name)
                continue
            self.assertTrue(self.pattern_of(name).fullmatch(parameter["Default"]), name)
            self.assertIn("ConstraintDescription", parameter, name)
            for refused in (" x", "x\n", '"', "${AWS::StackName}"):
                is_word_list = name.endswith(("Statuses", "EventTypes"))
                accepted = self.pattern_of(name).fullmatch(refused)
                self.assertTrue(not accepted or (is_word_list and refused == " x"), name)

    def test_patterns_accept_what_aws_accepts(self) -> None:
        topic = "arn:aws:sns:eu-central-1:123456789012:"
        for name, accepted, refused in (
            (
                "EventsTopicName",
                ["a" * 16, "asp-events_0123456789", "a" * 256],
                ["a" * 15, "a" * 257, "a." * 9],
            ),
            (
                "PageTopicArn",
                [f"{topic}pages", "arn:aws-cn:sns:cn-north-1:123456789012:a_b-c"],
                [f"{topic}pages.fifo", "pages", f"{topic}pages:subscription", topic],
            ),
            (
                "AlexaPublisherRoleArn",
                ["arn:aws:iam::006860194444:role/AlexaEventConsumerSnsIamRole"],
                ["arn:aws-cn:iam::006860194444:role/AlexaEventConsumerSnsIamRole", ""],
            ),
            (
                "KmsKeyArn",
                [
                    ALTERNATIVES["KmsKeyArn"],
                    "arn:aws-cn:kms:cn-north-1:123456789012:key/mrk-0123456789abcdef",
                ],
                ["alias/asp-events", "arn:aws:kms:us-east-1:123456789012:alias/asp-events"],
            ),
            ("ConsumerAccounts", ["", "123456789012"], ["12345678901", "1234567890123", "*"]),
            ("ConsumerOrganizationId", ["", "o-a1b2c3d4e5"], ["o-a1b2", "r-a1b2c3d4e5", "*"]),
            (
                "PermissionsBoundaryArn",
                [
                    "arn:aws:iam::123456789012:policy/platform/boundary",
                    "arn:aws:iam::aws:policy/PowerUserAccess",
                ],
                ["boundary", "arn:aws:iam::123456789012:role/boundary"],
            ),
            ("RolePath", ["/", "/asp/", "/a/b-c/"], ["", "asp", "/asp", "asp/", "//", "/*/"]),
            ("MetricNamespace", ["Mine", "a/b.c_d#e-f", "AWSome"], ["AWS/A", "a b", "a" * 256]),
            (
                "RunbookUrl",
                ["docs/operations.md", "https://wiki.example.com/asp?page=2&x=%20"],
                ["", "https://example.com/#a", "a b"],
            ),
        ):
            pattern = self.pattern_of(name)
            for text in accepted:
                self.assertTrue(pattern.fullmatch(text), text)
            for text in refused:
                self.assertFalse(pattern.fullmatch(text), text)
        page, ticket = (
            self.template["Parameters"][name]["AllowedPattern"]
            for name in ("PageTopicArn", "TicketTopicArn")
        )
        self.assertEqual(page, ticket)

    def test_constraints_are_written_to_their_end(self) -> None:
        # A number sign after a blank would begin a comment.
        for name, parameter in self.template["Parameters"].items():
            text = parameter.get("ConstraintDescription", "must be.")
            self.assertRegex(text, r"\Amust .*\.\Z", name)

    def test_only_the_events_topic_may_have_a_given_name(self) -> None:
        # A name that is taken, by an earlier stack for instance, would make the deployment fail.
        # The name of a saved query is a label: more than one query may have it.
        referring = (
            "AWS::Lambda::Permission",
            "AWS::Lambda::EventSourceMapping",
            "AWS::Logs::QueryDefinition",
        )
        names = {
            f"{name}.{key}"
            for name, resource in self.resources.items()
            for key in resource.get("Properties", {})
            if key.endswith("Name") and resource["Type"] not in referring and key != "MetricName"
        }
        # The name of a policy within its role may be taken elsewhere.
        self.assertEqual(names, {"EventsTopic.TopicName", "DeliveryStatusPolicy.PolicyName"})
        self.assertEqual(self.resolved().resources["EventsTopic"]["Properties"], {})
        named = self.resolved(EventsTopicName="asp-events-0123456789abcdef").resources
        self.assertEqual(
            named["EventsTopic"]["Properties"], {"TopicName": "asp-events-0123456789abcdef"}
        )

    def test_every_parameter_has_a_group_and_a_description(self) -> None:
        interface = self.template["Metadata"]["AWS::CloudFormation::Interface"]
        grouped = [name for group in interface["ParameterGroups"] for name in group["Parameters"]]
        self.assertCountEqual(grouped, self.template["Parameters"])
        for name, parameter in self.template["Parameters"].items():
            self.assertRegex(parameter["Description"], r"\.\Z", name)

    # ── To the function ──

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

    def test_every_queue_is_encrypted_and_kept_when_replaced(self) -> None:
        for options in ({}, {"KmsKeyArn": ALTERNATIVES["KmsKeyArn"]}):
            queues = self.resolved(**options).properties_of_type("AWS::SQS::Queue")
            for name, queue in queues.items():
                # SQS takes one or the other. test_access.py says which queues have a key.
                has_key = "KmsMasterKeyId" in queue
                self.assertIs(queue["SqsManagedSseEnabled"], not has_key, name)
        for name in self.of_type("AWS::SQS::Queue"):
            self.assertEqual(self.resources[name]["UpdateReplacePolicy"], "Retain", name)

    def test_what_holds_data_is_kept_on_delete_if_you_choose_so(self) -> None:
        kinds = ("AWS::SQS::Queue", "AWS::DynamoDB::Table", "AWS::Logs::LogGroup")
        for choice, policy in (("Yes", "RetainExceptOnCreate"), ("No", "Delete")):
            for name, resource in self.resolved(RetainOnDelete=choice).resources.items():
                expected = policy if resource["Type"] in kinds else None
                self.assertEqual(resource.get("DeletionPolicy"), expected, name)

    def test_queues_that_a_program_reads_retain_messages_for_7_days_and_others_for_14(self) -> None:
        read = {"IngestionQueue", *(f"{name}Queue" for name in CONSUMERS)}
        for name, queue in self.of_type("AWS::SQS::Queue").items():
            days = 7 if name in read else 14
            self.assertEqual(queue["MessageRetentionPeriod"], days * DAYS, name)

    def test_what_a_queue_gives_up_on_its_last_day_remains_for_another_week(self) -> None:
        queues = self.of_type("AWS::SQS::Queue")
        redriven = {name: queue for name, queue in queues.items() if "RedrivePolicy" in queue}
        self.assertEqual(
            set(redriven), {"IngestionQueue", *(f"{name}Queue" for name in CONSUMERS)}
        )
        for name, queue in redriven.items():
            target = queue["RedrivePolicy"]["deadLetterTargetArn"]["Fn::GetAtt"][0]
            left = queues[target]["MessageRetentionPeriod"] - queue["MessageRetentionPeriod"]
            self.assertEqual(left, 7 * DAYS, name)

    def test_age_alarms_come_before_messages_expire(self) -> None:
        limit = self.template["Parameters"]["QueueAgeLimitSeconds"]
        self.assertEqual((limit["Default"], limit["MinValue"]), (0, 0))
        self.assertEqual(limit["MaxValue"], 6 * DAYS)
        retry = alarms_of(self.resolved(**EVERYTHING))["RetryQueueAgeAlarm"]
        self.assertEqual(retry["Metrics"][0]["Expression"], "age - 900")
        # In a dead-letter queue the age counts from the move, which may be on the seventh day.
        failures = self.properties("FailureQueueAgeAlarm")["Threshold"]
        self.assertEqual(failures, 5 * DAYS)
        self.assertLess(failures + 7 * DAYS, 14 * DAYS)

    def test_one_alarm_watches_the_age_of_all_queues_of_failures(self) -> None:
        for chosen in product(("Queue", "None"), repeat=len(CONSUMERS)):
            parameters = {
                f"{name}Consumer": value for name, value in zip(CONSUMERS, chosen, strict=True)
            }
            template = self.resolved(**parameters)
            alarm = alarms_of(template)["FailureQueueAgeAlarm"]
            queues = template.properties_of_type("AWS::SQS::Queue")
            failures = {name for name in queues if "DeadLetter" in name}
            self.assertEqual(
                set(watched(alarm, "ApproximateAgeOfOldestMessage")),
                failures | {"OnFailureQueue", "QuarantineQueue"},
            )
            self.assertEqual(alarm["Metrics"][0]["Expression"], "MAX(METRICS())")

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

    def test_every_topic_has_one_policy(self) -> None:
        # test_access.py says what it allows.
        attached = [
            topic["Ref"]
            for policy in self.of_type("AWS::SNS::TopicPolicy").values()
            for topic in policy["Topics"]
        ]
        self.assertEqual(sorted(attached), sorted(self.of_type("AWS::SNS::Topic")))

    def test_every_subscription_of_a_queue_waits_for_the_policy_of_its_queues(self) -> None:
        # SNS does not retry a delivery that a policy denies.
        for name, subscription in self.of_type("AWS::SNS::Subscription").items():
            if subscription["Protocol"] == "email":
                continue
            targets = [subscription["RedrivePolicy"]["deadLetterTargetArn"]]
            targets += [subscription["Endpoint"]] if subscription["Protocol"] == "sqs" else []
            depends = self.resources[name]["DependsOn"]
            for target in targets:
                policies = self.of_type("AWS::SQS::QueuePolicy").items()
                queue = {"Ref": target["Fn::GetAtt"][0]}
                [needed] = [policy for policy, one in policies if queue in one["Queues"]]
                self.assertIn(needed, [depends] if isinstance(depends, str) else depends, name)

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
        alarms = self.queues_watched_by("ApproximateNumberOfMessagesVisible")
        del alarms["UnprocessedEventsAlarm"]
        self.assertEqual(
            alarms, {f"{queue}Alarm": [queue] for queue in dead_letters | {"OnFailureQueue"}}
        )

    def test_every_topic_with_a_dead_letter_queue_has_an_alarm_on_what_it_loses(self) -> None:
        alarms = self.queues_watched_by("NumberOfNotificationsFailedToRedriveToDlq")
        topics = ("EventsTopic", *TOPICS)
        self.assertEqual(
            alarms, {f"{topic.removesuffix('Topic')}RedriveAlarm": [topic] for topic in topics}
        )

    def test_every_queue_that_needs_a_consumer_has_an_alarm_on_its_age(self) -> None:
        alarms = self.queues_watched_by("ApproximateAgeOfOldestMessage", **EVERYTHING)
        del alarms["FailureQueueAgeAlarm"]
        self.assertEqual(
            alarms, {f"{name}QueueAgeAlarm": [f"{name}Queue"] for name in ("Ingestion", *CONSUMERS)}
        )

    def test_every_consumers_queue_and_subscription_has_a_dead_letter_queue(self) -> None:
        # QuarantineQueue itself has none: people read it, as often as they like.
        for name in TOPICS:
            queue = name.replace("Topic", "Queue")
            dead_letters = arn_of(name.replace("Topic", "DeadLetterQueue"))
            redrive = self.properties(queue).get("RedrivePolicy", {})
            expected = None if queue == "QuarantineQueue" else dead_letters
            self.assertEqual(redrive.get("deadLetterTargetArn"), expected)
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

    def test_every_topic_queue_table_and_function_has_an_output(self) -> None:
        kinds = (
            "SNS::Topic",
            "SQS::Queue",
            "DynamoDB::Table",
            "Serverless::Function",
            "Logs::LogGroup",
        )
        for kind in kinds:
            for name in self.of_type(f"AWS::{kind}"):
                self.assertIn(f"{name}Arn", self.template["Outputs"])

    def test_no_alarm_has_a_name_or_an_output(self) -> None:
        # aspctl finds the alarms by the names that CloudFormation generates.
        for name, alarm in self.of_type("AWS::CloudWatch::Alarm").items():
            self.assertTrue(name.endswith("Alarm"), name)
            self.assertNotIn("AlarmName", alarm, name)
            self.assertNotIn(f"{name}Arn", self.template["Outputs"])


if __name__ == "__main__":
    unittest.main()
