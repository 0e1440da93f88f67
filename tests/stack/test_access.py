"""Who may do what with the stack: its policies as IAM evaluates them, in each of its modes.

MiniStack knows neither aws:PrincipalArn nor keys, so the local stack cannot show this.

python -m unittest discover tests/stack
"""

from __future__ import annotations

import json
import re
import unittest
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

from access import (
    AccessRequest,
    Policy,
    Principal,
    is_allowed,
    listed,
    statements,
    without,
)
from resolved import ROOT, ResolvedTemplate, load

ACCOUNT, OTHER_ACCOUNT, CONSUMER = "123456789012", "210987654321", "345678901234"
ORGANIZATION = "o-abcdefghij"
KEY = f"arn:aws:kms:us-east-1:{ACCOUNT}:key/12345678-1234-1234-1234-123456789012"
SIGNAL_TOPICS = ("RetryTopic", "ReadinessTopic", "ReportTopic", "QuarantineTopic")
ALARM_TOPICS = ("AlarmTopic", "TicketTopic")
# What holds events on their way to the function.
EVENTS_ONLY = {
    "EventsTopic",
    "EventsDeadLetterQueue",
    "OnFailureQueue",
    "IngestionQueue",
    "IngestionDeadLetterQueue",
}
EVERY_OPTION = {
    "KmsKeyArn": KEY,
    "AlexaTls": "Optional",
    "ConsumerAccounts": f"{CONSUMER}, {OTHER_ACCOUNT}",
    "ConsumerOrganizationId": ORGANIZATION,
    "PermissionsBoundaryArn": f"arn:aws:iam::{ACCOUNT}:policy/boundary",
    "RolePath": "/asp/",
    "ReservedConcurrency": "20",
    "Tracing": "Active",
    "MemorySize": "512",
    "DeliveryStatusLogging": "Yes",
    "RetainOnDelete": "Yes",
}
TLS = {"aws:SecureTransport": "true"}
NO_TLS = {"aws:SecureTransport": "false"}
# An administrator, or a principal with too much.
EVERYTHING = {"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
NOTHING: Policy = {"Statement": []}

ALEXA = Principal(load()["Parameters"]["AlexaPublisherRoleArn"]["Default"])
CLOUDWATCH, SNS = Principal("cloudwatch.amazonaws.com"), Principal("sns.amazonaws.com")
OPERATOR = Principal(f"arn:aws:iam::{ACCOUNT}:role/operator")
STRANGER = Principal(f"arn:aws:iam::{OTHER_ACCOUNT}:role/stranger")
CONSUMING = Principal(f"arn:aws:iam::{CONSUMER}:role/consumer")


def key_policy() -> Policy:
    """The policy of a key that the document shows, for this account and stack."""
    document = (ROOT / "docs/operations.md").read_text()
    _, _, section = document.partition("\n## Encryption\n")
    [text] = re.findall(r"```json\n(.*?)```", section.partition("\n## ")[0], re.DOTALL)
    policy: Policy = json.loads(text)
    return policy


class AccessTest(unittest.TestCase):
    template: dict[str, Any]

    @classmethod
    def setUpClass(cls) -> None:
        cls.template = load()

    def resolved(self, **parameters: str) -> ResolvedTemplate:
        return ResolvedTemplate(self.template, parameters)

    def arn(self, name: str) -> str:
        return str(self.resolved().value({"Fn::GetAtt": [name, "Arn"]}))

    def policy_of(self, template: ResolvedTemplate, topic: str) -> Policy:
        policies = template.properties_of_type("AWS::SNS::TopicPolicy").values()
        [policy] = [one for one in policies if self.arn(topic) in one["Topics"]]
        document: Policy = policy["PolicyDocument"]
        return document

    def role(self, template: ResolvedTemplate, name: str) -> tuple[Principal, list[Policy]]:
        """A role of the stack with its policies."""
        role = template.resources[name]["Properties"]
        policies = [one["PolicyDocument"] for one in role.get("Policies", [])]
        for policy in template.properties_of_type("AWS::IAM::Policy").values():
            if name in policy["Roles"]:
                policies.append(policy["PolicyDocument"])
        return Principal(f"arn:aws:iam::{ACCOUNT}:role/{name}"), policies

    # ── Topics ──

    def topic_answers(
        self, template: ResolvedTemplate, topic: str, policy: Policy
    ) -> dict[str, bool]:
        """Who may use a topic with this policy."""
        arn = self.arn(topic)
        role = Principal(str(template.value({"Fn::GetAtt": ["AspEventsFunctionRole", "Arn"]})))
        _, of_function = self.role(template, "AspEventsFunctionRole")
        _, of_heartbeat = self.role(template, "HeartbeatRole")
        heartbeat = Principal(f"arn:aws:iam::{ACCOUNT}:role/HeartbeatRole")
        in_organization = {"aws:PrincipalOrgID": ORGANIZATION}
        own_alarm, foreign_alarm = (
            {"aws:SourceAccount": account} for account in (ACCOUNT, OTHER_ACCOUNT)
        )

        def publishes(who: Principal, policies: list[Policy], **context: str) -> bool:
            request = AccessRequest("sns:Publish", arn, who, TLS | context)
            return is_allowed(request, policy, policies)

        def subscribes(who: Principal, policies: list[Policy], **context: str) -> bool:
            request = AccessRequest("sns:Subscribe", arn, who, TLS | context)
            return is_allowed(request, policy, policies)

        return {
            "Alexa publishes": publishes(ALEXA, [EVERYTHING]),
            "Alexa publishes without TLS": publishes(ALEXA, [EVERYTHING], **NO_TLS),
            "Alexa subscribes": subscribes(ALEXA, [EVERYTHING]),
            "function publishes": publishes(role, of_function),
            "function publishes without TLS": publishes(role, of_function, **NO_TLS),
            "function subscribes": subscribes(role, of_function),
            "heartbeat publishes": publishes(heartbeat, of_heartbeat),
            "operator publishes": publishes(OPERATOR, [EVERYTHING]),
            "operator publishes without TLS": publishes(OPERATOR, [EVERYTHING], **NO_TLS),
            "operator subscribes": subscribes(OPERATOR, [EVERYTHING]),
            "principal without IAM policies publishes": publishes(OPERATOR, []),
            "principal without IAM policies subscribes": subscribes(OPERATOR, []),
            "CloudWatch publishes": publishes(CLOUDWATCH, [], **own_alarm),
            "CloudWatch publishes without TLS": publishes(CLOUDWATCH, [], **own_alarm | NO_TLS),
            "CloudWatch publishes for others": publishes(CLOUDWATCH, [], **foreign_alarm),
            "consumer subscribes": subscribes(CONSUMING, [EVERYTHING]),
            "consumer publishes": publishes(CONSUMING, [EVERYTHING]),
            "organization subscribes": subscribes(STRANGER, [EVERYTHING], **in_organization),
            "organization publishes": publishes(STRANGER, [EVERYTHING], **in_organization),
            "stranger subscribes": subscribes(STRANGER, [EVERYTHING]),
            "stranger publishes": publishes(STRANGER, [EVERYTHING]),
        }

    def who_may(self, template: ResolvedTemplate, topic: str) -> set[str]:
        answers = self.topic_answers(template, topic, self.policy_of(template, topic))
        return {who for who, is_so in answers.items() if is_so}

    def test_events_topic_takes_events_of_alexa_and_of_those_whom_iam_allows(self) -> None:
        allowed = {
            "Alexa publishes",
            "heartbeat publishes",
            # aspctl send and replay, and a queue for tests.
            "operator publishes",
            "operator subscribes",
        }
        for options in ({}, {"KmsKeyArn": KEY}, {"ConsumerAccounts": CONSUMER}):
            self.assertEqual(self.who_may(self.resolved(**options), "EventsTopic"), allowed)
        optional = self.resolved(AlexaTls="Optional")
        without_tls = {"Alexa publishes without TLS"}
        self.assertEqual(self.who_may(optional, "EventsTopic"), allowed | without_tls)

    def test_only_the_function_publishes_signals_and_consumers_subscribe(self) -> None:
        # aspctl tail subscribes a queue of its own.
        allowed = {"function publishes", "operator subscribes"}
        for options, more in (
            ({}, set()),
            ({"RolePath": "/asp/"}, set()),
            ({"ConsumerAccounts": CONSUMER}, {"consumer subscribes"}),
            ({"ConsumerAccounts": f"1{CONSUMER[1:]}, {CONSUMER}"}, {"consumer subscribes"}),
            ({"ConsumerOrganizationId": ORGANIZATION}, {"organization subscribes"}),
        ):
            template = self.resolved(**options)
            for topic in SIGNAL_TOPICS:
                self.assertEqual(self.who_may(template, topic), allowed | more, (topic, options))

    def test_alarm_topics_take_alarms_of_this_account(self) -> None:
        for topic in ALARM_TOPICS:
            self.assertEqual(
                self.who_may(self.resolved(), topic),
                {"CloudWatch publishes", "operator publishes", "operator subscribes"},
            )

    def test_every_statement_of_a_topic_changes_what_somebody_may_do(self) -> None:
        options = EVERY_OPTION | {"ConsumerAccounts": CONSUMER}
        # With the exemption for Alexa, and without it.
        for tls in ("Required", "Optional"):
            template = self.resolved(**options | {"AlexaTls": tls})
            for topic in ("EventsTopic", *SIGNAL_TOPICS, *ALARM_TOPICS):
                policy = self.policy_of(template, topic)
                answers = self.topic_answers(template, topic, policy)
                for index, statement in enumerate(statements(policy)):
                    changed = self.topic_answers(template, topic, without(policy, index))
                    self.assertNotEqual(changed, answers, f"{topic}: {statement}")

    # ── Queues ──

    def test_queues_take_messages_of_their_topic_only(self) -> None:
        template = self.resolved(Ingestion="Buffered")
        senders = self.senders()
        queues = template.properties_of_type("AWS::SQS::Queue")
        for policy in template.properties_of_type("AWS::SQS::QueuePolicy").values():
            for queue in policy["Queues"]:
                for topic in ("EventsTopic", *SIGNAL_TOPICS, *ALARM_TOPICS):
                    context = TLS | {"aws:SourceArn": self.arn(topic)}
                    request = AccessRequest("sqs:SendMessage", self.arn(queue), SNS, context)
                    is_sender = topic in senders.get(queue, set())
                    allowed = is_allowed(request, policy["PolicyDocument"])
                    self.assertEqual(allowed, is_sender, (queue, topic))
                for action in ("sqs:SendMessage", "sqs:ReceiveMessage"):
                    for context, is_secure in ((TLS, True), (NO_TLS, False)):
                        request = AccessRequest(action, self.arn(queue), OPERATOR, context)
                        allowed = is_allowed(request, policy["PolicyDocument"], [EVERYTHING])
                        self.assertEqual(allowed, is_secure, queue)
                del queues[queue]
        self.assertEqual(queues, {})

    def senders(self) -> dict[str, set[str]]:
        """The topics that send to each queue, as endpoint or as dead-letter queue."""
        senders: dict[str, set[str]] = {}
        for mode in ("Direct", "Buffered"):
            template = self.resolved(Ingestion=mode)
            for one in template.properties_of_type("AWS::SNS::Subscription").values():
                targets = [one["RedrivePolicy"]["deadLetterTargetArn"]]
                targets += [one["Endpoint"]] if one["Protocol"] == "sqs" else []
                for target in targets:
                    topic = one["TopicArn"].rpartition(":")[2]
                    senders.setdefault(target.rpartition(":")[2], set()).add(topic)
        return senders

    # ── The function's role ──

    def calls(self, **options: str) -> Iterator[AccessRequest]:
        """What the function does, and Lambda, SNS and DynamoDB on its behalf."""
        role, _ = self.role(self.resolved(), "AspEventsFunctionRole")
        has_key = options.get("KmsKeyArn")

        def call(action: str, resource: str, **context: str) -> AccessRequest:
            return AccessRequest(action, resource, role, context)

        yield from (call("sns:Publish", self.arn(topic)) for topic in SIGNAL_TOPICS)
        namespace = {"cloudwatch:namespace": "AlexaSmartProperties/asp-events"}
        yield call("cloudwatch:PutMetricData", "*", **namespace)
        for action in ("BatchGetItem", "BatchWriteItem", "PartiQLInsert", "PutItem"):
            yield call(f"dynamodb:{action}", self.arn("LedgerTable"))
        for action in ("ReceiveMessage", "DeleteMessage", "GetQueueAttributes"):
            yield call(f"sqs:{action}", self.arn("IngestionQueue"))
        yield call("sqs:SendMessage", self.arn("OnFailureQueue"))
        for action in ("CreateLogStream", "PutLogEvents"):
            yield call(f"logs:{action}", self.arn("AspEventsLogGroup"))
        if options.get("Tracing") == "Active":
            yield call("xray:PutTraceSegments", "*")
            yield call("xray:PutTelemetryRecords", "*")
        if has_key:
            for service, action in (
                ("sns", "Decrypt"),
                ("sns", "GenerateDataKey"),
                ("dynamodb", "Decrypt"),
            ):
                via = {"kms:ViaService": f"{service}.us-east-1.amazonaws.com"}
                yield call(f"kms:{action}", KEY, **via)

    def test_function_may_do_what_it_does_and_nothing_more(self) -> None:
        values = {name: ("", EVERY_OPTION[name]) for name in ("KmsKeyArn", "Tracing")}
        others = {name: one for name, one in EVERY_OPTION.items() if name not in values}
        every_call = {repr(call): call for call in self.calls(**EVERY_OPTION)}
        for mode, rest, *chosen in product(("Direct", "Buffered"), ({}, others), *values.values()):
            names = zip(values, chosen, strict=True)
            options = {"Ingestion": mode, **rest} | {name: one for name, one in names if one}
            with self.subTest(options):
                _, [policy] = self.role(self.resolved(**options), "AspEventsFunctionRole")
                needed = {repr(call): call for call in self.calls(**options)}
                for name, call in every_call.items():
                    key = key_policy() if call.action.startswith("kms:") else None
                    allowed = is_allowed(call, key, [policy])
                    self.assertEqual(allowed, name in needed, name)
                self.assertEqual(self.granted(policy), self.used(needed.values()))

    def granted(self, policy: Policy) -> set[tuple[str, str, str]]:
        """The actions of a policy, each with its resource and condition."""
        return {
            (action, resource, json.dumps(one.get("Condition", {})).lower())
            for one in statements(policy)
            for action in listed(one["Action"])
            for resource in listed(one["Resource"])
        }

    def used(self, calls: Any) -> set[tuple[str, str, str]]:
        return {
            (
                call.action,
                call.resource,
                json.dumps({"StringEquals": dict(call.context)} if call.context else {}).lower(),
            )
            for call in calls
        }

    # ── Every role ──

    def test_every_role_has_the_path_and_the_boundary(self) -> None:
        options = {name: EVERY_OPTION[name] for name in ("RolePath", "PermissionsBoundaryArn")}
        with_all = self.resolved(DeliveryStatusLogging="Yes", **options)
        roles = with_all.properties_of_type("AWS::IAM::Role")
        resources = self.template["Resources"].items()
        every = {name for name, resource in resources if resource["Type"] == "AWS::IAM::Role"}
        self.assertEqual(set(roles), every)
        for name, role in roles.items():
            self.assertEqual(role["Path"], "/asp/", name)
            self.assertEqual(role["PermissionsBoundary"], options["PermissionsBoundaryArn"], name)
        # SAM makes no role of its own.
        function = with_all.resources["AspEventsFunction"]["Properties"]
        self.assertIn("Role", function)
        for role in self.resolved().properties_of_type("AWS::IAM::Role").values():
            self.assertEqual(role["Path"], "/")
            self.assertNotIn("PermissionsBoundary", role)

    def test_delivery_status_goes_into_the_log_groups_of_the_topics_only(self) -> None:
        template = self.resolved(DeliveryStatusLogging="Yes")
        role, policies = self.role(template, "DeliveryStatusRole")
        logged = ("EventsTopic", *SIGNAL_TOPICS)
        groups = f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:"
        actions = ("logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents")
        for topic in (*logged, *ALARM_TOPICS, "EventsTopic-2", "*"):
            own = f"{groups}sns/us-east-1/{ACCOUNT}/{topic}"
            for group in (f"{own}/Failure", f"{own}/Failure:log-stream:s"):
                for action in actions:
                    allowed = is_allowed(AccessRequest(action, group, role), None, policies)
                    self.assertEqual(allowed, topic in logged, group)
            success = AccessRequest(actions[2], own, role)
            self.assertFalse(is_allowed(success, None, policies))
        foreign = f"{groups}asp-events-AspEventsLogGroup"
        self.assertFalse(is_allowed(AccessRequest(actions[2], foreign, role), None, policies))
        for topic in logged:
            feedback = template.resources[topic]["Properties"]["DeliveryStatusLogging"]
            arn = template.value({"Fn::GetAtt": ["DeliveryStatusRole", "Arn"]})
            self.assertEqual(
                feedback,
                [
                    {"Protocol": protocol, "FailureFeedbackRoleArn": arn}
                    for protocol in ("lambda", "sqs")
                ],
            )
            self.assertNotIn(
                "DeliveryStatusLogging", self.resolved().resources[topic].get("Properties", {})
            )

    # ── Encryption ──

    def keys(self, template: ResolvedTemplate) -> dict[str, str | None]:
        """The key of each topic, queue, table and log group."""
        names = {
            "AWS::SNS::Topic": "KmsMasterKeyId",
            "AWS::SQS::Queue": "KmsMasterKeyId",
            "AWS::Logs::LogGroup": "KmsKeyId",
        }
        keys: dict[str, str | None] = {
            name: one.get("Properties", {}).get(names[one["Type"]])
            for name, one in template.resources.items()
            if one["Type"] in names
        }
        table = template.resources["LedgerTable"]["Properties"]["SSESpecification"]
        self.assertIs(table["SSEEnabled"], True)
        return keys | {"LedgerTable": table.get("KMSMasterKeyId")}

    def test_a_key_encrypts_all_but_what_holds_events(self) -> None:
        keys = self.keys(self.resolved(KmsKeyArn=KEY))
        self.assertEqual({name for name, key in keys.items() if key is None}, EVENTS_ONLY)
        self.assertEqual({key for key in keys.values() if key}, {KEY})

    def test_without_a_key_aws_manages_those_of_the_signals(self) -> None:
        keys = {name: key for name, key in self.keys(self.resolved()).items() if key}
        self.assertEqual(keys, dict.fromkeys(SIGNAL_TOPICS, "alias/aws/sns"))

    def uses(self, template: ResolvedTemplate) -> Iterator[tuple[str, AccessRequest]]:
        """What each service does with the key, by what it does it for."""
        keys = self.keys(template)
        function = f"arn:aws:iam::{ACCOUNT}:role/asp-events-AspEventsFunctionRole-Ab1"

        def use(who: str, action: str, **context: str) -> AccessRequest:
            return AccessRequest(f"kms:{action}", KEY, Principal(who), context)

        for topic in (name for name in keys if name.endswith("Topic") and keys[name]):
            for action in ("Decrypt", "GenerateDataKey"):
                if topic in ALARM_TOPICS:
                    yield topic, use(CLOUDWATCH.name, action)
                else:
                    via = {"kms:ViaService": "sns.us-east-1.amazonaws.com"}
                    yield topic, use(function, action, **via)
        for queue, topics in self.senders().items():
            for topic in topics if keys[queue] else ():
                source = f"arn:aws:sns:us-east-1:{ACCOUNT}:asp-events-{topic}-Ab1"
                for action in ("Decrypt", "GenerateDataKey"):
                    yield queue, use(SNS.name, action, **{"aws:SourceArn": source})
        yield "LedgerTable", use(
            function, "Decrypt", **{"kms:ViaService": "dynamodb.us-east-1.amazonaws.com"}
        )
        group = f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:asp-events-AspEventsLogGroup-Ab1"
        for action in ("Encrypt", "Decrypt", "ReEncryptTo", "GenerateDataKey", "DescribeKey"):
            context = {"kms:EncryptionContext:aws:logs:arn": group}
            yield "AspEventsLogGroup", use("logs.us-east-1.amazonaws.com", action, **context)

    def test_documented_key_policy_allows_what_each_service_does(self) -> None:
        template, policy = self.resolved(KmsKeyArn=KEY), key_policy()
        _, of_function = self.role(template, "AspEventsFunctionRole")
        used = set()
        for name, use in self.uses(template):
            self.assertTrue(is_allowed(use, policy, of_function), f"{name}: {use}")
            used.add(name)
        encrypted = {name for name, key in self.keys(template).items() if key}
        self.assertEqual(used, encrypted)

    def test_documented_key_policy_is_enough_where_iam_policies_do_not_count(self) -> None:
        # A platform team may keep the first statement to its own administrators.
        template, policy = self.resolved(KmsKeyArn=KEY), without(key_policy(), 0)
        _, of_function = self.role(template, "AspEventsFunctionRole")
        for name, use in self.uses(template):
            self.assertTrue(is_allowed(use, policy, of_function), f"{name}: {use}")

    def test_every_statement_of_the_documented_key_policy_is_needed(self) -> None:
        template, policy = self.resolved(KmsKeyArn=KEY), key_policy()
        _, of_function = self.role(template, "AspEventsFunctionRole")
        administers = AccessRequest("kms:PutKeyPolicy", KEY, OPERATOR)
        self.assertTrue(is_allowed(administers, policy, [EVERYTHING]))
        self.assertFalse(is_allowed(administers, without(policy, 0), [EVERYTHING]))
        locked = without(policy, 0)
        for index in range(len(locked["Statement"])):
            reduced = without(locked, index)
            refused = [
                name
                for name, use in self.uses(template)
                if not is_allowed(use, reduced, of_function)
            ]
            self.assertTrue(refused, locked["Statement"][index])

    def test_documented_key_policy_allows_nobody_else(self) -> None:
        policy = key_policy()
        via_sns = {"kms:ViaService": "sns.us-east-1.amazonaws.com"}
        function = Principal(f"arn:aws:iam::{ACCOUNT}:role/asp-events-AspEventsFunctionRole-Ab1")
        logs = Principal("logs.us-east-1.amazonaws.com")
        foreign_topic = f"arn:aws:sns:us-east-1:{OTHER_ACCOUNT}:asp-events-RetryTopic-Ab1"
        foreign_group = f"arn:aws:logs:us-east-1:{OTHER_ACCOUNT}:log-group:asp-events-x"
        for principal, context, identity in (
            (ALEXA, via_sns, EVERYTHING),
            (STRANGER, via_sns, EVERYTHING),
            (OPERATOR, via_sns, NOTHING),
            (function, {}, NOTHING),
            (function, {"kms:ViaService": "s3.us-east-1.amazonaws.com"}, NOTHING),
            (SNS, {"aws:SourceArn": foreign_topic}, NOTHING),
            (SNS, {}, NOTHING),
            (logs, {"kms:EncryptionContext:aws:logs:arn": foreign_group}, NOTHING),
            (logs, {}, NOTHING),
            (Principal("events.amazonaws.com"), {}, NOTHING),
        ):
            for action in ("kms:Decrypt", "kms:GenerateDataKey"):
                use = AccessRequest(action, KEY, principal, context)
                self.assertFalse(is_allowed(use, policy, [identity]), use)


class EvaluatorTest(unittest.TestCase):
    """The rules of IAM on which the tests above rely."""

    def test_rules_of_the_users_guide(self) -> None:
        topic = f"arn:aws:sns:us-east-1:{ACCOUNT}:t"
        root = {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}
        allow: dict[str, Any] = {"Effect": "Allow", "Action": "sns:*", "Resource": "*"}
        deny = allow | {"Effect": "Deny"}
        anybody, account = {"Principal": "*"}, {"Principal": root}
        elsewhere = {"Condition": {"ArnNotEquals": {"aws:PrincipalArn": OPERATOR.name}}}
        for principal, resource, identity, expected in (
            (OPERATOR, [], [], False),
            (OPERATOR, [], [allow], True),
            (OPERATOR, [allow | anybody], [], True),
            # Naming the account leaves it to IAM, which may allow it anyway.
            (OPERATOR, [allow | account], [], False),
            (OPERATOR, [deny | anybody], [allow], False),
            (OPERATOR, [deny | account], [allow], False),
            (OPERATOR, [allow | anybody], [deny], False),
            (STRANGER, [], [allow], False),
            (STRANGER, [allow | anybody], [], False),
            (STRANGER, [allow | anybody], [allow], True),
            (STRANGER, [allow | account], [allow], False),
            (SNS, [allow | {"Principal": {"Service": SNS.name}}], [], True),
            (SNS, [allow | account], [], False),
            # A negated operator also holds for a request without the key.
            (SNS, [allow | anybody, deny | anybody | elsewhere], [], False),
            (OPERATOR, [deny | anybody | elsewhere], [allow], True),
        ):
            request = AccessRequest("sns:Publish", topic, principal)
            policy = {"Statement": resource}
            allowed = is_allowed(request, policy, [{"Statement": identity}])
            self.assertEqual(allowed, expected, (principal, resource, identity))

    def test_only_the_policy_of_a_key_lets_iam_policies_count(self) -> None:
        root = {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}
        leave = {"Effect": "Allow", "Principal": root, "Action": "kms:*", "Resource": "*"}
        request = AccessRequest("kms:Decrypt", KEY, OPERATOR)
        self.assertFalse(is_allowed(request, NOTHING, [EVERYTHING]))
        self.assertTrue(is_allowed(request, {"Statement": [leave]}, [EVERYTHING]))
        self.assertFalse(is_allowed(request, {"Statement": [leave]}, []))

    def test_what_it_does_not_know_is_an_error(self) -> None:
        request = AccessRequest("sns:Publish", KEY, OPERATOR)
        for unknown in ({"NotAction": "x"}, {"Condition": {"IpAddress": {"aws:SourceIp": "::"}}}):
            statement = {"Effect": "Allow", "Action": "*", "Resource": "*"} | unknown
            with self.assertRaises(ValueError):
                is_allowed(request, None, [{"Statement": [statement]}])


if __name__ == "__main__":
    unittest.main()
