//! What calls say, in whichever protocol: for the comparison of functions before they are timed.

use std::{collections::BTreeMap, io::Read as _, time::Instant};

use ciborium::Value as Cbor;
use flate2::read::GzDecoder;
use serde_json::{Map, Value, json};

use crate::{
    aws::{AwsService, RecordedCall},
    error::HarnessError,
    http::HttpRequest,
};

/// Attributes of the table's items that differ from run to run: holders and times.
const VOLATILE: [&str; 4] = ["heldBy", "leaseUntil", "completedAt", "expiresAt"];

/// Reads what a call does: the operation, and of its content what has to be the same in each
/// function.
///
/// # Errors
/// The request is in no known protocol.
pub fn decode(call: &RecordedCall) -> Result<Value, HarnessError> {
    let body = plain_body(&call.request)?;
    match call.service {
        AwsService::Sns => Ok(decode_publish(&call.operation, &body)),
        AwsService::CloudWatch => decode_metrics(&call.request, &body),
        AwsService::DynamoDb => decode_write(&call.operation, &body),
    }
}

/// Returns the round of each call: 1 for those that wait for no other, and one more than the last
/// call that had ended when it started for all others.
#[must_use]
pub fn rounds(times: &[(Instant, Instant)]) -> Vec<usize> {
    let mut rounds = Vec::new();
    for (started, _) in times {
        let before = times.iter().zip(&rounds);
        let ended = before.filter(|((_, ended), _)| ended <= started);
        let last: Option<&usize> = ended.map(|(_, round)| round).max();
        rounds.push(last.map_or(1, |round| round + 1));
    }
    rounds
}

fn plain_body(request: &HttpRequest) -> Result<Vec<u8>, HarnessError> {
    if request
        .headers
        .get("content-encoding")
        .is_none_or(|encoding| encoding != "gzip")
    {
        return Ok(request.body.clone());
    }
    let mut plain = Vec::new();
    let unzipped = GzDecoder::new(request.body.as_slice()).read_to_end(&mut plain);
    unzipped.map_err(HarnessError::io("unzip a request"))?;
    Ok(plain)
}

/// A message: its topic, its text as JSON, and its attributes by name.
fn decode_publish(operation: &str, body: &[u8]) -> Value {
    let form: BTreeMap<_, _> = form_urlencoded::parse(body).into_owned().collect();
    let mut attributes = Map::new();
    for (name, value) in &form {
        let entry = name.strip_prefix("MessageAttributes.entry.");
        if let Some(number) = entry.and_then(|entry| entry.strip_suffix(".Name")) {
            let text = format!("MessageAttributes.entry.{number}.Value.StringValue");
            let text = form.get(&text).cloned().unwrap_or_default();
            attributes.insert(value.clone(), text.into());
        }
    }
    let message = form.get("Message").map_or("", String::as_str);
    json!({
        "operation": operation,
        "topic": form.get("TopicArn"),
        "message": serde_json::from_str::<Value>(message).unwrap_or_else(|_| message.into()),
        "attributes": attributes,
    })
}

/// Metric data: the namespace, and each point with its dimensions; not when it was counted.
fn decode_metrics(request: &HttpRequest, body: &[u8]) -> Result<Value, HarnessError> {
    let content: Value = if request.path.contains("/operation/") {
        let decoded = ciborium::from_reader::<Cbor, _>(body);
        plain_cbor(&decoded.map_err(|error| HarnessError::unreadable("PutMetricData", error))?)
    } else if request.headers.contains_key("x-amz-target") {
        let decoded = serde_json::from_slice(body);
        decoded.map_err(|error| HarnessError::unreadable("PutMetricData", error))?
    } else {
        return Err(HarnessError::unreadable(
            "PutMetricData",
            "an unexpected protocol",
        ));
    };
    let mut points = Vec::new();
    for datum in content["MetricData"].as_array().into_iter().flatten() {
        let mut dimensions = Map::new();
        for dimension in datum["Dimensions"].as_array().into_iter().flatten() {
            let name = dimension["Name"].as_str().unwrap_or_default();
            dimensions.insert(name.to_owned(), dimension["Value"].clone());
        }
        points.push(json!({
            "name": datum["MetricName"],
            "unit": datum["Unit"],
            "value": datum["Value"].as_f64(),
            "dimensions": dimensions,
        }));
    }
    points.sort_by_key(ToString::to_string);
    Ok(json!({
        "operation": "PutMetricData",
        "namespace": content["Namespace"],
        "points": points,
    }))
}

