//! Generates the JSON Schemas under `schemas/` from the message structs.
//!
//! `make schemas` writes them; a schema that is out of date fails a test. Conditions between
//! fields, which a derive cannot express, are transforms beside the structs.

use std::{env, fs, path::PathBuf};

use schemars::{
    JsonSchema, Schema,
    generate::SchemaSettings,
    transform::{RecursiveTransform, Transform},
};
use serde::Serializer;
use serde_json::{Value, json};

use super::*;

/// `YYYY-MM-DDThh:mm:ss[.fraction]Z`.
const TIME_PATTERN: &str = "^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):\
    [0-5][0-9]:([0-5][0-9]|60)(\\.[0-9]+)?Z$";

/// A schema that rejects objects with this property.
pub(crate) fn without(property: &str) -> Value {
    json!({"not": {"required": [property]}})
}

/// Turns the described variants of an enum into a plain list of values.
pub(crate) fn as_enum(schema: &mut Schema) {
    let Some(Value::Array(variants)) = schema.remove("oneOf") else {
        return;
    };
    let values: Vec<_> = variants
        .iter()
        .map(|variant| variant["const"].clone())
        .collect();
    schema.insert("enum".to_owned(), Value::Array(values));
}

/// Describes a time in UTC in RFC 3339 format.
pub(crate) fn as_time(schema: &mut Schema) {
    schema.insert("format".to_owned(), json!("date-time"));
    schema.insert("pattern".to_owned(), json!(TIME_PATTERN));
}

/// Adapts a generated schema to what is published: optional values are omitted, never `null`;
/// integers have no width; descriptions have no line breaks.
fn as_published(schema: &mut Schema) {
    if let Some(Value::String(description)) = schema.get_mut("description") {
        *description = description.replace('\n', " ").replace('`', "");
    }
    if schema.get("type") == Some(&json!("integer")) {
        schema.remove("format");
    }
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            schema.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(options)) = schema.get_mut("anyOf") {
        options.retain(|option| option["type"] != "null");
        if let [Value::Object(only)] = options.as_slice() {
            let only = only.clone();
            schema.remove("anyOf");
            for (key, value) in only {
                let object = schema.ensure_object();
                object.entry(key).or_insert(value);
            }
        }
    }
}

/// A schema under `schemas/`, and a message that it accepts.
pub(super) struct GeneratedSchema {
    pub(super) r#type: &'static str,
    pub(super) topic: OutputTopic,
    /// The names of the attributes besides `type`.
    pub(super) attributes: Vec<&'static str>,
    pub(super) schema: Value,
    message: Value,
}

impl GeneratedSchema {
    /// Generates the schema of a message from its type and an example.
    pub(super) fn of<D: MessageData + JsonSchema + Serialize>(example: &D) -> Self {
        let settings = SchemaSettings::draft2020_12().for_serialize();
        let settings = settings.with(|settings| settings.inline_subschemas = true);
        let mut data = settings.into_generator().into_root_schema_for::<D>();
        RecursiveTransform(as_published).transform(&mut data);
        let mut data = data.to_value();
        let fields = data.as_object_mut().unwrap();
        fields.remove("$schema");
        let title = fields.remove("title").unwrap();
        let description = fields.remove("description").unwrap();
        if example.topic() != OutputTopic::Quarantine {
            add_source_event(&mut data);
        }
        let subject = subject_field(example);
        let mut schema = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$id": format!("urn:asp-events:schema:{}", example.r#type()),
            "title": title,
            "description": describe(example, description.as_str().unwrap()),
            "type": "object",
            "required": ["specversion", "id", "source", "type", "datacontenttype", "data"],
            "properties": envelope_properties(example.r#type(), &subject),
        });
        let required = data["required"].as_array();
        let always = required.is_some_and(|fields| fields.contains(&json!(subject)));
        schema["properties"]["data"] = data;
        if always {
            schema["required"]
                .as_array_mut()
                .unwrap()
                .push(json!("subject"));
        } else {
            schema["if"] = json!({"properties": {"data": {"required": [subject]}}});
            schema["then"] = json!({"required": ["subject"]});
            schema["else"] = without("subject");
        }
        let message = match example.topic() {
            OutputTopic::Quarantine => message("id", Some(Utc::now()), example, 0),
            OutputTopic::Retry | OutputTopic::Readiness | OutputTopic::Report => {
                let source = RawValue::from_string(r#"{"header":{}}"#.to_owned()).unwrap();
                origin().message(example, Some(&source))
            }
        };
        Self {
            r#type: example.r#type(),
            topic: example.topic(),
            attributes: example.attributes().iter().map(|(name, _)| *name).collect(),
            schema,
            message: serde_json::from_str(&message.unwrap().body).unwrap(),
        }
    }

