//! Plans: named sets of limits that a tenant lives under.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The most items that one batch may hold, whatever the plan.
pub const BATCH_ITEMS: usize = 1_000;
/// The most bytes that one batch may hold, whatever the plan.
pub const BATCH_BYTES: usize = 2 * 1024 * 1024;

/// What a plan allows a tenant and each of its apps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Open connections of an app.
    pub connections: u32,
    /// Messages an app may publish each second, averaged over a second.
    pub publishes_per_s: u32,
    /// Pages of history an app may read each second.
    pub history_reads_per_s: u32,
    /// The largest `data` of a message, in bytes.
    pub message_bytes: u32,
    /// Channels that one connection may subscribe to.
    pub channels_per_connection: u32,
    /// Requests that one connection may send each second.
    pub requests_per_s: u32,
    /// Bytes that wait for one connection before it is closed as a slow consumer.
    pub outbox_bytes: u32,
    /// Bytes that wait for all connections of an app on one node, before the slowest of them are closed as slow consumers.
    pub app_outbox_bytes: u32,
    /// Members of a channel's presence.
    pub presence_members: u32,
    /// The longest retention that a rule may ask for, in seconds.
    pub retention_s: u64,
    /// Apps of the tenant.
    pub apps: u32,
    /// API keys of an app.
    pub keys: u32,
    /// Rules of an app.
    pub rules: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            publishes_per_s: 1_000,
            history_reads_per_s: 200,
            message_bytes: 64 * 1024,
            channels_per_connection: 200,
            requests_per_s: 300,
            outbox_bytes: 1024 * 1024,
            app_outbox_bytes: 128 * 1024 * 1024,
            presence_members: 1_000,
            retention_s: 7 * 86_400,
            apps: 50,
            keys: 100,
            rules: 100,
        }
    }
}

impl Limits {
    /// Generous enough for load tests.
    pub fn unlimited() -> Self {
        Self {
            connections: 1_000_000,
            publishes_per_s: 1_000_000,
            history_reads_per_s: 1_000_000,
            message_bytes: 64 * 1024,
            channels_per_connection: 100_000,
            requests_per_s: 1_000_000,
            outbox_bytes: 4 * 1024 * 1024,
            app_outbox_bytes: 1024 * 1024 * 1024,
            presence_members: 100_000,
            retention_s: 365 * 86_400,
            apps: 10_000,
            keys: 1_000,
            rules: 1_000,
        }
    }
}

/// The plans there are, by name, and which one a new tenant gets.
#[derive(Debug, Clone)]
pub struct Plans {
    /// The plan of a new tenant, and of a tenant whose plan is no longer there.
    pub default: String,
    named: BTreeMap<String, Limits>,
}

/// The configured default plan is not among the plans.
#[derive(Debug, thiserror::Error)]
#[error("there is no plan `{name}`; there are: {known}")]
pub struct NoSuchPlan {
    name: String,
    known: String,
}

impl Plans {
    /// The built-in plans `default` and `unlimited`, with what the operator adds or replaces.
    pub fn new(default: &str, configured: BTreeMap<String, Limits>) -> Result<Self, NoSuchPlan> {
        let mut named =
            BTreeMap::from([("default".to_owned(), Limits::default()), ("unlimited".to_owned(), Limits::unlimited())]);
        named.extend(configured);
        if !named.contains_key(default) {
            let known = named.keys().cloned().collect::<Vec<_>>().join(", ");
            return Err(NoSuchPlan { name: default.to_owned(), known });
        }
        Ok(Self { default: default.to_owned(), named })
    }

    /// The limits of a plan; those of the default plan if it is no longer there.
    pub fn limits(&self, plan: &str) -> &Limits {
        self.named.get(plan).unwrap_or_else(|| &self.named[&self.default])
    }
}