fn plain_cbor(value: &Cbor) -> Value {
    match value {
        Cbor::Text(text) => text.as_str().into(),
        Cbor::Integer(number) => i64::try_from(*number).unwrap_or_default().into(),
        Cbor::Float(number) => (*number).into(),
        Cbor::Tag(_, inner) => plain_cbor(inner),
        Cbor::Array(values) => values.iter().map(plain_cbor).collect(),
        Cbor::Map(fields) => {
            let mut object = Map::new();
            for (name, value) in fields {
                object.insert(
                    name.as_text().unwrap_or_default().to_owned(),
                    plain_cbor(value),
                );
            }
            object.into()
        }
        _ => Value::Null,
    }
}

/// A call of the table: what it is called with, without what differs from run to run.
fn decode_write(operation: &str, body: &[u8]) -> Result<Value, HarnessError> {
    let content = serde_json::from_slice(body);
    let mut content: Value = content.map_err(|error| HarnessError::unreadable(operation, error))?;
    strip_volatile(&mut content);
    if let Some(content) = content.as_object_mut() {
        content.remove("ExpressionAttributeValues");
        content.insert("operation".to_owned(), operation.into());
    }
    Ok(content)
}

fn strip_volatile(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for name in VOLATILE {
                if let Some(value) = fields.get_mut(name) {
                    *value = "…".into();
                }
            }
            fields.values_mut().for_each(strip_volatile);
        }
        Value::Array(values) => values.iter_mut().for_each(strip_volatile),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, time::Duration};

    use super::*;

    fn call(service: AwsService, operation: &str, path: &str, body: Vec<u8>) -> RecordedCall {
        RecordedCall {
            started: Instant::now(),
            ended: Instant::now(),
            service,
            operation: operation.to_owned(),
            request: HttpRequest {
                method: "POST".to_owned(),
                path: path.to_owned(),
                headers: HashMap::new(),
                body,
            },
        }
    }

    #[test]
    fn a_message_is_its_topic_its_json_and_its_attributes() {
        let body = "Action=Publish&TopicArn=t&Message=%7B%22a%22%3A1%7D\
                    &MessageAttributes.entry.1.Name=type\
                    &MessageAttributes.entry.1.Value.DataType=String\
                    &MessageAttributes.entry.1.Value.StringValue=x";
        let call = call(AwsService::Sns, "Publish", "/", body.into());
        let expected = json!({
            "operation": "Publish",
            "topic": "t",
            "message": {"a": 1},
            "attributes": {"type": "x"},
        });
        assert_eq!(decode(&call).unwrap(), expected);
    }

    #[test]
    fn times_and_holders_do_not_count_and_keys_do() {
        let item = |key: &str, holder: &str| {
            let item = json!({"Item": {"pk": {"S": key}, "heldBy": {"S": holder}}});
            let call = call(
                AwsService::DynamoDb,
                "PutItem",
                "/",
                item.to_string().into(),
            );
            decode(&call).unwrap()
        };
        assert_eq!(item("a", "x"), item("a", "y"));
        assert_ne!(item("a", "x"), item("b", "x"));
    }

    #[test]
    fn metrics_are_the_same_in_cbor_whatever_their_order_and_time() {
        let point = |stage: &str, at: i64| {
            let text = |text: &str| Cbor::Text(text.to_owned());
            let dimension = vec![
                (text("Name"), text("SkillStage")),
                (text("Value"), text(stage)),
            ];
            Cbor::Map(vec![
                (text("MetricName"), text("m")),
                (text("Dimensions"), Cbor::Array(vec![Cbor::Map(dimension)])),
                (
                    text("Timestamp"),
                    Cbor::Tag(1, Box::new(Cbor::Integer(at.into()))),
                ),
                (text("Value"), Cbor::Float(1.0)),
            ])
        };
        let decoded = |points: Vec<Cbor>| {
            let content = vec![(Cbor::Text("MetricData".to_owned()), Cbor::Array(points))];
            let mut body = Vec::new();
            ciborium::into_writer(&Cbor::Map(content), &mut body).unwrap();
            let path = "/service/x/operation/PutMetricData";
            decode(&call(AwsService::CloudWatch, "PutMetricData", path, body)).unwrap()
        };
        let both = decoded(vec![point("live", 1), point("development", 1)]);
        assert_eq!(
            both,
            decoded(vec![point("development", 2), point("live", 2)])
        );
        assert_ne!(both, decoded(vec![point("live", 1)]));
    }

    #[test]
    fn calls_that_overlap_are_one_round() {
        let start = Instant::now();
        let time = |from, to| {
            let at = |millis| start + Duration::from_millis(millis);
            (at(from), at(to))
        };
        let times = [
            time(0, 6),
            time(7, 13),
            time(8, 33),
            time(14, 20),
            time(34, 40),
        ];
        assert_eq!(rounds(&times), [1, 2, 2, 3, 4]);
        assert_eq!(rounds(&[time(0, 6), time(0, 25)]), [1, 1]);
    }
}
