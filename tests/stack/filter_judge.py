"""Judges filter policies by LocalStack's implementation of SNS's rules, which it tests against AWS.

Runs in .venv-emulator, apart from the tests, and needs no server. It reads from standard input

    {"policies": {name: {"scope": …, "policy": …}}, "messages": [{"body": …, "attributes": {…}}]}

and writes, for each policy, whether each message passes, or why SNS refuses the policy:

    {name: [true, false, …], other name: "Invalid parameter: …"}
"""

from __future__ import annotations

import json
import sys
from typing import Any

from localstack.aws.api import ServiceException
from localstack.services.sns.filter import FilterPolicyValidator, SubscriptionFilter


def judge(scope: str, policy: dict[str, Any], messages: list[dict[str, Any]]) -> str | list[bool]:
    try:
        FilterPolicyValidator(scope, is_subscribe_call=True).validate_filter_policy(policy)
    except ServiceException as refusal:
        return str(refusal.message)
    return [passes(scope, policy, message) for message in messages]


def passes(scope: str, policy: dict[str, Any], message: dict[str, Any]) -> bool:
    rules = SubscriptionFilter()
    if scope == "MessageBody":
        return bool(rules.check_filter_policy_on_message_body(policy, message["body"]))
    attributes = {
        name: {"DataType": "String", "StringValue": value}
        for name, value in message["attributes"].items()
    }
    return bool(rules.check_filter_policy_on_message_attributes(policy, attributes))


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    judged = {
        name: judge(one["scope"], one["policy"], asked["messages"])
        for name, one in asked["policies"].items()
    }
    json.dump(judged, sys.stdout)
