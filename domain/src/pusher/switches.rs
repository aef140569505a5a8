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
