//! Signing up: a person, a tenant that they own, and their first session.

use actix_web::{HttpRequest, post, web::Data};
use fanfare_domain::accounts::{Email, Role, Session, SignUpError, Tenant, User};
use fanfare_domain::ids::UserId;
use fanfare_protocol::ErrorCode;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use tracing::info;
use utoipa::ToSchema;

use super::{TenantView, UserView, account, new_password};
use crate::{
    answers::Answer,
    config::Signup,
    extract::{Body, Stranger, Then, Valid, set_cookie},
    openapi::refusals::{ANY, BODY, refusals},
    problems::ApiError,
    services::Services,
    tenants,
};

/// Who signs up.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewAccount {
    /// What the person logs in with.
    email: String,
    /// 10 to 1,000 bytes.
    #[schema(format = Password)]
    password: String,
    /// What the new tenant is called.
    tenant: String,
}

impl Body for NewAccount {}

/// A new account.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SignedUp {
    /// The person.
    user: UserView,
    /// The tenant, which they own.
    tenant: TenantView,
    /// The session's token. It is also set as a cookie.
    session: String,
}

refusals!(SignUpRefusals: BODY, &[ErrorCode::SignupClosed, ErrorCode::EmailTaken], ANY);

/// Sign up
///
/// Makes a person, a tenant that they own, and a session. The session's token is set as a cookie for browsers, and is in the body for use as a bearer.
#[utoipa::path(
    tag = "accounts",
    request_body(content = NewAccount, example = json!({"email": "ann@example.com", "password": "correct horse battery", "tenant": "Acme"})),
    responses(
        (status = 201, description = "Signed up and in.", body = SignedUp, headers(("Set-Cookie" = String, description = "The session.")), example = json!({
            "user": {"id": "usr_01k2v3", "email": "ann@example.com"},
            "tenant": {"id": "ten_01k2v3", "name": "Acme", "plan": "default", "role": "owner"},
            "session": "ses_…"
        })),
        SignUpRefusals
    ),
    security(())
)]
#[post("/v1/signup")]
pub(crate) async fn sign_up(
    request: HttpRequest,
    input: Then<Stranger, Valid<NewAccount>>,
    services: Data<Services>,
) -> Result<Answer<SignedUp>, ApiError> {
    let Then(stranger, Valid(new)) = input;
    if services.config.signup == Signup::Closed {
        return Err(ApiError::plain(ErrorCode::SignupClosed));
    }
    services.gates.signups.admit(&request, stranger.address)?;
    let email = Email::parse(&new.email).map_err(|bad| ApiError::field("/email", bad.to_string()))?;
    services.gates.passwords.admit(&request, ("sign-up", account(email.as_str())))?;
    let password = new_password("/password", new.password)?;
    let name = tenants::label("/tenant", &new.tenant)?;
    let password_hash = services.passwords.hash(password).await?;

    let now = services.now();
    let user = User { id: UserId::generate(), email, password_hash, created_at: now };
    let tenant = Tenant::new(name, services.ports.plans.default.clone(), now);
    let (session, token) = Session::begin(user.id.clone(), now);
    services.ports.accounts.sign_up(&user, &tenant, &session).await.map_err(|failure| match failure {
        SignUpError::EmailTaken => ApiError::plain(ErrorCode::EmailTaken),
        SignUpError::Store(failure) => failure.into(),
    })?;
    info!(user.id = %user.id, tenant.id = %tenant.id, "Signed up `{}` with tenant `{}`", user.id, tenant.id);
    let cookie = set_cookie(&request, &token);
    let body = SignedUp {
        user: (&user).into(),
        tenant: TenantView::new(tenant, Role::Owner),
        session: token.expose_secret().to_owned(),
    };
    Ok(Answer::created(body).cookie(cookie))
}
