//! Apps: what a tenant's keys, rules and channels belong to.

use async_trait::async_trait;

use crate::{
    StoreError, Timestamp,
    ids::{AppId, TenantId},
    origins::Origins,
    pusher::{PusherSwitches, SwitchesPatch},
    secrets,
    stores::Page,
};
use fanfare_protocol::Epoch;

/// An app of a tenant; nothing crosses from one app to another.
#[derive(Debug, Clone)]
pub struct App {
    /// Its id.
    pub id: AppId,
    /// Whose it is.
    pub tenant: TenantId,
    /// What people call it.
    pub name: String,
    /// A disabled app refuses its keys and closes its connections.
    pub enabled: bool,
    /// The web pages that may use it.
    pub origins: Origins,
    /// Since when it keeps a trace of deliveries, if it does.
    pub traced_since: Option<Timestamp>,
    /// What it lets Pusher's clients do.
    pub pusher: PusherSwitches,
    /// The epoch of channels that have no history yet.
    pub epoch: Epoch,
    /// When it was made.
    pub created_at: Timestamp,
}

impl App {
    /// A new app.
    pub fn new(tenant: TenantId, name: String, now: Timestamp) -> Self {
        Self {
            id: AppId::generate(),
            tenant,
            name,
            enabled: true,
            origins: Origins::any(),
            traced_since: None,
            pusher: PusherSwitches::default(),
            epoch: Epoch::new(&secrets::short_random()),
            created_at: now,
        }
    }
}

/// What to change of an app; what is `None` stays as it is.
#[derive(Debug, Clone, Default)]
pub struct AppPatch {
    /// What people call it from now on.
    pub name: Option<String>,
    /// Whether it is enabled from now on.
    pub enabled: Option<bool>,
    /// The web pages that may use it from now on.
    pub origins: Option<Origins>,
    /// Since when it keeps a trace of deliveries; `None` within: it keeps none from now on.
    pub traced_since: Option<Option<Timestamp>>,
    /// Which of its switches for Pusher's clients are turned.
    pub pusher: SwitchesPatch,
}

/// Apps by tenant.
#[async_trait]
pub trait Apps: Send + Sync {
    /// Adds an app, if its tenant then has at most `most`; else [`StoreError::Full`], however many come at once.
    async fn insert(&self, app: &App, most: u32) -> Result<(), StoreError>;
    /// An app by id, whoever's it is; the caller checks the tenant.
    async fn find(&self, app: &AppId) -> Result<Option<App>, StoreError>;
    /// A tenant's apps, oldest first.
    async fn list(&self, tenant: &TenantId, page: &Page) -> Result<Vec<App>, StoreError>;
    /// Changes what the patch gives and nothing else; the app as it is then, if it is there.
    async fn update(&self, tenant: &TenantId, app: &AppId, patch: &AppPatch) -> Result<Option<App>, StoreError>;
    /// Removes an app with its keys, rules and messages; whether it was there.
    async fn remove(&self, tenant: &TenantId, app: &AppId) -> Result<bool, StoreError>;
}
