//! Evaluates a resource-based policy for one request, from outside of AWS.
//!
//! The doctor reads the policies of a topic, a queue, a key or a function and asks: does this
//! policy let Alexa's role, or SNS on behalf of a topic, perform this action on this resource?
//! IAM's policy simulator does not answer that: it does not simulate resource-based policies for
//! roles. [`evaluate()`] therefore follows the documented rules ("IAM JSON policy elements
//! reference" and "Policy evaluation logic" in the IAM User Guide).
//!
//! # What is evaluated
//!
//! One policy document and one [`AccessRequest`]: a principal, an action, the ARN of a resource,
//! and condition keys of this request, such as the encryption context of a call to KMS.
//! Nothing else that AWS considers for the same request is visible here: identity-based policies
//! of the calling account, permissions boundaries, session policies, and the organization's service
//! and resource control policies. "Allowed" therefore means "allowed by this policy". For a caller
//! of another account this policy must allow the request in any case, and for an AWS service it is
//! the only one that grants access.
//!
//! # In which order
//!
//! Each statement is matched against the request: its principal, action, resource and condition
//! must all match. Then, as in IAM, an explicit denial wins over any grant, and without a grant the
//! request is denied:
//!
//! 1. A `Deny` statement that matches: [`PolicyVerdict::Denied`].
//! 2. Otherwise an `Allow` statement that matches: [`PolicyVerdict::Allowed`]. If a `Deny`
//!    statement might match as well, the verdict names it.
//! 3. Otherwise [`PolicyVerdict::NotAllowed`]. If an `Allow` statement might match, the verdict
//!    names it.
//!
//! # When the answer is "cannot tell"
//!
//! A match has three values, [`ElementMatch`](element_match::ElementMatch): yes, no and unknown. A
//! wrong "yes" or "no" would hide a fault or send someone to repair a sound policy, so whatever
//! cannot be decided from the policy and the request alone is unknown. An unknown element does not
//! make the whole statement unknown if another element decides: one that does not match is enough
//! for "no".
//!
//! `None` instead of a verdict means that the text is not a policy at all.
//!
//! # What is understood of the policy language
//!
//! - `Principal`: `*`, the ARN of a role, an account (its ID or root ARN), a service. A session of
//!   the role is unknown, because the session's name is.
//! - `Action`: `*` and `?`, ignoring case.
//! - `Resource`: `*` and `?`. A policy variable (`${…}`) is unknown.
//! - `NotPrincipal`, `NotAction`, `NotResource`: always unknown; their corner cases are easily
//!   misread.
//! - Condition operators: `String…`, `Arn…`, `Bool` and `Null`, with `…IfExists`, `ForAllValues:`
//!   and `ForAnyValue:`. Numeric, date, IP address and binary operators are unknown.
//! - Condition keys: those that the request names itself; `aws:SecureTransport` and
//!   `aws:PrincipalIsAWSService`; for a role `aws:PrincipalArn`, `aws:PrincipalAccount` and
//!   `kms:CallerAccount`; for a service `aws:SourceArn` and `aws:SourceAccount` (not for CloudWatch
//!   Logs), and for CloudWatch `aws:SourceOwner`. Known to be absent: for a role, the keys that
//!   only services set, such as `aws:SourceArn`; for a service, the keys of a calling account, such
//!   as `aws:PrincipalArn`. All other keys, such as `aws:SourceIp`, are unknown.
//! - Condition values: literals and wildcards. A policy variable is unknown.
//!
//! # Where it is done
//!
//! `request` holds the request and the values of its condition keys, `document` reads the JSON,
//! `principal`, `condition` and `pattern` match one element each, `element_match` combines the
//! results, and `evaluate` draws the verdict.

mod condition;
mod document;
mod element_match;
mod evaluate;
#[cfg(test)]
mod fixtures;
mod pattern;
mod principal;
mod request;

pub(crate) use self::{
    evaluate::{PolicyVerdict, evaluate},
    request::{AccessRequest, CLOUDWATCH, RequestPrincipal},
};
