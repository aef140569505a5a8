//! The person who is signed in.

use actix_web::{HttpRequest, get, post, web::Data};
use fanfare_protocol::ErrorCode;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use tracing::info;
use utoipa::ToSchema;

use super::{SessionView, TenantView, UserView, new_password};
use crate::{
    answers::{Answer, Done},
    extract::{Body, SignedIn, Then, Valid},
    openapi::refusals::{ANY, BODY, CHANGE, SESSION, refusals},
    problems::ApiError,
    services::Services,
};

/// The person who is signed in.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Me {
    /// The person.
    user: UserView,
    /// The tenants that they belong to.
    tenants: Vec<TenantView>,
    /// The session that the request was made with.
    session: SessionView,
}

refusals!(MeRefusals: SESSION, ANY);

/// Show who is signed in
///
/// The person, the tenants that they belong to with their role in each, and the session in use.
#[utoipa::path(
    tag = "accounts",
    responses(
        (status = 200, description = "The person.", body = Me, example = json!({
            "user": {"id": "usr_01k2v3", "email": "ann@example.com"},
            "tenants": [{"id": "ten_01k2v3", "name": "Acme", "plan": "default", "role": "owner"}],
            "session": {"id": "ssn_01k2v3", "created_at": 1_764_000_000_000u64, "expires_at": 1_766_592_000_000u64, "current": true}
        })),
        MeRefusals
    ),
    security(("sessionCookie" = []), ("sessionBearer" = []))
)]
#[get("/v1/me")]
pub(crate) async fn me(caller: SignedIn, services: Data<Services>) -> Result<Answer<Me>, ApiError> {
    let tenants =
        services.ports.accounts.memberships(&caller.user.id).await?.into_iter().map(TenantView::from).collect();
    let session = SessionView::new(&caller.session, &caller.session.id);
    Ok(Answer::ok(Me { user: (&caller.user).into(), tenants, session }))
}

/// A new password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewPassword {
    /// The password until now.
    #[schema(format = Password)]
    current_password: String,
    /// The password from now on: 10 to 1,000 bytes.
    #[schema(format = Password)]
    new_password: String,
}

impl Body for NewPassword {}

refusals!(PasswordRefusals: SESSION, CHANGE, BODY, &[ErrorCode::BadCredentials], ANY);

/// Change the password
///
/// Needs the current one. Every other session of the person ends.
#[utoipa::path(
    tag = "accounts",
    request_body(content = NewPassword, example = json!({"current_password": "correct horse battery", "new_password": "staple battery horse"})),
    responses((status = 204, description = "The password is changed."), PasswordRefusals),
    security(("sessionCookie" = []), ("sessionBearer" = []))
)]
#[post("/v1/me/password")]
pub(crate) async fn change_password(
    request: HttpRequest,
    input: Then<SignedIn, Valid<NewPassword>>,
    services: Data<Services>,
) -> Result<Done, ApiError> {
    let Then(SignedIn { user, session }, Valid(body)) = input;
    services.gates.passwords.admit(&request, ("change", user.id.as_str()))?;
    let wanted = new_password("/new_password", body.new_password)?;
    if !services.passwords.verify(SecretString::from(body.current_password), Some(user.password_hash)).await? {
        return Err(ApiError::new(ErrorCode::BadCredentials, "the current password is wrong"));
    }
    let hash = services.passwords.hash(wanted).await?;
    services.ports.accounts.set_password(&user.id, &hash, &session.id).await?;
    info!(user.id = %user.id, "Changed the password of `{}`", user.id);
    Ok(Done)
}
