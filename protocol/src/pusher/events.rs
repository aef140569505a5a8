//! What the server sends. `data` is a string, mostly of JSON encoded once more; where Pusher's own documents show an object, it is one.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::RawValue;

use super::{CloseCode, data::text_of};
use crate::names::{ChannelName, ClientName};

/// What an event without a name is called.
const UNNAMED: &str = "message";

#[derive(Serialize)]
struct Frame<'a, D> {
    event: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<&'a ChannelName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<D>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<&'a ClientName>,
}

impl<D: Serialize> Frame<'_, D> {
    fn text(&self) -> String {
        serde_json::to_string(self).expect("an event has string keys")
    }
}

/// The text of a message of a channel. `of_client` says whether a client sent it: its data then is what the client wrote, and a member's name
/// goes with it.
pub fn message_text(
    channel: &ChannelName,
    name: Option<&str>,
    data: &RawValue,
    of_client: bool,
    member: Option<&ClientName>,
) -> String {
    let event = name.unwrap_or(UNNAMED);
    match of_client {
        true => Frame { event, channel: Some(channel), data: Some(data), user_id: member }.text(),
        false => Frame { event, channel: Some(channel), data: Some(text_of(data)), user_id: None }.text(),
    }
}

/// What the server says of itself.
#[derive(Debug)]
pub enum Said<'a> {
    /// The connection is there.
    Established {
        /// Its id, `N.N`.
        socket_id: &'a str,
        /// After so many seconds of silence the client asks for a sign of life.
        activity_timeout: u64,
    },
    /// A sign of life is asked for.
    Ping,
    /// A sign of life.
    Pong,
    /// Something went wrong, with its code if it has one.
    Error(&'a str, Option<CloseCode>),
    /// A channel is subscribed. Of one with members, who they are: by id, with what their app says of them.
    Subscribed(&'a ChannelName, Option<BTreeMap<&'a str, Option<&'a RawValue>>>),
    /// A channel was not subscribed.
    Refused {
        /// As the client wrote it.
        channel: &'a str,
        /// `AuthError`, or what else was wrong.
        kind: &'static str,
        /// Why.
        error: &'a str,
        /// As of HTTP.
        status: u16,
    },
    /// A user's first connection joined.
    MemberAdded(&'a ChannelName, &'a ClientName, Option<&'a RawValue>),
    /// A user's last connection left.
    MemberRemoved(&'a ChannelName, &'a ClientName),
    /// Nothing is kept of a cache channel.
    CacheMiss(&'a ChannelName),
    /// How many connections subscribe.
    SubscriptionCount(&'a ChannelName, u64),
    /// The connection is signed in.
    SignedIn {
        /// What was signed, to the letter.
        user_data: &'a str,
    },
    /// Which of the watched users have a signed-in connection from now on, and which have none.
    Watchlist {
        /// These have.
        online: &'a [&'a str],
        /// These have none.
        offline: &'a [&'a str],
    },
}

impl Said<'_> {
    /// The text of the frame.
    pub fn to_text(&self) -> String {
        match self {
            Self::Established { socket_id, activity_timeout } => {
                #[derive(Serialize)]
                struct Established<'a> {
                    socket_id: &'a str,
                    activity_timeout: u64,
                }
                let data = Established { socket_id, activity_timeout: *activity_timeout };
                encoded("pusher:connection_established", None, &data)
            }
            Self::Ping => encoded("pusher:ping", None, &Empty {}),
            Self::Pong => encoded("pusher:pong", None, &Empty {}),
            Self::Error(message, code) => {
                #[derive(Serialize)]
                struct Error<'a> {
                    message: &'a str,
                    code: Option<u16>,
                }
                let data = Error { message, code: code.map(|code| code.0) };
                Frame { event: "pusher:error", channel: None, data: Some(data), user_id: None }.text()
            }
            Self::Subscribed(channel, members) => {
                let event = "pusher_internal:subscription_succeeded";
                match members {
                    None => encoded(event, Some(channel), &Empty {}),
                    Some(members) => encoded(event, Some(channel), &Roster { presence: Presence::of(members) }),
                }
            }
            Self::Refused { channel, kind, error, status } => {
                #[derive(Serialize)]
                struct Refused<'a> {
                    r#type: &'a str,
                    error: &'a str,
                    status: u16,
                }
                // The name may be none that a channel can have.
                #[derive(Serialize)]
                struct OfAny<'a> {
                    event: &'a str,
                    channel: &'a str,
                    data: String,
                }
                let data = json(&Refused { r#type: kind, error, status: *status });
                json(&OfAny { event: "pusher:subscription_error", channel, data })
            }
            Self::MemberAdded(channel, user_id, user_info) => {
                #[derive(Serialize)]
                struct Added<'a> {
                    user_id: &'a ClientName,
                    #[serde(skip_serializing_if = "Option::is_none")]
                    user_info: Option<&'a RawValue>,
                }
                let data = Added { user_id, user_info: *user_info };
                encoded("pusher_internal:member_added", Some(channel), &data)
            }
            Self::MemberRemoved(channel, user_id) => {
                #[derive(Serialize)]
                struct Removed<'a> {
                    user_id: &'a ClientName,
                }
                encoded("pusher_internal:member_removed", Some(channel), &Removed { user_id })
            }
            Self::CacheMiss(channel) => {
                let none: Option<&str> = None;
                Frame { event: "pusher:cache_miss", channel: Some(channel), data: none, user_id: None }.text()
            }
            Self::SubscriptionCount(channel, subscription_count) => {
                #[derive(Serialize)]
                struct Count {
                    subscription_count: u64,
                }
                let data = Count { subscription_count: *subscription_count };
                encoded("pusher_internal:subscription_count", Some(channel), &data)
            }
            Self::SignedIn { user_data } => {
                #[derive(Serialize)]
                struct SignedIn<'a> {
                    user_data: &'a str,
                }
                let data = Some(SignedIn { user_data });
                Frame { event: "pusher:signin_success", channel: None, data, user_id: None }.text()
            }
            Self::Watchlist { online, offline } => {
                #[derive(Serialize)]
                struct Event<'a> {
                    name: &'a str,
                    user_ids: &'a [&'a str],
                }
                #[derive(Serialize)]
                struct Events<'a> {
                    events: Vec<Event<'a>>,
                }
                let both = [("online", *online), ("offline", *offline)];
                let events = both.into_iter().filter(|(_, users)| !users.is_empty());
                let events = events.map(|(name, user_ids)| Event { name, user_ids }).collect();
                encoded("pusher_internal:watchlist_events", None, &Events { events })
            }
        }
    }
}

