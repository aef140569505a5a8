//! Signatures: HMAC-SHA256 in hexadecimal digits, by the whole secret of an API key (Pusher's documents, "auth signatures" and "rest api").

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::{Timestamp, keys::Key};

/// A signature is none of this key's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not match")]
pub struct BadSignature;

/// What an app's backend signs for a connection.
#[derive(Debug, Clone, Copy)]
pub enum Signed<'a> {
    /// That it may subscribe to a channel, with what the backend says of it, to the letter.
    Subscription {
        /// The channel.
        channel: &'a str,
        /// What was said, if anything.
        data: Option<&'a str>,
    },
    /// Who it is, to the letter.
    User(&'a str),
}

impl Signed<'_> {
    /// Whether `auth` (`KEY:SIGNATURE`) is this, signed by that key for this connection with a secret that is good now.
    ///
    /// # Errors
    /// It is not.
    pub fn verify(&self, auth: &str, key: &Key, socket_id: &str, now: Timestamp) -> Result<(), BadSignature> {
        let (named, presented) = auth.split_once(':').ok_or(BadSignature)?;
        if named != key.id.as_str() {
            return Err(BadSignature);
        }
        let text = match self {
            Self::Subscription { channel, data: None } => format!("{socket_id}:{channel}"),
            Self::Subscription { channel, data: Some(data) } => format!("{socket_id}:{channel}:{data}"),
            Self::User(user_data) => format!("{socket_id}::user::{user_data}"),
        };
        verify(key, text.as_bytes(), presented, now)
    }
}

/// Whether `presented` is the signature of `text` by a secret of the key that is good now, compared in constant time.
///
/// # Errors
/// It is not, or the key does not work any more.
pub fn verify(key: &Key, text: &[u8], presented: &str, now: Timestamp) -> Result<(), BadSignature> {
    let fits = key.secrets(now).fold(false, |found, (secret, _)| {
        let own = signature(secret, text);
        found | bool::from(own.as_bytes().ct_eq(presented.as_bytes()))
    });
    if fits && key.is_live(now) { Ok(()) } else { Err(BadSignature) }
}

/// The signature of some bytes.
pub fn signature(secret: &SecretString, bytes: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes()).expect("HMAC takes any key");
    mac.update(bytes);
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{capabilities::Capability, ids::AppId};

    /// The key and the vectors of Pusher's documents.
    fn key() -> Key {
        let mut key = Key::mint(AppId::generate(), "k".into(), Capability::everything(), None, Timestamp(1));
        key.secret = SecretString::from("7ad3773142a6692b25b8");
        key
    }

    #[test]
    fn the_documents_vectors_are_met() {
        let secret = &key().secret;
        for (text, begins, ends) in [
            ("1234.1234:private-foobar", "58df8b0c", "51c3a4"),
            (r#"1234.1234::user::{"id":"12345"}"#, "4708d583", "de336ba"),
            (
                "POST\n/apps/3/events\nauth_key=278d425bdf160c739803&auth_timestamp=1353088179&auth_version=1.0&body_md5=ec365a775a4cd0599faeb73354201b6f",
                "da454824",
                "57e6c",
            ),
        ] {
            let signed = signature(secret, text.as_bytes());
            assert!(signed.starts_with(begins) && signed.ends_with(ends) && signed.len() == 64, "{text}: {signed}");
        }
    }

    #[test]
    fn only_what_was_signed_by_this_key_for_this_connection_is_good() {
        let (mut key, now) = (key(), Timestamp(10));
        let of = |key: &Key, text: &str| format!("{}:{}", key.id, signature(&key.secret, text.as_bytes()));
        let private = Signed::Subscription { channel: "private-a", data: None };
        let member = Signed::Subscription { channel: "presence-a", data: Some("{\"user_id\":1}") };
        let user = Signed::User("{\"id\":\"ann\"}");
        let auth = of(&key, "1.2:private-a");
        assert!(private.verify(&auth, &key, "1.2", now).is_ok());
        assert!(member.verify(&of(&key, "1.2:presence-a:{\"user_id\":1}"), &key, "1.2", now).is_ok());
        assert!(user.verify(&of(&key, "1.2::user::{\"id\":\"ann\"}"), &key, "1.2", now).is_ok());
        assert!(private.verify(&auth, &key, "1.3", now).is_err(), "another connection");
        assert!(member.verify(&auth, &key, "1.2", now).is_err(), "another channel");
        assert!(private.verify(&auth.to_uppercase(), &key, "1.2", now).is_err());
        for bad in ["", ":", "fk_1:", &auth[..auth.len() - 1], &format!("fk_other:{}", auth.split_once(':').unwrap().1)]
        {
            assert!(private.verify(bad, &key, "1.2", now).is_err(), "{bad}");
        }
        key.rotate(Duration::from_secs(5), now);
        assert!(private.verify(&auth, &key, "1.2", Timestamp(4_000)).is_ok(), "the old secret has its grace");
        assert!(private.verify(&auth, &key, "1.2", Timestamp(6_000)).is_err());
    }
}
