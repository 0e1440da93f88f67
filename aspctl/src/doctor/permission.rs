//! Judges what a policy says about the permission of an AWS service.

use super::{code::FindingCode, remedy::Remedy, report::DoctorFinding};
use crate::iam::PolicyVerdict;

/// Judges the verdict on a permission, such as "SNS permission to send to q"; a text that is not a
/// policy grants nothing. The advice is how to grant it, or how to remove a statement that denies
/// it.
pub(super) fn judge_permission(
    verdict: Option<PolicyVerdict>,
    permission: &str,
    how_to_grant: impl FnOnce() -> Remedy,
    how_to_remove: impl FnOnce(&str) -> Remedy,
) -> Option<DoctorFinding> {
    let verdict = verdict.unwrap_or(PolicyVerdict::NotAllowed {
        possible_grant: None,
    });
    let (code, problem, remedy) = match verdict {
        PolicyVerdict::Allowed {
            possible_denial: None,
            ..
        } => return None,
        PolicyVerdict::Allowed {
            possible_denial: Some(name),
            ..
        } => (
            FindingCode::PolicyUndetermined,
            format!("cannot determine whether statement {name} denies {permission}"),
            how_to_remove(&name),
        ),
        PolicyVerdict::Denied { by } => (
            FindingCode::PolicyDenies,
            format!("statement {by} denies {permission}"),
            how_to_remove(&by),
        ),
        PolicyVerdict::NotAllowed {
            possible_grant: Some(name),
        } => (
            FindingCode::PolicyUndetermined,
            format!("cannot determine whether statement {name} grants {permission}"),
            how_to_grant(),
        ),
        PolicyVerdict::NotAllowed {
            possible_grant: None,
        } => (
            FindingCode::PolicyGrantMissing,
            format!("no statement grants {permission}"),
            how_to_grant(),
        ),
    };
    Some(DoctorFinding::new(code, problem, remedy))
}
