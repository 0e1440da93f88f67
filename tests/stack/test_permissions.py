"""The policy in docs/deployer-policy.json lets its owner deploy the template, and little more.

What CloudFormation calls to create, read, update and delete a resource stands in the schema of its
type in CloudFormation's registry, and cfn-lint ships these schemas.

python -m unittest discover tests/stack
"""

from __future__ import annotations

import json
import re
import unittest
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any, ClassVar

from expanded import expanded
from resolved import load
from stack import REGION, ROOT

POLICY = ROOT / "docs/deployer-policy.json"
# AWS counts the characters of a managed policy without white space.
MAX_POLICY_CHARACTERS = 6144
ACCOUNT = "123456789012"
STACKS = ("asp-events", "asp-events-test")

# The ARN of what CloudFormation creates for a resource of a type: a name of its own begins with the
# stack's name and the resource's.
ARNS = {
    "AWS::CloudWatch::Alarm": "arn:aws:cloudwatch:{region}:{account}:alarm:{name}",
    "AWS::CloudWatch::Dashboard": "arn:aws:cloudwatch::{account}:dashboard/{name}",
    "AWS::DynamoDB::Table": "arn:aws:dynamodb:{region}:{account}:table/{name}",
    "AWS::IAM::Policy": "arn:aws:iam::{account}:role/{role}",
    "AWS::IAM::Role": "arn:aws:iam::{account}:role/{name}",
    "AWS::Lambda::EventInvokeConfig": "arn:aws:lambda:{region}:{account}:function:{function}",
    "AWS::Lambda::EventSourceMapping": (
        "arn:aws:lambda:{region}:{account}:event-source-mapping:0f1e"
    ),
    "AWS::Lambda::Function": "arn:aws:lambda:{region}:{account}:function:{name}",
    "AWS::Lambda::Permission": "arn:aws:lambda:{region}:{account}:function:{function}",
    "AWS::Logs::LogGroup": "arn:aws:logs:{region}:{account}:log-group:{name}:*",
    "AWS::Logs::QueryDefinition": "*",
    "AWS::SNS::Subscription": "arn:aws:sns:{region}:{account}:{topic}",
    "AWS::SNS::Topic": "arn:aws:sns:{region}:{account}:{name}",
    "AWS::SNS::TopicPolicy": "arn:aws:sns:{region}:{account}:{topic}",
    "AWS::SQS::Queue": "arn:aws:sqs:{region}:{account}:{name}",
    "AWS::SQS::QueuePolicy": "arn:aws:sqs:{region}:{account}:{queue}",
    "AWS::Scheduler::Schedule": "arn:aws:scheduler:{region}:{account}:schedule/default/{name}",
}
# Actions that IAM cannot limit to a resource (Service Authorization Reference).
WITHOUT_RESOURCE = {
    "lambda:CreateEventSourceMapping",
    "logs:DescribeIndexPolicies",
    "logs:DescribeLogGroups",
    "logs:DescribeResourcePolicies",
    "sns:GetSubscriptionAttributes",
    "sns:SetSubscriptionAttributes",
    "sns:Unsubscribe",
}
# Actions on the resources of others.
ELSEWHERE = {
    "iam:GetRole": "arn:aws:iam::{account}:role/{role}",
    "iam:PassRole": "arn:aws:iam::{account}:role/{role}",
    "kms:CreateGrant": "arn:aws:kms:{region}:{account}:key/0f1e",
    "kms:Decrypt": "arn:aws:kms:{region}:{account}:key/0f1e",
    "kms:DescribeKey": "arn:aws:kms:{region}:{account}:key/0f1e",
    "kms:Encrypt": "arn:aws:kms:{region}:{account}:key/0f1e",
    "s3:GetObject": "arn:aws:s3:::aws-sam-cli-managed-default-samclisourcebucket-0f1e/code",
    "s3:GetObjectVersion": "arn:aws:s3:::aws-sam-cli-managed-default-samclisourcebucket-0f1e/code",
}
# Actions that a schema names for properties that the template does not have. `*` ends a pattern.
NOT_NEEDED = {
    "AWS::DynamoDB::Table": {
        "a replica": {
            "dynamodb:AssociateTableReplica", "dynamodb:CreateTableReplica", "dynamodb:DeleteItem",
            "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query", "dynamodb:Scan",
            "dynamodb:UpdateItem", "iam:CreateServiceLinkedRole",
        },
        "ImportSourceSpecification": {
            "dynamodb:BatchWriteItem", "dynamodb:DescribeImport", "dynamodb:ImportTable",
            "logs:*", "s3:*",
        },
        "KinesisStreamSpecification": {
            "dynamodb:DisableKinesisStreamingDestination",
            "dynamodb:EnableKinesisStreamingDestination",
            "dynamodb:UpdateKinesisStreamingDestination", "kinesis:*",
        },
        "ResourcePolicy": {"dynamodb:DeleteResourcePolicy", "dynamodb:PutResourcePolicy"},
        "ContributorInsightsSpecification": {"dynamodb:UpdateContributorInsights"},
        "the key by its ARN, and not by an alias; KMS retires the grants": {
            "kms:ListAliases", "kms:RevokeGrant",
        },
    },
    "AWS::IAM::Policy": {
        "Groups, Users": {
            "iam:DeleteGroupPolicy", "iam:DeleteUserPolicy", "iam:GetGroupPolicy",
            "iam:GetUserPolicy", "iam:PutGroupPolicy", "iam:PutUserPolicy",
        },
    },
    "AWS::IAM::Role": {
        "ManagedPolicyArns": {"iam:AttachRolePolicy", "iam:DetachRolePolicy"},
        "taking the boundary away, which is the platform team's": {
            "iam:DeleteRolePermissionsBoundary",
        },
    },
    "AWS::Lambda::EventSourceMapping": {"KmsKeyArn": {"kms:*"}},
    "AWS::Lambda::Function": {
        "VpcConfig, FileSystemConfigs": {"ec2:*", "elasticfilesystem:*", "s3files:*"},
        "KmsKeyArn": {"kms:*"},
        "CodeSigningConfigArn": {
            "lambda:DeleteFunctionCodeSigningConfig", "lambda:GetCodeSigningConfig",
            "lambda:PutFunctionCodeSigningConfig",
        },
        "Layers": {"lambda:GetLayerVersion"},
        "RuntimeManagementConfig, RecursiveLoop": {
            "lambda:AssociateRuntimeAlias", "lambda:PutFunctionRecursionConfig",
            "lambda:PutRuntimeManagementConfig",
        },
        "CapacityProviderConfig, PublishToLatestPublished": {
            "lambda:PassCapacityProvider", "lambda:PublishVersion",
            "lambda:PutFunctionScalingConfig",
        },
    },
    "AWS::Logs::LogGroup": {
        "a delivery": {"firehose:*", "logs:CreateLogDelivery", "s3:*"},
        "DataProtectionPolicy": {
            "logs:DeleteDataProtectionPolicy", "logs:PutDataProtectionPolicy",
        },
        "FieldIndexPolicies": {"logs:DeleteIndexPolicy", "logs:PutIndexPolicy"},
        "ResourcePolicyDocument": {"logs:DeleteResourcePolicy", "logs:PutResourcePolicy"},
        "DeletionProtectionEnabled, BearerTokenAuthenticationEnabled": {
            "logs:PutBearerTokenAuthentication", "logs:PutLogGroupDeletionProtection",
        },
    },
    "AWS::SNS::Topic": {"DataProtectionPolicy": {"sns:PutDataProtectionPolicy"}},
}  # fmt: skip
# Of the SAM CLI and tools/deploy.py themselves.
OF_THE_TOOLS = {
    "cloudformation:*",
    "lambda:GetFunctionConfiguration",
    "lambda:InvokeFunction",
    "s3:*",
}
# Types that the policy allows for, whether or not the template has a resource of them.
OPTIONAL_TYPES = (
    "AWS::CloudWatch::Dashboard",
    "AWS::IAM::Policy",
    "AWS::Logs::QueryDefinition",
)


