//! What crosses the queue and the bus, as text that carries its version: each release reads what its predecessor wrote.

use std::borrow::Cow;

use fanfare_domain::{Timestamp, ids::MessageId, messages::Message, traces::TraceParent};
use fanfare_protocol::{ClientName, EventName, requests::Headers};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;

pub mod answered;
pub mod queued;
pub mod sent;

/// The version that this build writes, and the newest that it reads.
const VERSION: u32 = 1;

/// An envelope that cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// No version of Fanfare writes this.
    #[error("it is not an envelope: {0}")]
    Malformed(String),
    /// A newer Fanfare wrote it, in a version that this one does not know.
    #[error("it has version {0}, which is newer than this build reads")]
    Newer(u32),
}

#[derive(Deserialize)]
struct Versioned {
    v: u32,
}

/// An envelope of one kind, with its version.
trait Form: DeserializeOwned {
    fn version(&self) -> u32;
}

/// The text of an envelope, on one line.
fn write(form: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(form).expect("texts, numbers and JSON are JSON")
}

/// Reads an envelope once; what does not have today's form is asked only for its version.
fn read<F: Form>(text: &[u8]) -> Result<F, EnvelopeError> {
    let read: Result<F, _> = serde_json::from_slice(text);
    let version = match &read {
        Ok(form) => form.version(),
        Err(_) => serde_json::from_slice::<Versioned>(text).map_err(malformed)?.v,
    };
    match version {
        VERSION => read.map_err(malformed),
        0 => Err(EnvelopeError::Malformed("there is no version 0".to_owned())),
        newer => Err(EnvelopeError::Newer(newer)),
    }
}

/// Says where it is wrong, and nothing of what it holds.
fn malformed(error: serde_json::Error) -> EnvelopeError {
    let what = match error.classify() {
        serde_json::error::Category::Data => "a field is missing or has another type",
        _ => "it is not JSON",
    };
    EnvelopeError::Malformed(format!("{what}, at column {}", error.column()))
}

/// A message, the same in every envelope.
#[derive(Serialize, Deserialize)]
struct MessageForm<'a> {
    id: MessageId,
    time: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<EventName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    client: Option<ClientName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    headers: Option<Cow<'a, Headers>>,
    data: Cow<'a, RawValue>,
}

impl<'a> MessageForm<'a> {
    fn new(message: &'a Message) -> Self {
        Self {
            id: message.id.clone(),
            time: message.time,
            name: message.name.clone(),
            client: message.client.clone(),
            headers: message.headers.as_ref().map(Cow::Borrowed),
            data: Cow::Borrowed(&message.data),
        }
    }

    fn into_message(self) -> Message {
        Message {
            id: self.id,
            time: self.time,
            name: self.name,
            client: self.client,
            headers: self.headers.map(Cow::into_owned),
            data: self.data.into_owned(),
        }
    }
}

/// A trace as text; one that cannot be read is not worth its message.
fn trace_of(text: Option<Cow<'_, str>>) -> Option<TraceParent> {
    text.and_then(|text| TraceParent::parse(&text))
}

fn trace_text(trace: Option<&TraceParent>) -> Option<Cow<'_, str>> {
    trace.map(|trace| Cow::Borrowed(trace.as_str()))
}
