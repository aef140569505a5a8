//! An API key as people hold it: `fk_….fs_…`, from an option or from `FANFARE_KEY`.

use std::time::Duration;

use fanfare_domain::{
    Timestamp,
    capabilities::Capability,
    ids::{AppId, KeyId},
    keys::{Key, SECRET_PREFIX},
    tokens::{self, NewToken},
};
use fanfare_protocol::ClientName;
use secrecy::{ExposeSecret, SecretString};

use crate::problem::Problem;

/// A key's id and its secret.
#[derive(Debug, Clone)]
pub struct ApiKey {
    id: KeyId,
    secret: SecretString,
}

impl ApiKey {
    /// Reads `fk_….fs_…`. What is said of a wrong one never repeats it.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let wrong = || {
            Problem::new(
                "the key is not an API key with its secret",
                "A key looks like `fk_….fs_…`: the id, a dot and the secret that was shown once, when the key was minted.",
            )
        };
        let (id, secret) = text.trim().split_once('.').ok_or_else(wrong)?;
        let id = KeyId::parse(id).map_err(|_| wrong())?;
        if !secret.starts_with(SECRET_PREFIX)
            || !secret.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        {
            return Err(wrong());
        }
        Ok(Self { id, secret: SecretString::from(secret.to_owned()) })
    }

    /// The key that an option or the environment gave.
    pub fn required(text: Option<&str>) -> Result<Self, Problem> {
        let text = text.ok_or_else(|| {
            Problem::new(
                "no API key was given",
                "Set FANFARE_KEY=fk_….fs_…, or give --key. `fanfare serve --demo` prints one to try with.",
            )
        })?;
        Self::parse(text)
    }

    /// What stands after `Bearer ` in the header `Authorization`.
    pub fn bearer(&self) -> String {
        format!("{}.{}", self.id, self.secret.expose_secret())
    }

    /// Mints a client token here, without asking a server; the server cuts it down to what the key may do.
    pub fn mint(&self, client: Option<ClientName>, capability: Capability, ttl: Duration, now: Timestamp) -> String {
        // Only the id and the secret go into a token; the key's app and own rights are the server's to know.
        let key = Key {
            id: self.id.clone(),
            app: AppId::generate(),
            name: String::new(),
            capability: Capability::everything(),
            secret: self.secret.clone(),
            previous: None,
            expires_at: None,
            created_at: now,
        };
        tokens::mint(&key, NewToken { client, capability, info: None, ttl }, now).0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_its_id_a_dot_and_its_secret() {
        let key = ApiKey::parse(" fk_01abc.fs_Secret1\n").unwrap();
        assert_eq!(key.bearer(), "fk_01abc.fs_Secret1");
        for bad in ["", "fk_01abc", "fk_01abc.", "fs_x.fk_y", "fk_01abc.fs_a b", "app_1.fs_x"] {
            let said = ApiKey::parse(bad).unwrap_err().to_string();
            assert!(bad.is_empty() || !said.contains(bad), "{said}");
        }
    }

    #[test]
    fn what_is_minted_here_verifies_there() {
        let now = Timestamp(1_700_000_000_000);
        let theirs = Key::mint(AppId::generate(), "k".into(), Capability::everything(), None, now);
        let ours = ApiKey::parse(&format!("{}.{}", theirs.id, theirs.secret.expose_secret())).unwrap();
        let ann = ClientName::parse("ann").unwrap();
        let token = ours.mint(Some(ann.clone()), Capability::everything(), Duration::from_secs(60), now);
        assert_eq!(tokens::signing_key(&token), Some(theirs.id.clone()));
        assert_eq!(tokens::verify(&token, &theirs, now).unwrap().client, Some(ann));
    }
}
