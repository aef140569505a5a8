//! What a client sends: one JSON object a frame, with its `event`.

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::value::RawValue;

/// What a client asks for or says.
#[derive(Debug)]
pub enum Request {
    /// `pusher:subscribe`.
    Subscribe {
        /// The channel, not looked at yet.
        channel: String,
        /// `KEY:SIGNATURE`; empty where none is needed.
        auth: String,
        /// What was signed with it, to the letter.
        channel_data: Option<String>,
    },
    /// `pusher:unsubscribe`.
    Unsubscribe {
        /// The channel.
        channel: String,
    },
    /// `pusher:ping`.
    Ping,
    /// `pusher:pong`.
    Pong,
    /// `pusher:signin`.
    SignIn {
        /// `KEY:SIGNATURE`.
        auth: String,
        /// What was signed, to the letter.
        user_data: String,
    },
    /// `client-…`: an event for the channel's other subscribers.
    ClientEvent {
        /// Its name.
        event: String,
        /// The channel.
        channel: String,
        /// Its data, as sent.
        data: Box<RawValue>,
    },
    /// Anything else.
    Other {
        /// Its name.
        event: String,
    },
}

/// Why a frame says nothing, for whoever wrote its client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(pub String);

#[derive(Deserialize)]
struct Frame {
    event: String,
    #[serde(default)]
    channel: Option<String>,
    #[serde(default)]
    data: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Subscribe {
    channel: String,
    #[serde(default)]
    auth: Option<String>,
    #[serde(default)]
    channel_data: Option<String>,
}

#[derive(Deserialize)]
struct Unsubscribe {
    channel: String,
}

#[derive(Deserialize)]
struct SignIn {
    auth: String,
    user_data: String,
}

impl Request {
    /// Reads a text frame.
    ///
    /// # Errors
    /// It is no JSON object with an `event`, or what the event needs is missing.
    pub fn read(text: &str) -> Result<Self, Unreadable> {
        let wrong = |_| Unreadable("a frame is one JSON object with a string `event`".to_owned());
        let Frame { event, channel, data } = serde_json::from_str(text).map_err(wrong)?;
        let data = data.as_deref();
        Ok(match event.as_str() {
            "pusher:ping" => Self::Ping,
            "pusher:pong" => Self::Pong,
            "pusher:subscribe" => {
                let Subscribe { channel, auth, channel_data } = read(&event, data, "{channel, auth?, channel_data?}")?;
                Self::Subscribe { channel, auth: auth.unwrap_or_default(), channel_data }
            }
            "pusher:unsubscribe" => {
                let Unsubscribe { channel } = read(&event, data, "{channel}")?;
                Self::Unsubscribe { channel }
            }
            "pusher:signin" => {
                let SignIn { auth, user_data } = read(&event, data, "{auth, user_data}")?;
                Self::SignIn { auth, user_data }
            }
            name if name.starts_with("client-") => {
                let channel = channel.ok_or_else(|| Unreadable(format!("`{event}` needs a `channel`")))?;
                let data = data.map_or_else(|| RawValue::NULL.to_owned(), RawValue::to_owned);
                Self::ClientEvent { event, channel, data }
            }
            _ => Self::Other { event },
        })
    }
}

/// Reads an event's data, which may be an object, or a string that holds one.
fn read<T: DeserializeOwned>(event: &str, data: Option<&RawValue>, shape: &str) -> Result<T, Unreadable> {
    let wrong = || Unreadable(format!("the data of `{event}` is {shape}, its members strings"));
    let text = data.ok_or_else(wrong)?.get();
    let inner = text.starts_with('"').then(|| serde_json::from_str::<String>(text)).transpose().map_err(|_| wrong())?;
    serde_json::from_str(inner.as_deref().unwrap_or(text)).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_may_be_an_object_or_a_string_that_holds_one() {
        for text in [
            r#"{"event":"pusher:subscribe","data":{"channel":"private-a","auth":"k:s","more":1}}"#,
            r#"{"event":"pusher:subscribe","data":"{\"channel\":\"private-a\",\"auth\":\"k:s\"}"}"#,
        ] {
            let read = Request::read(text).unwrap();
            let Request::Subscribe { channel, auth, channel_data } = read else { panic!("{text}") };
            assert_eq!((channel.as_str(), auth.as_str(), channel_data), ("private-a", "k:s", None));
        }
    }

    #[test]
    fn what_says_nothing_is_refused_with_what_it_lacks() {
        for text in [
            "",
            "1",
            "[]",
            "{}",
            r#"{"event":1}"#,
            r#"{"event":"pusher:subscribe"}"#,
            r#"{"event":"pusher:subscribe","data":{}}"#,
            r#"{"event":"pusher:subscribe","data":{"channel":1}}"#,
            r#"{"event":"pusher:subscribe","data":"{"}"#,
            r#"{"event":"pusher:unsubscribe","data":[]}"#,
            r#"{"event":"pusher:signin","data":{"auth":"a"}}"#,
            r#"{"event":"client-a","data":{}}"#,
        ] {
            assert!(Request::read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_client_events_data_stays_as_it_was_sent() {
        let read = Request::read(r#"{"event":"client-a","channel":"private-a","data":{"a": 1}}"#).unwrap();
        let Request::ClientEvent { data, .. } = read else { panic!("{read:?}") };
        assert_eq!(data.get(), r#"{"a": 1}"#);
        assert!(matches!(Request::read(r#"{"event":"pusher:other","data":{}}"#), Ok(Request::Other { .. })));
        assert!(matches!(Request::read(r#"{"event":"pusher:ping"}"#), Ok(Request::Ping)));
    }
}
