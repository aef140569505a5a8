//! Client tokens, signed with an API key as a tenant's backend does: one for each connection, so that none is cheaper than in life.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::clients::Problem;

/// An API key.
#[derive(Debug, Clone)]
pub struct Key {
    /// `fk_…`.
    pub id: String,
    /// `fs_…`.
    pub secret: String,
}

impl Key {
    /// Reads `fk_….fs_…`.
    ///
    /// # Errors
    /// It has no dot.
    pub fn parse(credential: &str) -> Result<Self, Problem> {
        let (id, secret) = credential.split_once('.').ok_or("a key is `fk_….fs_…`")?;
        Ok(Self { id: id.to_owned(), secret: secret.to_owned() })
    }

    /// Both parts, as a bearer.
    pub fn credential(&self) -> String {
        format!("{}.{}", self.id, self.secret)
    }

    /// A token for the client of a connection: any channel, for an hour.
    pub fn token(&self, connection: usize) -> String {
        let now = now_s();
        let claims =
            json!({"sub": format!("c{connection}"), "iat": now, "exp": now + 3_600, "cap": {"*": ["subscribe"]}});
        let encoded = |value: Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encoded(json!({"alg": "HS256", "typ": "JWT", "kid": self.id})), encoded(claims));
        format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(self.sign(&signed)))
    }

    /// HMAC-SHA256 of a text under the secret.
    pub fn sign(&self, text: &str) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.secret.as_bytes()).expect("HMAC takes keys of any length");
        mac.update(text.as_bytes());
        mac.finalize().into_bytes().into()
    }
}

/// Seconds since 1970.
pub fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
