//! What the connection's machine said, read back from the frames that it left in the outbox.

use std::time::Duration;

use bytes::Bytes;
use fanfare_domain::Refusal;
use fanfare_protocol::{ChannelName, ErrorCode, Serial, WireError, websocket::text_of};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The answer to a request.
#[derive(Deserialize)]
pub(super) struct Answer {
    pub(super) id: u32,
    #[serde(default)]
    pub(super) ok: Option<Box<RawValue>>,
    #[serde(default)]
    pub(super) error: Option<WireError>,
}

/// Whether a frame is an answer, or the end: what has to be known before a stream begins.
pub(crate) fn decides(frame: &Bytes) -> bool {
    text_of(frame).is_none_or(|text| text.starts_with(b"{\"id\":") || op(&text) == Some("error"))
}

/// The `op` of an event, which stands first in its text; `None` for an answer.
pub(crate) fn op(text: &[u8]) -> Option<&str> {
    let rest = text.strip_prefix(b"{\"op\":\"")?;
    let end = rest.iter().position(|byte| *byte == b'"')?;
    std::str::from_utf8(&rest[..end]).ok()
}

/// The channel of an event that ends a subscription.
pub(crate) fn ended_channel(text: &[u8]) -> Option<ChannelName> {
    #[derive(Deserialize)]
    struct Ended {
        channel: ChannelName,
    }
    (op(text) == Some("unsubscribed")).then(|| serde_json::from_slice::<Ended>(text).ok())?.map(|ended| ended.channel)
}

/// How long a `reconnect` lets the client stay.
pub(crate) fn after_ms(text: &[u8]) -> u64 {
    #[derive(Deserialize)]
    struct Reconnect {
        after_ms: u64,
    }
    serde_json::from_slice::<Reconnect>(text).map_or(0, |reconnect| reconnect.after_ms)
}

/// Why an `error` event says that the connection ends.
pub(crate) fn reason(text: &[u8]) -> Refusal {
    #[derive(Deserialize)]
    struct Error {
        error: WireError,
    }
    match serde_json::from_slice::<Error>(text) {
        Ok(Error { error }) => refusal(error),
        Err(_) => Refusal::plain(ErrorCode::Internal),
    }
}

/// A refusal as it was before it went over the wire.
pub(super) fn refusal(error: WireError) -> Refusal {
    let code = ErrorCode::from_name(&error.code).unwrap_or(ErrorCode::Internal);
    let refusal = Refusal::new(code, error.message);
    match error.retry_after_ms {
        Some(wait_ms) => refusal.retry_after(Duration::from_millis(wait_ms)),
        None => refusal,
    }
}

/// A range that will not come; without `to`, everything up to where the stream begins.
pub(super) fn gap_text(channel: &ChannelName, from: Serial, to: Option<Serial>) -> String {
    #[derive(Serialize)]
    struct Gap<'a> {
        op: &'static str,
        channel: &'a ChannelName,
        from: Serial,
        #[serde(skip_serializing_if = "Option::is_none")]
        to: Option<Serial>,
    }
    serde_json::to_string(&Gap { op: "gap", channel, from, to }).expect("a gap is made of strings and numbers")
}

#[cfg(test)]
mod tests {
    use fanfare_protocol::{
        events::{Event, error_text, event_text, ok_text},
        websocket::{close_frame, text_frame},
    };

    use super::*;

    #[test]
    fn an_event_says_its_op_first() {
        let channel = ChannelName::parse("a").unwrap();
        let error = Refusal::plain(ErrorCode::Forbidden).retry_after(Duration::from_millis(7));
        let gone = event_text(&Event::Unsubscribed { channel: channel.clone(), error: error.to_wire() });
        assert_eq!(
            (op(gone.as_bytes()), ended_channel(gone.as_bytes())),
            (Some("unsubscribed"), Some(channel.clone()))
        );
        let again = event_text(&Event::Reconnect { after_ms: 9, reason: "draining".into() });
        assert_eq!((op(again.as_bytes()), after_ms(again.as_bytes())), (Some("reconnect"), 9));
        let end = event_text(&Event::Error { error: error.to_wire() });
        let reason = reason(end.as_bytes());
        assert_eq!((reason.code, reason.retry_after), (ErrorCode::Forbidden, error.retry_after));
        assert_eq!(gap_text(&channel, Serial(1), Some(Serial(2))), r#"{"op":"gap","channel":"a","from":1,"to":2}"#);
        assert_eq!(gap_text(&channel, Serial(1), None), r#"{"op":"gap","channel":"a","from":1}"#);
    }

    #[test]
    fn answers_and_the_end_decide_and_nothing_else_does() {
        let wire = Refusal::plain(ErrorCode::Forbidden).to_wire();
        for decisive in [
            text_frame(ok_text(1, &serde_json::json!({})).as_bytes()),
            text_frame(error_text(1, &wire).as_bytes()),
            text_frame(event_text(&Event::Error { error: wire }).as_bytes()),
            close_frame(4000, "why"),
        ] {
            assert!(decides(&decisive));
        }
        assert!(!decides(&text_frame(event_text(&Event::Ping).as_bytes())));
    }
}
