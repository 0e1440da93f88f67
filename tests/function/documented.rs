//! The examples on Amazon's own pages, verbatim, with their defects.
//! Source: "Event Schemas for Alexa Smart Properties for Healthcare", 17 November 2022.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::{Function, aws::Operation, sample, sample_names, sns_event};

const AUTOMATION: &str = include_str!("../documented/automation-completion.txt");
const SKILL: &str = include_str!("../documented/skill-interaction-failure.txt");
const ACTIVATION: &str = include_str!("../documented/subscription-activation.txt");

/// The types of all samples, as `FORWARD_EVENT_TYPES` names them.
const ALL_TYPES: &str = "Alexa.Automation.Execution.*,Alexa.Endpoint.Lifecycle.*,\
     Alexa.Enterprise.Subscription.*,Alexa.Group.Management.*,Alexa.Role.Management.*,\
     Alexa.Skill.Interaction.Failure";

#[tokio::test]
async fn the_automation_must_be_fixed_before_a_retry() {
    let function = Function::start().await;
    assert_eq!(
        function.answer(&sns_event(&[AUTOMATION])).await["handled"],
        1
    );
    let message = function.aws.only_message();
    assert_eq!(message.body["subject"], "amzn1.alexa.automation.12345");
    assert_eq!(message.attributes["decision"], "FIX_THEN_RETRY");
    assert_eq!(
        message.body["data"]["errors"],
        json!([{
            "type": "ENDPOINT_NOT_FOUND",
            "message": "Endpoint used in the automation was not found",
            "endpointId": "amzn1.alexa.endpoint.12345", "retryable": false
        }])
    );
}

#[tokio::test]
async fn the_printed_skill_failure_is_invalid_json_and_counts_without_its_trailing_comma() {
    let function = Function::start().await;
    assert_eq!(
        function.answer(&sns_event(&[SKILL])).await["quarantined"],
        1
    );
    let message = function.aws.only_message();
    assert_eq!(message.attributes["reason"], "NOT_JSON");
    assert_eq!(message.body["data"]["message"], SKILL);
    assert_eq!(
        message.body["data"]["detail"],
        "the message cannot be read as JSON: trailing comma at line 32 column 1"
    );

    let corrected = SKILL.replacen("},\n},\n\"skill\"", "}\n},\n\"skill\"", 1);
    assert_ne!(corrected, SKILL);
    assert_eq!(
        function.answer(&sns_event(&[&corrected])).await["handled"],
        1
    );
    let data = function.aws.data();
    let full = data
        .iter()
        .find(|datum| datum.dimensions.len() == 3)
        .unwrap();
    assert_eq!(
        json!(full.dimensions),
        json!({
            "SkillId": "amzn1.ask.skill.12345", "SkillStage": "live",
            "ErrorType": "INVALID_RESPONSE"
        })
    );
}

#[tokio::test]
async fn the_activation_is_ready_by_its_status_despite_its_error() {
    let function = Function::start().await;
    assert_eq!(
        function.answer(&sns_event(&[ACTIVATION])).await["handled"],
        1
    );
    let message = function.aws.only_message();
    let mut data = message.body["data"].clone();
    data.as_object_mut().unwrap().remove("sourceEvent");
    assert_eq!(
        data,
        json!({
            "ready": true, "unitId": "amzn1.alexa.unit.did.12345",
            "parentUnitId": "amzn1.alexa.unit.did.12345",
            "subscriptionId": "amzn1.ask.skill.12345"
        })
    );
}

#[tokio::test]
async fn a_unit_without_a_parent_is_ready_too() {
    let function = Function::start().await;
    let event: serde_json::Value = serde_json::from_str(ACTIVATION).unwrap();
    let mut orphan = event.clone();
    orphan["header"]["entities"]["unit"]
        .as_object_mut()
        .unwrap()
        .remove("parent");
    assert_eq!(
        function.answer(&sns_event(&[&orphan.to_string()])).await["handled"],
        1
    );
    let message = function.aws.only_message();
    assert_eq!(message.body["data"].get("parentUnitId"), None);
    assert!(!message.attributes.contains_key("parentUnitId"));
}

#[tokio::test]
async fn all_three_share_an_id_and_are_three_events() {
    let function = Function::start().await;
    let corrected = SKILL.replacen("},\n},\n\"skill\"", "}\n},\n\"skill\"", 1);
    assert_eq!(
        function
            .answer(&sns_event(&[AUTOMATION, &corrected, ACTIVATION]))
            .await["handled"],
        3
    );
    assert_eq!(function.aws.calls(Operation::PutMetricData).len(), 1);
    assert_eq!(function.aws.published().len(), 2);
}

/// The examples in docs/consumers.md are what the function publishes for the samples, except for
/// `notBefore`. The sample of an example is the one that publishes a message with its id. Other
/// blocks of JSON are filter policies, which the tests of the stack try.
#[tokio::test]
async fn the_documents_show_what_is_published() {
    let mut published = HashMap::new();
    for name in sample_names() {
        let function = Function::start_reporting(&[("FORWARD_EVENT_TYPES", ALL_TYPES)]).await;
        function.answer(&sample(&name)).await;
        for message in function.aws.published() {
            published.insert(message.body["id"].to_string(), message.body);
        }
    }
    let consumers = include_str!("../../docs/consumers.md");
    let mut examples = 0;
    for block in consumers.split("```json\n").skip(1) {
        let mut shown: Value = serde_json::from_str(block.split("```").next().unwrap()).unwrap();
        if shown.get("specversion").is_none() {
            continue;
        }
        let id = &shown["id"];
        let mut published = published.remove(&id.to_string()).unwrap_or_else(|| {
            panic!("docs/consumers.md: no sample publishes a message with the id {id}")
        });
        for message in [&mut shown, &mut published] {
            message["data"].as_object_mut().unwrap().remove("notBefore");
        }
        assert_eq!(shown, published);
        examples += 1;
    }
    let types = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/schemas")).unwrap();
    let is_message = |name: &str| name.starts_with("aspevents.");
    let types = types.filter(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        is_message(&name.to_string_lossy())
    });
    assert_eq!(
        examples,
        types.count(),
        "docs/consumers.md: one example for each message"
    );
}
