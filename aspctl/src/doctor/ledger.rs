//! The ledger: the table of events that have taken effect.

use asp_events::ledger::EXPIRES_AT;
use aws_sdk_dynamodb::types::{TableStatus, TimeToLiveDescription, TimeToLiveStatus};

use super::{
    report::{Checked, Finding, Link, NotWell, well_unless},
    stack::Deployed,
};
use crate::aws::call_error;

const LEDGER: &str = "ledger";

/// Checks the table.
pub(super) async fn links(deployed: &Result<Deployed<'_>, NotWell>) -> Vec<Link> {
    let ledger = async { check(deployed.clone()?).await };
    vec![Link::new(LEDGER, ledger.await)]
}

async fn check(deployed: Deployed<'_>) -> Checked {
    let name = deployed.name("LedgerTableArn")?;
    let dynamodb = deployed.aws.dynamodb();
    let (table, time_to_live) = tokio::join!(
        dynamodb.describe_table().table_name(name).send(),
        dynamodb.describe_time_to_live().table_name(name).send(),
    );
    let table = table
        .map_err(call_error("dynamodb:DescribeTable", name))
        .map_err(|error| deployed.unread(error))?
        .table;
    let time_to_live = time_to_live
        .map_err(call_error("dynamodb:DescribeTimeToLive", name))?
        .time_to_live_description;
    let status = table.and_then(|table| table.table_status);
    let findings = is_active(name, status.as_ref())
        .into_iter()
        .chain(forgets(name, time_to_live.as_ref()))
        .collect();
    well_unless(findings, format!("{name} is active and forgets in time"))
}

fn is_active(name: &str, status: Option<&TableStatus>) -> Option<Finding> {
    // A table that is being changed works.
    if matches!(status, Some(TableStatus::Active | TableStatus::Updating)) {
        return None;
    }
    let status = status.map_or("in no state", TableStatus::as_str);
    let advice = "Until it is ACTIVE repeated events may take effect twice: look at the table in the DynamoDB console";
    Some(Finding::failed(format!("{name} is {status}"), advice))
}

fn forgets(name: &str, time_to_live: Option<&TimeToLiveDescription>) -> Option<Finding> {
    let status = time_to_live.and_then(|time_to_live| time_to_live.time_to_live_status.as_ref());
    let attribute = time_to_live.and_then(|time_to_live| time_to_live.attribute_name.as_deref());
    let is_on = matches!(
        status,
        Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling)
    );
    if is_on && attribute.is_none_or(|name| name == EXPIRES_AT) {
        return None;
    }
    let specification = format!("Enabled=true,AttributeName={EXPIRES_AT}");
    let advice = format!(
        "aws dynamodb update-time-to-live --table-name {name} --time-to-live-specification {specification} sets it"
    );
    Some(Finding::failed(
        format!("{name} forgets nothing and grows: its time to live by {EXPIRES_AT} is off"),
        advice,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_active_or_works_while_it_is_changed() {
        assert_eq!(is_active("t", Some(&TableStatus::Active)), None);
        assert_eq!(is_active("t", Some(&TableStatus::Updating)), None);
        for status in [
            TableStatus::Deleting,
            TableStatus::Archived,
            TableStatus::InaccessibleEncryptionCredentials,
        ] {
            assert!(
                is_active("t", Some(&status))
                    .unwrap()
                    .problem
                    .contains(status.as_str())
            );
        }
        assert!(is_active("t", None).is_some());
    }

    #[test]
    fn a_table_forgets_by_its_attribute() {
        let description = |status, attribute: &str| {
            TimeToLiveDescription::builder()
                .time_to_live_status(status)
                .attribute_name(attribute)
                .build()
        };
        assert_eq!(
            forgets(
                "t",
                Some(&description(TimeToLiveStatus::Enabled, EXPIRES_AT))
            ),
            None
        );
        assert_eq!(
            forgets(
                "t",
                Some(&description(TimeToLiveStatus::Enabling, EXPIRES_AT))
            ),
            None
        );
        let others = [
            description(TimeToLiveStatus::Disabled, EXPIRES_AT),
            description(TimeToLiveStatus::Disabling, EXPIRES_AT),
            description(TimeToLiveStatus::Enabled, "other"),
        ];
        for other in others {
            assert!(
                forgets("t", Some(&other))
                    .unwrap()
                    .advice
                    .contains("update-time-to-live")
            );
        }
        assert!(forgets("t", None).is_some());
    }
}
