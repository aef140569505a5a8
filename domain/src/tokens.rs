//! Client tokens: JWTs (RFC 7519) signed by an API key or by a key of the tenant's own, read strictly.

use std::time::Duration;

use fanfare_protocol::ClientName;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{Timestamp, capabilities::Capability, ids::KeyId, keys::Key, signers::Presented};

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

pub(crate) fn invalid(why: impl Into<String>) -> TokenError {
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
    /// When it was issued, by its own `iat`; in which thousandth of that second, its `jti` may tell.
    pub issued_at: Timestamp,
    /// When it ends: by its own `exp`, or earlier with the secret or the key that signed it.
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
    iat: Seconds,
    exp: Seconds,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nbf: Option<Seconds>,
}

/// A NumericDate (RFC 7519, section 2): seconds, perhaps with a fraction.
type Seconds = serde_json::Number;

/// Who a token says it was signed by; nothing is verified yet.
pub(crate) enum SignedBy {
    /// An API key.
    Key(KeyId),
    /// A key of the tenant's own.
    Signer(Presented),
}

/// Who a token says it was signed by. What it says chooses where a key is looked for, and no more: the key decides the algorithm.
pub(crate) fn signed_by(token: &str) -> Result<SignedBy, TokenError> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(invalid(format!("the token has {} bytes; {MAX_TOKEN_BYTES} are allowed", token.len())));
    }
    let header =
        jsonwebtoken::decode_header(token).map_err(|_| invalid("the token is not a JWT of a known algorithm"))?;
    if header.crit.is_some() {
        // RFC 7515, section 4.1.11: what must be understood and is not, is refused.
        return Err(invalid("the token's header has `crit`, and no extension is understood here"));
    }
    if header.alg != Algorithm::HS256 {
        return Presented::read(token, header).map(SignedBy::Signer);
    }
    let kid = header.kid.ok_or_else(|| invalid("the token's header has no `kid`, the id of the key that signed it"))?;
    let key = KeyId::parse(&kid).map_err(|_| invalid("the token's `kid` is not the id of an API key"))?;
    Ok(SignedBy::Key(key))
}

/// The API key that a token says it was signed by; nothing is verified yet.
pub fn signing_key(token: &str) -> Option<KeyId> {
    match signed_by(token) {
        Ok(SignedBy::Key(key)) => Some(key),
        _ => None,
    }
}

/// Verifies a token with the API key that [`signed_by`] named. The algorithm is the key's, never the token's.
pub fn verify(token: &str, key: &Key, now: Timestamp) -> Result<Claims, TokenError> {
    if !key.is_live(now) {
        return Err(invalid("the key that signed the token has expired"));
    }
    let validation = only_signature(Algorithm::HS256);
    let (claims, vouched_until) = key
        .secrets(now)
        .find_map(|(secret, until)| {
            let decoding = DecodingKey::from_secret(secret.expose_secret().as_bytes());
            let decoded = jsonwebtoken::decode::<serde_json::Value>(token, &decoding, &validation).ok()?;
            Some((decoded.claims, until))
        })
        .ok_or_else(|| invalid("the token's signature does not match its key"))?;
    let mut claims = read_claims(claims, now)?;
    claims.expires_at = vouched_until.map_or(claims.expires_at, |until| until.min(claims.expires_at));
    Ok(claims)
}

/// What the library is to check: the signature, under the key's algorithm. The claims are looked at here, more strictly.
pub(crate) fn only_signature(algorithm: Algorithm) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation
}

/// Reads the claims of a token whose signature is good, whoever signed it.
pub(crate) fn read_claims(claims: serde_json::Value, now: Timestamp) -> Result<Claims, TokenError> {
    let claims =
        serde_json::from_value(claims).map_err(|error| invalid(format!("the token's claims are wrong: {error}")))?;
    check(claims, now)
}