class Policy:
    """An identity policy. Only Allow, and only the operators that the policy has."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.statements = document["Statement"]

    def allows(self, action: str, resource: str, context: Mapping[str, str] | None = None) -> bool:
        return any(self._allows(one, action, resource, context or {}) for one in self.statements)

    def actions(self) -> set[str]:
        return {action for statement in self.statements for action in listed(statement["Action"])}

    def _allows(
        self, statement: dict[str, Any], action: str, resource: str, context: Mapping[str, str]
    ) -> bool:
        if set(statement) - {"Sid", "Effect", "Action", "Resource", "Condition"}:
            raise ValueError(f"unknown elements in {statement['Sid']}")
        if statement["Effect"] != "Allow":
            raise ValueError(f"{statement['Sid']} is not an Allow")
        return (
            any(fnmatchcase(action, pattern) for pattern in listed(statement["Action"]))
            and any(fnmatchcase(resource, pattern) for pattern in listed(statement["Resource"]))
            and all(
                self._holds(operator, context.get(key), listed(values))
                for operator, keys in statement.get("Condition", {}).items()
                for key, values in keys.items()
            )
        )

    @staticmethod
    def _holds(operator: str, value: str | None, patterns: list[str]) -> bool:
        if value is None:
            return False
        if operator == "StringEquals":
            return value in patterns
        if operator in ("StringLike", "ArnLike"):
            return any(fnmatchcase(value, pattern) for pattern in patterns)
        raise ValueError(f"unknown operator {operator}")


def listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


class Registry:
    """The schemas of CloudFormation's registry, in cfn-lint."""

    def __init__(self) -> None:
        [self.folder] = ROOT.glob(".venv-sam/lib/python3*/site-packages/cfnlint/data/schemas")
        self.index = json.loads((self.folder / f"providers/{REGION}.json").read_bytes())

    def actions(self, kind: str) -> set[str]:
        """What CloudFormation calls in the life of a resource of this type."""
        schema = json.loads((self.folder / f"resources/{self.index[kind]}.json").read_bytes())
        handlers = schema["handlers"]
        found = (handlers.get(name, {}) for name in ("create", "read", "update", "delete"))
        return {action for handler in found for action in handler.get("permissions", [])}


