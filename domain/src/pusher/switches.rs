//! What an app lets Pusher's clients do.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::ids::AppId;

/// The switches of an app. Those that are absent are as they are for a new app.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PusherSwitches {
    /// Whether Pusher's clients and libraries are served at all.
    pub enabled: bool,
    /// Whether clients may send events to private and presence channels.
    pub client_events: bool,
    /// Whether connections may sign in as a user.
    pub sign_in: bool,
    /// Whether those who sign in may watch who else does.
    pub watchlists: bool,
    /// Whether subscribers are told how many they are.
    pub subscription_counts: bool,
    /// Whether connections are closed that neither sign in nor subscribe to a private or presence channel in time.
    pub authorized_connections: bool,
    /// Whether several events travel in one webhook.
    pub batch_webhooks: bool,
}

impl Default for PusherSwitches {
    fn default() -> Self {
        Self {
            enabled: false,
            client_events: true,
            sign_in: true,
            watchlists: true,
            subscription_counts: true,
            authorized_connections: false,
            batch_webhooks: false,
        }
    }
}

/// Which switches to turn; what is `None` stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SwitchesPatch {
    /// Whether Pusher's clients and libraries are served at all.
    pub enabled: Option<bool>,
    /// Whether clients may send events.
    pub client_events: Option<bool>,
    /// Whether connections may sign in.
    pub sign_in: Option<bool>,
    /// Whether those who sign in may watch who else does.
    pub watchlists: Option<bool>,
    /// Whether subscribers are told how many they are.
    pub subscription_counts: Option<bool>,
    /// Whether connections are closed that show no right to be here.
    pub authorized_connections: Option<bool>,
    /// Whether several events travel in one webhook.
    pub batch_webhooks: Option<bool>,
}

impl SwitchesPatch {
    /// The switches after they were turned.
    pub fn turn(&self, switches: PusherSwitches) -> PusherSwitches {
        PusherSwitches {
            enabled: self.enabled.unwrap_or(switches.enabled),
            client_events: self.client_events.unwrap_or(switches.client_events),
            sign_in: self.sign_in.unwrap_or(switches.sign_in),
            watchlists: self.watchlists.unwrap_or(switches.watchlists),
            subscription_counts: self.subscription_counts.unwrap_or(switches.subscription_counts),
            authorized_connections: self.authorized_connections.unwrap_or(switches.authorized_connections),
            batch_webhooks: self.batch_webhooks.unwrap_or(switches.batch_webhooks),
        }
    }
}

/// The number by which Pusher's libraries name an app: ten digits, made from its id. It identifies, and opens nothing: the key that signs says
/// which app it is.
pub fn app_id(app: &AppId) -> String {
    let hash = Sha256::digest(app.as_str().as_bytes());
    let number = hash.iter().take(8).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    (1_000_000_000 + number % 9_000_000_000).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_apps_number_is_always_the_same_and_has_digits_only() {
        let app = AppId::generate();
        let number = app_id(&app);
        assert_eq!(number, app_id(&app));
        assert!(number.len() == 10 && number.bytes().all(|byte| byte.is_ascii_digit()), "{number}");
        assert_ne!(number, app_id(&AppId::generate()));
    }
}
