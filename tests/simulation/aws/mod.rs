//! The wire formats of AWS: what the function sends, decoded, and answers. Those of SNS and
//! CloudWatch, services, items and condition expressions are the ones of `tests/function`.

#[path = "../../function/aws/clock.rs"]
mod clock;
#[path = "../../function/aws/cloudwatch.rs"]
pub(crate) mod cloudwatch;
#[path = "../../function/aws/condition.rs"]
mod condition;
pub(crate) mod connector;
pub(crate) mod dynamodb;
#[path = "../../function/aws/item.rs"]
mod item;
pub(crate) mod process;
#[path = "../../function/aws/service.rs"]
mod service;
#[path = "../../function/aws/sns.rs"]
#[allow(dead_code, reason = "the schema check has other callers there")]
pub(crate) mod sns;
pub(crate) mod table;

use std::collections::BTreeMap;

use serde_json::Value;

pub(crate) use self::service::AwsService;

/// The operations that the function calls; those of the ledger by their meaning, whatever API
/// carries them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Operation {
    Publish,
    PublishBatch,
    PutMetricData,
    Claim,
    Complete,
    Release,
    ReadItems,
    WriteBudgets,
    WriteReadiness,
}

/// A call to SNS or CloudWatch.
#[derive(Debug, Clone)]
pub(crate) struct AwsCall {
    pub(crate) operation: Operation,
    pub(crate) api: &'static str,
    pub(crate) messages: Vec<PublishedMessage>,
    #[allow(dead_code, reason = "set by the decoder of tests/function")]
    pub(crate) namespace: String,
    pub(crate) data: Vec<Datum>,
    /// The indexes of the messages that a batch left out although it was processed.
    pub(crate) left_out: Vec<usize>,
}

impl AwsCall {
    fn new(operation: Operation, api: &'static str) -> Self {
        Self {
            operation,
            api,
            messages: Vec::new(),
            namespace: String::new(),
            data: Vec::new(),
            left_out: Vec::new(),
        }
    }
}

/// A message as it was published.
#[derive(Debug, Clone)]
#[allow(dead_code, reason = "set by the decoder of tests/function")]
pub(crate) struct PublishedMessage {
    pub(crate) topic: String,
    pub(crate) body: Value,
    pub(crate) attributes: BTreeMap<String, String>,
    pub(crate) size: usize,
}

/// A data point as it was put.
#[derive(Debug, Clone)]
#[allow(dead_code, reason = "set by the decoder of tests/function")]
pub(crate) struct Datum {
    pub(crate) name: String,
    pub(crate) dimensions: BTreeMap<String, String>,
    pub(crate) value: f64,
    pub(crate) unit: String,
    pub(crate) timestamp: f64,
}

/// What goes wrong with entries of a batch that otherwise succeeds.
#[derive(Debug, Clone)]
#[allow(
    dead_code,
    reason = "the other variants belong to the decoder of tests/function"
)]
pub(crate) enum Fault {
    /// These entries fail, by index, with the code, all by the sender's fault or none.
    Entries(Vec<usize>, &'static str, bool),
    /// These entries are neither published nor mentioned.
    Unmentioned(Vec<usize>),
}

pub(crate) mod server {
    //! Answers in the protocol of a service.

    /// The message of an error whose message does not matter.
    pub(crate) const MESSAGE: &str = "the simulation asked for it";

    /// An answer.
    pub(crate) struct WireAnswer {
        pub(crate) status: u16,
        pub(crate) headers: &'static [(&'static str, &'static str)],
        pub(crate) body: Vec<u8>,
    }
}
