//! API keys: minted for an app, rotated with grace, revoked.

use std::time::Duration;

use async_trait::async_trait;
use secrecy::SecretString;

use crate::{
    StoreError, Timestamp,
    capabilities::Capability,
    ids::{AppId, KeyId},
    secrets,
    stores::Page,
};

/// What the secret of every key begins with.
pub const SECRET_PREFIX: &str = "fs_";

/// An API key. Its secrets are kept, encrypted, since they must sign.
#[derive(Debug, Clone)]
pub struct Key {
    /// Its id, which also names it in tokens (`kid`).
    pub id: KeyId,
    /// Whose it is.
    pub app: AppId,
    /// What people call it.
    pub name: String,
    /// What it may do.
    pub capability: Capability,
    /// The secret in force.
    pub secret: SecretString,
    /// The secret before the last rotation, until its grace ends.
    pub previous: Option<PreviousSecret>,
    /// When the key stops working by itself.
    pub expires_at: Option<Timestamp>,
    /// When it was minted.
    pub created_at: Timestamp,
}

/// A secret that was rotated away.
#[derive(Debug, Clone)]
pub struct PreviousSecret {
    /// The secret.
    pub secret: SecretString,
    /// When it stops working.
    pub until: Timestamp,
}

impl Key {
    /// A new key with a new secret.
    pub fn mint(
        app: AppId,
        name: String,
        capability: Capability,
        expires_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Self {
        Self {
            id: KeyId::generate(),
            app,
            name,
            capability,
            secret: secrets::generate(SECRET_PREFIX),
            previous: None,
            expires_at,
            created_at: now,
        }
    }

    /// Replaces the secret; the old one stays valid for `grace`.
    pub fn rotate(&mut self, grace: Duration, now: Timestamp) {
        let old = std::mem::replace(&mut self.secret, secrets::generate(SECRET_PREFIX));
        self.previous = (!grace.is_zero()).then(|| PreviousSecret { secret: old, until: now.after(grace) });
    }

    /// Whether the key still works.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|end| now < end)
    }

    /// The secrets that are good now, the newest first, each with the time until which it is.
    pub fn secrets(&self, now: Timestamp) -> impl Iterator<Item = (&SecretString, Option<Timestamp>)> {
        let previous = self.previous.as_ref().filter(|previous| now < previous.until);
        let previous = previous.map(|previous| (&previous.secret, Some(self.earlier(previous.until))));
        std::iter::once((&self.secret, self.expires_at)).chain(previous)
    }

    fn earlier(&self, until: Timestamp) -> Timestamp {
        self.expires_at.map_or(until, |end| end.min(until))
    }

    /// Whether `secret` is one of this key's, compared in constant time.
    pub fn accepts(&self, secret: &SecretString, now: Timestamp) -> bool {
        self.is_live(now) && self.secrets(now).fold(false, |found, (own, _)| found | secrets::same(own, secret))
    }
}

/// Keys by app.
#[async_trait]
pub trait Keys: Send + Sync {
    /// Adds a key, if its app then has at most `most`; else [`StoreError::Full`], however many come at once.
    async fn insert(&self, key: &Key, most: u32) -> Result<(), StoreError>;
    /// A key of an app.
    async fn find(&self, app: &AppId, key: &KeyId) -> Result<Option<Key>, StoreError>;
    /// A key by id alone, whoever's it is: for authentication, which learns the app from it.
    async fn find_by_id(&self, key: &KeyId) -> Result<Option<Key>, StoreError>;
    /// An app's keys, oldest first.
    async fn list(&self, app: &AppId, page: &Page) -> Result<Vec<Key>, StoreError>;
    /// Rotates a key, as [`Key::rotate`] does; the key as it is then, if it is there. Rotations at the same time happen one after the other.
    async fn rotate(
        &self,
        app: &AppId,
        key: &KeyId,
        grace: Duration,
        now: Timestamp,
    ) -> Result<Option<Key>, StoreError>;
    /// Revokes a key; whether it was there.
    async fn remove(&self, app: &AppId, key: &KeyId) -> Result<bool, StoreError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rotated_secret_is_good_until_its_grace_ends() {
        let start = Timestamp(1_000);
        let mut key = Key::mint(AppId::generate(), "k".into(), Capability::everything(), None, start);
        let old = key.secret.clone();
        key.rotate(Duration::from_secs(10), start);
        let new = key.secret.clone();
        assert!(!secrets::same(&old, &new));
        assert!(key.accepts(&old, Timestamp(10_999)) && key.accepts(&new, Timestamp(10_999)));
        assert!(!key.accepts(&old, Timestamp(11_000)) && key.accepts(&new, Timestamp(11_000)));
    }

    #[test]
    fn an_expired_key_accepts_nothing() {
        let key = Key::mint(AppId::generate(), "k".into(), Capability::everything(), Some(Timestamp(5)), Timestamp(1));
        assert!(key.accepts(&key.secret, Timestamp(4)));
        assert!(!key.accepts(&key.secret, Timestamp(5)));
    }
}
