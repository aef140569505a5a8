//! Channels as Pusher names them: what their names begin with says who may subscribe, and whether the last event is kept.

use crate::names::{BadName, ChannelName};

/// What the channel of one signed-in user's begins with.
const OF_USER: &str = "#server-to-user-";

/// Who may subscribe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Whoever knows the app's key.
    Public,
    /// Whoever has a signature of the app's backend.
    Private,
    /// The same, for what the server cannot read.
    Encrypted,
    /// The same, with members.
    Presence,
    /// Only the connection that is signed in as this user.
    User,
}

/// A channel as Pusher sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PusherChannel {
    /// The same channel for all protocols.
    pub name: ChannelName,
    /// Who may subscribe.
    pub access: Access,
    /// Whether its last event is sent to who subscribes.
    pub is_cache: bool,
}

impl PusherChannel {
    /// Reads a name: 1 to 200 bytes of `-a-zA-Z0-9_=@,.;`, or `#server-to-user-` and a user's id of these.
    ///
    /// # Errors
    /// The name has another length or other characters.
    pub fn parse(text: &str) -> Result<Self, BadName> {
        if let Some(user) = text.strip_prefix(OF_USER) {
            let of_user = Self::of_user(user)?;
            return Ok(of_user);
        }
        // Fanfare's own names may have a `:`, which sets a namespace apart; Pusher's may not.
        let name = ChannelName::parse(text)?;
        if text.contains(':') {
            return Err(BadName::new("channel", "has a `:`, which is not allowed in Pusher's names"));
        }
        let (access, rest) = match text {
            _ if text.starts_with("private-encrypted-") => (Access::Encrypted, &text["private-encrypted-".len()..]),
            _ if text.starts_with("private-") => (Access::Private, &text["private-".len()..]),
            _ if text.starts_with("presence-") => (Access::Presence, &text["presence-".len()..]),
            _ => (Access::Public, text),
        };
        Ok(Self { name, access, is_cache: rest.starts_with("cache-") })
    }

    /// The channel of a user's own, to which only its signed-in connections may subscribe.
    ///
    /// # Errors
    /// The id has other characters than a channel's name may have, or is too long.
    pub fn of_user(user: &str) -> Result<Self, BadName> {
        ChannelName::parse(user)?;
        let name = ChannelName::restore(&format!("{OF_USER}{user}"))?;
        Ok(Self { name, access: Access::User, is_cache: false })
    }

    /// The user whose own channel it is.
    pub fn user(&self) -> Option<&str> {
        self.name.as_str().strip_prefix(OF_USER)
    }

    /// Whether clients may send events to it.
    pub fn takes_client_events(&self) -> bool {
        matches!(self.access, Access::Private | Access::Encrypted | Access::Presence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_is_what_the_name_begins_with() {
        for (name, access, is_cache) in [
            ("news", Access::Public, false),
            ("cache-news", Access::Public, true),
            ("not-cache-news", Access::Public, false),
            ("private", Access::Public, false),
            ("private-a", Access::Private, false),
            ("private-cache-a", Access::Private, true),
            ("private-not-cache-a", Access::Private, false),
            ("private-encrypted-a", Access::Encrypted, false),
            ("private-encrypted-cache-a", Access::Encrypted, true),
            ("private-encryptedx", Access::Private, false),
            ("presence-a", Access::Presence, false),
            ("presence-cache-a", Access::Presence, true),
            ("Presence-a", Access::Public, false),
            ("#server-to-user-ann", Access::User, false),
        ] {
            let channel = PusherChannel::parse(name).unwrap();
            assert_eq!((channel.access, channel.is_cache), (access, is_cache), "{name}");
            assert_eq!(channel.name.as_str(), name);
        }
    }

    #[test]
    fn names_are_held_to_their_alphabet_and_length() {
        for good in ["a", "a_b-c=d@e,f.g;h", &"x".repeat(200)] {
            assert!(PusherChannel::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "a b", "a:b", "a/b", "ä", "#a", "#server-to-user-", "#server-to-user-a b", &"x".repeat(201)] {
            assert!(PusherChannel::parse(bad).is_err(), "{bad}");
        }
    }
}
