#!/usr/bin/env python3
"""Makes the calls of some commands of the AWS CLI, which the tests do not have, with boto3.

    aws SERVICE OPERATION --option VALUE …

A value is text, a JSON object, or NAME='TEXT' for one entry of a map. `--query` is as in the CLI,
and the output is text. AWS_ENDPOINT_URL names the server.
"""

from __future__ import annotations

import json
import os
import re
import sys
from typing import Any

import boto3
import jmespath
from botocore.config import Config

REGION = "us-east-1"
CREDENTIALS = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
ENTRY = re.compile(r"(\w+)='(.*)'", re.DOTALL)
# The CLI's own names of some parameters.
RENAMED = {"NotificationEndpoint": "Endpoint"}


def main(words: list[str]) -> None:
    service, operation, *rest = words
    options = dict(zip(rest[::2], rest[1::2], strict=True))
    query = options.pop("--query", "@")
    if options.pop("--output", "text") != "text":
        raise SystemExit("the output can only be text")
    parameters = {_parameter(name): _value(text) for name, text in options.items()}
    make: Any = boto3.client  # the overloads need a literal name
    client = make(
        service,
        REGION,
        endpoint_url=os.environ["AWS_ENDPOINT_URL"],
        config=Config(proxies={}),
        **CREDENTIALS,
    )
    answer = getattr(client, operation.replace("-", "_"))(**parameters)
    print(jmespath.search(query, answer))


def _parameter(option: str) -> str:
    name = "".join(word.capitalize() for word in option.removeprefix("--").split("-"))
    return RENAMED.get(name, name)


def _value(text: str) -> Any:
    if text.startswith("{"):
        return json.loads(text)
    entry = ENTRY.fullmatch(text)
    return {entry[1]: entry[2]} if entry else text


if __name__ == "__main__":
    main(sys.argv[1:])
