//! Client tokens: JWTs (RFC 7519) signed by an API key, read strictly.

use std::time::Duration;

use fanfare_protocol::ClientName;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{Timestamp, capabilities::Capability, ids::KeyId, keys::Key};

/// The longest token, in bytes.
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;
/// The longest life of a token, from `iat` to `exp`.
pub const MAX_LIFE: Duration = Duration::from_secs(86_400);
/// How far ahead of our clock `iat` may be.
const MAX_AHEAD: Duration = Duration::from_secs(60);
/// The most bytes of `info`.
const MAX_INFO_BYTES: usize = 1024;

/// Why a token was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It was good once.
    #[error("the token has expired")]
    Expired,
    /// It never was good here.
    #[error("{0}")]
    Invalid(String),
}

fn invalid(why: impl Into<String>) -> TokenError {
    TokenError::Invalid(why.into())
}

/// What a token says.
#[derive(Debug, Clone)]
pub struct Claims {
    /// The client it names; anonymous without.
    pub client: Option<ClientName>,
    /// What it allows, before it is cut down to the key's rights.
    pub capability: Capability,
    /// What others see of the client in presence.
    pub info: Option<Box<RawValue>>,
    /// Its own id, by which it can be revoked.
    pub token_id: Option<String>,
    /// When it ends.
    pub expires_at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct WireClaims {
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<String>,
    cap: Capability,
    #[serde(skip_serializing_if = "Option::is_none")]
    info: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jti: Option<String>,
    iat: f64,
    exp: f64,
}

/// The id of the key that a token says it was signed by; nothing is verified yet.
pub fn key_id(token: &str) -> Result<KeyId, TokenError> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(invalid(format!("the token has {} bytes; {MAX_TOKEN_BYTES} are allowed", token.len())));
    }
    let header =
        jsonwebtoken::decode_header(token).map_err(|_| invalid("the token is not a JWT of a known algorithm"))?;
    if header.alg != Algorithm::HS256 {
        return Err(invalid("the token is not signed with HS256, the algorithm of its key"));
    }
    let kid = header.kid.ok_or_else(|| invalid("the token's header has no `kid`, the id of the key that signed it"))?;
    KeyId::parse(&kid).map_err(|_| invalid("the token's `kid` is not the id of an API key"))
}

/// Verifies a token with the key that [`key_id`] named. The algorithm is the key's, never the token's.
pub fn verify(token: &str, key: &Key, now: Timestamp) -> Result<Claims, TokenError> {
    if !key.is_live(now) {
        return Err(invalid("the key that signed the token has expired"));
    }
    let mut validation = Validation::new(Algorithm::HS256);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_aud = false;
    let claims = key
        .secrets(now)
        .find_map(|secret| {
            let decoding = DecodingKey::from_secret(secret.expose_secret().as_bytes());
            jsonwebtoken::decode::<serde_json::Value>(token, &decoding, &validation).ok()
        })
        .ok_or_else(|| invalid("the token's signature does not match its key"))?
        .claims;
    let claims: WireClaims =
        serde_json::from_value(claims).map_err(|error| invalid(format!("the token's claims are wrong: {error}")))?;
    check(claims, now)
}

fn check(claims: WireClaims, now: Timestamp) -> Result<Claims, TokenError> {
    let issued_at = time(claims.iat).ok_or_else(|| invalid("`iat` is not a time in seconds"))?;
    let expires_at = time(claims.exp).ok_or_else(|| invalid("`exp` is not a time in seconds"))?;
    if issued_at > now.after(MAX_AHEAD) {
        return Err(invalid("`iat` is more than 60 s ahead; set the clock of the machine that signs"));
    }
    if expires_at > issued_at.after(MAX_LIFE) {
        return Err(invalid("`exp` is more than 24 h after `iat`"));
    }
    if expires_at <= now {
        return Err(TokenError::Expired);
    }
    let client =
        claims.sub.map(|sub| ClientName::parse(&sub)).transpose().map_err(|bad| invalid(format!("`sub`: {bad}")))?;
    let info = claims.info.map(|info| serde_json::value::to_raw_value(&info).expect("a JSON value is JSON"));
    if info.as_ref().is_some_and(|info| info.get().len() > MAX_INFO_BYTES) {
        return Err(invalid(format!("`info` is larger than {MAX_INFO_BYTES} bytes")));
    }
    Ok(Claims { client, capability: claims.cap, info, token_id: claims.jti, expires_at })
}

fn time(seconds: f64) -> Option<Timestamp> {
    (seconds.is_finite() && (0.0..1e12).contains(&seconds)).then_some(Timestamp((seconds * 1_000.0) as u64))
}

/// What a backend asks a token for.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// The client that it is for; anonymous without.
    pub client: Option<ClientName>,
    /// What it may do.
    pub capability: Capability,
    /// What others see of the client in presence.
    pub info: Option<serde_json::Value>,
    /// How long it is good.
    pub ttl: Duration,
}

/// Mints a token with a key. The caller has checked that it is no wider than the key, and the life.
pub fn mint(key: &Key, token: NewToken, now: Timestamp) -> (String, Timestamp) {
    let issued_s = now.0 / 1_000;
    let expires_at = Timestamp(issued_s * 1_000).after(token.ttl);
    let claims = WireClaims {
        sub: token.client.map(|client| client.as_str().to_owned()),
        cap: token.capability,
        info: token.info,
        jti: Some(ulid::Ulid::generate().to_string().to_ascii_lowercase()),
        iat: issued_s as f64,
        exp: (expires_at.0 / 1_000) as f64,
    };
    let header = Header { kid: Some(key.id.as_str().to_owned()), ..Header::new(Algorithm::HS256) };
    let encoding = EncodingKey::from_secret(key.secret.expose_secret().as_bytes());
    let text = jsonwebtoken::encode(&header, &claims, &encoding).expect("HS256 signs any claims");
    (text, expires_at)
}
