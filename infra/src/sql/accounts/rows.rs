//! Rows of the accounts' tables.

use diesel::prelude::*;
use fanfare_domain::{
    StoreError,
    accounts::{Email, Session, Tenant, User},
    ids::{SessionId, TenantId, UserId},
};
use secrecy::{ExposeSecret, SecretString};

use crate::sql::{
    corrupt,
    schema::{login_sessions, tenants, users},
    stored, timestamp,
};

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = tenants, check_for_backend(diesel::pg::Pg, diesel::sqlite::Sqlite))]
pub(super) struct TenantRow {
    pub id: String,
    name: String,
    plan: String,
    created_at: i64,
}

impl From<&Tenant> for TenantRow {
    fn from(tenant: &Tenant) -> Self {
        Self {
            id: tenant.id.as_str().to_owned(),
            name: tenant.name.clone(),
            plan: tenant.plan.clone(),
            created_at: stored(tenant.created_at),
        }
    }
}

impl TryFrom<TenantRow> for Tenant {
    type Error = StoreError;

    fn try_from(row: TenantRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: TenantId::parse(&row.id).map_err(|bad| corrupt("tenants.id", bad))?,
            name: row.name,
            plan: row.plan,
            created_at: timestamp(row.created_at),
        })
    }
}

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = users, check_for_backend(diesel::pg::Pg, diesel::sqlite::Sqlite))]
pub(super) struct UserRow {
    pub id: String,
    email: String,
    password_hash: String,
    created_at: i64,
}

impl From<&User> for UserRow {
    fn from(user: &User) -> Self {
        Self {
            id: user.id.as_str().to_owned(),
            email: user.email.as_str().to_owned(),
            password_hash: user.password_hash.expose_secret().to_owned(),
            created_at: stored(user.created_at),
        }
    }
}

impl TryFrom<UserRow> for User {
    type Error = StoreError;

    fn try_from(row: UserRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: UserId::parse(&row.id).map_err(|bad| corrupt("users.id", bad))?,
            email: Email::parse(&row.email).map_err(|bad| corrupt("users.email", bad))?,
            password_hash: SecretString::from(row.password_hash),
            created_at: timestamp(row.created_at),
        })
    }
}

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = login_sessions, check_for_backend(diesel::pg::Pg, diesel::sqlite::Sqlite))]
pub(super) struct SessionRow {
    id: String,
    pub user_id: String,
    token_hash: String,
    created_at: i64,
    expires_at: i64,
}

impl From<&Session> for SessionRow {
    fn from(session: &Session) -> Self {
        Self {
            id: session.id.as_str().to_owned(),
            user_id: session.user.as_str().to_owned(),
            token_hash: session.token_hash.clone(),
            created_at: stored(session.created_at),
            expires_at: stored(session.expires_at),
        }
    }
}

impl TryFrom<SessionRow> for Session {
    type Error = StoreError;

    fn try_from(row: SessionRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: SessionId::parse(&row.id).map_err(|bad| corrupt("login_sessions.id", bad))?,
            user: UserId::parse(&row.user_id).map_err(|bad| corrupt("login_sessions.user_id", bad))?,
            token_hash: row.token_hash,
            created_at: timestamp(row.created_at),
            expires_at: timestamp(row.expires_at),
        })
    }
}
