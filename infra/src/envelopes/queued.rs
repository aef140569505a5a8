//! From intake to workers: the messages of one request that share a partition.

use std::borrow::Cow;

use fanfare_domain::{
    ids::{AppId, ConnectionId},
    publishing::Accepted,
    rules::Retention,
};
use fanfare_protocol::ChannelName;
use serde::{Deserialize, Serialize};

use super::{EnvelopeError, Form, MessageForm, VERSION, read, trace_of, trace_text, write};

#[derive(Serialize, Deserialize)]
struct QueuedForm<'a> {
    v: u32,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    canary: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    messages: Vec<AcceptedForm<'a>>,
}

#[derive(Serialize, Deserialize)]
struct AcceptedForm<'a> {
    app: AppId,
    channel: ChannelName,
    message: MessageForm<'a>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    keyed: bool,
    fingerprint: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exclude: Option<ConnectionId>,
    retention: RetentionForm,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trace: Option<Cow<'a, str>>,
}

#[derive(Serialize, Deserialize)]
struct RetentionForm {
    retention_s: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_messages: Option<u64>,
}

impl Form for QueuedForm<'_> {
    fn version(&self) -> u32 {
        self.v
    }
}

/// An envelope with these messages, of which there is at least one. Whether they were handed out before is not part of it.
pub fn encode(messages: &[Accepted]) -> Vec<u8> {
    write(&QueuedForm { v: VERSION, canary: false, messages: messages.iter().map(AcceptedForm::new).collect() })
}

/// How every envelope with messages begins and ends.
const BEGIN: &[u8] = br#"{"v":1,"messages":["#;
const END: &[u8] = b"]}";

/// One envelope with the messages of two, in order. Both are as [`encode`] wrote them.
pub fn joined(mut first: Vec<u8>, second: &[u8]) -> Vec<u8> {
    debug_assert!(first.ends_with(END) && second.starts_with(BEGIN));
    first.truncate(first.len() - END.len());
    first.push(b',');
    first.extend_from_slice(&second[BEGIN.len()..]);
    first
}

/// An envelope that holds nothing, and shows that the way through the queue is open.
pub fn canary() -> Vec<u8> {
    write(&QueuedForm { v: VERSION, canary: true, messages: Vec::new() })
}

/// The messages of an envelope, in order; none of a canary.
pub fn decode(text: &[u8]) -> Result<Vec<Accepted>, EnvelopeError> {
    let form: QueuedForm<'static> = read(text)?;
    if form.messages.is_empty() && !form.canary {
        return Err(EnvelopeError::Malformed("it holds no message".to_owned()));
    }
    form.messages.into_iter().map(AcceptedForm::into_accepted).collect()
}

impl<'a> AcceptedForm<'a> {
    fn new(accepted: &'a Accepted) -> Self {
        Self {
            app: accepted.app.clone(),
            channel: accepted.channel.clone(),
            message: MessageForm::new(&accepted.message),
            keyed: accepted.keyed,
            fingerprint: Cow::Owned(hex::encode(accepted.fingerprint)),
            exclude: accepted.exclude.clone(),
            retention: RetentionForm {
                retention_s: accepted.retention.retention_s,
                max_messages: accepted.retention.max_messages,
            },
            trace: trace_text(accepted.trace.as_ref()),
        }
    }

    fn into_accepted(self) -> Result<Accepted, EnvelopeError> {
        let mut fingerprint = [0; 16];
        hex::decode_to_slice(self.fingerprint.as_bytes(), &mut fingerprint)
            .map_err(|_| EnvelopeError::Malformed("a fingerprint is not 32 hex digits".to_owned()))?;
        Ok(Accepted {
            app: self.app,
            channel: self.channel,
            message: self.message.into_message(),
            keyed: self.keyed,
            fingerprint,
            exclude: self.exclude,
            retention: Retention { retention_s: self.retention.retention_s, max_messages: self.retention.max_messages },
            trace: trace_of(self.trace),
            redelivered: false,
        })
    }
}

#[cfg(test)]
mod tests {
    use fanfare_domain::{Timestamp, ids::MessageId, messages::Message, traces::TraceParent};
    use fanfare_protocol::{ClientName, EventName};
    use serde_json::value::RawValue;

    use super::*;

    /// Fixed for good: queues hold it while builds are exchanged.
    const FIRST_VERSION: &str = r#"{"v":1,"messages":[{"app":"app_01j9zq3v5x8k2m4n6p7r9s1t3w","channel":"chat:1","message":{"id":"msg_01j9zq3v5x8k2m4n6p7r9s1t3w","time":1700000000000,"name":"said","client":"ann","headers":{"lang":"en"},"data":{"text":"hi","n":1.0e3}},"keyed":true,"fingerprint":"0102030405060708090a0b0c0d0e0f10","exclude":"con_01j9zq3v5x8k2m4n6p7r9s1t3w","retention":{"retention_s":86400,"max_messages":100},"trace":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},{"app":"app_01j9zq3v5x8k2m4n6p7r9s1t3w","channel":"news","message":{"id":"msg_01j9zq3v5x8k2m4n6p7r9s1t3x","time":1700000000001,"data":null},"fingerprint":"00000000000000000000000000000000","retention":{"retention_s":3600}}]}"#;

