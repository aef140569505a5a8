//! What an app lets Pusher's clients do, as the control plane shows and changes it.

use std::collections::BTreeMap;

use fanfare_domain::pusher::{PusherSwitches, SwitchesPatch};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Who may subscribe to what as a Pusher client: what the names of channels begin with, and what it takes.
pub(super) const ACCESS: [(&str, &str); 3] =
    [("*", "app_key"), ("private-*", "signature"), ("presence-*", "signature")];

/// The rule for Pusher's clients. Native clients have what their tokens and the rules of namespaces give them, as ever.
pub(super) fn access() -> BTreeMap<&'static str, &'static str> {
    ACCESS.into_iter().collect()
}

/// What an app lets Pusher's clients do; kept while they are not served.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PusherOptions {
    /// Whether clients may send events to private and presence channels.
    client_events: bool,
    /// Whether connections may sign in as a user.
    sign_in: bool,
    /// Whether those who sign in may watch who else does.
    watchlists: bool,
    /// Whether subscribers, and backends that ask, are told how many subscribers there are.
    subscription_counts: bool,
    /// Whether connections are closed that neither sign in nor subscribe to a private or presence channel in time.
    authorized_connections: bool,
    /// Whether several events travel in one webhook.
    batch_webhooks: bool,
}

impl From<PusherSwitches> for PusherOptions {
    fn from(switches: PusherSwitches) -> Self {
        Self {
            client_events: switches.client_events,
            sign_in: switches.sign_in,
            watchlists: switches.watchlists,
            subscription_counts: switches.subscription_counts,
            authorized_connections: switches.authorized_connections,
            batch_webhooks: switches.batch_webhooks,
        }
    }
}

/// Which options to set. Those that are absent stay as they are; in a new app the first four are on, the others off.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PusherOptionsPatch {
    /// Whether clients may send events to private and presence channels.
    client_events: Option<bool>,
    /// Whether connections may sign in as a user.
    sign_in: Option<bool>,
    /// Whether those who sign in may watch who else does.
    watchlists: Option<bool>,
    /// Whether subscribers, and backends that ask, are told how many subscribers there are.
    subscription_counts: Option<bool>,
    /// Whether connections are closed that neither sign in nor subscribe to a private or presence channel in time.
    authorized_connections: Option<bool>,
    /// Whether several events travel in one webhook.
    batch_webhooks: Option<bool>,
}

/// What of the switches a request turns.
pub(super) fn turned(enabled: Option<bool>, options: Option<PusherOptionsPatch>) -> SwitchesPatch {
    let options = options.unwrap_or_default();
    SwitchesPatch {
        enabled,
        client_events: options.client_events,
        sign_in: options.sign_in,
        watchlists: options.watchlists,
        subscription_counts: options.subscription_counts,
        authorized_connections: options.authorized_connections,
        batch_webhooks: options.batch_webhooks,
    }
}