#[derive(Serialize)]
struct Empty {}

#[derive(Serialize)]
struct Roster<'a> {
    presence: Presence<'a>,
}

#[derive(Serialize)]
struct Presence<'a> {
    count: usize,
    ids: Vec<&'a str>,
    hash: &'a BTreeMap<&'a str, Option<&'a RawValue>>,
}

impl<'a> Presence<'a> {
    fn of(members: &'a BTreeMap<&'a str, Option<&'a RawValue>>) -> Self {
        Self { count: members.len(), ids: members.keys().copied().collect(), hash: members }
    }
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("what the server says has string keys")
}

fn encoded(event: &str, channel: Option<&ChannelName>, data: &impl Serialize) -> String {
    Frame { event, channel, data: Some(json(data)), user_id: None }.text()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pusher::data_of;

    fn channel() -> ChannelName {
        ChannelName::parse("presence-a").unwrap()
    }

    #[test]
    fn data_is_encoded_once_more_but_where_the_documents_show_an_object() {
        let ann = ClientName::parse("ann").unwrap();
        let info = data_of(r#"{"name":"Ann"}"#);
        let members = BTreeMap::from([("ann", Some(&*info)), ("bob", None)]);
        for (said, text) in [
            (
                Said::Established { socket_id: "1.2", activity_timeout: 120 },
                r#"{"event":"pusher:connection_established","data":"{\"socket_id\":\"1.2\",\"activity_timeout\":120}"}"#,
            ),
            (Said::Pong, r#"{"event":"pusher:pong","data":"{}"}"#),
            (
                Said::Error("no", Some(CloseCode::CLIENT_EVENT_REFUSED)),
                r#"{"event":"pusher:error","data":{"message":"no","code":4301}}"#,
            ),
            (Said::Error("no", None), r#"{"event":"pusher:error","data":{"message":"no","code":null}}"#),
            (
                Said::Subscribed(&channel(), None),
                r#"{"event":"pusher_internal:subscription_succeeded","channel":"presence-a","data":"{}"}"#,
            ),
            (
                Said::Subscribed(&channel(), Some(members)),
                r#"{"event":"pusher_internal:subscription_succeeded","channel":"presence-a","data":"{\"presence\":{\"count\":2,\"ids\":[\"ann\",\"bob\"],\"hash\":{\"ann\":{\"name\":\"Ann\"},\"bob\":null}}}"}"#,
            ),
            (
                Said::MemberAdded(&channel(), &ann, Some(&info)),
                r#"{"event":"pusher_internal:member_added","channel":"presence-a","data":"{\"user_id\":\"ann\",\"user_info\":{\"name\":\"Ann\"}}"}"#,
            ),
            (Said::CacheMiss(&channel()), r#"{"event":"pusher:cache_miss","channel":"presence-a"}"#),
            (
                Said::SignedIn { user_data: r#"{"id":"1"}"# },
                r#"{"event":"pusher:signin_success","data":{"user_data":"{\"id\":\"1\"}"}}"#,
            ),
            (
                Said::Watchlist { online: &[], offline: &["b"] },
                r#"{"event":"pusher_internal:watchlist_events","data":"{\"events\":[{\"name\":\"offline\",\"user_ids\":[\"b\"]}]}"}"#,
            ),
        ] {
            assert_eq!(said.to_text(), text);
        }
    }

    #[test]
    fn a_published_event_carries_a_string_and_a_clients_what_the_client_wrote() {
        let ann = ClientName::parse("ann").unwrap();
        let data = data_of(r#"{"a": 1}"#);
        assert_eq!(
            message_text(&channel(), Some("x"), &data, false, Some(&ann)),
            r#"{"event":"x","channel":"presence-a","data":"{\"a\": 1}"}"#
        );
        assert_eq!(
            message_text(&channel(), Some("client-x"), &data, true, Some(&ann)),
            r#"{"event":"client-x","channel":"presence-a","data":{"a": 1},"user_id":"ann"}"#
        );
        assert_eq!(
            message_text(&channel(), None, &data_of("hi"), false, None),
            r#"{"event":"message","channel":"presence-a","data":"hi"}"#
        );
    }
}
