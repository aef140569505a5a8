//! From workers to gateways, over the bus: one broadcast.

use std::{borrow::Cow, sync::Arc};

use fanfare_domain::{
    Timestamp,
    bus::Broadcast,
    ids::{AppId, ConnectionId, KeyId},
    messages::Envelope,
    presence::{Entry, Place, PresenceEvent},
    revocations::{Beat, Revision},
};
use fanfare_protocol::{ChannelName, ClientName, Epoch, Serial, presence::PresenceAction};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{EnvelopeError, Form, MessageForm, VERSION, read, trace_of, trace_text, write};

/// Exactly one field beside the version is there.
#[derive(Default, Serialize, Deserialize)]
struct SentForm<'a> {
    v: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    message: Option<EnvelopeForm<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    presence: Option<PresenceForm<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    app_changed: Option<AppId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key_revoked: Option<KeyId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    beat: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    revision: Option<RevisionForm>,
}

#[derive(Serialize, Deserialize)]
struct RevisionForm {
    number: u64,
    at: Timestamp,
    /// Whether the sender has just read it.
    read: bool,
}

/// What a member did; Redis itself writes it too, by `presence/channel.lua`.
#[derive(Serialize, Deserialize)]
struct PresenceForm<'a> {
    app: AppId,
    channel: ChannelName,
    version: u64,
    action: PresenceAction,
    client: ClientName,
    connection: ConnectionId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    data: Option<Cow<'a, RawValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    info: Option<Cow<'a, RawValue>>,
    time: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct EnvelopeForm<'a> {
    app: AppId,
    channel: ChannelName,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    place: Option<(Epoch, Serial)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exclude: Option<ConnectionId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trace: Option<Cow<'a, str>>,
    message: MessageForm<'a>,
}

impl Form for SentForm<'_> {
    fn version(&self) -> u32 {
        self.v
    }
}

/// An envelope with a broadcast.
pub fn encode(broadcast: &Broadcast) -> Vec<u8> {
    let mut form = SentForm { v: VERSION, ..SentForm::default() };
    match broadcast {
        Broadcast::Message(envelope) => form.message = Some(EnvelopeForm::new(envelope)),
        Broadcast::Presence(event) => form.presence = Some(PresenceForm::new(event)),
        Broadcast::AppChanged(app) => form.app_changed = Some(app.clone()),
        Broadcast::KeyRevoked(key) => form.key_revoked = Some(key.clone()),
        Broadcast::Beat(number) => form.beat = Some(*number),
        Broadcast::Revision(beat) => {
            form.revision = Some(RevisionForm { number: beat.revision.0, at: beat.at, read: beat.is_read })
        }
    }
    write(&form)
}

/// The broadcast of an envelope.
pub fn decode(text: &[u8]) -> Result<Broadcast, EnvelopeError> {
    match read(text)? {
        SentForm { message: Some(envelope), .. } => Ok(Broadcast::Message(Arc::new(envelope.into_envelope()))),
        SentForm { presence: Some(form), .. } => Ok(Broadcast::Presence(Arc::new(form.into_event()))),
        SentForm { app_changed: Some(app), .. } => Ok(Broadcast::AppChanged(app)),
        SentForm { key_revoked: Some(key), .. } => Ok(Broadcast::KeyRevoked(key)),
        SentForm { beat: Some(number), .. } => Ok(Broadcast::Beat(number)),
        SentForm { revision: Some(RevisionForm { number, at, read }), .. } => {
            Ok(Broadcast::Revision(Beat { revision: Revision(number), at, is_read: read }))
        }
        _ => Err(EnvelopeError::Malformed("it holds no broadcast".to_owned())),
    }
}

impl<'a> PresenceForm<'a> {
    fn new(event: &'a PresenceEvent) -> Self {
        let PresenceEvent { place, version, action, entry, time } = event;
        Self {
            app: place.app.clone(),
            channel: place.channel.clone(),
            version: *version,
            action: *action,
            client: entry.client.clone(),
            connection: entry.connection.clone(),
            data: entry.data.as_deref().map(Cow::Borrowed),
            info: entry.info.as_deref().map(Cow::Borrowed),
            time: *time,
        }
    }

    fn into_event(self) -> PresenceEvent {
        let entry = Entry {
            connection: self.connection,
            client: self.client,
            data: self.data.map(Cow::into_owned),
            info: self.info.map(Cow::into_owned),
        };
        let place = Place { app: self.app, channel: self.channel };
        PresenceEvent { place, version: self.version, action: self.action, entry, time: self.time }
    }
}

impl<'a> EnvelopeForm<'a> {
    fn new(envelope: &'a Envelope) -> Self {
        Self {
            app: envelope.app.clone(),
            channel: envelope.channel.clone(),
            place: envelope.place.clone(),
            exclude: envelope.exclude.clone(),
            trace: trace_text(envelope.trace.as_ref()),
            message: MessageForm::new(&envelope.message),
        }
    }

    fn into_envelope(self) -> Envelope {
        Envelope {
            app: self.app,
            channel: self.channel,
            place: self.place,
            exclude: self.exclude,
            trace: trace_of(self.trace),
            message: self.message.into_message(),
        }
    }
}

