//! Signers: keys of the tenant's own that may sign client tokens of an app. They are never changed: a new one is added, the old one removed.

use actix_web::{
    HttpRequest, delete, get, post,
    web::{Data, ServiceConfig},
};
use fanfare_domain::{
    Refusal, Timestamp,
    capabilities::{Capability, Right},
    ids::{AppId, SignerId},
    outbound::OutboundPolicy,
    signers::{MAX_NAME_BYTES, MAX_SIGNERS, Signer, SignerKeys, SigningAlgorithm, VerifyingKey, usual_capability},
};
use fanfare_protocol::ErrorCode;
use serde::{Deserialize, Serialize};
use tracing::info;
use utoipa::ToSchema;

use crate::{
    answers::{Answer, Done},
    apps::{app_changed, app_ended},
    capabilities::{self, Patterns},
    extract::{Allowed, Body, ManageKeys, Query, Then, Valid, View},
    lists::{self, List},
    openapi::refusals::{ANY, BODY, CHANGE, SESSION, refusals},
    problems::ApiError,
    services::{Services, to_its_end},
    tenants::label,
};

pub(crate) fn routes(config: &mut ServiceConfig) {
    config.service(list_signers).service(add_signer).service(show_signer).service(remove_signer);
}

/// A signer: who else than the API keys may sign client tokens of the app.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Signer)]
pub(crate) struct SignerView {
    /// Its id.
    #[schema(value_type = String)]
    id: SignerId,
    /// What it is called.
    name: String,
    /// What its tokens have as `iss`.
    issuer: String,
    /// What its tokens have as `aud`, or among it.
    audience: String,
    /// The public key, where it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pem: Option<String>,
    /// The algorithm of the public key.
    #[serde(skip_serializing_if = "Option::is_none")]
    alg: Option<&'static str>,
    /// The id of the public key, as in its tokens' `kid`.
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<String>,
    /// Where its JWKS is, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    jwks_url: Option<String>,
    /// What its tokens may do at most: rights by channel pattern.
    #[schema(value_type = std::collections::BTreeMap<String, Vec<String>>)]
    cap: Capability,
    /// When it was added.
    #[schema(value_type = u64)]
    created_at: Timestamp,
}

impl From<Signer> for SignerView {
    fn from(signer: Signer) -> Self {
        let (pem, alg, kid, jwks_url) = match signer.keys {
            SignerKeys::Pem { pem, key } => (Some(pem), Some(key.algorithm.name()), key.kid, None),
            SignerKeys::Jwks { url } => (None, None, None, Some(url)),
        };
        let Signer { id, name, issuer, audience, capability: cap, created_at, .. } = signer;
        Self { id, name, issuer, audience, pem, alg, kid, jwks_url, cap, created_at }
    }
}

/// A signer to be added. It has either `pem` or `jwks_url`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewSigner {
    /// What it is called: 1 to 100 characters.
    name: String,
    /// What its tokens have as `iss`: 1 to 512 bytes.
    issuer: String,
    /// What its tokens have as `aud`, or among it: 1 to 512 bytes.
    audience: String,
    /// A public key in PEM: RSA of 2,048 to 4,096 bits (RS256), P-256 (ES256) or Ed25519 (EdDSA).
    pem: Option<String>,
    /// The algorithm of the public key, which decides it anyway: `RS256`, `ES256` or `EdDSA`.
    alg: Option<String>,
    /// The id of the public key: a token with another `kid` is not its.
    kid: Option<String>,
    /// The https URL of a JWKS (RFC 7517) of at most 256 KiB and 100 keys. Redirects are not followed, and private addresses not called.
    jwks_url: Option<String>,
    /// What its tokens may do at most: `subscribe`, `publish`, `presence`, `history` by channel pattern. All of these on every channel, where it is absent.
    #[schema(value_type = Option<std::collections::BTreeMap<String, Vec<String>>>)]
    cap: Option<Patterns>,
}

impl Body for NewSigner {}

