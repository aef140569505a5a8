//! The sessions of a person.

use actix_web::{HttpRequest, delete, get, web::Data};
use fanfare_domain::{Timestamp, accounts::Session, ids::SessionId};
use fanfare_protocol::ErrorCode;
use serde::Serialize;
use tracing::info;
use utoipa::ToSchema;

use crate::{
    answers::{Answer, Done},
    extract::{Query, SignedIn},
    lists::{List, wanted},
    openapi::refusals::{ANY, CHANGE, SESSION, refusals},
    problems::ApiError,
    services::Services,
};

/// A login session.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Session)]
pub(crate) struct SessionView {
    /// Its id, by which it can be ended; it is not the token.
    #[schema(value_type = String)]
    id: SessionId,
    /// When it began.
    #[schema(value_type = u64)]
    created_at: Timestamp,
    /// When it ends by itself.
    #[schema(value_type = u64)]
    expires_at: Timestamp,
    /// Whether it is the one that this request was made with.
    current: bool,
}

impl SessionView {
    pub fn new(session: &Session, current: &SessionId) -> Self {
        Self {
            id: session.id.clone(),
            created_at: session.created_at,
            expires_at: session.expires_at,
            current: session.id == *current,
        }
    }
}

refusals!(ListSessionsRefusals: SESSION, &[ErrorCode::InvalidBody], ANY);

/// List your sessions
///
/// The live ones, newest first.
#[utoipa::path(
    tag = "accounts",
    params(
        ("limit" = Option<u32>, Query, description = "How many items at most, 1 to 100; 100 where it is absent."),
        ("next" = Option<String>, Query, description = "The `next` of the page before.")
    ),
    responses(
        (status = 200, description = "The sessions.", body = List<SessionView>, example = json!({
            "items": [{"id": "ssn_01k2v3", "created_at": 1_764_000_000_000u64, "expires_at": 1_766_592_000_000u64, "current": true}],
            "next": null
        })),
        ListSessionsRefusals
    ),
    security(("sessionCookie" = []), ("sessionBearer" = []))
)]
#[get("/v1/me/sessions")]
pub(crate) async fn list_sessions(
    caller: SignedIn,
    query: Query,
    services: Data<Services>,
) -> Result<Answer<List<SessionView>>, ApiError> {
    let page = wanted(&query)?;
    let sessions = services.ports.accounts.sessions(&caller.user.id, services.now()).await?;
    let view = |session: Session| SessionView::new(&session, &caller.session.id);
    Ok(Answer::ok(List::part(sessions, &page, |session| session.id.as_str(), view)))
}

refusals!(EndSessionRefusals: SESSION, CHANGE, &[ErrorCode::NotFound], ANY);

/// End a session
///
/// One of your own; ending the one in use logs out.
#[utoipa::path(
    tag = "accounts",
    params(("id" = String, Path, description = "The session's id.", example = "ssn_01k2v3")),
    responses((status = 204, description = "The session is over."), EndSessionRefusals),
    security(("sessionCookie" = []), ("sessionBearer" = []))
)]
#[delete("/v1/me/sessions/{id}")]
pub(crate) async fn end_session(
    request: HttpRequest,
    caller: SignedIn,
    services: Data<Services>,
) -> Result<Done, ApiError> {
    let nothing = || ApiError::plain(ErrorCode::NotFound);
    let id = SessionId::parse(request.match_info().query("id")).map_err(|_| nothing())?;
    if !services.ports.accounts.end_session(&caller.user.id, &id).await? {
        return Err(nothing());
    }
    info!(user.id = %caller.user.id, session.id = %id, "Ended session `{id}`");
    Ok(Done)
}
