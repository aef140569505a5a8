//! Who vouches for a caller.

use crate::{
    directory::AppProfile,
    ids::{KeyId, SignerId},
};

/// Who vouches for a caller: with it, the grant ends.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Voucher {
    /// An API key.
    Key(KeyId),
    /// A key of the tenant's own, or a set of them.
    Signer(SignerId),
}

impl Voucher {
    /// The API key, if it is one.
    pub fn key(&self) -> Option<&KeyId> {
        match self {
            Voucher::Key(key) => Some(key),
            Voucher::Signer(_) => None,
        }
    }

    /// Whether an app, as it is now, still stands by it. Of an API key the app says nothing.
    pub fn stands_in(&self, profile: &AppProfile) -> bool {
        match self {
            Voucher::Key(_) => true,
            Voucher::Signer(id) => profile.signers.iter().any(|signer| signer.id == *id),
        }
    }
}
