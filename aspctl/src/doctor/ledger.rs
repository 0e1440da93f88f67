//! Checks the ledger: the table of events that have taken effect.

use asp_events::ledger::EXPIRES_AT;
use aws_sdk_dynamodb::types::{TableStatus, TimeToLiveDescription, TimeToLiveStatus};

use super::{
    code::FindingCode,
    remedy::{Remedy, aws},
    report::{CheckError, CheckResult, DoctorFinding, ok_unless},
    stack::StackContext,
};
use crate::aws::call_error;

/// Checks the table.
pub(super) async fn check(context: Result<StackContext<'_>, CheckError>) -> CheckResult {
    let context = context?;
    let name = context.resource_name("LedgerTableArn")?;
    let dynamodb = context.aws.dynamodb();
    let (table, time_to_live) = tokio::join!(
        dynamodb.describe_table().table_name(name).send(),
        dynamodb.describe_time_to_live().table_name(name).send(),
    );
    let table = table
        .map_err(call_error("dynamodb:DescribeTable", name))
        .map_err(|error| context.read_error(error))?;
    let time_to_live = time_to_live.map_err(call_error("dynamodb:DescribeTimeToLive", name))?;
    let status = table.table.and_then(|table| table.table_status);
    let mut findings = Vec::new();
    findings.extend(judge_status(name, status.as_ref()));
    findings.extend(judge_time_to_live(
        name,
        time_to_live.time_to_live_description.as_ref(),
    ));
    ok_unless(
        findings,
        format!("{name} is active and its time to live is enabled"),
    )
}

fn judge_status(name: &str, status: Option<&TableStatus>) -> Option<DoctorFinding> {
    let problem = match status {
        // A table can be used while it is updated.
        Some(TableStatus::Active | TableStatus::Updating) => return None,
        Some(status) => format!("{name} is {}", status.as_str()),
        None => format!("{name} has no status"),
    };
    let describe = aws("dynamodb describe-table", &["--table-name", name]);
    let remedy = Remedy::new(
        "Until it is ACTIVE, repeated events may take effect twice: look at the table, here or in \
         the DynamoDB console",
    )
    .run(describe);
    Some(DoctorFinding::new(
        FindingCode::LedgerNotActive,
        problem,
        remedy,
    ))
}

fn judge_time_to_live(
    name: &str,
    description: Option<&TimeToLiveDescription>,
) -> Option<DoctorFinding> {
    let status = description.and_then(|description| description.time_to_live_status.as_ref());
    let attribute = description.and_then(|description| description.attribute_name.as_deref());
    let is_enabled = matches!(
        status,
        Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling)
    );
    if is_enabled && attribute.is_none_or(|attribute| attribute == EXPIRES_AT) {
        return None;
    }
    let specification = format!("Enabled=true,AttributeName={EXPIRES_AT}");
    let mut options = vec!["--table-name", name];
    options.extend(["--time-to-live-specification", &specification]);
    let remedy = Remedy::new("Enable it").run(aws("dynamodb update-time-to-live", &options));
    Some(DoctorFinding::new(
        FindingCode::LedgerKeepsGrowing,
        format!(
            "{name} keeps growing: its time to live with the attribute {EXPIRES_AT} is disabled"
        ),
        remedy,
    ))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    #[test]
    fn a_table_is_usable_while_active_or_updating() {
        assert_eq!(judge_status("t", Some(&TableStatus::Active)), None);
        assert_eq!(judge_status("t", Some(&TableStatus::Updating)), None);
        for status in [
            TableStatus::Deleting,
            TableStatus::Archived,
            TableStatus::InaccessibleEncryptionCredentials,
        ] {
            assert!(
                judge_status("t", Some(&status))
                    .unwrap()
                    .problem
                    .contains(status.as_str())
            );
        }
        assert!(judge_status("t", None).is_some());
    }

    #[test]
    fn items_expire_by_the_attribute_of_the_ledger() {
        let description = |status, attribute: &str| {
            TimeToLiveDescription::builder()
                .time_to_live_status(status)
                .attribute_name(attribute)
                .build()
        };
        assert_eq!(
            judge_time_to_live(
                "t",
                Some(&description(TimeToLiveStatus::Enabled, EXPIRES_AT))
            ),
            None
        );
        assert_eq!(
            judge_time_to_live(
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
                judge_time_to_live("t", Some(&other))
                    .unwrap()
                    .advice()
                    .contains("update-time-to-live")
            );
        }
        assert!(judge_time_to_live("t", None).is_some());
    }

    /// Findings with all codes that are made here.
    pub(in super::super) fn examples() -> Vec<DoctorFinding> {
        let found = [judge_status("t", None), judge_time_to_live("t", None)];
        found.into_iter().flatten().collect()
    }
}
