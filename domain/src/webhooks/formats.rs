//! How events are written for a webhook, and how it knows who wrote.

use serde::{Deserialize, Serialize};

use super::Tidings;
use crate::{Timestamp, keys::Key, pusher};

/// A way to write events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WebhookFormat {
    /// As Pusher writes them, so that its server libraries verify and read them.
    Pusher,
}

/// A request that tells events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Headers beside those of every request.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
}

#[derive(Serialize)]
struct PusherBody<'a> {
    time_ms: Timestamp,
    events: Vec<&'a Tidings>,
}

impl WebhookFormat {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            WebhookFormat::Pusher => "pusher",
        }
    }

    /// The format of that name.
    pub fn of_name(name: &str) -> Option<Self> {
        (name == "pusher").then_some(WebhookFormat::Pusher)
    }

    /// Writes events, signed by the key as of now: verifiers refuse what was signed long ago.
    pub fn write<'a>(self, events: impl IntoIterator<Item = &'a Tidings>, key: &Key, now: Timestamp) -> Request {
        match self {
            WebhookFormat::Pusher => {
                let body = PusherBody { time_ms: now, events: events.into_iter().collect() };
                let body = serde_json::to_vec(&body).expect("events are plain JSON");
                let headers = vec![
                    ("content-type", "application/json".to_owned()),
                    ("x-pusher-key", key.id.as_str().to_owned()),
                    ("x-pusher-signature", pusher::signature(&key.secret, &body)),
                ];
                Request { headers, body }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use fanfare_protocol::ChannelName;

    use super::*;
    use crate::{capabilities::Capability, ids::AppId};

    #[test]
    fn a_request_is_signed_over_its_body_by_the_whole_secret() {
        let key = Key::mint(AppId::generate(), "k".into(), Capability::everything(), None, Timestamp(1));
        let event = Tidings::CacheMiss { channel: ChannelName::parse("cache-a").unwrap() };
        let request = WebhookFormat::Pusher.write([&event], &key, Timestamp(1_700_000_000_000));
        assert_eq!(
            String::from_utf8(request.body.clone()).unwrap(),
            r#"{"time_ms":1700000000000,"events":[{"name":"cache_miss","channel":"cache-a"}]}"#
        );
        let header = |name| request.headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str());
        assert_eq!(header("content-type"), Some("application/json"));
        assert_eq!(header("x-pusher-key"), Some(key.id.as_str()));
        assert_eq!(header("x-pusher-signature"), Some(pusher::signature(&key.secret, &request.body).as_str()));
    }
}
