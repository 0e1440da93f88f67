//! Carries out a plan: creates before it deletes.

use indicatif::ProgressBar;
use serde_json::json;

use super::plan::{self, Changes, Creation};
use crate::{
    alexa::{AlexaApi, AlexaError, Subscription},
    terminal::Terminal,
};

/// So many used-up tokens are passed over for one request.
const USED_UP_TOKENS: usize = 20;

/// What a run did.
#[derive(Default)]
pub(super) struct Made {
    pub(super) created: usize,
    pub(super) renewed: usize,
    pub(super) deleted: usize,
}

/// A run that changes something.
pub(super) struct Run<'a> {
    pub(super) alexa: &'a AlexaApi,
    pub(super) terminal: &'a Terminal,
    pub(super) progress: ProgressBar,
}

impl Run<'_> {
    /// Creates before it deletes, so that events come at every moment.
    pub(super) async fn make(
        &self,
        changes: &Changes<'_>,
        prune: bool,
    ) -> Result<Made, AlexaError> {
        let mut made = Made::default();
        if !changes.creations.is_empty() {
            let configuration = self.configuration(changes).await?;
            for creation in &changes.creations {
                let id = self.subscription(creation, &configuration).await?;
                let is_same = |old: &&&Subscription| old.id.as_deref() == Some(&id);
                if creation.replaces.iter().any(|old| is_same(&old)) {
                    made.renewed += 1;
                } else {
                    made.created += 1;
                    self.done(format_args!("created {id}"));
                }
                for old in creation.replaces.iter().filter(|old| !is_same(old)) {
                    made.deleted += self.delete_subscription(old).await?;
                }
            }
        }
        for subscription in &changes.superseded {
            made.deleted += self.delete_subscription(subscription).await?;
        }
        if prune {
            for subscription in &changes.unnamed {
                made.deleted += self.delete_subscription(subscription).await?;
            }
            for id in changes
                .surplus
                .iter()
                .filter_map(|configuration| configuration.id.as_deref())
            {
                made.deleted += self.delete(id).await?;
            }
        }
        Ok(made)
    }

    /// The configuration for new subscriptions.
    async fn configuration(&self, changes: &Changes<'_>) -> Result<String, AlexaError> {
        if let Some(id) = changes.configuration {
            return Ok(id.to_owned());
        }
        let request = json!({ "deliveryChannels": [changes.topic] });
        let create = async |dead: Option<&str>| {
            let token = plan::token(&request, &[dead.unwrap_or_default()]);
            self.alexa.create_configuration(changes.topic, &token).await
        };
        let id = self.living(create).await?;
        self.done(format_args!("created {id} for {}", changes.topic));
        Ok(id)
    }

    async fn subscription(
        &self,
        creation: &Creation<'_>,
        configuration: &str,
    ) -> Result<String, AlexaError> {
        self.living(async |dead| {
            self.alexa
                .create_subscription(&creation.request(configuration, dead))
                .await
        })
        .await
    }

    /// Creates, and looks whether it is there. Alexa may remember a token longer than what it made:
    /// then the answer is the id of something that was deleted since, and another token is needed,
    /// which may be used up as well.
    async fn living(
        &self,
        create: impl AsyncFn(Option<&str>) -> Result<String, AlexaError>,
    ) -> Result<String, AlexaError> {
        let mut dead: Option<String> = None;
        for _ in 0..USED_UP_TOKENS {
            let id = create(dead.as_deref()).await?;
            if self.alexa.exists(&id).await? {
                return Ok(id);
            }
            tracing::debug!("{id} is the answer to an earlier request, and was deleted since");
            dead = Some(id);
        }
        Err(AlexaError::Gone {
            id: dead.unwrap_or_default(),
        })
    }

    pub(super) async fn delete_all(&self, ids: &[&str]) -> Result<usize, AlexaError> {
        let mut deleted = 0;
        for id in ids {
            deleted += self.delete(id).await?;
        }
        Ok(deleted)
    }

    async fn delete_subscription(&self, subscription: &Subscription) -> Result<usize, AlexaError> {
        match &subscription.id {
            Some(id) => self.delete(id).await,
            None => Ok(0),
        }
    }

    /// Deletes; 1 if it was still there.
    async fn delete(&self, id: &str) -> Result<usize, AlexaError> {
        let was_there = self.alexa.delete(id).await?;
        self.done(format_args!(
            "{} {id}",
            if was_there {
                "deleted"
            } else {
                "was already gone:"
            }
        ));
        Ok(usize::from(was_there))
    }

    fn done(&self, what: std::fmt::Arguments<'_>) {
        self.progress.inc(1);
        self.progress.suspend(|| self.terminal.note(what));
    }
}

pub(super) fn steps(changes: &Changes<'_>, prune: bool) -> u64 {
    let replaced: usize = changes
        .creations
        .iter()
        .map(|creation| 1 + creation.replaces.len())
        .sum();
    let pruned = if prune {
        changes.unnamed.len() + changes.surplus.len()
    } else {
        0
    };
    (replaced + usize::from(changes.configuration.is_none()) + changes.superseded.len() + pruned)
        as u64
}
