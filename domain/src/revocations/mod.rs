//! Revocations: what was cut off, as numbered rows of the database, and whether a node knows all of them.
//!
//! [`list`] says what a revocation reaches, [`currency`] whether a list is complete, and [`Enforcement`] keeps both for a node.

use async_trait::async_trait;
use fanfare_protocol::ClientName;

use crate::{
    StoreError, Timestamp,
    ids::{AppId, KeyId, SignerId, TenantId},
};

pub mod currency;
mod enforcement;
mod list;

pub use currency::Beat;
pub use enforcement::Enforcement;
pub use list::{Cut, RevocationList, Standing};

/// The number of a revocation. They are given in the order of commits and without holes, so that whoever knows the latest number and
/// every row up to it knows everything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

/// What is cut off.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Subject {
    /// One token, by its `jti`.
    Token(AppId, String),
    /// All tokens of a client that were issued before.
    Client(AppId, ClientName),
    /// A client's connections, which may come back.
    Connections(AppId, ClientName),
    /// A key and every token that it signed.
    Key(AppId, KeyId),
    /// A signer of the tenant's own and every token that it signed.
    Signer(AppId, SignerId),
    /// Everything of an app that was let in before: whether it may come back, the app's own row says.
    App(AppId),
    /// Everything of a tenant's apps that was let in before: whether it may come back, the tenant's own row says.
    Tenant(TenantId),
}

/// A row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// Its number.
    pub revision: Revision,
    /// What is cut off.
    pub subject: Subject,
    /// When, by the database's clock.
    pub at: Timestamp,
    /// Until when it matters: after that, no token of before is good any more.
    pub until: Timestamp,
}

/// Where the numbers stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Latest {
    /// The number of the last revocation.
    pub revision: Revision,
    /// When that was read, by the database's clock.
    pub now: Timestamp,
}

/// Rows after a number, all of one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rows {
    /// Where the numbers stood.
    pub latest: Latest,
    /// The number up to which they are all here: the latest, or less if there are more than are read at once.
    pub upto: Revision,
    /// The rows that still matter, ascending.
    pub revocations: Vec<Revocation>,
}

/// Live revocations of one app; so memory stays bounded on every node.
pub const MOST_PER_APP: u32 = 10_000;

/// Revocations in the database.
#[async_trait]
pub trait Revocations: Send + Sync {
    /// Cuts something of an app off; returns the number under which it is known. A token that was revoked before keeps its number, a
    /// client gets a new one, since it has new tokens by now. A key is removed along with it; one that is not the app's is `None`.
    /// At most [`MOST_PER_APP`] rows of an app are kept, else [`StoreError::Full`].
    async fn revoke(&self, subject: &Subject, now: Timestamp) -> Result<Option<Revision>, StoreError>;
    /// Where the numbers stand.
    async fn latest(&self) -> Result<Latest, StoreError>;
    /// Everything after a number, or the first of it. No row with a lower number than the latest can appear later.
    async fn after(&self, known: Revision) -> Result<Rows, StoreError>;
    /// The number of the last revocation that this process has made, if nobody else can make one; `None` where others may.
    fn made_here(&self) -> Option<Revision>;
    /// Suspends a tenant, or lets it go on; whether it is there. What is suspended stays so until it is lifted.
    async fn suspend(&self, tenant: &TenantId, suspended: bool, now: Timestamp) -> Result<bool, StoreError>;
}
