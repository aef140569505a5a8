//! Accounts: tenants, the people who belong to them, and their login sessions.

use async_trait::async_trait;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::{
    StoreError, Timestamp,
    ids::{SessionId, TenantId, UserId},
    secrets,
};

pub mod passwords;
pub mod roles;

pub use roles::{Permission, Role};

/// How long a login session lasts.
pub const SESSION_LIFE: std::time::Duration = std::time::Duration::from_secs(30 * 86_400);

/// The most sessions that are listed at once.
pub const LISTED_SESSIONS: u32 = 100;

/// A customer: apps, keys and people belong to it.
#[derive(Debug, Clone)]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// What people call it.
    pub name: String,
    /// The name of its plan.
    pub plan: String,
    /// When it signed up.
    pub created_at: Timestamp,
}

impl Tenant {
    /// A new tenant.
    pub fn new(name: String, plan: String, now: Timestamp) -> Self {
        Self { id: TenantId::generate(), name, plan, created_at: now }
    }
}

/// An email address as people log in with it: lower case, one `@`, no spaces.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Email(String);

/// A text that is not an email address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an email address looks like `ann@example.com`")]
pub struct BadEmail;

impl Email {
    /// Checks the shape only; whether mail arrives is another matter.
    pub fn parse(text: &str) -> Result<Self, BadEmail> {
        let text = text.trim();
        let (local, host) = text.rsplit_once('@').ok_or(BadEmail)?;
        let fits = !local.is_empty() && host.len() >= 3 && host.contains('.') && text.len() <= 254;
        let clean = !text.chars().any(|c| c.is_whitespace() || c.is_control()) && !local.contains('@');
        if fits && clean { Ok(Self(text.to_lowercase())) } else { Err(BadEmail) }
    }

    /// The address as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A person.
#[derive(Debug, Clone)]
pub struct User {
    /// Their id.
    pub id: UserId,
    /// Where they get mail, and what they log in with.
    pub email: Email,
    /// The argon2id hash of their password, in PHC form.
    pub password_hash: SecretString,
    /// When they signed up.
    pub created_at: Timestamp,
}

/// A login session. Only the hash of its token is kept.
#[derive(Debug, Clone)]
pub struct Session {
    /// Its id, by which it is listed and ended.
    pub id: SessionId,
    /// Whose it is.
    pub user: UserId,
    /// SHA-256 of the token, hex.
    pub token_hash: String,
    /// When it began.
    pub created_at: Timestamp,
    /// When it ends by itself.
    pub expires_at: Timestamp,
}

impl Session {
    /// A new session, and its token (`ses_…`), which is shown once.
    pub fn begin(user: UserId, now: Timestamp) -> (Self, SecretString) {
        let token = secrets::generate("ses_");
        let session = Self {
            id: SessionId::generate(),
            user,
            token_hash: secrets::fingerprint(&token),
            created_at: now,
            expires_at: now.after(SESSION_LIFE),
        };
        (session, token)
    }
}

/// A tenant and what somebody is in it.
#[derive(Debug, Clone)]
pub struct Membership {
    /// The tenant.
    pub tenant: Tenant,
    /// The role.
    pub role: Role,
}

/// Why a sign-up failed.
#[derive(Debug, thiserror::Error)]
pub enum SignUpError {
    /// The address has an account already.
    #[error("the email address is taken")]
    EmailTaken,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Tenants, users, memberships and login sessions.
#[async_trait]
pub trait Accounts: Send + Sync {
    /// Adds a user, a tenant that they own, and their first session, or nothing at all.
    async fn sign_up(&self, user: &User, tenant: &Tenant, session: &Session) -> Result<(), SignUpError>;
    /// A user by email address.
    async fn user_by_email(&self, email: &Email) -> Result<Option<User>, StoreError>;
    /// Replaces a user's password hash and ends all their sessions but `keep`.
    async fn set_password(
        &self,
        user: &UserId,
        password_hash: &SecretString,
        keep: &SessionId,
    ) -> Result<(), StoreError>;
    /// A tenant by id.
    async fn tenant(&self, tenant: &TenantId) -> Result<Option<Tenant>, StoreError>;
    /// Whether a tenant is suspended, and so all its apps.
    async fn is_suspended(&self, tenant: &TenantId) -> Result<bool, StoreError>;
    /// Writes back a tenant's name; whether it was there.
    async fn rename_tenant(&self, tenant: &TenantId, name: &str) -> Result<bool, StoreError>;
    /// What a user is in a tenant.
    async fn role(&self, user: &UserId, tenant: &TenantId) -> Result<Option<Role>, StoreError>;
    /// The tenants that a user belongs to.
    async fn memberships(&self, user: &UserId) -> Result<Vec<Membership>, StoreError>;
    /// Adds a login session, and drops those of this user that are over.
    async fn begin_session(&self, session: &Session, now: Timestamp) -> Result<(), StoreError>;
    /// A live session by the hash of its token, with its user.
    async fn session(&self, token_hash: &str, now: Timestamp) -> Result<Option<(Session, User)>, StoreError>;
    /// A user's live sessions, newest first, at most [`LISTED_SESSIONS`].
    async fn sessions(&self, user: &UserId, now: Timestamp) -> Result<Vec<Session>, StoreError>;
    /// Ends a user's session; whether it was there.
    async fn end_session(&self, user: &UserId, session: &SessionId) -> Result<bool, StoreError>;
}

/// What may be asked of a password: 10 to 1,000 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("a password has 10 to 1000 bytes")]
pub struct BadPassword;

/// Checks a new password.
pub fn check_password(password: &str) -> Result<(), BadPassword> {
    if (10..=1_000).contains(&password.len()) { Ok(()) } else { Err(BadPassword) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn email_addresses_are_compared_in_lower_case() {
        assert_eq!(Email::parse(" Ann@Example.COM ").unwrap().as_str(), "ann@example.com");
        for bad in ["", "ann", "@example.com", "ann@x", "a b@example.com", "a@b@example.com"] {
            assert!(Email::parse(bad).is_err(), "{bad}");
        }
    }
}
