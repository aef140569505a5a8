//! Client tokens signed by hand, as a backend with any JWT library would.

use std::time::{Duration, Instant};

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use super::{sockets::Socket, tenants::Tenant};

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
    /// Gives a connected socket of `client` a token that ends soon, and tells when; on a slow machine a very short one may have ended before it is
    /// looked at.
    pub async fn shorten(&self, socket: &mut Socket, client: &str) -> Instant {
        for ttl_s in [2_u32, 4, 8, 16] {
            let minted = Instant::now();
            let short = self.short_token(client, every_right(), ttl_s.into());
            let answer = socket.answer(json!({"op": "token", "token": short})).await;
            if answer.get("ok").is_some() {
                return minted + Duration::from_secs(ttl_s.into());
            }
            assert_eq!(answer["error"]["code"], "token_expired", "{answer}");
        }
        panic!("no token lived long enough to be taken");
    }
}
