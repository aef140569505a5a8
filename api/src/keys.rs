//! API keys: minted, listed, rotated, revoked. A secret is shown once, where it is made.

use std::time::Duration;

use actix_web::{
    HttpRequest, delete, get, post,
    web::{Data, ServiceConfig},
};
use fanfare_domain::{Refusal, Timestamp, bus::Broadcast, capabilities::Capability, ids::KeyId, keys::Key};
use fanfare_protocol::ErrorCode;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use tracing::info;
use utoipa::ToSchema;

use crate::{
    answers::{Answer, Done},
    capabilities::{self, Patterns},
    extract::{Allowed, Body, ManageKeys, Query, Then, Valid, View},
    lists::{self, List},
    openapi::refusals::{ANY, BODY, CHANGE, SESSION, refusals},
    problems::ApiError,
    services::{Services, to_its_end},
    tenants::label,
};

/// The longest grace of a rotation: 30 days.
const MOST_GRACE_S: u64 = 30 * 86_400;

pub(crate) fn routes(config: &mut ServiceConfig) {
    config.service(list_keys).service(mint_key).service(rotate_key).service(revoke_key);
}

/// An API key, without its secret.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Key)]
pub(crate) struct KeyView {
    /// Its id, which also names it in tokens (`kid`).
    #[schema(value_type = String)]
    id: KeyId,
    /// What it is called.
    name: String,
    /// What it may do: rights by channel pattern.
    #[schema(value_type = std::collections::BTreeMap<String, Vec<String>>)]
    cap: Capability,
    /// When it was minted.
    #[schema(value_type = u64)]
    created_at: Timestamp,
    /// When it stops working by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    expires_at: Option<Timestamp>,
    /// Until when the secret before the last rotation works too.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    previous_until: Option<Timestamp>,
}

impl KeyView {
    fn new(key: &Key, now: Timestamp) -> Self {
        Self {
            id: key.id.clone(),
            name: key.name.clone(),
            cap: key.capability.clone(),
            created_at: key.created_at,
            expires_at: key.expires_at,
            previous_until: key.previous.as_ref().map(|previous| previous.until).filter(|until| now < *until),
        }
    }
}

/// An API key with its secret.
#[derive(Serialize, ToSchema)]
pub(crate) struct MintedKey {
    /// The key.
    #[serde(flatten)]
    key: KeyView,
    /// The secret. It is not shown again.
    secret: String,
}

impl MintedKey {
    fn new(key: &Key, now: Timestamp) -> Self {
        Self { key: KeyView::new(key, now), secret: key.secret.expose_secret().to_owned() }
    }
}

/// A key to be minted.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewKey {
    /// What it is called: 1 to 100 characters.
    name: String,
    /// What it may do: `subscribe`, `publish`, `presence`, `history`, `admin` by channel pattern. Everything, where it is absent.
    #[schema(value_type = Option<std::collections::BTreeMap<String, Vec<String>>>)]
    cap: Option<Patterns>,
    /// When it stops working by itself.
    #[schema(value_type = Option<u64>)]
    expires_at: Option<Timestamp>,
}

impl Body for NewKey {}

/// How to rotate a key.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rotation {
    /// For how long the old secret works too, in seconds: 0 to 2,592,000. At once it stops where this is absent.
    #[serde(default)]
    #[schema(maximum = 2_592_000)]
    grace_s: u64,
}

impl Body for Rotation {
    const OPTIONAL: bool = true;
}

refusals!(ListKeysRefusals: SESSION, &[ErrorCode::NotFound, ErrorCode::InvalidBody], ANY);

/// List an app's keys
///
/// Oldest first, without their secrets.
#[utoipa::path(
    tag = "keys",
    params(
        ("app" = String, Path, description = "The app's id.", example = "app_01k2v3"),
        ("limit" = Option<u32>, Query, description = "The most items: 1 to 100, 100 where it is absent."),
        ("next" = Option<String>, Query, description = "The `next` of the page before.")
    ),
    responses(
        (status = 200, description = "A page of keys.", body = List<KeyView>, example = json!({
            "items": [{"id": "fk_01k2v3", "name": "backend", "cap": {"chat:*": ["publish"]}, "created_at": 1_764_000_000_000u64}],
            "next": null
        })),
        ListKeysRefusals
    ),
    security(("sessionCookie" = []), ("sessionBearer" = []))
)]
#[get("/v1/apps/{app}/keys")]
pub(crate) async fn list_keys(
    input: Then<Allowed<View>, Query>,
    services: Data<Services>,
) -> Result<Answer<List<KeyView>>, ApiError> {
    let Then(scope, query) = input;
    let page = lists::wanted(&query)?;
    let keys = services.ports.keys.list(&scope.target.id, &page).await?;
    let now = services.now();
    Ok(Answer::ok(List::page(keys, &page, |key| key.id.as_str(), |key| KeyView::new(&key, now))))
}

refusals!(MintKeyRefusals: SESSION, CHANGE, BODY, &[ErrorCode::NotFound, ErrorCode::Forbidden, ErrorCode::PlanLimit], ANY);

