//! `aspevents.device.readiness.v1`: whether a device can be associated with a unit.

use std::borrow::Cow;

#[cfg(test)]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{MessageData, MessageSummary, OutputTopic, bool_attribute};
use crate::{
    event::assumed::SetupCompletion,
    readiness::{Readiness, ReadinessKind, ReadinessSubject},
};

/// A device has completed its setup: it is online, registered and up to date, and can be associated
/// with a unit. Amazon has not documented the fields of this event, so the function searches it for
/// ids. If an id is absent, look for it in sourceEvent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(JsonSchema))]
#[cfg_attr(test, schemars(title = "Device readiness signal"))]
pub struct DeviceReadiness<'a> {
    /// True: the device can be associated with a unit. False: it cannot.
    pub ready: bool,
    /// Id of the device, found in the payload or the header entities. It can change when the device
    /// is associated. Absent if the event does not contain it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub endpoint_id: Option<Cow<'a, str>>,
    /// Id of the unit that the event names, found in the header entities or the payload. Absent if
    /// the event does not contain it, as is usual before the device is associated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub unit_id: Option<Cow<'a, str>>,
    /// Id of the account that set up the device, found in the header entities or the payload.
    /// Absent if the event does not contain it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub user_id: Option<Cow<'a, str>>,
    /// Serial number of the device, by which installers know it. Absent if the event does not
    /// contain it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub serial_number: Option<Cow<'a, str>>,
}

impl<'a> DeviceReadiness<'a> {
    /// The CloudEvents `type`.
    pub const TYPE: &'static str = "aspevents.device.readiness.v1";

    /// An example for the schema test. The value of the subject field is unique in it.
    #[cfg(test)]
    pub(super) fn example() -> Self {
        Self {
            ready: true,
            endpoint_id: Some("endpoint".into()),
            unit_id: Some("unit".into()),
            user_id: Some("user".into()),
            serial_number: Some("serial".into()),
        }
    }

    /// The readiness that a completed setup reports.
    pub(crate) fn of(setup: &'a SetupCompletion, ready: bool) -> Self {
        Self {
            ready,
            endpoint_id: setup.endpoint_id.as_deref().map(Cow::from),
            unit_id: setup.unit_id.as_deref().map(Cow::from),
            user_id: setup.user_id.as_deref().map(Cow::from),
            serial_number: setup.serial_number.as_deref().map(Cow::from),
        }
    }
}

impl MessageData for DeviceReadiness<'_> {
    fn r#type(&self) -> &'static str {
        Self::TYPE
    }

    fn topic(&self) -> OutputTopic {
        OutputTopic::Readiness
    }

    fn subject(&self) -> Option<&str> {
        self.endpoint_id.as_deref()
    }

    fn attributes(&self) -> Vec<(&'static str, Option<&str>)> {
        vec![
            ("ready", Some(bool_attribute(self.ready))),
            ("endpointId", self.endpoint_id.as_deref()),
        ]
    }

    fn readiness(&self) -> Option<Readiness> {
        let endpoint_id = self.endpoint_id.as_deref();
        let subject = endpoint_id.map(|id| ReadinessSubject::Device(id.to_owned()));
        Some(Readiness {
            kind: ReadinessKind::Device,
            ready: self.ready,
            subjects: subject.into_iter().collect(),
        })
    }

    fn summary(&self) -> MessageSummary {
        MessageSummary::of_readiness("device", self.ready).on_unit(self.unit_id.as_deref())
    }
}
