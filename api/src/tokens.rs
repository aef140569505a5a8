//! Tokens for clients, for backends without a JWT library.

use std::time::Duration;

use actix_web::{
    post,
    web::{Data, ServiceConfig},
};
use fanfare_domain::{
    Timestamp,
    capabilities::{Capability, Right},
    keys::Key,
    tokens::{self, MAX_LIFE, MAX_TOKEN_BYTES},
};
use fanfare_protocol::ClientName;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    answers::Answer,
    capabilities::{self, Patterns},
    extract::{Body, Caller, Then, Valid},
    openapi::refusals::{ANY, BODY, DATA, refusals},
    problems::ApiError,
    services::Services,
};

/// The most bytes of `info`.
const MAX_INFO_BYTES: usize = 1024;

pub(crate) fn routes(config: &mut ServiceConfig) {
    config.service(mint_token);
}

/// A token to be minted.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewToken {
    /// The client that it is for: 1 to 128 bytes. Anonymous, where it is absent.
    #[schema(value_type = Option<String>)]
    client: Option<ClientName>,
    /// What it may do: `subscribe`, `publish`, `presence`, `history` by channel pattern, never more than the key.
    #[schema(value_type = std::collections::BTreeMap<String, Vec<String>>)]
    cap: Patterns,
    /// How long it is good, in seconds: 1 to 86,400.
    #[schema(minimum = 1, maximum = 86_400)]
    ttl_s: u64,
    /// What others see of the client in presence: any JSON value of at most 1 KiB.
    info: Option<serde_json::Value>,
}

impl Body for NewToken {}

/// A token.
#[derive(Serialize, ToSchema)]
pub(crate) struct MintedToken {
    /// The JWT.
    token: String,
    /// When it ends.
    #[schema(value_type = u64)]
    expires_at: Timestamp,
}

/// Checks that no pattern goes beyond the key, or what clients may do at all.
fn within(patterns: Patterns, key: &Key) -> Result<Capability, ApiError> {
    for (pattern, rights) in &patterns {
        let refuse = |detail: String| Err(ApiError::field(capabilities::pointer(pattern), detail));
        let asked = capabilities::single(pattern, *rights)?;
        if rights.has(Right::Admin) {
            return refuse("`admin` is of API keys only".to_owned());
        }
        if !asked.within(&key.capability) {
            return refuse(format!("`{pattern}` asks for more than key `{}` may do", key.id));
        }
    }
    capabilities::check(patterns)
}

fn check_life(ttl_s: u64) -> Result<Duration, ApiError> {
    let most = MAX_LIFE.as_secs();
    if (1..=most).contains(&ttl_s) {
        Ok(Duration::from_secs(ttl_s))
    } else {
        Err(ApiError::field("/ttl_s", format!("is 1 to {most}")))
    }
}

/// A token is good only as long as its key.
fn no_longer_than(key: &Key, ttl: Duration, now: Timestamp) -> Duration {
    let left = key.expires_at.map_or(ttl, |end| end.since(now));
    ttl.min(Duration::from_secs(left.as_secs()))
}

fn check_info(info: Option<&serde_json::Value>) -> Result<(), ApiError> {
    let bytes = info.map_or(0, |info| info.to_string().len());
    if bytes <= MAX_INFO_BYTES {
        Ok(())
    } else {
        Err(ApiError::field("/info", format!("has {bytes} bytes; {MAX_INFO_BYTES} are allowed")))
    }
}

refusals!(MintTokenRefusals: DATA, BODY, ANY);

/// Mint a client token
///
/// A JWT signed with the key that the request is made with. It is never wider than the key, and ends when the key does. Needs an API key.
#[utoipa::path(
    tag = "tokens",
    request_body(content = NewToken, example = json!({"client": "ann", "cap": {"chat:*": ["subscribe", "publish"]}, "ttl_s": 3_600})),
    responses(
        (status = 201, description = "The token.", body = MintedToken, example = json!({"token": "eyJ…", "expires_at": 1_764_003_600_000u64})),
        MintTokenRefusals
    ),
    security(("apiKeyBearer" = []), ("apiKeyBasic" = []))
)]
#[post("/v1/tokens")]
pub(crate) async fn mint_token(
    input: Then<Caller, Valid<NewToken>>,
    services: Data<Services>,
) -> Result<Answer<MintedToken>, ApiError> {
    let Then(caller, Valid(new)) = input;
    let key = caller.require_key()?;
    let app = &caller.grant.profile.app.id;
    let now = services.ports.enforcement.issue_time(app, new.client.as_ref(), services.now());
    let ttl = no_longer_than(key, check_life(new.ttl_s)?, now);
    check_info(new.info.as_ref())?;
    let capability = within(new.cap, key)?;
    let wanted = tokens::NewToken { client: new.client, capability, info: new.info, ttl };
    let (token, expires_at) = tokens::mint(key, wanted, now);
    if token.len() > MAX_TOKEN_BYTES {
        let detail = format!("makes a token of {} bytes; {MAX_TOKEN_BYTES} are allowed", token.len());
        return Err(ApiError::field("/cap", detail));
    }
    Ok(Answer::created(MintedToken { token, expires_at }))
}

#[cfg(test)]
mod tests {
    use fanfare_domain::ids::AppId;

    use serde_json::json;

    use super::*;

    fn pointer(asked: serde_json::Value) -> Option<String> {
        let capability = serde_json::from_value(json!({"chat:*": ["subscribe", "publish", "admin"]})).unwrap();
        let key = Key::mint(AppId::generate(), "k".into(), capability, None, Timestamp(0));
        within(serde_json::from_value(asked).unwrap(), &key).err().map(|refused| refused.fields[0].pointer.clone())
    }

    #[test]
    fn a_token_that_asks_for_more_than_its_key_is_refused_by_the_pattern() {
        assert_eq!(pointer(json!({"chat:1": ["subscribe"], "chat:a*": ["publish"]})), None);
        assert_eq!(pointer(json!({"chat:1": ["subscribe"], "news": ["subscribe"]})).as_deref(), Some("/cap/news"));
        assert_eq!(pointer(json!({"*": ["subscribe"]})).as_deref(), Some("/cap/*"));
        assert_eq!(pointer(json!({"chat:*": ["history"]})).as_deref(), Some("/cap/chat:*"));
        assert_eq!(pointer(json!({"chat:*": ["admin"]})).as_deref(), Some("/cap/chat:*"));
        assert_eq!(pointer(json!({"a*b": ["subscribe"]})).as_deref(), Some("/cap/a*b"));
        assert_eq!(pointer(json!({"a/b": ["subscribe"]})).as_deref(), Some("/cap/a~1b"));
    }

    #[test]
    fn a_token_does_not_outlive_its_key() {
        let key =
            Key::mint(AppId::generate(), "k".into(), Capability::everything(), Some(Timestamp(9_500)), Timestamp(0));
        assert_eq!(no_longer_than(&key, Duration::from_secs(60), Timestamp(1_000)), Duration::from_secs(8));
        assert_eq!(no_longer_than(&key, Duration::from_secs(5), Timestamp(1_000)), Duration::from_secs(5));
    }

    #[test]
    fn life_and_info_are_bounded() {
        assert!(check_life(1).is_ok() && check_life(86_400).is_ok());
        assert!(check_life(0).is_err() && check_life(86_401).is_err());
        assert!(check_info(Some(&json!("x".repeat(1_022)))).is_ok());
        assert!(check_info(Some(&json!("x".repeat(1_023)))).is_err());
    }
}
