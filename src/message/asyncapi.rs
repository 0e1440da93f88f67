//! Generates `schemas/asyncapi.json`, the AsyncAPI document of the messages.
//!
//! `make schemas` writes it together with the JSON Schemas, which are its payloads; a document that
//! is out of date fails a test. The examples are those of `docs/consumers.md`.

use std::{env, fs, path::PathBuf};

use serde_json::{Map, Value, json};

use super::{
    schema::{GeneratedSchema, InReadingOrder, topic_name},
    *,
};

/// The version of the AsyncAPI specification.
const ASYNCAPI_VERSION: &str = "3.0.0";

/// The version of the binding for SNS, of those that AsyncAPI 3.0.0 knows.
const SNS_BINDING_VERSION: &str = "0.1.0";

/// The version of the binding for SQS, of those that AsyncAPI 3.0.0 knows.
const SQS_BINDING_VERSION: &str = "0.2.0";

/// The media type of a CloudEvents object in structured mode.
const CLOUD_EVENTS_TYPE: &str = "application/cloudevents+json";

/// What the document says about all messages.
const DESCRIPTION: &str = "What the function asp-events publishes about Alexa Smart Properties. \
    Each message is a CloudEvents 1.0 object in structured mode. Delivery is at least once and in \
    any order: drop a message whose source and id you know, and compare time before you overwrite \
    newer state. Ignore properties that you do not know.";

const TOPICS: [OutputTopic; 4] = [
    OutputTopic::Retry,
    OutputTopic::Readiness,
    OutputTopic::Report,
    OutputTopic::Quarantine,
];

/// The name of a topic's resources in the template, without `Topic` and `Queue`.
fn resource_prefix(topic: OutputTopic) -> &'static str {
    match topic {
        OutputTopic::Retry => "Retry",
        OutputTopic::Readiness => "Readiness",
        OutputTopic::Report => "Report",
        OutputTopic::Quarantine => "Quarantine",
    }
}

/// Says when the stack has the queue of a topic.
fn queue_condition(topic: OutputTopic) -> String {
    match topic {
        OutputTopic::Quarantine => "The stack always has it.".to_owned(),
        OutputTopic::Retry | OutputTopic::Readiness | OutputTopic::Report => format!(
            "The stack has it unless the parameter {}Consumer is None.",
            resource_prefix(topic)
        ),
    }
}

fn reference(path: &str) -> Value {
    json!({"$ref": format!("#/{path}")})
}

fn references(types: &[&str], path: &str) -> Value {
    let references = types
        .iter()
        .map(|name| reference(&format!("{path}/{name}")));
    references.collect()
}

/// The channels and operations of one topic, and of the queue that the stack subscribes to it.
struct TopicChannels<'a> {
    topic: OutputTopic,
    types: Vec<&'a str>,
}

