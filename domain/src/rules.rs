//! Rules: what the channels of a namespace allow.

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use fanfare_protocol::Namespace;

use crate::{StoreError, ids::AppId};

/// What the channels of one namespace allow; absent fields take these built-in defaults.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rule {
    /// Whether anyone who knows a key id may subscribe and read history.
    pub public: bool,
    /// Whether clients may publish, if their token allows it; backends always may.
    pub client_publish: bool,
    /// Whether there is presence: to enter, to list and to watch.
    pub presence: bool,
    /// How long messages are kept; `null` keeps none, and then the namespace is ephemeral.
    pub history: Option<Retention>,
    /// The largest `data`, in bytes, if less than the plan's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_message_bytes: Option<u32>,
}

/// How long messages are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    /// Messages older than this are gone, in seconds.
    pub retention_s: u64,
    /// Only the last so many are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_messages: Option<u64>,
}

impl Retention {
    /// The retention as a duration.
    pub fn duration(&self) -> Duration {
        Duration::from_secs(self.retention_s)
    }
}

impl Default for Rule {
    fn default() -> Self {
        Self {
            public: false,
            client_publish: true,
            presence: true,
            history: Some(Retention { retention_s: 86_400, max_messages: None }),
            max_message_bytes: None,
        }
    }
}

/// Rules by app and namespace.
#[async_trait]
pub trait Rules: Send + Sync {
    /// Every rule of the app, by namespace.
    async fn list(&self, app: &AppId) -> Result<Vec<(Namespace, Rule)>, StoreError>;
    /// Sets a namespace's rule, replacing what was there. A new one needs that the app then has at most `most`; else [`StoreError::Full`].
    async fn put(&self, app: &AppId, namespace: &Namespace, rule: &Rule, most: u32) -> Result<(), StoreError>;
    /// Removes a namespace's rule; whether there was one.
    async fn remove(&self, app: &AppId, namespace: &Namespace) -> Result<bool, StoreError>;
}
