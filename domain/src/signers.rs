//! Signers: keys of a tenant's own that sign client tokens of one app, bound to an issuer and an audience.

use async_trait::async_trait;

use crate::{
    StoreError, Timestamp,
    capabilities::{Capability, Right},
    ids::{AppId, SignerId},
    stores::Page,
};

mod freshness;
mod key_sets;
mod keys;
mod verifying;

pub use freshness::{Freshness, Step};
pub use key_sets::{BadKeySet, KeySet, KeySets, KeysAway, MAX_KEY_SET_BYTES, Wanted};
pub use keys::{BadKey, SigningAlgorithm, VerifyingKey};
pub(crate) use verifying::{Presented, verify};

/// As many signers as an app may have.
pub const MAX_SIGNERS: u32 = 20;
/// The longest issuer, audience or key id, in bytes.
pub const MAX_NAME_BYTES: usize = 512;

/// Who else than our API keys may sign client tokens of an app. It is never changed: a new one is added, and the old one removed.
#[derive(Debug, Clone)]
pub struct Signer {
    /// Its id.
    pub id: SignerId,
    /// The app whose tokens it signs; it is nothing to any other.
    pub app: AppId,
    /// What people call it.
    pub name: String,
    /// What its tokens have as `iss`.
    pub issuer: String,
    /// What its tokens have as `aud`, or among it.
    pub audience: String,
    /// What its signatures are verified with.
    pub keys: SignerKeys,
    /// What its tokens may do at most.
    pub capability: Capability,
    /// When it was added.
    pub created_at: Timestamp,
}

/// What signatures are verified with.
#[derive(Debug, Clone)]
pub enum SignerKeys {
    /// One public key.
    Pem {
        /// The key as it was given.
        pem: String,
        /// The key as it verifies.
        key: VerifyingKey,
    },
    /// A JSON Web Key Set (RFC 7517) at a URL.
    Jwks {
        /// Where the set is.
        url: String,
    },
}

/// What a signer's tokens may do where it names no capability: everything but `admin`, on every channel.
pub fn usual_capability() -> Capability {
    let rights = Right::ALL.into_iter().filter(|right| *right != Right::Admin).collect();
    Capability::new([("*".to_owned(), rights)].into()).expect("`*` is a pattern")
}

/// Signers by app.
#[async_trait]
pub trait Signers: Send + Sync {
    /// Adds a signer, if its app then has at most `most`; else [`StoreError::Full`], however many come at once.
    async fn insert(&self, signer: &Signer, most: u32) -> Result<(), StoreError>;
    /// A signer of an app.
    async fn find(&self, app: &AppId, signer: &SignerId) -> Result<Option<Signer>, StoreError>;
    /// An app's signers, oldest first.
    async fn list(&self, app: &AppId, page: &Page) -> Result<Vec<Signer>, StoreError>;
    /// Removes a signer; whether it was there.
    async fn remove(&self, app: &AppId, signer: &SignerId) -> Result<bool, StoreError>;
}

#[cfg(test)]
mod tests;
