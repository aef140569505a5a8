//! Logging in and out.

use actix_web::{HttpRequest, post, web::Data};
use fanfare_domain::accounts::{Email, Session};
use fanfare_protocol::ErrorCode;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use tracing::info;
use utoipa::ToSchema;

use super::{TenantView, UserView, account};
use crate::{
    answers::{Answer, Emptied},
    extract::{Body, SignedIn, Stranger, Then, Valid, set_cookie, take_cookie},
    limits::Try,
    openapi::refusals::{ANY, BODY, CHANGE, SESSION, refusals},
    problems::ApiError,
    services::Services,
};

/// Who logs in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Credentials {
    /// The person's email address.
    email: String,
    /// Their password.
    #[schema(format = Password)]
    password: String,
}

impl Body for Credentials {}

/// A new session.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LoggedIn {
    /// The person.
    user: UserView,
    /// The tenants that they belong to.
    tenants: Vec<TenantView>,
    /// The session's token. It is also set as a cookie.
    session: String,
}

refusals!(LogInRefusals: BODY, &[ErrorCode::BadCredentials], ANY);

/// Log in
///
/// Begins a session of 30 days. An unknown address and a wrong password are refused alike.
#[utoipa::path(
    tag = "accounts",
    request_body(content = Credentials, example = json!({"email": "ann@example.com", "password": "correct horse battery"})),
    responses(
        (status = 200, description = "Logged in.", body = LoggedIn, headers(("Set-Cookie" = String, description = "The session.")), example = json!({
            "user": {"id": "usr_01k2v3", "email": "ann@example.com"},
            "tenants": [{"id": "ten_01k2v3", "name": "Acme", "plan": "default", "role": "owner"}],
            "session": "ses_…"
        })),
        LogInRefusals
    ),
    security(())
)]
#[post("/v1/login")]
pub(crate) async fn log_in(
    request: HttpRequest,
    input: Then<Stranger, Valid<Credentials>>,
    services: Data<Services>,
) -> Result<Answer<LoggedIn>, ApiError> {
    let Then(stranger, Valid(credentials)) = input;
    services.gates.logins.admit(&request, stranger.address)?;
    let user = match Email::parse(&credentials.email) {
        Ok(email) => services.ports.accounts.user_by_email(&email).await?,
        Err(_) => None,
    };
    let account = account(&credentials.email);
    let attempt = Try::begin(&services.gates, &request, &account, stranger.address)?;
    let hash = user.as_ref().map(|user| user.password_hash.clone());
    let matches = services.passwords.verify(SecretString::from(credentials.password), hash).await;
    if !matches!(matches, Ok(false)) {
        attempt.give_back();
    }
    let matches = matches?;
    let user = user.filter(|_| matches).ok_or_else(|| ApiError::plain(ErrorCode::BadCredentials))?;

    let now = services.now();
    let (session, token) = Session::begin(user.id.clone(), now);
    services.ports.accounts.begin_session(&session, now).await?;
    info!(user.id = %user.id, session.id = %session.id, "Logged in `{}`", user.id);
    let tenants = services.ports.accounts.memberships(&user.id).await?.into_iter().map(TenantView::from).collect();
    let cookie = set_cookie(&request, &token);
    Ok(Answer::ok(LoggedIn { user: (&user).into(), tenants, session: token.expose_secret().to_owned() }).cookie(cookie))
}

refusals!(LogOutRefusals: SESSION, CHANGE, ANY);

/// Log out
///
/// Ends the session that the request is made with, and takes its cookie back.
#[utoipa::path(
    tag = "accounts",
    responses((status = 204, description = "The session is over."), LogOutRefusals),
    security(("sessionCookie" = []), ("sessionBearer" = []))
)]
#[post("/v1/logout")]
pub(crate) async fn log_out(
    request: HttpRequest,
    caller: SignedIn,
    services: Data<Services>,
) -> Result<Emptied, ApiError> {
    services.ports.accounts.end_session(&caller.user.id, &caller.session.id).await?;
    info!(user.id = %caller.user.id, session.id = %caller.session.id, "Logged out `{}`", caller.user.id);
    Ok(Emptied(take_cookie(&request)))
}
