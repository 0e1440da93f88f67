"""A handler with Powertools for AWS Lambda, pydantic and boto3.

With LEDGER_TABLE, each event takes effect once: by Powertools' idempotency, in a table of its own.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.data_classes import SNSEvent, event_source
from aws_lambda_powertools.utilities.idempotency import (
    DynamoDBPersistenceLayer,
    IdempotencyConfig,
    idempotent_function,
)
from aws_lambda_powertools.utilities.typing import LambdaContext
from effects import (
    AlexaEvent,
    Failure,
    activation_data,
    attributes,
    cloud_event,
    count,
    failure_data,
    sns,
)

logger = Logger(service="asp-events")
table = os.environ.get("LEDGER_TABLE")
idempotency = IdempotencyConfig(event_key_jmespath="id", expires_after_seconds=86_400)


def once(process: Callable[..., None]) -> Callable[..., None]:
    """With a table, processes what has the same id once."""
    if not table:
        return process
    store = DynamoDBPersistenceLayer(table_name=table, key_attr="pk")
    decorate = idempotent_function(
        data_keyword_argument="origin", persistence_store=store, config=idempotency
    )
    return decorate(process)


def publish(topic: str, message: dict[str, Any], flat: dict[str, str]) -> None:
    sns.publish(
        TopicArn=os.environ[topic],
        Message=json.dumps(message),
        MessageAttributes=attributes({"type": message["type"]} | flat),
    )


@once
def process(origin: dict[str, str], event: AlexaEvent, source: dict[str, Any]) -> None:
    header, payload = event.header, event.payload
    if isinstance(payload, Failure):
        data = failure_data(header, payload)
        flat = {name: data[name] for name in ("skillId", "stage", "errorType", "unitId")}
        data["sourceEvent"] = source
        message = cloud_event(event, "aspevents.skill.failure.v1", payload.skill.id, data)
        publish("REPORT_TOPIC_ARN", message, flat)
        count(payload)
    else:
        data = activation_data(header, payload)
        flat = {name: data[name] for name in ("unitId", "parentUnitId") if name in data}
        flat["ready"] = str(data["ready"]).lower()
        data["sourceEvent"] = source
        message = cloud_event(event, "aspevents.unit.readiness.v1", data["unitId"], data)
        publish("READINESS_TOPIC_ARN", message, flat)


@logger.inject_lambda_context
@event_source(data_class=SNSEvent)
def handler(event: SNSEvent, context: LambdaContext) -> None:
    idempotency.register_lambda_context(context)
    for record in event.records:
        source = json.loads(record.sns.message)
        parsed = AlexaEvent.model_validate(source)
        process(origin={"id": parsed.key}, event=parsed, source=source)
        logger.info("handled", extra={"event": parsed.key})
