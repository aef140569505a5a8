//! Names that clients choose: channels, clients and events, each checked once, where it enters.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {problem}")]
pub struct BadName {
    what: &'static str,
    problem: String,
}

impl BadName {
    pub(crate) fn new(what: &'static str, problem: impl Into<String>) -> Self {
        Self { what, problem: problem.into() }
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $check:path) => {
        name!($(#[$doc])* $name, $check, $check);
    };
    // `$written` judges what Fanfare itself has written, which may be more than what is taken from others.
    ($(#[$doc:meta])* $name:ident, $check:path, $written:path) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks a name.
            pub fn parse(text: &str) -> Result<Self, BadName> {
                $check(text)?;
                Ok(Self(text.into()))
            }

            /// The name as text.
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
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
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
                $written(&text).map_err(serde::de::Error::custom)?;
                Ok(Self(text.into()))
            }
        }
    };
}

name!(
    /// A channel: 1–200 bytes of `A–Z a–z 0–9 _ - = @ , . ; :`. The service's own begin with `#`, and nobody can name them but by [`ChannelName::restore`].
    ChannelName, check_channel, check_written_channel
);
name!(
    /// A client id: 1–128 bytes of UTF-8 without control characters.
    ClientName, check_client
);
name!(
    /// An event name: 0–200 bytes of UTF-8 without control characters.
    EventName, check_event
);
name!(
    /// What stands before the first `:` of a channel, or `_default`.
    Namespace, check_namespace
);

/// The namespace of channels without a `:`, and of those whose own has no rule.
pub const DEFAULT_NAMESPACE: &str = "_default";

impl ChannelName {
    /// Reads back a name that Fanfare itself wrote, which may be one of the service's own.
    pub fn restore(text: &str) -> Result<Self, BadName> {
        check_written_channel(text)?;
        Ok(Self(text.into()))
    }

    /// Whether it is one of the service's own, which are shown to nobody.
    pub fn is_of_service(&self) -> bool {
        self.0.starts_with('#')
    }

    /// What stands before the first `:`; `_default` where there is none.
    pub fn namespace(&self) -> &str {
        match self.0.split_once(':') {
            Some((namespace, _)) => namespace,
            None => DEFAULT_NAMESPACE,
        }
    }
}

fn is_channel_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_-=@,.;:".contains(&byte)
}

fn check_channel(text: &str) -> Result<(), BadName> {
    if text.is_empty() || text.len() > 200 {
        return Err(BadName::new("channel", format!("has {} bytes; 1 to 200 are allowed", text.len())));
    }
    match text.bytes().position(|byte| !is_channel_byte(byte)) {
        Some(at) => Err(BadName::new("channel", format!("has a character at byte {at} that is not allowed"))),
        None => Ok(()),
    }
}

fn check_written_channel(text: &str) -> Result<(), BadName> {
    check_channel(text.strip_prefix('#').unwrap_or(text))
}

fn check_client(text: &str) -> Result<(), BadName> {
    if text.is_empty() || text.len() > 128 {
        return Err(BadName::new("client", format!("has {} bytes; 1 to 128 are allowed", text.len())));
    }
    if text.chars().any(char::is_control) {
        return Err(BadName::new("client", "has a control character"));
    }
    Ok(())
}

fn check_event(text: &str) -> Result<(), BadName> {
    if text.len() > 200 {
        return Err(BadName::new("name", format!("has {} bytes; 0 to 200 are allowed", text.len())));
    }
    if text.chars().any(char::is_control) {
        return Err(BadName::new("name", "has a control character"));
    }
    Ok(())
}

fn check_namespace(text: &str) -> Result<(), BadName> {
    if text.is_empty() || text.len() > 200 {
        return Err(BadName::new("namespace", format!("has {} bytes; 1 to 200 are allowed", text.len())));
    }
    if text.bytes().any(|byte| byte == b':' || !is_channel_byte(byte)) {
        return Err(BadName::new(
            "namespace",
            "has a character that is not allowed in what stands before a channel's first `:`",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_held_to_their_alphabet_and_length() {
        for good in ["a", "chat:1", "A-Z_=@,.;:", &"x".repeat(200)] {
            assert!(ChannelName::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "#service", "a b", "a/b", "ä", "a\n", &"x".repeat(201)] {
            assert!(ChannelName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_of_the_service_are_read_back_and_not_taken_from_others() {
        let own = ChannelName::restore("#server-to-user-ann").unwrap();
        assert!(own.is_of_service() && !ChannelName::restore("ann").unwrap().is_of_service());
        assert_eq!(serde_json::from_str::<ChannelName>("\"#server-to-user-ann\"").unwrap(), own);
        assert!(ChannelName::restore("##").is_err() && ChannelName::restore("#").is_err());
    }

    #[test]
    fn the_namespace_stands_before_the_first_colon() {
        let of = |name| ChannelName::parse(name).unwrap().namespace().to_owned();
        assert_eq!(of("chat:1:2"), "chat");
        assert_eq!(of("lobby"), "_default");
        assert_eq!(of(":x"), "");
    }

    #[test]
    fn clients_and_events_have_no_control_characters() {
        assert!(ClientName::parse("ann å 🙂").is_ok() && EventName::parse("ann å 🙂").is_ok());
        for bad in ["a\u{7}", "\0", "a\nb", "\u{7f}", "\u{85}"] {
            assert!(ClientName::parse(bad).is_err() && EventName::parse(bad).is_err(), "{bad:?}");
        }
        assert!(ClientName::parse(&"x".repeat(129)).is_err());
        assert!(EventName::parse("").is_ok() && EventName::parse(&"x".repeat(201)).is_err());
    }
}
