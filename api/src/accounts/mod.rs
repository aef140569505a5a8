//! Accounts: signing up and in, and the sessions of a person.

use actix_web::web::ServiceConfig;
use fanfare_domain::{
    accounts::{self, Membership, Role, Tenant, User, check_password},
    ids::{TenantId, UserId},
};
use secrecy::SecretString;
use serde::Serialize;
use utoipa::ToSchema;

use crate::problems::ApiError;

mod login;
mod me;
mod sessions;
mod signup;

pub(crate) use login::*;
pub(crate) use me::*;
pub(crate) use sessions::*;
pub(crate) use signup::*;

pub(crate) fn routes(config: &mut ServiceConfig) {
    config
        .service(sign_up)
        .service(log_in)
        .service(log_out)
        .service(me)
        .service(change_password)
        .service(list_sessions)
        .service(end_session);
}

/// A person.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = User)]
pub(crate) struct UserView {
    /// The person's id.
    #[schema(value_type = String)]
    id: UserId,
    /// What they log in with.
    email: String,
}

impl From<&User> for UserView {
    fn from(user: &User) -> Self {
        Self { id: user.id.clone(), email: user.email.as_str().to_owned() }
    }
}

/// A tenant, as its people see it when they sign in.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Membership)]
pub(crate) struct TenantView {
    /// The tenant's id.
    #[schema(value_type = String)]
    id: TenantId,
    /// What it is called.
    name: String,
    /// The name of its plan.
    plan: String,
    /// What the person is in it.
    #[schema(value_type = String)]
    role: Role,
}

impl TenantView {
    fn new(tenant: Tenant, role: Role) -> Self {
        Self { id: tenant.id, name: tenant.name, plan: tenant.plan, role }
    }
}

impl From<Membership> for TenantView {
    fn from(membership: Membership) -> Self {
        Self::new(membership.tenant, membership.role)
    }
}

/// What tries of an account's password are counted by.
fn account(email: &str) -> String {
    email.trim().to_lowercase()
}

/// Checks a new password, which the body's `field` holds.
fn new_password(field: &str, text: String) -> Result<SecretString, ApiError> {
    check_password(&text).map_err(|bad: accounts::BadPassword| ApiError::field(field, bad.to_string()))?;
    Ok(SecretString::from(text))
}
