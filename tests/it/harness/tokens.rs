//! Client tokens signed by hand, as a backend with any JWT library would.

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use super::tenants::Tenant;

/// Every right of a client on every channel.
pub fn every_right() -> Value {
    json!({"*": ["subscribe", "publish", "presence", "history"]})
}

/// The seconds since the epoch of Unix, as JWTs count them.
pub fn now_s() -> f64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.expect("the clock is past 1970").as_secs_f64()
}

/// Signs claims with an API key: HS256, the whole text of the secret as HMAC key.
pub fn sign(key: &str, secret: &str, claims: &Value) -> String {
    let header = Header { kid: Some(key.to_owned()), ..Header::new(Algorithm::HS256) };
    let signed = jsonwebtoken::encode(&header, claims, &EncodingKey::from_secret(secret.as_bytes()));
    signed.expect("HS256 signs any claims")
}

impl Tenant {
    /// Signs claims with the tenant's API key.
    pub fn sign(&self, claims: &Value) -> String {
        sign(&self.key, &self.secret, claims)
    }

    /// A token of `client` that is good for so many seconds, fractions included.
    pub fn short_token(&self, client: &str, capability: Value, ttl_s: f64) -> String {
        let now = now_s();
        self.sign(&json!({"sub": client, "cap": capability, "iat": now, "exp": now + ttl_s}))
    }
}
