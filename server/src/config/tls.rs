//! TLS, and who is believed about it.

use actix_web::http::header::HeaderValue;
use fanfare_domain::peers::Trust;
use serde::{Deserialize, Deserializer, de};

use super::Config;
use crate::{problem::Problem, tls::Files};

/// The value of `Strict-Transport-Security`, or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hsts(pub Option<HeaderValue>);

impl<'de> Deserialize<'de> for Hsts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == "off" {
            return Ok(Self(None));
        }
        let age = text.split(';').find_map(|part| part.trim().strip_prefix("max-age="));
        match (age.map(str::parse::<u64>), HeaderValue::from_str(&text)) {
            (Some(Ok(_)), Ok(value)) => Ok(Self(Some(value))),
            _ => Err(de::Error::custom(format!("`{text}` is neither `off` nor has it a `max-age=` in seconds"))),
        }
    }
}

impl Config {
    /// Where the certificate is; `None` without TLS.
    pub fn tls(&self) -> Option<Files> {
        let (cert, key) = self.tls_cert.clone().zip(self.tls_key.clone())?;
        Some(Files { cert, key })
    }

    /// What is believed of whom.
    pub fn trust(&self) -> Trust {
        Trust { proxies: self.trusted_proxies.clone(), plain_http: self.plain_http }
    }

    /// What is wrong with the certificate's settings.
    pub(super) fn half_tls(&self) -> Option<Problem> {
        let (set, missing) = match (&self.tls_cert, &self.tls_key) {
            (Some(_), None) => ("`tls_cert` (FANFARE_TLS_CERT)", "`tls_key` (FANFARE_TLS_KEY)"),
            (None, Some(_)) => ("`tls_key` (FANFARE_TLS_KEY)", "`tls_cert` (FANFARE_TLS_CERT)"),
            _ => return None,
        };
        Some(Problem::new(
            format!("{set} is set, but {missing} is not"),
            "Set both to serve TLS, or neither; `fanfare serve --dev-tls` needs none.",
        ))
    }
}
