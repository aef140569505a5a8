//! Sets of public keys (JWKS, RFC 7517): read, and where they come from.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use serde::Deserialize;

use super::keys::{SigningAlgorithm, VerifyingKey, WireKey};
use crate::ids::SignerId;

/// The largest set, in bytes.
pub const MAX_KEY_SET_BYTES: usize = 256 * 1024;
/// The most keys of a set.
const MAX_KEYS: usize = 100;

/// Why something is no set of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadKeySet {
    /// It is no JWKS.
    #[error("it is no JSON object with a list `keys`")]
    Malformed,
    /// It has more keys than are looked through.
    #[error("it has more than {MAX_KEYS} keys")]
    TooMany,
    /// It has more bytes than are read.
    #[error("it has more than {} KiB", MAX_KEY_SET_BYTES / 1024)]
    TooLarge,
}

/// The keys of a set that verify signatures here; others in it are passed over.
#[derive(Debug, Clone, Default)]
pub struct KeySet(Vec<Arc<VerifyingKey>>);

/// The key that a token asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Its id. A token without names the only key of its algorithm.
    pub kid: Option<String>,
    /// The token's algorithm, which the key must have.
    pub algorithm: SigningAlgorithm,
}

#[derive(Deserialize)]
struct WireSet {
    keys: Vec<serde_json::Value>,
}

impl KeySet {
    /// Reads a set. A key that is not taken here does not spoil the others.
    pub fn parse(text: &[u8]) -> Result<Self, BadKeySet> {
        if text.len() > MAX_KEY_SET_BYTES {
            return Err(BadKeySet::TooLarge);
        }
        let set: WireSet = serde_json::from_slice(text).map_err(|_| BadKeySet::Malformed)?;
        if set.keys.len() > MAX_KEYS {
            return Err(BadKeySet::TooMany);
        }
        let keys = set.keys.into_iter().filter_map(|key| {
            let wire: WireKey = serde_json::from_value(key).ok()?;
            VerifyingKey::from_jwk(wire).ok().map(Arc::new)
        });
        Ok(Self(keys.collect()))
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The key that is wanted.
    pub fn pick(&self, wanted: &Wanted) -> Option<Arc<VerifyingKey>> {
        let mut fitting = self
            .0
            .iter()
            .filter(|key| key.algorithm == wanted.algorithm && (wanted.kid.is_none() || key.kid == wanted.kid));
        let first = fitting.next()?;
        (wanted.kid.is_some() || fitting.next().is_none()).then(|| Arc::clone(first))
    }
}

/// A set cannot be had just now, so that nothing can be said of a token by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the keys of the signer cannot be had")]
pub struct KeysAway {
    /// When it is tried again.
    pub retry_after: Duration,
}

/// The sets of signers, fetched from their URLs and kept.
#[async_trait]
pub trait KeySets: Send + Sync {
    /// The key of a signer's set that a token asks for. A set is fetched when it is first needed, again in the background when it is old, and
    /// for a key that it lacks at most once a minute, failures included; at the same time only once for all who wait. While its URL is
    /// away, the set that was fetched last goes on.
    async fn key(&self, signer: &SignerId, url: &str, wanted: &Wanted) -> Result<Option<Arc<VerifyingKey>>, KeysAway>;
}
