"""What is published and counted for an event: the same as by asp-events."""

from __future__ import annotations

import os
from typing import Any

import boto3
from aws_lambda_powertools.utilities.parser import BaseModel
from pydantic import Field

sns = boto3.client("sns")
cloudwatch = boto3.client("cloudwatch")


class Identified(BaseModel):
    id: str


class EventType(BaseModel):
    namespace: str
    name: str


class EventTime(BaseModel):
    timestamp: str


class Unit(Identified):
    parent: Identified | None = None


class Entities(BaseModel):
    unit: Unit


class Header(BaseModel):
    event_id: Identified = Field(alias="eventId")
    event_type: EventType = Field(alias="eventType")
    event_time: EventTime = Field(alias="eventTime")
    entities: Entities


class Intent(BaseModel):
    name: str


class Interaction(BaseModel):
    type: str
    locale: str
    intent: Intent


class Skill(Identified):
    stage: str


class SkillError(BaseModel):
    type: str
    message: str


class Failure(BaseModel):
    interaction: Interaction
    skill: Skill
    session: Identified
    request_id: str = Field(alias="requestId")
    error: SkillError


class Result(BaseModel):
    status: str


class Activation(BaseModel):
    subscription: Identified
    result: Result


class AlexaEvent(BaseModel):
    header: Header
    payload: Failure | Activation

    @property
    def key(self) -> str:
        event_type = self.header.event_type
        return f"{event_type.namespace}.{event_type.name}/{self.header.event_id.id}"


def failure_data(header: Header, failure: Failure) -> dict[str, Any]:
    return {
        "skillId": failure.skill.id,
        "stage": failure.skill.stage,
        "errorType": failure.error.type,
        "unitId": header.entities.unit.id,
        "error": failure.error.model_dump(),
        "interaction": {
            "type": failure.interaction.type,
            "locale": failure.interaction.locale,
            "intent": failure.interaction.intent.name,
        },
        "requestId": failure.request_id,
        "sessionId": failure.session.id,
    }


def activation_data(header: Header, activation: Activation) -> dict[str, Any]:
    unit = header.entities.unit
    data = {
        "ready": activation.result.status == "SUCCEEDED",
        "unitId": unit.id,
        "subscriptionId": activation.subscription.id,
    }
    return data | ({"parentUnitId": unit.parent.id} if unit.parent else {})


def cloud_event(
    event: AlexaEvent, type_: str, subject: str, data: dict[str, Any]
) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": event.key,
        "source": "urn:alexa:smart-properties",
        "type": type_,
        "subject": subject,
        "time": event.header.event_time.timestamp,
        "datacontenttype": "application/json",
        "data": data,
    }


def count(failure: Failure) -> None:
    dimensions = {
        "SkillId": failure.skill.id,
        "SkillStage": failure.skill.stage,
        "ErrorType": failure.error.type,
    }
    cloudwatch.put_metric_data(
        Namespace=os.environ["METRIC_NAMESPACE"],
        MetricData=[
            {
                "MetricName": "SkillInteractionFailure",
                "Value": 1,
                "Unit": "Count",
                "Dimensions": [{"Name": name, "Value": dimensions[name]} for name in names],
            }
            for names in (list(dimensions), ["SkillStage"])
        ],
    )


def attributes(values: dict[str, str]) -> dict[str, dict[str, str]]:
    return {name: {"DataType": "String", "StringValue": value} for name, value in values.items()}
