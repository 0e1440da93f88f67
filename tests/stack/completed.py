"""Adds to a running stack what MiniStack leaves out of a template, so that `aspctl doctor` sees it.

MiniStack refuses some alarms, and ignores the table's time to live and the function's on-failure
destination.
"""

from __future__ import annotations

from typing import Any

from samtranslator.yaml_helper import yaml_parse

from stack import NAME, ROOT, Stack


def complete(stack: Stack) -> None:
    _add_alarms(stack)
    stack.client("dynamodb").update_time_to_live(**time_to_live(stack, True))
    stack.client("lambda").put_function_event_invoke_config(**destination(stack))


def time_to_live(stack: Stack, enabled: bool) -> dict[str, Any]:
    specification = {"Enabled": enabled, "AttributeName": "expiresAt"}
    return {"TableName": stack.name("LedgerTable"), "TimeToLiveSpecification": specification}


def destination(stack: Stack) -> dict[str, Any]:
    destinations = {"OnFailure": {"Destination": stack.outputs["OnFailureQueueArn"]}}
    function = stack.name("AspEventsFunction")
    return {"FunctionName": function, "Qualifier": "$LATEST", "DestinationConfig": destinations}


def _add_alarms(stack: Stack) -> None:
    """Creates alarms that never fire for those that MiniStack does not support."""
    template = yaml_parse((ROOT / "template.yaml").read_text())
    for name in (name for name in stack.left_out if name.endswith("Alarm")):
        description = template["Resources"][name]["Properties"]["AlarmDescription"]["Fn::Sub"]
        topic = "AlarmTopic" if description.startswith("PAGE: ") else "TicketTopic"
        stack.client("cloudwatch").put_metric_alarm(
            AlarmName=f"{NAME}-{name}-LOCAL",
            AlarmDescription=description,
            AlarmActions=[stack.outputs[f"{topic}Arn"]],
            Namespace="test",
            MetricName="none",
            Statistic="Sum",
            Period=60,
            EvaluationPeriods=1,
            Threshold=1,
            ComparisonOperator="GreaterThanThreshold",
        )
