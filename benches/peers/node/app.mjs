// A handler with the AWS SDK for JavaScript v3: one call after the other, no ledger.

import { CloudWatchClient, PutMetricDataCommand } from "@aws-sdk/client-cloudwatch";
import { PublishCommand, SNSClient } from "@aws-sdk/client-sns";

const sns = new SNSClient({});
const cloudwatch = new CloudWatchClient({});

export const handler = async (event) => {
  for (const record of event.Records) {
    const source = JSON.parse(record.Sns.Message);
    const { namespace, name } = source.header.eventType;
    if (namespace === "Alexa.Skill.Interaction" && name === "Failure") {
      await fail(source);
    } else {
      await activate(source);
    }
    console.log(JSON.stringify({ level: "INFO", message: "handled", event: keyOf(source) }));
  }
};

async function fail(source) {
  const { payload } = source;
  const flat = {
    skillId: payload.skill.id,
    stage: payload.skill.stage,
    errorType: payload.error.type,
    unitId: source.header.entities.unit.id,
  };
  const data = {
    ...flat,
    error: payload.error,
    interaction: { ...payload.interaction, intent: payload.interaction.intent.name },
    requestId: payload.requestId,
    sessionId: payload.session.id,
  };
  const topic = process.env.REPORT_TOPIC_ARN;
  await publish(topic, "aspevents.skill.failure.v1", flat.skillId, source, flat, data);
  const dimensions = [
    { Name: "SkillId", Value: flat.skillId },
    { Name: "SkillStage", Value: flat.stage },
    { Name: "ErrorType", Value: flat.errorType },
  ];
  const byStage = dimensions.filter(({ Name }) => Name === "SkillStage");
  await cloudwatch.send(
    new PutMetricDataCommand({
      Namespace: process.env.METRIC_NAMESPACE,
      MetricData: [dimensions, byStage].map((Dimensions) => ({
        MetricName: "SkillInteractionFailure",
        Value: 1,
        Unit: "Count",
        Dimensions,
      })),
    }),
  );
}

async function activate(source) {
  const { unit } = source.header.entities;
  const data = {
    ready: source.payload.result.status === "SUCCEEDED",
    unitId: unit.id,
    parentUnitId: unit.parent?.id,
    subscriptionId: source.payload.subscription.id,
  };
  const { ready, unitId, parentUnitId } = data;
  const flat = { ready: String(ready), unitId, ...(parentUnitId && { parentUnitId }) };
  const topic = process.env.READINESS_TOPIC_ARN;
  await publish(topic, "aspevents.unit.readiness.v1", unitId, source, flat, data);
}

async function publish(TopicArn, type, subject, source, flat, data) {
  const message = {
    specversion: "1.0",
    id: keyOf(source),
    source: "urn:alexa:smart-properties",
    type,
    subject,
    time: source.header.eventTime.timestamp,
    datacontenttype: "application/json",
    data: { ...data, sourceEvent: source },
  };
  const attributes = Object.entries({ type, ...flat }).map(([name, StringValue]) => [
    name,
    { DataType: "String", StringValue },
  ]);
  await sns.send(
    new PublishCommand({
      TopicArn,
      Message: JSON.stringify(message),
      MessageAttributes: Object.fromEntries(attributes),
    }),
  );
}

function keyOf(source) {
  const { eventType, eventId } = source.header;
  return `${eventType.namespace}.${eventType.name}/${eventId.id}`;
}
