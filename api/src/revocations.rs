//! Cutting off: a token, a client or a key for good, and a client's connections for once.

use actix_web::{
    FromRequest, HttpRequest, delete, post,
    web::{self, Data, ServiceConfig},
};
use fanfare_domain::{
    Refusal,
    bus::Broadcast,
    grants::Grant,
    ids::{AppId, KeyId},
    revocations::{Revision, Subject},
};
use fanfare_protocol::{ClientName, ErrorCode};
use serde::{Deserialize, Serialize};
use tracing::info;
use utoipa::ToSchema;

use crate::{
    answers::{Answer, Done},
    extract::{Body, Caller, Then, Valid},
    openapi::refusals::{ANY, BODY, DATA, refusals},
    problems::ApiError,
    services::{Services, to_its_end},
};

/// The longest `jti`, in bytes.
const MAX_TOKEN_ID_BYTES: usize = 256;

pub(crate) fn routes(config: &mut ServiceConfig) {
    config.service(revoke).service(disconnect);
}

/// What is to be cut off: exactly one of these.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewRevocation {
    /// A token, by its `jti`: 1 to 256 bytes.
    token: Option<String>,
    /// A client: every token of it that was issued until now.
    #[schema(value_type = Option<String>)]
    client: Option<ClientName>,
    /// A key of the app, by its id, with every token that it signed. The key is removed.
    key: Option<String>,
}

impl Body for NewRevocation {}

impl NewRevocation {
    fn subject(self, app: &AppId) -> Result<Subject, ApiError> {
        let app = app.clone();
        match self {
            Self { token: Some(token), client: None, key: None } => {
                if token.is_empty() || token.len() > MAX_TOKEN_ID_BYTES || token.contains('\0') {
                    let detail = format!("has 1 to {MAX_TOKEN_ID_BYTES} bytes, none of them zero");
                    return Err(ApiError::field("/token", detail));
                }
                Ok(Subject::Token(app, token))
            }
            Self { token: None, client: Some(client), key: None } => Ok(Subject::Client(app, client)),
            Self { token: None, client: None, key: Some(key) } => {
                let key = KeyId::parse(&key).map_err(|_| ApiError::plain(ErrorCode::NotFound))?;
                Ok(Subject::Key(app, key))
            }
            _ => Err(ApiError::field("", "has exactly one of `token`, `client` and `key`")),
        }
    }
}

/// That something is cut off.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Revoked {
    /// The revocation's number; later ones have higher numbers.
    revision: u64,
}

/// The app of a caller who may cut off.
fn admin(caller: &Caller) -> Result<AppId, ApiError> {
    caller.require_key()?;
    caller.grant.require_admin()?;
    Ok(caller.grant.profile.app.id.clone())
}

refusals!(RevokeRefusals: DATA, BODY, &[ErrorCode::NotFound, ErrorCode::PlanLimit], ANY);

/// Revoke a token, a client or a key
///
/// Within a second of the answer, on every node and transport: connections are closed with 4013 (`revoked`; 4011 for a key), requests are refused with 401, and
/// nothing more is delivered. It stays so until the last token of before would have expired. Doing it again is no error. A client's tokens that are
/// issued later are good: those of `POST /v1/tokens` at once; of tokens that you sign yourself, with `iat` in whole seconds, those of the next second on. What was published and answered before stands. Needs an API key with the right `admin` on `*`.
#[utoipa::path(
    tag = "tokens",
    request_body(content = NewRevocation, example = json!({"token": "01k2v3w4x5y6z7"})),
    responses(
        (status = 200, description = "It is cut off.", body = Revoked, example = json!({"revision": 17})),
        RevokeRefusals
    ),
    security(("apiKeyBearer" = []), ("apiKeyBasic" = []))
)]
#[post("/v1/revocations")]
pub(crate) async fn revoke(
    request: HttpRequest,
    input: Then<Caller, Valid<NewRevocation>>,
    services: Data<Services>,
) -> Result<Answer<Revoked>, ApiError> {
    let Then(caller, Valid(new)) = input;
    let subject = new.subject(&admin(&caller)?)?;
    let Revision(revision) = cut_off(&request, subject, &caller.grant, services).await?;
    Ok(Answer::ok(Revoked { revision }))
}

refusals!(DisconnectRefusals: DATA, &[ErrorCode::InvalidBody, ErrorCode::PlanLimit], ANY);

/// Disconnect a client
///
/// Its connections on every node are closed with 4202 (`disconnected`) within a second; it may come back at once. To keep it out, revoke its tokens.
/// It is no error if it has none. Needs an API key with the right `admin` on `*`.
#[utoipa::path(
    tag = "tokens",
    params(("client" = String, Path, description = "The client's id, percent-encoded.", example = "ann")),
    responses((status = 204, description = "Its connections are closed."), DisconnectRefusals),
    security(("apiKeyBearer" = []), ("apiKeyBasic" = []))
)]
#[delete("/v1/clients/{client}/connections")]
pub(crate) async fn disconnect(
    request: HttpRequest,
    caller: Caller,
    services: Data<Services>,
) -> Result<Done, ApiError> {
    let app = admin(&caller)?;
    let name = web::Path::<String>::extract(&request).await.map(web::Path::into_inner).unwrap_or_default();
    let client = ClientName::parse(&name).map_err(|bad| ApiError::new(ErrorCode::InvalidBody, bad.to_string()))?;
    cut_off(&request, Subject::Connections(app, client), &caller.grant, services).await?;
    Ok(Done)
}

/// Cuts off what belongs to the app of an API key that may do it.
pub(crate) async fn cut_off(
    request: &HttpRequest,
    subject: Subject,
    grant: &Grant,
    services: Data<Services>,
) -> Result<Revision, ApiError> {
    services.gates.revocations.admit(request, &grant.profile.app.id)?;
    // The body may have come slowly.
    services.ports.enforcement.require_good(grant).await?;
    // A key, as `admin` has seen.
    let by = grant.voucher.key().cloned().ok_or_else(|| ApiError::plain(ErrorCode::Forbidden))?;
    let revoked = to_its_end(async move {
        let revoked = services.ports.revocations.revoke(&subject, services.now()).await?;
        let revision = revoked.ok_or_else(|| Refusal::plain(ErrorCode::NotFound))?;
        info!(key.id = %by, revision = revision.0, "Revoked something by key `{by}`");
        services.enforce().await;
        if let Subject::Key(_, key) = subject {
            services.tell_predecessors(Broadcast::KeyRevoked(key)).await;
        }
        Ok(revision)
    });
    Ok(revoked.await?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn exactly_one_thing_is_cut_off_at_a_time() {
        let app = AppId::generate();
        let subject = |body: serde_json::Value| {
            serde_json::from_value::<NewRevocation>(body).unwrap().subject(&app).map_err(|refused| refused.refusal.code)
        };
        assert_eq!(subject(json!({"token": "t"})).ok(), Some(Subject::Token(app.clone(), "t".into())));
        let ann = ClientName::parse("ann").unwrap();
        assert_eq!(subject(json!({"client": "ann"})).ok(), Some(Subject::Client(app.clone(), ann)));
        for bad in
            [json!({}), json!({"token": "t", "client": "ann"}), json!({"token": ""}), json!({"token": "x".repeat(257)})]
        {
            assert_eq!(subject(bad.clone()).err(), Some(ErrorCode::InvalidBody), "{bad}");
        }
        assert_eq!(subject(json!({"key": "nonsense"})).err(), Some(ErrorCode::NotFound));
    }
}
