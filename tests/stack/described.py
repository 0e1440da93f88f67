"""Describes deployed resources in the shape of their CloudFormation properties."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from second_emulator import Deployed

Properties = dict[str, Any]


class Described:
    """What AWS's own calls say about the resources of a stack."""

    def __init__(self, deployed: Deployed) -> None:
        self.deployed = deployed
        self.client = deployed.emulator.client
        self.by_type: dict[str, Callable[[str, Properties], Properties]] = {
            "AWS::CloudWatch::Alarm": self._alarm,
            "AWS::DynamoDB::Table": self._table,
            "AWS::IAM::Role": self._role,
            "AWS::Lambda::EventSourceMapping": self._mapping,
            "AWS::Lambda::Permission": self._permission,
            "AWS::Logs::LogGroup": self._log_group,
            "AWS::SNS::Subscription": self._subscription,
            "AWS::SNS::Topic": self._topic,
            "AWS::SNS::TopicPolicy": self._topic_policy,
            "AWS::SQS::Queue": self._queue,
            "AWS::SQS::QueuePolicy": self._queue_policy,
            "AWS::Scheduler::Schedule": self._schedule,
            "AWS::Serverless::Function": self._function,
        }

    def properties(self, name: str) -> Properties:
        declared = self.deployed.resources[name]
        describe = self.by_type[declared["Type"]]
        return describe(self.deployed.physical_ids[name], declared.get("Properties", {}))

    def _alarm(self, name: str, _declared: Properties) -> Properties:
        alarms = self.client("cloudwatch").describe_alarms(AlarmNames=[name])["MetricAlarms"]
        return dict(alarms[0])

    def _table(self, name: str, _declared: Properties) -> Properties:
        dynamodb = self.client("dynamodb")
        table = dynamodb.describe_table(TableName=name)["Table"]
        expiry = dynamodb.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
        backups = dynamodb.describe_continuous_backups(TableName=name)
        recovery = backups["ContinuousBackupsDescription"]["PointInTimeRecoveryDescription"]
        return table | {
            "BillingMode": table["BillingModeSummary"]["BillingMode"],
            "TimeToLiveSpecification": {
                "AttributeName": expiry["AttributeName"],
                "Enabled": expiry["TimeToLiveStatus"] == "ENABLED",
            },
            "PointInTimeRecoverySpecification": {
                "PointInTimeRecoveryEnabled": recovery["PointInTimeRecoveryStatus"] == "ENABLED",
            },
            "SSESpecification": {
                "SSEEnabled": table["SSEDescription"]["Status"] == "ENABLED",
                "SSEType": table["SSEDescription"]["SSEType"],
            },
        }

    def _role(self, name: str, _declared: Properties) -> Properties:
        iam = self.client("iam")
        policies = iam.list_role_policies(RoleName=name)["PolicyNames"]
        attached = iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]
        return iam.get_role(RoleName=name)["Role"] | {
            "Policies": [iam.get_role_policy(RoleName=name, PolicyName=p) for p in policies],
            "ManagedPolicyArns": [policy["PolicyArn"] for policy in attached],
        }

    def _mapping(self, uuid: str, _declared: Properties) -> Properties:
        mapping = self.client("lambda").get_event_source_mapping(UUID=uuid)
        return mapping | {"FunctionName": mapping["FunctionArn"].rpartition(":")[2]}

    def _permission(self, _id: str, declared: Properties) -> Properties:
        policy = self.client("lambda").get_policy(FunctionName=declared["FunctionName"])["Policy"]
        [statement] = json.loads(policy)["Statement"]
        return {
            "Action": statement["Action"],
            "FunctionName": statement["Resource"].rpartition(":")[2],
            "Principal": statement["Principal"]["Service"],
            "SourceArn": statement["Condition"]["ArnLike"]["AWS:SourceArn"],
        }

    def _log_group(self, name: str, _declared: Properties) -> Properties:
        [group] = self.client("logs").describe_log_groups(logGroupNamePrefix=name)["logGroups"]
        return dict(group)

    def _subscription(self, arn: str, _declared: Properties) -> Properties:
        attributes = self.client("sns").get_subscription_attributes(SubscriptionArn=arn)
        return dict(attributes["Attributes"])

    def _topic(self, arn: str, _declared: Properties) -> Properties:
        attributes = self.client("sns").get_topic_attributes(TopicArn=arn)["Attributes"]
        return attributes | {"TopicName": arn.rpartition(":")[2]}

    def _topic_policy(self, _id: str, declared: Properties) -> Properties:
        policies = [self._topic(arn, {})["Policy"] for arn in declared["Topics"]]
        return declared | {"PolicyDocument": _only(policies)}

    def _queue(self, url: str, _declared: Properties) -> Properties:
        sqs = self.client("sqs")
        attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        return dict(attributes)

    def _queue_policy(self, _id: str, declared: Properties) -> Properties:
        policies = [self._queue(url, {})["Policy"] for url in declared["Queues"]]
        return declared | {"PolicyDocument": _only(policies)}

    def _schedule(self, name: str, _declared: Properties) -> Properties:
        return dict(self.client("scheduler").get_schedule(Name=name))

    def _function(self, name: str, _declared: Properties) -> Properties:
        client = self.client("lambda")
        function = client.get_function_configuration(FunctionName=name)
        invocation = client.get_function_event_invoke_config(FunctionName=name)
        destination = invocation["DestinationConfig"]["OnFailure"]
        destination["Type"] = destination["Destination"].split(":")[2].upper()
        return function | {
            "Tracing": function["TracingConfig"]["Mode"],
            "EventInvokeConfig": invocation,
        }


def _only(policies: list[str]) -> Properties:
    """The policy that all of them are."""
    [policy] = {json.dumps(json.loads(policy), sort_keys=True) for policy in policies}
    return dict(json.loads(policy))


def differences(declared: Any, actual: Any, path: str = "") -> list[str]:
    """Where what is deployed lacks something that is declared, or has another value."""
    if isinstance(declared, dict):
        actual = json.loads(actual) if str(actual).startswith("{\"") else actual
        if not isinstance(actual, dict):
            return [f"{path}: {actual!r}, not {declared!r}"]
        return [
            difference
            for key, value in declared.items()
            for difference in differences(value, actual.get(key), f"{path}.{key}")
        ]
    if isinstance(declared, list):
        if not isinstance(actual, list) or len(actual) != len(declared):
            return [f"{path}: {actual!r}, not {declared!r}"]
        pairs = enumerate(zip(declared, actual, strict=True))
        return [d for i, (one, other) in pairs for d in differences(one, other, f"{path}[{i}]")]
    return [] if _scalar(declared) == _scalar(actual) else [f"{path}: {actual!r}, not {declared!r}"]


def _scalar(value: Any) -> Any:
    """A value as it compares: attributes are strings, and CloudFormation converts types."""
    text = str(value)
    if text.lower() in ("true", "false"):
        return text.lower()
    try:
        return float(text)
    except ValueError:
        return text
