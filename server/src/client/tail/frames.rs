//! What a server says on a socket, as `tail` reads it.

use fanfare_protocol::{ChannelName, Serial, WireError, events::Event};
use serde::Deserialize;
use serde_json::value::RawValue;

/// A frame that `tail` acts on.
#[derive(Debug)]
pub(super) enum Frame {
    /// The answer to a request.
    Answer {
        /// The request's id.
        id: u32,
        /// What it brings.
        result: Result<Box<RawValue>, WireError>,
    },
    /// A message of a channel.
    Message {
        /// The channel.
        channel: ChannelName,
        /// Its place; absent for an ephemeral message.
        serial: Option<Serial>,
    },
    /// Anything else that the server says unasked.
    Event(Event),
    /// An op of a later version; clients pass over it.
    Unknown,
}

#[derive(Deserialize)]
struct Outline<'a> {
    op: Option<String>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    ok: Option<&'a RawValue>,
    error: Option<WireError>,
}

#[derive(Deserialize)]
struct Head {
    channel: ChannelName,
    serial: Option<Serial>,
}

impl Frame {
    /// Reads a text frame.
    pub(super) fn parse(text: &str) -> Result<Frame, serde_json::Error> {
        let outline: Outline<'_> = serde_json::from_str(text)?;
        match outline.op.as_deref() {
            Some("message") => serde_json::from_str::<Head>(text)
                .map(|head| Frame::Message { channel: head.channel, serial: head.serial }),
            Some(_) => Ok(serde_json::from_str(text).map_or(Frame::Unknown, Frame::Event)),
            None => {
                let id = serde_json::from_str(outline.id.map_or("null", RawValue::get))?;
                let result = match (outline.ok, outline.error) {
                    (Some(ok), _) => Ok(ok.to_owned()),
                    (None, Some(error)) => Err(error),
                    (None, None) => return Ok(Frame::Unknown),
                };
                Ok(Frame::Answer { id, result })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_told_apart_by_their_op() {
        let message = r#"{"op":"message","channel":"a","serial":3,"id":"msg_1","time":5,"data":{"op":"ping"}}"#;
        assert!(matches!(Frame::parse(message), Ok(Frame::Message { serial: Some(Serial(3)), .. })));
        assert!(matches!(Frame::parse(r#"{"id":1,"ok":{}}"#), Ok(Frame::Answer { id: 1, result: Ok(_) })));
        let refused = r#"{"id":2,"error":{"code":"forbidden","message":"no"}}"#;
        assert!(matches!(Frame::parse(refused), Ok(Frame::Answer { id: 2, result: Err(_) })));
        assert!(matches!(Frame::parse(r#"{"op":"ping"}"#), Ok(Frame::Event(Event::Ping))));
        assert!(matches!(Frame::parse(r#"{"op":"dance","x":1}"#), Ok(Frame::Unknown)));
        assert!(Frame::parse("nonsense").is_err());
    }
}
