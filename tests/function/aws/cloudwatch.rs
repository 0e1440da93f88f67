//! The fake's CloudWatch: Smithy RPC v2 CBOR.

use std::io::Read as _;

use ciborium::Value as Cbor;
use hyper::{HeaderMap, Uri};

use super::{AwsCall, Datum, Operation, server::WireAnswer};

pub(super) fn decode(uri: &Uri, headers: &HeaderMap, body: &[u8]) -> AwsCall {
    assert!(
        uri.path().ends_with("/operation/PutMetricData"),
        "an unexpected operation: {uri}"
    );
    assert_eq!(headers["smithy-protocol"], "rpc-v2-cbor");
    let mut plain = Vec::new();
    if headers
        .get("content-encoding")
        .is_some_and(|encoding| encoding == "gzip")
    {
        flate2::read::GzDecoder::new(body)
            .read_to_end(&mut plain)
            .unwrap();
    } else {
        plain.extend_from_slice(body);
    }
    assert!(
        plain.len() <= 1_000_000,
        "CloudWatch rejects {} bytes",
        plain.len()
    );
    let request: Cbor = ciborium::from_reader(plain.as_slice()).unwrap();
    let data: Vec<_> = list(&request, "MetricData")
        .iter()
        .map(decode_datum)
        .collect();
    assert!(
        (1..=1000).contains(&data.len()),
        "CloudWatch rejects {} metrics",
        data.len()
    );
    let namespace = text(&request, "Namespace");
    AwsCall {
        namespace,
        data,
        ..AwsCall::new(Operation::PutMetricData, "PutMetricData")
    }
}

fn decode_datum(datum: &Cbor) -> Datum {
    let dimension = |dimension: &Cbor| {
        let value = text(dimension, "Value");
        assert!(
            (1..=1024).contains(&value.len())
                && !value.starts_with(':')
                && value.bytes().all(|byte| (0x20..0x7f).contains(&byte))
                && !value.trim().is_empty(),
            "CloudWatch rejects the dimension value {value:?}"
        );
        (text(dimension, "Name"), value)
    };
    let timestamp = match field(datum, "Timestamp").unwrap() {
        Cbor::Tag(1, value) => number(value),
        other => panic!("an untagged timestamp: {other:?}"),
    };
    Datum {
        name: text(datum, "MetricName"),
        dimensions: list(datum, "Dimensions").iter().map(dimension).collect(),
        value: number(field(datum, "Value").unwrap()),
        unit: text(datum, "Unit"),
        timestamp,
    }
}

fn field<'a>(map: &'a Cbor, name: &str) -> Option<&'a Cbor> {
    map.as_map()
        .unwrap()
        .iter()
        .find(|(key, _)| key.as_text() == Some(name))
        .map(|(_, value)| value)
}

fn text(map: &Cbor, name: &str) -> String {
    field(map, name).unwrap().as_text().unwrap().to_owned()
}

fn list<'a>(map: &'a Cbor, name: &str) -> &'a [Cbor] {
    field(map, name).unwrap().as_array().unwrap()
}

#[allow(clippy::cast_precision_loss, reason = "counts and epoch seconds")]
fn number(value: &Cbor) -> f64 {
    match value {
        Cbor::Integer(integer) => i128::from(*integer) as f64,
        Cbor::Float(float) => *float,
        other => panic!("not a number: {other:?}"),
    }
}

pub(super) fn answer() -> WireAnswer {
    cbor(200, Vec::new())
}

pub(super) fn error(status: u16, code: &str, message: &str) -> WireAnswer {
    let fields = [("__type", code), ("message", message)];
    let fields = fields.map(|(name, value)| (Cbor::from(name), Cbor::from(value)));
    cbor(status, fields.to_vec())
}

fn cbor(status: u16, fields: Vec<(Cbor, Cbor)>) -> WireAnswer {
    let mut body = Vec::new();
    ciborium::into_writer(&Cbor::Map(fields), &mut body).unwrap();
    let headers = &[
        ("smithy-protocol", "rpc-v2-cbor"),
        ("content-type", "application/cbor"),
    ];
    WireAnswer {
        status,
        headers,
        body,
    }
}