    fn file(&self) -> PathBuf {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("schemas");
        folder.join(format!("{}.json", self.r#type))
    }

    fn text(&self) -> String {
        serde_json::to_string_pretty(&InReadingOrder(&self.schema)).unwrap() + "\n"
    }
}

/// The keywords to write first, in this order.
const FIRST_KEYWORDS: &[&str] = &[
    "asyncapi",
    "info",
    "servers",
    "channels",
    "operations",
    "$schema",
    "$id",
    "title",
    "description",
    "type",
    "const",
    "enum",
    "required",
    "properties",
];

/// Serializes a schema with the most informative keywords first.
pub(super) struct InReadingOrder<'a>(pub(super) &'a Value);

impl Serialize for InReadingOrder<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Object(fields) => {
                let rank = |key: &str| FIRST_KEYWORDS.iter().position(|first| *first == key);
                let mut fields: Vec<_> = fields.iter().collect();
                fields.sort_by_key(|(key, _)| rank(key).unwrap_or(FIRST_KEYWORDS.len()));
                let fields = fields.into_iter();
                serializer.collect_map(fields.map(|(key, value)| (key, InReadingOrder(value))))
            }
            Value::Array(items) => serializer.collect_seq(items.iter().map(InReadingOrder)),
            other => other.serialize(serializer),
        }
    }
}

/// Finds the field that the subject repeats; the values of an example are unique.
fn subject_field<D: MessageData + Serialize>(example: &D) -> String {
    let data = serde_json::to_value(example).unwrap();
    let subject = example.subject().unwrap();
    let mut fields = data.as_object().unwrap().iter();
    fields
        .find(|(_, value)| *value == subject)
        .unwrap()
        .0
        .clone()
}

/// The name of a topic in the documents.
pub(super) fn topic_name(topic: OutputTopic) -> &'static str {
    match topic {
        OutputTopic::Retry => "retry",
        OutputTopic::Readiness => "readiness",
        OutputTopic::Report => "report",
        OutputTopic::Quarantine => "quarantine",
    }
}

fn describe<D: MessageData>(example: &D, description: &str) -> String {
    let topic = topic_name(example.topic());
    let mut attributes = vec!["type"];
    attributes.extend(example.attributes().iter().map(|(name, _)| *name));
    format!(
        "{} A CloudEvents 1.0 message, published to the {topic} topic. SNS message attributes for \
         filter policies: {}. Properties may be added without a new type: consumers must ignore \
         unknown properties.",
        description,
        attributes.join(", ")
    )
}

fn envelope_properties(r#type: &str, subject: &str) -> Value {
    json!({
        "specversion": {"description": "CloudEvents version.", "const": SPEC_VERSION},
        "id": {
            "description": "Identifies the effect, together with source. The same whenever the \
                same Alexa event is processed again, so that consumers can drop duplicates.",
            "type": "string",
            "minLength": 1,
        },
        "source": {
            "description": "The origin of the event: Alexa Smart Properties.",
            "const": SOURCE,
        },
        "type": {
            "description": "The message type with its major version; also the SNS message \
                attribute type.",
            "const": r#type,
        },
        "subject": {
            "description": format!("The subject of the message: the same as data.{subject}; absent \
                if that is absent."),
            "type": "string",
            "minLength": 1,
        },
        "time": {
            "description": "When the Alexa event was created: header.eventTime.timestamp or, if \
                that is not readable, when SNS or the queue accepted the message; RFC 3339 in UTC. \
                Absent if none of these is known.",
            "type": "string",
            "format": "date-time",
            "pattern": TIME_PATTERN,
        },
        "datacontenttype": {"description": "Format of data.", "const": CONTENT_TYPE},
    })
}

/// Adds the source event and the flag that it was omitted, exactly one of which is present.
fn add_source_event(data: &mut Value) {
    data["properties"]["sourceEvent"] = json!({
        "description": "The complete Alexa event that this message reports, as received: header \
            and payload, including fields that have no property of their own here.",
        "type": "object",
        "minProperties": 1,
    });
    data["properties"]["sourceEventOmitted"] = json!({
        "description": "Always true if present: sourceEvent was omitted because the message would \
            have exceeded SNS's size limit.",
        "const": true,
    });
    data["oneOf"] = json!([{"required": ["sourceEvent"]}, {"required": ["sourceEventOmitted"]}]);
}

