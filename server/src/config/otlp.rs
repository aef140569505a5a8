//! Where spans are exported to.

use fanfare_infra::telemetry::Otlp;
use secrecy::ExposeSecret;
use serde::{Deserialize, Deserializer};
use url::Url;

use super::Config;
use crate::{problem::Problem, role::Role};

impl Config {
    /// The endpoint of a process with this role; `None` if spans are not exported.
    pub fn otlp(&self, role: Role) -> Option<Otlp> {
        let service = match role {
            Role::All => "fanfare",
            Role::Api => "fanfare-api",
            Role::Gateway => "fanfare-gateway",
            Role::Worker => "fanfare-worker",
        };
        let endpoint = self.endpoint()?.to_owned();
        Some(Otlp { endpoint, sample: self.otlp_sample, service })
    }

    fn endpoint(&self) -> Option<&str> {
        let endpoint = self.otlp_endpoint.as_ref()?.expose_secret().trim();
        (!endpoint.is_empty()).then_some(endpoint)
    }

    /// What is wrong with the endpoint.
    pub(super) fn wrong_endpoint(&self) -> Option<Problem> {
        let endpoint = self.endpoint()?;
        let is_right = Url::parse(endpoint).is_ok_and(|url| {
            let is_bare = url.username().is_empty() && url.password().is_none() && url.query().is_none();
            url.scheme() == "http" && url.has_host() && is_bare && url.fragment().is_none()
        });
        (!is_right).then(|| {
            Problem::new(
                "`otlp_endpoint` (FANFARE_OTLP_ENDPOINT) is not the `http` URL of a collector",
                "Write it as in `http://127.0.0.1:4318`. It takes no TLS and no password: run an OpenTelemetry Collector beside Fanfare, and have it send the spans on.",
            )
        })
    }
}

/// A part of a whole.
pub(super) fn share<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let share = f64::deserialize(deserializer)?;
    if (0.0..=1.0).contains(&share) {
        return Ok(share);
    }
    Err(serde::de::Error::custom(format!("{share} is not one of 0 to 1")))
}
