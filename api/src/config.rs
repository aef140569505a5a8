//! What an operator may set about the API.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

/// The API's configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ApiConfig {
    /// Whether strangers may sign up: `open` or `closed`.
    pub signup: Signup,
    /// Sign-ups from one address in an hour. An IPv6 address counts with its whole /64 network, here and below.
    pub signups_per_hour: NonZeroU32,
    /// Log-ins from one address in a minute.
    pub logins_per_minute: NonZeroU32,
    /// Wrong passwords for one account from one address in a minute; from all addresses together, ten times as many.
    pub password_tries_per_minute: NonZeroU32,
    /// Requests to the control plane from one address in a minute.
    pub control_requests_per_minute: NonZeroU32,
}

/// Whether strangers may sign up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Signup {
    /// Anyone may.
    Open,
    /// Nobody may.
    Closed,
}

impl Default for ApiConfig {
    fn default() -> Self {
        const fn count(number: u32) -> NonZeroU32 {
            NonZeroU32::new(number).expect("the defaults are not zero")
        }
        Self {
            signup: Signup::Open,
            signups_per_hour: count(100),
            logins_per_minute: count(60),
            password_tries_per_minute: count(10),
            control_requests_per_minute: count(3_000),
        }
    }
}
