//! The fake's SNS: Query requests and XML answers.

use std::{
    collections::{BTreeMap, HashMap},
    sync::LazyLock,
};

use serde_json::Value;

use super::{AwsCall, Fault, Operation, PublishedMessage, server::WireAnswer};

pub(super) fn decode(body: &[u8]) -> AwsCall {
    let form: HashMap<String, String> = form_urlencoded::parse(body).into_owned().collect();
    let topic = form["TopicArn"].clone();
    let (operation, api, prefixes) = match form["Action"].as_str() {
        "Publish" => (Operation::Publish, "Publish", vec![String::new()]),
        "PublishBatch" => {
            let prefix = |index| format!("PublishBatchRequestEntries.member.{index}.");
            let prefixes: Vec<_> = (1..=100)
                .map(prefix)
                .take_while(|p| form.contains_key(&format!("{p}Id")))
                .collect();
            assert!(
                (1..=10).contains(&prefixes.len()),
                "a batch of {}",
                prefixes.len()
            );
            (Operation::PublishBatch, "PublishBatch", prefixes)
        }
        other => panic!("an unexpected action: {other}"),
    };
    let messages: Vec<_> = prefixes
        .iter()
        .map(|prefix| decode_message(&form, &topic, prefix))
        .collect();
    let size: usize = messages.iter().map(|message| message.size).sum();
    assert!(size <= 262_144, "SNS rejects {size} bytes");
    AwsCall {
        messages,
        ..AwsCall::new(operation, api)
    }
}

fn decode_message(form: &HashMap<String, String>, topic: &str, prefix: &str) -> PublishedMessage {
    let text = &form[&format!("{prefix}Message")];
    let mut size = text.len();
    let mut attributes = BTreeMap::new();
    for index in 1.. {
        let entry = format!("{prefix}MessageAttributes.entry.{index}.");
        let Some(name) = form.get(&format!("{entry}Name")) else {
            break;
        };
        let data_type = &form[&format!("{entry}Value.DataType")];
        let value = &form[&format!("{entry}Value.StringValue")];
        assert_eq!(data_type, "String");
        assert!(!value.is_empty(), "SNS rejects an empty attribute");
        size += name.len() + data_type.len() + value.len();
        attributes.insert(name.clone(), value.clone());
    }
    let body: Value = serde_json::from_str(text).unwrap();
    assert_fits_schema(&body);
    assert_eq!(Some(attributes["type"].as_str()), body["type"].as_str());
    PublishedMessage {
        topic: topic.rsplit(':').next().unwrap().to_owned(),
        body,
        attributes,
        size,
    }
}

/// The compiled schemas by message type.
static SCHEMAS: LazyLock<HashMap<String, jsonschema::Validator>> = LazyLock::new(|| {
    let folder = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/schemas")).unwrap();
    let schema = |path: std::path::PathBuf| {
        let schema: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let validator = jsonschema::options()
            .should_validate_formats(true)
            .build(&schema)
            .unwrap();
        (
            path.file_stem().unwrap().to_str().unwrap().to_owned(),
            validator,
        )
    };
    let paths = folder.map(|entry| entry.unwrap().path());
    paths
        .filter(|path| is_message_schema(path))
        .map(schema)
        .collect()
});

/// Tells the schemas of messages from what else is in the folder.
fn is_message_schema(path: &std::path::Path) -> bool {
    let name = path.file_name().unwrap().to_string_lossy();
    name.starts_with("aspevents.") && name.ends_with(".json")
}

pub(crate) fn assert_fits_schema(body: &Value) {
    let r#type = body["type"].as_str().unwrap();
    let validator = SCHEMAS.get(r#type).unwrap_or_else(|| {
        panic!(
            "{type} has no schema: add it to generated_schemas (src/message/mod.rs) and run make \
             schemas"
        )
    });
    let errors: Vec<_> = validator
        .iter_errors(body)
        .map(|e| format!("{}: {e}", e.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{errors:#?}\n{body:#}");
}

pub(super) fn answer(call: &mut AwsCall, fault: Option<&Fault>) -> WireAnswer {
    if call.operation == Operation::PublishBatch {
        return batch_answer(call, fault);
    }
    xml(
        200,
        "<PublishResponse xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\">\
        <PublishResult><MessageId>m</MessageId></PublishResult></PublishResponse>"
            .to_owned(),
    )
}

/// Answers a batch, and records in the call which messages are left out.
fn batch_answer(call: &mut AwsCall, fault: Option<&Fault>) -> WireAnswer {
    let (failed, code, sender_fault) = match fault {
        Some(Fault::Entries(failed, code, sender_fault)) => {
            (failed.as_slice(), *code, *sender_fault)
        }
        _ => (&[][..], "", false),
    };
    call.left_out = match fault {
        Some(Fault::Entries(left_out, ..) | Fault::Unmentioned(left_out)) => left_out.clone(),
        _ => Vec::new(),
    };
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for index in 0..call.messages.len() {
        if failed.contains(&index) {
            bad.push(format!(
                "<member><Id>{index}</Id><Code>{code}</Code>\
                <Message>the test asked for it</Message>\
                <SenderFault>{sender_fault}</SenderFault></member>"
            ));
        } else if !call.left_out.contains(&index) {
            good.push(format!(
                "<member><Id>{index}</Id><MessageId>m-{index}</MessageId></member>"
            ));
        }
    }
    let (good, bad) = (good.concat(), bad.concat());
    xml(
        200,
        format!(
            "<PublishBatchResponse xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\">\
            <PublishBatchResult><Successful>{good}</Successful><Failed>{bad}</Failed>\
            </PublishBatchResult></PublishBatchResponse>"
        ),
    )
}

pub(super) fn error(status: u16, code: &str, message: &str) -> WireAnswer {
    xml(
        status,
        format!(
            "<ErrorResponse xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\"><Error>\
            <Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>\
            <RequestId>r</RequestId></ErrorResponse>"
        ),
    )
}

fn xml(status: u16, body: String) -> WireAnswer {
    WireAnswer {
        status,
        headers: &[("content-type", "text/xml")],
        body: body.into_bytes(),
    }
}
