//! One webhook of an app, and where they are kept.

use async_trait::async_trait;

use super::{EventKind, WebhookFormat};
use crate::{
    StoreError, Timestamp,
    ids::{AppId, WebhookId},
    stores::Page,
};

/// As many webhooks as an app may have.
pub const MAX_WEBHOOKS: u32 = 20;

/// Where an app has some of its events sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Its id.
    pub id: WebhookId,
    /// The app whose events it is told.
    pub app: AppId,
    /// Where it is; never in logs, since what stands in it may be a secret.
    pub url: String,
    /// How events are written for it.
    pub format: WebhookFormat,
    /// What it is told of, without repetitions.
    pub events: Vec<EventKind>,
    /// Whether it is told anything now.
    pub enabled: bool,
    /// When it was added.
    pub created_at: Timestamp,
}

impl Webhook {
    /// Whether it is told of such events now.
    pub fn wants(&self, kind: EventKind) -> bool {
        self.enabled && self.events.contains(&kind)
    }
}

/// What to change of a webhook; what is absent stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WebhookPatch {
    /// Where it is from now on.
    pub url: Option<String>,
    /// What it is told of from now on.
    pub events: Option<Vec<EventKind>>,
    /// Whether it is told anything.
    pub enabled: Option<bool>,
}

/// Webhooks by app.
#[async_trait]
pub trait Webhooks: Send + Sync {
    /// Adds a webhook, if its app then has at most `most`; else [`StoreError::Full`], however many come at once.
    async fn insert(&self, webhook: &Webhook, most: u32) -> Result<(), StoreError>;
    /// A webhook of an app.
    async fn find(&self, app: &AppId, webhook: &WebhookId) -> Result<Option<Webhook>, StoreError>;
    /// An app's webhooks, oldest first.
    async fn list(&self, app: &AppId, page: &Page) -> Result<Vec<Webhook>, StoreError>;
    /// Changes a webhook; as it is then, if it is there.
    async fn update(
        &self,
        app: &AppId,
        webhook: &WebhookId,
        patch: &WebhookPatch,
    ) -> Result<Option<Webhook>, StoreError>;
    /// Removes a webhook; whether it was there.
    async fn remove(&self, app: &AppId, webhook: &WebhookId) -> Result<bool, StoreError>;
    /// The apps that have webhooks, in their order, after that one and at most so many: for whoever tells them.
    async fn apps(&self, after: Option<&AppId>, limit: u32) -> Result<Vec<AppId>, StoreError>;
}