#[cfg(test)]
mod tests {
    use fanfare_domain::{ids::MessageId, messages::Message, traces::TraceParent};
    use fanfare_protocol::EventName;

    use super::*;

    /// Fixed for good: nodes of two builds share a bus while they are exchanged.
    const FIRST_VERSION: [&str; 7] = [
        r#"{"v":1,"message":{"app":"app_01j9zq3v5x8k2m4n6p7r9s1t3w","channel":"chat:1","place":["e1",7],"exclude":"con_01j9zq3v5x8k2m4n6p7r9s1t3w","trace":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01","message":{"id":"msg_01j9zq3v5x8k2m4n6p7r9s1t3w","time":1700000000000,"name":"said","client":"ann","headers":{"lang":"en"},"data":{"text":"hi"}}}}"#,
        r#"{"v":1,"message":{"app":"app_01j9zq3v5x8k2m4n6p7r9s1t3w","channel":"chat:1","message":{"id":"msg_01j9zq3v5x8k2m4n6p7r9s1t3w","time":1700000000000,"data":1}}}"#,
        r#"{"v":1,"app_changed":"app_01j9zq3v5x8k2m4n6p7r9s1t3w"}"#,
        r#"{"v":1,"key_revoked":"fk_01j9zq3v5x8k2m4n6p7r9s1t3w"}"#,
        r#"{"v":1,"beat":18446744073709551615}"#,
        r#"{"v":1,"presence":{"app":"app_01j9zq3v5x8k2m4n6p7r9s1t3w","channel":"chat:1","version":8,"action":"enter","client":"ann","connection":"con_01j9zq3v5x8k2m4n6p7r9s1t3w","data":{"a":1.0},"time":1700000000000}}"#,
        r#"{"v":1,"revision":{"number":17,"at":1700000000000,"read":true}}"#,
    ];

    fn samples() -> [Broadcast; 7] {
        const ULID: &str = "01j9zq3v5x8k2m4n6p7r9s1t3w";
        let app = AppId::parse(&format!("app_{ULID}")).unwrap();
        let envelope = |data: &str| Envelope {
            app: app.clone(),
            channel: ChannelName::parse("chat:1").unwrap(),
            place: None,
            exclude: None,
            trace: None,
            message: Message {
                id: MessageId::parse(&format!("msg_{ULID}")).unwrap(),
                time: Timestamp(1_700_000_000_000),
                name: None,
                client: None,
                headers: None,
                data: RawValue::from_string(data.to_owned()).unwrap(),
            },
        };
        let mut full = envelope(r#"{"text":"hi"}"#);
        full.place = Some((Epoch::new("e1"), Serial(7)));
        full.exclude = Some(ConnectionId::parse(&format!("con_{ULID}")).unwrap());
        full.trace = TraceParent::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
        full.message.name = Some(EventName::parse("said").unwrap());
        full.message.client = Some(ClientName::parse("ann").unwrap());
        full.message.headers = Some([("lang".to_owned(), "en".to_owned())].into());
        [
            Broadcast::Message(Arc::new(full)),
            Broadcast::Message(Arc::new(envelope("1"))),
            Broadcast::AppChanged(app.clone()),
            Broadcast::KeyRevoked(KeyId::parse(&format!("fk_{ULID}")).unwrap()),
            Broadcast::Beat(u64::MAX),
            Broadcast::Presence(Arc::new(PresenceEvent {
                place: Place { app: app.clone(), channel: ChannelName::parse("chat:1").unwrap() },
                version: 8,
                action: PresenceAction::Enter,
                entry: Entry {
                    connection: ConnectionId::parse(&format!("con_{ULID}")).unwrap(),
                    client: ClientName::parse("ann").unwrap(),
                    data: Some(RawValue::from_string(r#"{"a":1.0}"#.to_owned()).unwrap()),
                    info: None,
                },
                time: Timestamp(1_700_000_000_000),
            })),
            Broadcast::Revision(Beat { revision: Revision(17), at: Timestamp(1_700_000_000_000), is_read: true }),
        ]
    }

    #[test]
    fn the_first_version_is_written_and_read_letter_by_letter() {
        for (broadcast, text) in samples().iter().zip(FIRST_VERSION) {
            assert_eq!(String::from_utf8(encode(broadcast)).unwrap(), text);
            assert_eq!(format!("{:?}", decode(text.as_bytes()).unwrap()), format!("{broadcast:?}"));
        }
    }

    #[test]
    fn fields_that_this_version_does_not_know_are_passed_over() {
        let more = r#"{"v":1,"more":{"beat":1},"beat":2}"#;
        assert!(matches!(decode(more.as_bytes()), Ok(Broadcast::Beat(2))));
    }

    #[test]
    fn a_newer_version_is_told_from_what_is_no_envelope() {
        for newer in [r#"{"v":2,"beat":1}"#, r#"{"v":2,"beat":"else"}"#] {
            assert_eq!(decode(newer.as_bytes()).unwrap_err(), EnvelopeError::Newer(2));
        }
        for bad in ["", "{}", r#"{"v":1}"#, r#"{"v":1,"beat":-1}"#, r#"{"v":1,"app_changed":"fk_x"}"#, "\u{7}"] {
            assert!(matches!(decode(bad.as_bytes()), Err(EnvelopeError::Malformed(_))), "{bad}");
        }
    }
}