impl NewSigner {
    fn checked(self, app: AppId, policy: OutboundPolicy, now: Timestamp) -> Result<Signer, ApiError> {
        let name = label("/name", &self.name)?;
        let (issuer, audience) = (bounded("/issuer", self.issuer)?, bounded("/audience", self.audience)?);
        let kid = self.kid.map(|kid| bounded("/kid", kid)).transpose()?;
        let capability = self.cap.map_or_else(|| Ok(usual_capability()), ceiling)?;
        let keys = match (self.pem, self.jwks_url) {
            (Some(pem), None) => public_key(pem, self.alg.as_deref(), kid)?,
            (None, Some(url)) => {
                for (pointer, is_there) in [("/alg", self.alg.is_some()), ("/kid", kid.is_some())] {
                    if is_there {
                        return Err(ApiError::field(pointer, "is of a `pem`; the keys of a JWKS have their own"));
                    }
                }
                let checked = policy.check_url(&url).map_err(|bad| ApiError::field("/jwks_url", bad.to_string()))?;
                SignerKeys::Jwks { url: checked.into() }
            }
            (None, None) => return Err(ApiError::field("/pem", "or `jwks_url` is missing")),
            (Some(_), Some(_)) => return Err(ApiError::field("/jwks_url", "and `pem` exclude each other")),
        };
        Ok(Signer { id: SignerId::generate(), app, name, issuer, audience, keys, capability, created_at: now })
    }
}

fn bounded(pointer: &'static str, text: String) -> Result<String, ApiError> {
    if (1..=MAX_NAME_BYTES).contains(&text.len()) && !text.chars().any(char::is_control) {
        Ok(text)
    } else {
        Err(ApiError::field(pointer, format!("has 1 to {MAX_NAME_BYTES} bytes and no control characters")))
    }
}

fn ceiling(patterns: Patterns) -> Result<Capability, ApiError> {
    if let Some((pattern, _)) = patterns.iter().find(|(_, rights)| rights.has(Right::Admin)) {
        return Err(ApiError::field(capabilities::pointer(pattern), "`admin` is of API keys only"));
    }
    capabilities::check(patterns)
}

fn public_key(pem: String, alg: Option<&str>, kid: Option<String>) -> Result<SignerKeys, ApiError> {
    let key = VerifyingKey::from_pem(&pem, kid).map_err(|bad| ApiError::field("/pem", bad.to_string()))?;
    match alg.map(SigningAlgorithm::of_name) {
        None => Ok(SignerKeys::Pem { pem, key }),
        Some(Some(alg)) if alg == key.algorithm => Ok(SignerKeys::Pem { pem, key }),
        Some(_) => Err(ApiError::field("/alg", format!("is {} by the key itself", key.algorithm.name()))),
    }
}

fn signer_id(request: &HttpRequest) -> Result<SignerId, ApiError> {
    SignerId::parse(request.match_info().query("signer")).map_err(|_| ApiError::plain(ErrorCode::NotFound))
}

refusals!(ListSignersRefusals: SESSION, &[ErrorCode::NotFound, ErrorCode::InvalidBody], ANY);

/// List an app's signers
///
/// Oldest first.
#[utoipa::path(
    tag = "signers",
    params(
        ("app" = String, Path, description = "The app's id.", example = "app_01k2v3"),
        ("limit" = Option<u32>, Query, description = "The most items: 1 to 100, 100 where it is absent."),
        ("next" = Option<String>, Query, description = "The `next` of the page before.")
    ),
    responses(
        (status = 200, description = "A page of signers.", body = List<SignerView>, example = json!({
            "items": [{
                "id": "sig_01k2v3", "name": "identity provider", "issuer": "https://id.example.com/", "audience": "chat",
                "jwks_url": "https://id.example.com/.well-known/jwks.json",
                "cap": {"*": ["subscribe", "publish", "presence", "history"]}, "created_at": 1_764_000_000_000u64
            }],
            "next": null
        })),
        ListSignersRefusals
    ),
    security(("sessionCookie" = []), ("sessionBearer" = []))
)]
#[get("/v1/apps/{app}/signers")]
pub(crate) async fn list_signers(
    input: Then<Allowed<View>, Query>,
    services: Data<Services>,
) -> Result<Answer<List<SignerView>>, ApiError> {
    let Then(scope, query) = input;
    let page = lists::wanted(&query)?;
    let signers = services.ports.signers.list(&scope.target.id, &page).await?;
    Ok(Answer::ok(List::page(signers, &page, |signer| signer.id.as_str(), SignerView::from)))
}

refusals!(AddSignerRefusals: SESSION, CHANGE, BODY, &[ErrorCode::NotFound, ErrorCode::Forbidden, ErrorCode::PlanLimit], ANY);

