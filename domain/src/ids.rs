//! Ids: a prefix that says what it names, and a sortable ULID.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A text that is not an id of the kind that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an id here looks like `{prefix}…`")]
pub struct BadId {
    prefix: &'static str,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// What every id of this kind begins with.
            pub const PREFIX: &'static str = $prefix;

            /// A new id that sorts after those made before it.
            pub fn generate() -> Self {
                Self(format!(concat!($prefix, "{}"), ulid::Ulid::generate().to_string().to_ascii_lowercase()).into())
            }

            /// Reads an id back: the prefix, then 1 to 60 letters and digits.
            pub fn parse(text: &str) -> Result<Self, BadId> {
                match text.strip_prefix($prefix) {
                    Some(rest) if (1..=60).contains(&rest.len()) && rest.bytes().all(|b| b.is_ascii_alphanumeric()) => {
                        Ok(Self(text.into()))
                    }
                    _ => Err(BadId { prefix: $prefix }),
                }
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::parse(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

id!(
    /// A tenant.
    TenantId, "ten_"
);
id!(
    /// A person who signs in.
    UserId, "usr_"
);
id!(
    /// A login session; the secret token of it is something else.
    SessionId, "ssn_"
);
id!(
    /// An app of a tenant.
    AppId, "app_"
);
id!(
    /// An API key of an app.
    KeyId, "fk_"
);
id!(
    /// A key of a tenant's own, or a set of them, that signs tokens of an app.
    SignerId, "sig_"
);
id!(
    /// A webhook of an app.
    WebhookId, "hook_"
);
id!(
    /// Something that a webhook is to be told.
    TellingId, "tel_"
);
id!(
    /// A message.
    MessageId, "msg_"
);
id!(
    /// A message that was set aside.
    DeadLetterId, "dead_"
);
id!(
    /// A worker process.
    WorkerId, "wrk_"
);
id!(
    /// A client's connection.
    ConnectionId, "con_"
);

impl ConnectionId {
    /// The number that the id is, if it is one that was generated.
    pub fn number(&self) -> Option<u128> {
        ulid::Ulid::from_string(self.0.strip_prefix(Self::PREFIX)?).ok().map(|ulid| ulid.0)
    }

    /// The id of a number.
    pub fn of_number(number: u128) -> Self {
        Self(format!("{}{}", Self::PREFIX, ulid::Ulid(number).to_string().to_ascii_lowercase()).into())
    }
}

impl MessageId {
    /// The id that a publish with an idempotency key has, whoever asks: the first 130 bits of a hash, in the alphabet of ULIDs.
    pub fn derived(hash: &[u8; 32]) -> Self {
        const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
        let text: String = hash[..26].iter().map(|byte| char::from(ALPHABET[usize::from(byte & 31)])).collect();
        Self(format!("{}{text}", Self::PREFIX).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_back_and_refuse_other_prefixes() {
        let id = AppId::generate();
        assert_eq!(AppId::parse(id.as_str()), Ok(id.clone()));
        assert!(TenantId::parse(id.as_str()).is_err());
        assert!(AppId::parse("app_").is_err());
        assert!(AppId::parse("app_a/../b").is_err());
    }
}