impl<'a> TopicChannels<'a> {
    fn of(topic: OutputTopic, schemas: &'a [GeneratedSchema]) -> Self {
        let of_topic = schemas.iter().filter(|schema| schema.topic == topic);
        Self {
            topic,
            types: of_topic.map(|schema| schema.r#type).collect(),
        }
    }

    fn topic_channel(&self) -> String {
        format!("{}Topic", resource_prefix(self.topic))
    }

    fn queue_channel(&self) -> String {
        format!("{}Queue", resource_prefix(self.topic))
    }

    fn messages(&self) -> Value {
        let message = |name: &&str| {
            let path = format!("components/messages/{name}");
            ((*name).to_owned(), reference(&path))
        };
        Value::Object(self.types.iter().map(message).collect())
    }

    fn add_channels(&self, channels: &mut Map<String, Value>) {
        let (topic, queue) = (self.topic_channel(), self.queue_channel());
        let what = topic_name(self.topic);
        let topic_value = json!({
            "address": null,
            "title": format!("The {what} topic"),
            "description": format!("A standard SNS topic. The stack's output {topic}Arn is its \
                ARN. Filter policies may use the headers, which are its message attributes."),
            "servers": [reference("servers/sns")],
            "messages": self.messages(),
            "bindings": {"sns": {
                "name": topic,
                "ordering": {"type": "standard"},
                "bindingVersion": SNS_BINDING_VERSION,
            }},
        });
        let queue_value = json!({
            "address": null,
            "title": format!("The {what} queue"),
            "description": format!("A standard SQS queue that is subscribed to {topic} with raw \
                delivery: the body is the message, and the headers are SQS message attributes. \
                The stack's output {queue}Arn is its ARN. {}", queue_condition(self.topic)),
            "servers": [reference("servers/sqs")],
            "messages": self.messages(),
            "bindings": {"sqs": {
                "queue": {"name": queue, "fifoQueue": false},
                "bindingVersion": SQS_BINDING_VERSION,
            }},
        });
        channels.insert(topic, topic_value);
        channels.insert(queue, queue_value);
    }

    fn add_operations(&self, operations: &mut Map<String, Value>) {
        let (topic, queue) = (self.topic_channel(), self.queue_channel());
        let publish = json!({
            "action": "send",
            "summary": format!("The function publishes to {topic}."),
            "channel": reference(&format!("channels/{topic}")),
            "messages": references(&self.types, &format!("channels/{topic}/messages")),
            "bindings": {"sns": {
                "consumers": [{
                    "protocol": "sqs",
                    "endpoint": {"name": queue},
                    "rawMessageDelivery": true,
                }],
                "bindingVersion": SNS_BINDING_VERSION,
            }},
        });
        let deliver = json!({
            "action": "send",
            "summary": format!("SNS delivers what {topic} receives to {queue}."),
            "channel": reference(&format!("channels/{queue}")),
            "messages": references(&self.types, &format!("channels/{queue}/messages")),
        });
        operations.insert(format!("publishTo{topic}"), publish);
        operations.insert(format!("deliverTo{queue}"), deliver);
    }
}

/// Describes the SNS message attributes. Each repeats a field of the data, as a string. Only those
/// whose values the function itself chooses are certain: SNS refuses some that Alexa could send.
fn headers(generated: &GeneratedSchema) -> Value {
    let data = &generated.schema["properties"]["data"];
    let always = data["required"].as_array().unwrap();
    let mut properties = Map::new();
    let mut required = vec![json!("type")];
    properties.insert(
        "type".to_owned(),
        json!({"description": "The message type.", "type": "string", "const": generated.r#type}),
    );
    for name in &generated.attributes {
        let field = &data["properties"][name];
        let values = match &field["type"] {
            kind if kind == "boolean" => Some(json!(["true", "false"])),
            _ => field.get("enum").cloned(),
        };
        let mut header = json!({"description": field["description"], "type": "string"});
        match values {
            Some(values) => {
                header["enum"] = values;
                required.extend(always.iter().filter(|field| *field == name).cloned());
            }
            None => header["minLength"] = json!(1),
        }
        properties.insert((*name).to_owned(), header);
    }
    json!({"type": "object", "required": required, "properties": properties})
}

/// The example of a message in the document for consumers, which another test compares with what
/// the function publishes. A new message may have none yet.
fn documented_example(r#type: &str) -> Option<Value> {
    let document = include_str!("../../docs/consumers.md");
    let blocks = document.split("```json\n").skip(1);
    let mut messages = blocks.filter_map(|block| {
        let text = block.split("```").next()?;
        serde_json::from_str::<Value>(text).ok()
    });
    messages.find(|message| message["type"] == r#type)
}

/// The attributes with which the function publishes a message.
fn attributes_of(message: &Value) -> Value {
    let published = PublishedMessage::read(&message.to_string()).unwrap();
    let data = published.data.unwrap();
    let mut attributes = json!({"type": data.r#type()});
    for (name, value) in data.attributes() {
        if let Some(value) = value {
            attributes[name] = json!(value);
        }
    }
    attributes
}

fn component(generated: &GeneratedSchema) -> Value {
    let mut component = json!({
        "name": generated.r#type,
        "title": generated.schema["title"],
        "contentType": CLOUD_EVENTS_TYPE,
        "headers": headers(generated),
        "payload": reference(&format!("components/schemas/{}", generated.r#type)),
    });
    if let Some(example) = documented_example(generated.r#type) {
        let headers = attributes_of(&example);
        component["examples"] = json!([{"headers": headers, "payload": example}]);
    }
    component
}

/// The schema as it is in its own file, but for what identifies that file. Its keywords are all of
/// the JSON Schema draft that AsyncAPI builds on.
fn payload(generated: &GeneratedSchema) -> Value {
    let mut schema = generated.schema.clone();
    let fields = schema.as_object_mut().unwrap();
    fields.remove("$schema");
    fields.remove("$id");
    schema
}

fn server(protocol: &str) -> Value {
    json!({
        "host": format!("{protocol}.{{region}}.amazonaws.com"),
        "protocol": protocol,
        "description": "The endpoint of the stack's region; another domain outside of the \
            partition aws.",
        "variables": {
            "region": {"description": "The region of the stack.", "default": "us-east-1"},
        },
    })
}

fn document(schemas: &[GeneratedSchema]) -> Value {
    let (mut channels, mut operations) = (Map::new(), Map::new());
    for topic in TOPICS {
        let of_topic = TopicChannels::of(topic, schemas);
        of_topic.add_channels(&mut channels);
        of_topic.add_operations(&mut operations);
    }
    let (mut messages, mut payloads) = (Map::new(), Map::new());
    for generated in schemas {
        messages.insert(generated.r#type.to_owned(), component(generated));
        payloads.insert(generated.r#type.to_owned(), payload(generated));
    }
    json!({
        "asyncapi": ASYNCAPI_VERSION,
        "info": {
            "title": "Alexa Smart Properties events",
            "version": env!("CARGO_PKG_VERSION"),
            "description": DESCRIPTION,
            "license": {"name": env!("CARGO_PKG_LICENSE")},
        },
        "defaultContentType": CLOUD_EVENTS_TYPE,
        "servers": {"sns": server("sns"), "sqs": server("sqs")},
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages, "schemas": payloads},
    })
}

fn text() -> String {
    let document = document(&generated_schemas());
    serde_json::to_string_pretty(&InReadingOrder(&document)).unwrap() + "\n"
}

#[test]
fn the_asyncapi_document_is_that_of_the_messages() {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("schemas/asyncapi.json");
    if env::var_os("ASP_EVENTS_WRITE_SCHEMAS").is_some() {
        fs::write(&file, text()).unwrap();
    }
    let is_current = fs::read_to_string(&file).unwrap_or_default() == text();
    assert!(
        is_current,
        "{}: out of date; run make schemas",
        file.display()
    );
}

#[test]
fn each_attribute_repeats_a_field_of_the_data() {
    for generated in generated_schemas() {
        let headers = headers(&generated);
        for (name, header) in headers["properties"].as_object().unwrap() {
            let is_described = header["description"].is_string();
            assert!(is_described, "{}: {name}", generated.r#type);
        }
    }
}

#[test]
fn the_documented_examples_match_their_headers_and_payloads() {
    for generated in generated_schemas() {
        let example = &component(&generated)["examples"][0];
        for (schema, part) in [
            (headers(&generated), &example["headers"]),
            (payload(&generated), &example["payload"]),
        ] {
            let validator = jsonschema::validator_for(&schema).unwrap();
            assert!(validator.is_valid(part), "{}: {part}", generated.r#type);
        }
    }
}