def matches(action: str, patterns: set[str]) -> bool:
    return any(fnmatchcase(action, pattern) for pattern in patterns)


@unittest.skipUnless(list(ROOT.glob(".venv-sam/lib")), "cfn-lint is missing: run make template")
class DeployerPolicyTest(unittest.TestCase):
    document: ClassVar[dict[str, Any]]
    policy: ClassVar[Policy]
    registry: ClassVar[Registry]
    resources: ClassVar[dict[str, Any]]

    @classmethod
    def setUpClass(cls) -> None:
        cls.document = json.loads(POLICY.read_bytes())
        cls.policy = Policy(cls.document)
        cls.registry = Registry()
        cls.resources = expanded(load())["Resources"]

    def names_of(self, kind: str) -> list[str]:
        return [name for name, one in self.resources.items() if one["Type"] == kind]

    def services(self) -> set[str]:
        """The services that assume a role of the template."""
        return {
            statement["Principal"]["Service"]
            for name in self.names_of("AWS::IAM::Role")
            for statement in self.resources[name]["Properties"]["AssumeRolePolicyDocument"][
                "Statement"
            ]
        }

    def needed(self, kind: str) -> set[str]:
        unused = set().union(*NOT_NEEDED.get(kind, {}).values())
        return {action for action in self.registry.actions(kind) if not matches(action, unused)}

    def physical(self, stack: str, logical: str) -> str:
        return f"{stack}-{logical}-0A1B2C3D4E5F"

    def calls(self, stack: str, path: str = "") -> Iterator[tuple[str, str, str]]:
        """Each resource with each action that CloudFormation calls for it, and on which ARN.

        `path` is that of the roles.
        """
        words = {"region": REGION, "account": ACCOUNT}
        for word, kind in (
            ("function", "AWS::Lambda::Function"),
            ("queue", "AWS::SQS::Queue"),
            ("role", "AWS::IAM::Role"),
            ("topic", "AWS::SNS::Topic"),
        ):
            words[word] = self.physical(stack, self.names_of(kind)[0])
        for logical, resource in self.resources.items():
            kind = resource["Type"]
            words["name"] = self.physical(stack, logical)
            for action in sorted(self.needed(kind)):
                arn = "*" if action in WITHOUT_RESOURCE else ELSEWHERE.get(action, ARNS[kind])
                yield logical, action, arn.format(**words).replace(":role/", f":role/{path}")

    def context(self, stack: str) -> dict[str, str]:
        function = self.physical(stack, self.names_of("AWS::Lambda::Function")[0])
        return {
            "lambda:FunctionArn": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{function}",
            "kms:ViaService": f"dynamodb.{REGION}.amazonaws.com",
        }

    def test_every_type_of_the_template_is_known(self) -> None:
        self.assertLessEqual({one["Type"] for one in self.resources.values()}, set(ARNS))

    def test_everything_that_cloudformation_calls_is_allowed(self) -> None:
        calls = 0
        for stack in STACKS:
            for logical, action, arn in self.calls(stack):
                calls += 1
                for service in self.services() if action == "iam:PassRole" else {""}:
                    context = self.context(stack) | {"iam:PassedToService": service}
                    if not self.policy.allows(action, arn, context):
                        self.fail(f"{logical} needs {action} on {arn}")
        self.assertGreater(calls, 500)

    def test_it_can_be_confined_as_the_document_says(self) -> None:
        """With the path of RolePath, and to roles with the boundary of PermissionsBoundaryArn."""
        document = json.loads(POLICY.read_text().replace(":role/", ":role/service/"))
        [manage] = [one for one in document["Statement"] if one["Sid"] == "ManageRoles"]
        bounded = {"iam:CreateRole", "iam:PutRolePolicy", "iam:PutRolePermissionsBoundary"}
        manage["Action"] = [action for action in manage["Action"] if action not in bounded]
        boundary = f"arn:aws:iam::{ACCOUNT}:policy/boundary"
        condition = {"StringEquals": {"iam:PermissionsBoundary": boundary}}
        document["Statement"].append(
            manage | {"Action": sorted(bounded), "Condition": condition, "Sid": "BoundedRoles"}
        )
        policy = Policy(document)
        without = self.context("asp-events") | {"iam:PassedToService": "lambda.amazonaws.com"}
        context = without | {"iam:PermissionsBoundary": boundary}
        for logical, action, arn in self.calls("asp-events", path="service/"):
            self.assertTrue(policy.allows(action, arn, context), f"{logical} needs {action}")
            if action in bounded:
                self.assertFalse(policy.allows(action, arn, without), action)

    def test_no_exemption_is_stale(self) -> None:
        for kind, reasons in NOT_NEEDED.items():
            actions = self.registry.actions(kind)
            for pattern in set().union(*reasons.values()):
                with self.subTest(kind, pattern=pattern):
                    self.assertTrue(any(fnmatchcase(action, pattern) for action in actions))
                    self.assertTrue(self.names_of(kind) or kind in OPTIONAL_TYPES)

    def test_no_exempted_property_is_used(self) -> None:
        """An exemption holds only while the template does not have the property that it names."""
        for kind, reasons in NOT_NEEDED.items():
            named = {word for reason in reasons for word in re.findall(r"\b[A-Z]\w+", reason)}
            for logical in self.names_of(kind):
                with self.subTest(logical):
                    properties = self.resources[logical].get("Properties", {})
                    self.assertEqual(named & set(properties), set())

    def test_every_action_of_the_policy_has_a_use(self) -> None:
        kinds = {one["Type"] for one in self.resources.values()}
        needed = set().union(*(self.needed(kind) for kind in kinds.union(OPTIONAL_TYPES)))
        unused = {
            action for action in self.policy.actions() - needed if not matches(action, OF_THE_TOOLS)
        }
        self.assertEqual(unused, set())

    def transforms(self) -> list[str]:
        names = load()["Transform"]
        account = f"arn:aws:cloudformation:{REGION}:aws"
        return [f"{account}:transform/{name.removeprefix('AWS::')}" for name in names]

    def test_the_tools_may_do_what_they_do(self) -> None:
        stack = f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/asp-events/0f1e"
        function = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:asp-events-AspEventsFunction-0A1B"
        bucket = "arn:aws:s3:::aws-sam-cli-managed-default-samclisourcebucket-0f1e"
        for action, resource in (
            ("cloudformation:CreateChangeSet", stack),
            *(("cloudformation:CreateChangeSet", transform) for transform in self.transforms()),
            ("cloudformation:ExecuteChangeSet", stack),
            ("cloudformation:GetTemplate", stack),
            ("cloudformation:UpdateStack", stack),
            ("lambda:GetFunctionConfiguration", function),
            ("lambda:InvokeFunction", function),
            ("s3:PutObject", f"{bucket}/asp-events/0f1e"),
        ):
            self.assertTrue(self.policy.allows(action, resource), f"{action} on {resource}")

    def test_what_does_not_belong_to_the_stack_is_out_of_reach(self) -> None:
        context = self.context("payments") | {"iam:PassedToService": "lambda.amazonaws.com"}
        for action, resource in (
            ("cloudformation:DeleteStack", "arn:aws:cloudformation:us-east-1:1:stack/payments/1"),
            ("dynamodb:DeleteTable", "arn:aws:dynamodb:us-east-1:1:table/payments"),
            ("dynamodb:GetItem", "arn:aws:dynamodb:us-east-1:1:table/asp-events-LedgerTable-1"),
            ("iam:AttachRolePolicy", "arn:aws:iam::1:role/asp-events-AspEventsFunctionRole-1"),
            ("iam:PassRole", "arn:aws:iam::1:role/admin"),
            ("iam:PutRolePolicy", "arn:aws:iam::1:role/admin"),
            ("kms:ScheduleKeyDeletion", "arn:aws:kms:us-east-1:1:key/1"),
            ("lambda:UpdateEventSourceMapping", "*"),
            ("lambda:UpdateFunctionCode", "arn:aws:lambda:us-east-1:1:function:payments"),
            ("s3:DeleteObject", "arn:aws:s3:::aws-sam-cli-managed-default-1/code"),
            ("s3:GetObject", "arn:aws:s3:::payments/code"),
            ("sns:Publish", "arn:aws:sns:us-east-1:1:asp-events-EventsTopic-1"),
            ("sqs:ReceiveMessage", "arn:aws:sqs:us-east-1:1:asp-events-RetryQueue-1"),
        ):
            self.assertFalse(self.policy.allows(action, resource, context), action)

    def test_roles_are_passed_to_the_services_of_the_template_alone(self) -> None:
        role = "arn:aws:iam::1:role/asp-events-AspEventsFunctionRole-1"
        for service in ("ec2.amazonaws.com", "glue.amazonaws.com"):
            context = {"iam:PassedToService": service}
            self.assertFalse(self.policy.allows("iam:PassRole", role, context), service)
        self.assertFalse(self.policy.allows("iam:PassRole", role))

    def test_the_policy_fits_into_a_managed_policy(self) -> None:
        text = json.dumps(self.document, separators=(",", ":"))
        self.assertLessEqual(len(text), MAX_POLICY_CHARACTERS)

    def test_a_needed_action_that_is_missing_would_be_noticed(self) -> None:
        document = json.loads(POLICY.read_text().replace('"sqs:SetQueueAttributes",', ""))
        calls = list(self.calls("asp-events"))
        refused = {
            action
            for _, action, arn in calls
            if action.startswith("sqs:") and not Policy(document).allows(action, arn)
        }
        self.assertEqual(refused, {"sqs:SetQueueAttributes"})


if __name__ == "__main__":
    unittest.main()