fn check(claims: WireClaims, now: Timestamp) -> Result<Claims, TokenError> {
    let issued_at = time(&claims.iat).ok_or_else(|| invalid("`iat` is not a time in seconds"))?;
    let expires_at = time(&claims.exp).ok_or_else(|| invalid("`exp` is not a time in seconds"))?;
    if issued_at > now.after(MAX_AHEAD) {
        return Err(invalid("`iat` is more than 60 s ahead; set the clock of the machine that signs"));
    }
    if let Some(not_before) = claims.nbf {
        let not_before = time(&not_before).ok_or_else(|| invalid("`nbf` is not a time in seconds"))?;
        if not_before > now {
            return Err(invalid("the token is not valid yet, by its `nbf`"));
        }
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
    let issued_at = claims.jti.as_deref().and_then(|jti| within_second(issued_at, jti)).unwrap_or(issued_at);
    Ok(Claims { client, capability: claims.cap, info, token_id: claims.jti, issued_at, expires_at })
}

/// The moment at which a ULID was made, if that lies in the whole second that `iat` tells: only so is a token of whole seconds told from one
/// that its client's revocation in the same second cut off.
fn within_second(issued_at: Timestamp, jti: &str) -> Option<Timestamp> {
    let made_at = ulid::Ulid::from_string(jti).ok()?.timestamp_ms();
    let is_whole = issued_at.0.is_multiple_of(1_000);
    (is_whole && made_at / 1_000 == issued_at.0 / 1_000).then_some(Timestamp(made_at))
}

fn time(seconds: &Seconds) -> Option<Timestamp> {
    let seconds = seconds.as_f64()?;
    (seconds.is_finite() && (0.0..1e12).contains(&seconds)).then_some(Timestamp((seconds * 1_000.0).round() as u64))
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
    let jti = ulid::Ulid::from_parts(now.0, rand::random());
    let claims = WireClaims {
        sub: token.client.map(|client| client.as_str().to_owned()),
        cap: token.capability,
        info: token.info,
        jti: Some(jti.to_string().to_ascii_lowercase()),
        iat: issued_s.into(),
        exp: (expires_at.0 / 1_000).into(),
        nbf: None,
    };
    let header = Header { kid: Some(key.id.as_str().to_owned()), ..Header::new(Algorithm::HS256) };
    let encoding = EncodingKey::from_secret(key.secret.expose_secret().as_bytes());
    let text = jsonwebtoken::encode(&header, &claims, &encoding).expect("HS256 signs any claims");
    (text, expires_at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::AppId;

    const START: Timestamp = Timestamp(1_000_000_000);

    fn new_token() -> NewToken {
        NewToken { client: None, capability: Capability::everything(), info: None, ttl: Duration::from_secs(3_600) }
    }

    #[test]
    fn a_minted_token_says_whole_seconds_and_in_its_id_which_thousandth() {
        let key = Key::mint(AppId::generate(), "k".into(), Capability::everything(), None, START);
        let now = Timestamp(1_700_000_000_789);
        let (token, expires_at) = mint(&key, new_token(), now);
        let claims = verify(&token, &key, now).unwrap();
        assert_eq!((claims.issued_at, claims.expires_at), (now, expires_at));
        assert_eq!(expires_at, Timestamp(1_700_003_600_000));
        let payload = token.split('.').nth(1).unwrap();
        let payload = base64::Engine::decode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, payload).unwrap();
        let payload: serde_json::Value = serde_json::from_slice(&payload).unwrap();
        assert_eq!((&payload["iat"], &payload["exp"]), (&1_700_000_000.into(), &1_700_003_600.into()));
    }

    #[test]
    fn an_id_tells_the_thousandth_only_of_its_own_second() {
        let at = |ms: u64| ulid::Ulid::from_parts(ms, 7).to_string().to_ascii_lowercase();
        let whole = Timestamp(1_700_000_000_000);
        assert_eq!(within_second(whole, &at(1_700_000_000_999)), Some(Timestamp(1_700_000_000_999)));
        for other in [at(1_700_000_001_000), at(1_699_999_999_999), "of the backend's own".to_owned()] {
            assert_eq!(within_second(whole, &other), None, "{other}");
        }
        assert_eq!(within_second(Timestamp(1_700_000_000_100), &at(1_700_000_000_999)), None);
    }

    #[test]
    fn a_token_ends_with_the_secret_or_the_key_that_signed_it() {
        let mut key = Key::mint(AppId::generate(), "k".into(), Capability::everything(), None, START);
        let (token, expires_at) = mint(&key, new_token(), START);
        assert_eq!(verify(&token, &key, START).unwrap().expires_at, expires_at);
        key.rotate(Duration::from_secs(60), START);
        assert_eq!(verify(&token, &key, START).unwrap().expires_at, START.after(Duration::from_secs(60)));
        key.expires_at = Some(START.after(Duration::from_secs(30)));
        assert_eq!(verify(&token, &key, START).unwrap().expires_at, START.after(Duration::from_secs(30)));
        let later = START.after(Duration::from_secs(61));
        key.expires_at = None;
        assert!(matches!(verify(&token, &key, later), Err(TokenError::Invalid(_))));
    }
}