    fn samples() -> Vec<Accepted> {
        let json = |text: &str| RawValue::from_string(text.to_owned()).unwrap();
        let app = AppId::parse("app_01j9zq3v5x8k2m4n6p7r9s1t3w").unwrap();
        let full = Accepted {
            app: app.clone(),
            channel: ChannelName::parse("chat:1").unwrap(),
            message: Message {
                id: MessageId::parse("msg_01j9zq3v5x8k2m4n6p7r9s1t3w").unwrap(),
                time: Timestamp(1_700_000_000_000),
                name: Some(EventName::parse("said").unwrap()),
                client: Some(ClientName::parse("ann").unwrap()),
                headers: Some([("lang".to_owned(), "en".to_owned())].into()),
                data: json(r#"{"text":"hi","n":1.0e3}"#),
            },
            keyed: true,
            fingerprint: std::array::from_fn(|at| at as u8 + 1),
            exclude: Some(ConnectionId::parse("con_01j9zq3v5x8k2m4n6p7r9s1t3w").unwrap()),
            retention: Retention { retention_s: 86_400, max_messages: Some(100) },
            trace: TraceParent::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
            redelivered: false,
        };
        let bare = Accepted {
            app,
            channel: ChannelName::parse("news").unwrap(),
            message: Message {
                id: MessageId::parse("msg_01j9zq3v5x8k2m4n6p7r9s1t3x").unwrap(),
                time: Timestamp(1_700_000_000_001),
                name: None,
                client: None,
                headers: None,
                data: json("null"),
            },
            keyed: false,
            fingerprint: [0; 16],
            exclude: None,
            retention: Retention { retention_s: 3_600, max_messages: None },
            trace: None,
            redelivered: false,
        };
        vec![full, bare]
    }

    fn shown(messages: &[Accepted]) -> String {
        format!("{messages:?}")
    }

    #[test]
    fn messages_come_back_as_they_went_in() {
        let messages = samples();
        assert_eq!(shown(&decode(&encode(&messages)).unwrap()), shown(&messages));
    }

    #[test]
    fn the_first_version_is_written_and_read_letter_by_letter() {
        assert_eq!(String::from_utf8(encode(&samples())).unwrap(), FIRST_VERSION);
        assert_eq!(shown(&decode(FIRST_VERSION.as_bytes()).unwrap()), shown(&samples()));
    }

    #[test]
    fn joined_envelopes_are_one_with_the_messages_of_both() {
        let all = samples();
        let both = joined(encode(&all[..1]), &encode(&all[1..]));
        assert_eq!(String::from_utf8(both).unwrap(), FIRST_VERSION);
    }

    #[test]
    fn a_canary_holds_nothing() {
        assert_eq!(String::from_utf8(canary()).unwrap(), r#"{"v":1,"canary":true}"#);
        assert!(decode(&canary()).unwrap().is_empty());
    }

    #[test]
    fn fields_that_this_version_does_not_know_are_passed_over() {
        let more = FIRST_VERSION
            .replace(r#""retention_s""#, r#""more":[1],"retention_s""#)
            .replace(r#""channel""#, r#""more":{},"channel""#)
            .replace(r#""time""#, r#""more":"","time""#)
            .replace(r#"{"v":1"#, r#"{"more":null,"v":1"#);
        assert_eq!(shown(&decode(more.as_bytes()).unwrap()), shown(&samples()));
    }

    #[test]
    fn a_newer_version_is_not_judged() {
        for newer in [r#"{"v":2,"messages":"elsewhere"}"#, &FIRST_VERSION.replace(r#""v":1"#, r#""v":2"#)] {
            assert_eq!(decode(newer.as_bytes()).unwrap_err(), EnvelopeError::Newer(2));
        }
    }

    #[test]
    fn what_is_no_envelope_is_malformed_and_not_repeated() {
        let secret = FIRST_VERSION.replace(r#""time":1700000000000"#, r#""time":"a secret""#);
        let cut = FIRST_VERSION.split_at(FIRST_VERSION.len() / 2).0;
        let fingerprint = FIRST_VERSION.replace("0102", "a secret");
        let channel = FIRST_VERSION.replace("chat:1", "a secret");
        for bad in ["", "a secret", "[]", "{}", r#"{"v":"1"}"#, r#"{"v":0}"#, r#"{"v":-1}"#, r#"{"v":1}"#, "\u{0}", cut]
        {
            assert!(matches!(decode(bad.as_bytes()), Err(EnvelopeError::Malformed(_))), "{bad}");
        }
        for bad in [secret, fingerprint, channel] {
            let error = decode(bad.as_bytes()).unwrap_err();
            assert!(matches!(error, EnvelopeError::Malformed(_)));
            assert!(!error.to_string().contains("secret"), "{error}");
        }
        assert!(matches!(decode(&[0xff, 0xfe]), Err(EnvelopeError::Malformed(_))));
    }
}