#[test]
fn the_schemas_are_those_of_the_messages() {
    let is_writing = env::var_os("ASP_EVENTS_WRITE_SCHEMAS").is_some();
    for generated in generated_schemas() {
        let file = generated.file();
        if is_writing {
            fs::write(&file, generated.text()).unwrap();
        }
        let text = fs::read_to_string(&file).unwrap_or_default();
        assert!(
            is_read_back(&generated),
            "{}: missing in read_data (src/message/mod.rs)",
            generated.r#type
        );
        let is_current = text == generated.text();
        assert!(
            is_current,
            "{}: out of date; run make schemas",
            file.display()
        );
    }
}

fn origin() -> MessageOrigin {
    MessageOrigin {
        id: "id".to_owned(),
        time: Some(Utc::now()),
        happened_at: None,
        is_own_time: false,
    }
}

/// Checks that the schema accepts the example, and rejects it with each of these changes: a JSON
/// pointer and its new value, or `None` to remove the field.
fn check_refused(generated: &GeneratedSchema, changes: &[(&str, Option<Value>)]) {
    let validator = jsonschema::validator_for(&generated.schema).unwrap();
    let (name, message) = (generated.r#type, &generated.message);
    assert!(validator.is_valid(message), "{name}: {message}");
    for (pointer, value) in changes {
        let (parent, field) = pointer.rsplit_once('/').unwrap();
        let mut document = message.clone();
        let fields = document
            .pointer_mut(parent)
            .unwrap()
            .as_object_mut()
            .unwrap();
        match value {
            Some(value) => drop(fields.insert(field.to_owned(), value.clone())),
            None => assert!(fields.remove(field).is_some(), "{name}: {pointer}"),
        }
        assert!(
            !validator.is_valid(&document),
            "{name}: {pointer}: {document}"
        );
    }
}

#[test]
fn a_schema_rejects_what_is_never_published() {
    for generated in generated_schemas() {
        let mut changes = vec![
            ("/specversion", Some(json!("1.1"))),
            ("/source", Some(json!("elsewhere"))),
            ("/type", Some(json!("other"))),
            ("/datacontenttype", Some(json!("text/plain"))),
            ("/id", Some(json!(""))),
            ("/subject", Some(json!(""))),
            ("/subject", None),
            ("/time", Some(json!("2026-11-20T09:00:00+01:00"))),
            ("/data", Some(json!([]))),
        ];
        if generated.message["data"].get("sourceEvent").is_some() {
            changes.push(("/data/sourceEvent", None));
            changes.push(("/data/sourceEvent", Some(json!({}))));
            changes.push(("/data/sourceEventOmitted", Some(json!(true))));
        }
        check_refused(&generated, &changes);
        let data = generated.message["data"].as_object().unwrap();
        for field in data.keys() {
            let pointer = format!("/data/{field}");
            check_refused(&generated, &[(&pointer, Some(Value::Null))]);
        }
        let required = generated.schema["properties"]["data"]["required"].as_array();
        for field in required.into_iter().flatten() {
            let pointer = format!("/data/{}", field.as_str().unwrap());
            check_refused(&generated, &[(&pointer, None)]);
        }
    }
}

#[test]
fn a_schema_rejects_contradictory_fields() {
    let retryable = |retryable: bool| json!([{"retryable": retryable}]);
    for mut generated in generated_schemas() {
        match generated.r#type {
            RetryTrigger::TYPE => {
                let changes = [
                    ("/data/notBefore", None),
                    ("/data/notBefore", Some(json!("soon"))),
                    ("/data/decision", Some(json!("EXHAUSTED"))),
                    ("/data/decision", Some(json!("LATER"))),
                    ("/data/attempt", Some(json!(0))),
                    ("/data/errors", Some(json!([{}]))),
                ];
                check_refused(&generated, &changes);
                generated.message["data"]["decision"] = json!("FIX_THEN_RETRY");
                generated.message["data"]["errors"] = retryable(false);
                let fields = generated.message["data"].as_object_mut().unwrap();
                fields.remove("notBefore");
                let changes = [
                    ("/data/errors", Some(json!([]))),
                    ("/data/errors", Some(retryable(true))),
                ];
                check_refused(&generated, &changes);
            }
            UnitReadiness::TYPE => {
                generated.message["data"]["error"] = json!({"type": "E"});
                check_refused(&generated, &[("/data/ready", Some(json!(true)))]);
                check_refused(&generated, &[("/data/error", Some(json!({"type": null})))]);
            }
            RoleReadiness::TYPE => {
                check_refused(&generated, &[("/data/change", Some(json!("LENT")))]);
            }
            QuarantineData::TYPE => {
                check_refused(&generated, &[("/data/reason", Some(json!("BORING")))]);
            }
            _ => {}
        }
    }
}

fn is_read_back(generated: &GeneratedSchema) -> bool {
    let read = PublishedMessage::read(&generated.message.to_string()).unwrap();
    read.data
        .is_some_and(|data| data.r#type() == generated.r#type)
}