/// Mint a key
///
/// The answer holds the secret, which is not shown again. A pattern of `cap` is a channel name, or a prefix and one final `*`.
#[utoipa::path(
    tag = "keys",
    params(("app" = String, Path, description = "The app's id.", example = "app_01k2v3")),
    request_body(content = NewKey, example = json!({"name": "backend", "cap": {"chat:*": ["publish"]}})),
    responses(
        (status = 201, description = "The key and its secret.", body = MintedKey, example = json!({
            "id": "fk_01k2v3", "name": "backend", "cap": {"chat:*": ["publish"]}, "created_at": 1_764_000_000_000u64, "secret": "fs_…"
        })),
        MintKeyRefusals
    ),
    security(("sessionCookie" = []), ("sessionBearer" = []))
)]
#[post("/v1/apps/{app}/keys")]
pub(crate) async fn mint_key(
    input: Then<Allowed<ManageKeys>, Valid<NewKey>>,
    services: Data<Services>,
) -> Result<Answer<MintedKey>, ApiError> {
    let Then(scope, Valid(new)) = input;
    let name = label("/name", &new.name)?;
    let capability = new.cap.map_or_else(|| Ok(Capability::everything()), capabilities::check)?;
    let now = services.now();
    if new.expires_at.is_some_and(|end| end <= now) {
        return Err(ApiError::field("/expires_at", "is past; it is a time in milliseconds"));
    }
    let most = services.limits_of(&scope.target.tenant).await?.keys;
    let key = Key::mint(scope.target.id, name, capability, new.expires_at, now);
    let key = to_its_end(async move {
        services.ports.keys.insert(&key, most).await?;
        // Somebody may have asked for this id before it was there.
        services.ports.directory.forget_key(&key.id).await;
        info!(app.id = %key.app, key.id = %key.id, user.id = %scope.caller.user.id, "Minted key `{}`", key.id);
        Ok(key)
    });
    Ok(Answer::created(MintedKey::new(&key.await?, now)))
}

fn key_id(request: &HttpRequest) -> Result<KeyId, ApiError> {
    KeyId::parse(request.match_info().query("key")).map_err(|_| ApiError::plain(ErrorCode::NotFound))
}

refusals!(RotateKeyRefusals: SESSION, CHANGE, BODY, &[ErrorCode::NotFound, ErrorCode::Forbidden], ANY);

/// Rotate a key
///
/// The key gets a new secret, which the answer holds and which is not shown again. The old one works for `grace_s` more, and so do tokens that it signed;
/// a grace that an earlier rotation gave ends now.
#[utoipa::path(
    tag = "keys",
    params(
        ("app" = String, Path, description = "The app's id.", example = "app_01k2v3"),
        ("key" = String, Path, description = "The key's id.", example = "fk_01k2v3")
    ),
    request_body(content = Option<Rotation>, example = json!({"grace_s": 3_600})),
    responses(
        (status = 200, description = "The key and its new secret.", body = MintedKey, example = json!({
            "id": "fk_01k2v3", "name": "backend", "cap": {"chat:*": ["publish"]}, "created_at": 1_764_000_000_000u64,
            "previous_until": 1_764_003_600_000u64, "secret": "fs_…"
        })),
        RotateKeyRefusals
    ),
    security(("sessionCookie" = []), ("sessionBearer" = []))
)]
#[post("/v1/apps/{app}/keys/{key}/rotate")]
pub(crate) async fn rotate_key(
    request: HttpRequest,
    input: Then<Allowed<ManageKeys>, Valid<Rotation>>,
    services: Data<Services>,
) -> Result<Answer<MintedKey>, ApiError> {
    let Then(scope, Valid(rotation)) = input;
    let id = key_id(&request)?;
    if rotation.grace_s > MOST_GRACE_S {
        return Err(ApiError::field("/grace_s", format!("is 0 to {MOST_GRACE_S}")));
    }
    let now = services.now();
    let grace = Duration::from_secs(rotation.grace_s);
    let key = to_its_end(async move {
        let rotated = services.ports.keys.rotate(&scope.target.id, &id, grace, now).await?;
        let key = rotated.ok_or_else(|| Refusal::plain(ErrorCode::NotFound))?;
        services.ports.directory.forget_key(&key.id).await;
        info!(app.id = %key.app, key.id = %key.id, user.id = %scope.caller.user.id, "Rotated key `{}`", key.id);
        Ok(key)
    });
    Ok(Answer::ok(MintedKey::new(&key.await?, now)))
}

refusals!(RevokeKeyRefusals: SESSION, CHANGE, &[ErrorCode::NotFound, ErrorCode::Forbidden], ANY);

/// Revoke a key
///
/// It stops working at once, and so does every token that it signed; connections that came in by it are closed.
#[utoipa::path(
    tag = "keys",
    params(
        ("app" = String, Path, description = "The app's id.", example = "app_01k2v3"),
        ("key" = String, Path, description = "The key's id.", example = "fk_01k2v3")
    ),
    responses((status = 204, description = "The key is gone."), RevokeKeyRefusals),
    security(("sessionCookie" = []), ("sessionBearer" = []))
)]
#[delete("/v1/apps/{app}/keys/{key}")]
pub(crate) async fn revoke_key(
    request: HttpRequest,
    scope: Allowed<ManageKeys>,
    services: Data<Services>,
) -> Result<Done, ApiError> {
    let id = key_id(&request)?;
    let revocation = to_its_end(async move {
        if !services.ports.keys.remove(&scope.target.id, &id).await? {
            return Err(Refusal::plain(ErrorCode::NotFound));
        }
        info!(app.id = %scope.target.id, key.id = %id, user.id = %scope.caller.user.id, "Revoked key `{id}`");
        services.ports.directory.forget_key(&id).await;
        services.enforce().await;
        services.tell_predecessors(Broadcast::KeyRevoked(id)).await;
        Ok(())
    });
    revocation.await?;
    Ok(Done)
}
