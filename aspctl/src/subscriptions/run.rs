//! Carries out a plan. Creates before it deletes, so that there is never a gap.

use std::fmt;

use serde_json::json;

use super::plan::{PlannedCreation, SubscriptionPlan, idempotency_token};
use crate::{
    alexa::{AlexaApi, AlexaError, AlexaSubscription},
    live::ProgressLine,
    terminal::Terminal,
};

/// How many stale idempotency tokens are tried for one request.
const MAX_STALE_TOKENS: usize = 20;

/// How many resources a run created, renewed and deleted.
#[derive(Default)]
pub(super) struct ChangeCounts {
    pub(super) created: usize,
    /// Alexa answered with the same subscription.
    pub(super) renewed: usize,
    pub(super) deleted: usize,
}

/// Makes changes, and reports each.
pub(super) struct ChangeRunner<'a> {
    alexa: &'a AlexaApi,
    terminal: &'a Terminal,
    progress: ProgressLine,
    counts: ChangeCounts,
}

impl<'a> ChangeRunner<'a> {
    pub(super) fn new(alexa: &'a AlexaApi, terminal: &'a Terminal, steps: usize) -> Self {
        Self {
            alexa,
            terminal,
            progress: terminal.progress(steps as u64),
            counts: ChangeCounts::default(),
        }
    }

    /// Carries out a plan.
    pub(super) async fn apply(
        mut self,
        plan: &SubscriptionPlan<'_>,
        prune: bool,
    ) -> Result<ChangeCounts, AlexaError> {
        self.try_apply(plan, prune).await?;
        Ok(self.counts)
    }

    /// Deletes resources, in this order.
    pub(super) async fn delete_all(mut self, ids: &[&str]) -> Result<ChangeCounts, AlexaError> {
        self.try_delete_all(ids).await?;
        Ok(self.counts)
    }

    async fn try_apply(
        &mut self,
        plan: &SubscriptionPlan<'_>,
        prune: bool,
    ) -> Result<(), AlexaError> {
        if !plan.creations.is_empty() {
            let configuration = self.ensure_configuration(plan).await?;
            for creation in &plan.creations {
                self.create(creation, &configuration).await?;
            }
        }
        self.delete_subscriptions(&plan.superseded).await?;
        if prune {
            self.delete_subscriptions(&plan.unnamed).await?;
            for configuration in &plan.surplus {
                if let Some(id) = &configuration.id {
                    self.delete(id).await?;
                }
            }
        }
        Ok(())
    }

    /// The id of the configuration for new subscriptions; creates it if there is none.
    async fn ensure_configuration(
        &mut self,
        plan: &SubscriptionPlan<'_>,
    ) -> Result<String, AlexaError> {
        if let Some(id) = plan.configuration {
            return Ok(id.to_owned());
        }
        let request = json!({ "deliveryChannels": [plan.topic] });
        let create = async |stale_id: Option<&str>| {
            let token = idempotency_token(&request, &[stale_id.unwrap_or_default()]);
            self.alexa.create_configuration(plan.topic, &token).await
        };
        let id = self.create_verified(create).await?;
        self.report(format_args!("created {id} for {}", plan.topic));
        Ok(id)
    }

    /// Creates a subscription, then deletes those that it replaces.
    async fn create(
        &mut self,
        creation: &PlannedCreation<'_>,
        configuration: &str,
    ) -> Result<(), AlexaError> {
        let create = async |stale_id: Option<&str>| {
            let request = creation.request(configuration, stale_id);
            self.alexa.create_subscription(&request).await
        };
        let id = self.create_verified(create).await?;
        let is_same = |old: &AlexaSubscription| old.id.as_deref() == Some(&id);
        let mut replaced = creation.replaces.clone();
        replaced.retain(|old| !is_same(old));
        if replaced.len() < creation.replaces.len() {
            self.counts.renewed += 1;
        } else {
            self.counts.created += 1;
            self.report(format_args!("created {id}"));
        }
        self.delete_subscriptions(&replaced).await
    }

    /// Creates a resource, and verifies that it exists.
    ///
    /// Idempotency tokens may outlive what they created: Alexa then answers with the id of
    /// something that was deleted since, and another token is needed, which may be stale as well.
    async fn create_verified(
        &self,
        create: impl AsyncFn(Option<&str>) -> Result<String, AlexaError>,
    ) -> Result<String, AlexaError> {
        let mut stale_id: Option<String> = None;
        for _ in 0..MAX_STALE_TOKENS {
            let id = create(stale_id.as_deref()).await?;
            if self.alexa.exists(&id).await? {
                return Ok(id);
            }
            tracing::debug!("{id} answers an earlier request, and was deleted since");
            stale_id = Some(id);
        }
        Err(AlexaError::StaleId {
            id: stale_id.unwrap_or_default(),
        })
    }

    async fn try_delete_all(&mut self, ids: &[&str]) -> Result<(), AlexaError> {
        for id in ids {
            self.delete(id).await?;
        }
        Ok(())
    }

    async fn delete_subscriptions(
        &mut self,
        subscriptions: &[&AlexaSubscription],
    ) -> Result<(), AlexaError> {
        for subscription in subscriptions {
            if let Some(id) = &subscription.id {
                self.delete(id).await?;
            }
        }
        Ok(())
    }

    async fn delete(&mut self, id: &str) -> Result<(), AlexaError> {
        if self.alexa.delete(id).await? {
            self.counts.deleted += 1;
            self.report(format_args!("deleted {id}"));
        } else {
            self.report(format_args!("{id} was already gone"));
        }
        Ok(())
    }

    /// Reports a step, above the progress bar.
    fn report(&self, step: fmt::Arguments<'_>) {
        self.progress.inc(1);
        self.terminal.note(step);
    }
}
