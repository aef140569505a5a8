//! The directory: keys and apps as the hot paths read them, cached.

use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use fanfare_protocol::{ChannelName, names::DEFAULT_NAMESPACE};

use crate::{
    StoreError,
    apps::App,
    ids::{AppId, KeyId},
    keys::Key,
    plans::Limits,
    rules::Rule,
    signers::Signer,
    webhooks::{EventKind, Webhook},
};

/// An app with everything that decides what its channels and connections may do.
#[derive(Debug, Clone)]
pub struct AppProfile {
    /// The app.
    pub app: App,
    /// The limits of its tenant's plan.
    pub limits: Limits,
    /// Its rules by namespace.
    pub rules: HashMap<String, Rule>,
    /// Who else than its API keys may sign its tokens.
    pub signers: Vec<Arc<Signer>>,
    /// Where it has its events sent.
    pub webhooks: Vec<Arc<Webhook>>,
}

impl AppProfile {
    /// The rule of a channel: its namespace's, else `_default`'s, else the built-in one.
    pub fn rule(&self, channel: &ChannelName) -> Rule {
        self.rules.get(channel.namespace()).or_else(|| self.rules.get(DEFAULT_NAMESPACE)).cloned().unwrap_or_default()
    }

    /// The namespace whose rule a channel follows; `None` where that is the built-in one.
    pub fn ruling(&self, channel: &ChannelName) -> Option<String> {
        let candidates = [channel.namespace(), DEFAULT_NAMESPACE];
        candidates.into_iter().find(|name| self.rules.contains_key(*name)).map(str::to_owned)
    }

    /// The webhooks that are told of such events now; none of an app that is disabled.
    pub fn webhooks_for(&self, kind: EventKind) -> impl Iterator<Item = &Arc<Webhook>> {
        self.webhooks.iter().filter(move |hook| self.app.enabled && hook.wants(kind))
    }

    /// Whether any webhook is told of such events now.
    pub fn tells(&self, kind: EventKind) -> bool {
        self.webhooks_for(kind).next().is_some()
    }

    /// The largest `data` that a channel takes, in bytes.
    pub fn message_bytes(&self, channel: &ChannelName) -> u32 {
        let most = self.limits.message_bytes;
        self.rule(channel).max_message_bytes.map_or(most, |own| own.min(most))
    }
}

/// Keys and apps by id. At most 30 s stale while the stores can be read; while they cannot, what was known goes on.
#[async_trait]
pub trait Directory: Send + Sync {
    /// A key, whoever's it is; an unknown one is remembered as unknown only briefly.
    async fn key(&self, key: &KeyId) -> Result<Option<Arc<Key>>, StoreError>;
    /// An app with its limits and rules.
    async fn app(&self, app: &AppId) -> Result<Option<Arc<AppProfile>>, StoreError>;
    /// Drops what is cached of a key.
    async fn forget_key(&self, key: &KeyId);
    /// Drops what is cached of an app.
    async fn forget_app(&self, app: &AppId);
    /// Drops everything that is cached, and nothing older stands in for it.
    async fn forget_all(&self);
    /// Changes may have been missed: everything is read afresh before it is used again, where that is possible.
    async fn doubt_all(&self);
}