/// Add a signer
///
/// From now on, a client token is good for this app if this signer signed it, with its `iss` and `aud` and the claims of every token (`iat`, `exp`, `cap`, …). It
/// comes with the app's id: `app` of `connect`, the header `Fanfare-App` or `?app=`. The key decides the algorithm. A JWKS is fetched when it is first needed, again in
/// the background when it is 10 minutes old, and for a `kid` that it lacks at most once a minute. An app has at most 20 signers.
#[utoipa::path(
    tag = "signers",
    params(("app" = String, Path, description = "The app's id.", example = "app_01k2v3")),
    request_body(content = NewSigner, example = json!({
        "name": "identity provider", "issuer": "https://id.example.com/", "audience": "chat",
        "jwks_url": "https://id.example.com/.well-known/jwks.json", "cap": {"chat:*": ["subscribe", "publish"]}
    })),
    responses(
        (status = 201, description = "The signer.", body = SignerView, example = json!({
            "id": "sig_01k2v3", "name": "identity provider", "issuer": "https://id.example.com/", "audience": "chat",
            "jwks_url": "https://id.example.com/.well-known/jwks.json", "cap": {"chat:*": ["subscribe", "publish"]},
            "created_at": 1_764_000_000_000u64
        })),
        AddSignerRefusals
    ),
    security(("sessionCookie" = []), ("sessionBearer" = []))
)]
#[post("/v1/apps/{app}/signers")]
pub(crate) async fn add_signer(
    input: Then<Allowed<ManageKeys>, Valid<NewSigner>>,
    services: Data<Services>,
) -> Result<Answer<SignerView>, ApiError> {
    let Then(scope, Valid(new)) = input;
    let signer = new.checked(scope.target.id, services.ports.outbound, services.now())?;
    let signer = to_its_end(async move {
        services.ports.signers.insert(&signer, MAX_SIGNERS).await?;
        let (id, app) = (&signer.id, &signer.app);
        info!(app.id = %app, signer.id = %id, user.id = %scope.caller.user.id, "Added signer `{id}`");
        app_changed(&services, app).await?;
        Ok(signer)
    });
    Ok(Answer::created(signer.await?.into()))
}

refusals!(ShowSignerRefusals: SESSION, &[ErrorCode::NotFound], ANY);

/// Show a signer
///
/// With its public key, or where its JWKS is.
#[utoipa::path(
    tag = "signers",
    params(
        ("app" = String, Path, description = "The app's id.", example = "app_01k2v3"),
        ("signer" = String, Path, description = "The signer's id.", example = "sig_01k2v3")
    ),
    responses(
        (status = 200, description = "The signer.", body = SignerView, example = json!({
            "id": "sig_01k2v3", "name": "backend", "issuer": "backend", "audience": "chat", "pem": "-----BEGIN PUBLIC KEY-----\n…",
            "alg": "EdDSA", "kid": "2026-11", "cap": {"*": ["subscribe", "publish", "presence", "history"]}, "created_at": 1_764_000_000_000u64
        })),
        ShowSignerRefusals
    ),
    security(("sessionCookie" = []), ("sessionBearer" = []))
)]
#[get("/v1/apps/{app}/signers/{signer}")]
pub(crate) async fn show_signer(
    request: HttpRequest,
    scope: Allowed<View>,
    services: Data<Services>,
) -> Result<Answer<SignerView>, ApiError> {
    let found = services.ports.signers.find(&scope.target.id, &signer_id(&request)?).await?;
    found.map(|signer| Answer::ok(signer.into())).ok_or_else(|| ApiError::plain(ErrorCode::NotFound))
}

refusals!(RemoveSignerRefusals: SESSION, CHANGE, &[ErrorCode::NotFound, ErrorCode::Forbidden], ANY);

/// Remove a signer
///
/// Its tokens stop working at once; connections that came in by them are closed.
#[utoipa::path(
    tag = "signers",
    params(
        ("app" = String, Path, description = "The app's id.", example = "app_01k2v3"),
        ("signer" = String, Path, description = "The signer's id.", example = "sig_01k2v3")
    ),
    responses((status = 204, description = "The signer is gone."), RemoveSignerRefusals),
    security(("sessionCookie" = []), ("sessionBearer" = []))
)]
#[delete("/v1/apps/{app}/signers/{signer}")]
pub(crate) async fn remove_signer(
    request: HttpRequest,
    scope: Allowed<ManageKeys>,
    services: Data<Services>,
) -> Result<Done, ApiError> {
    let id = signer_id(&request)?;
    let removal = to_its_end(async move {
        if !services.ports.signers.remove(&scope.target.id, &id).await? {
            return Err(Refusal::plain(ErrorCode::NotFound));
        }
        info!(app.id = %scope.target.id, signer.id = %id, user.id = %scope.caller.user.id, "Removed signer `{id}`");
        app_ended(&services, &scope.target.id).await;
        Ok(())
    });
    removal.await?;
    Ok(Done)
}
