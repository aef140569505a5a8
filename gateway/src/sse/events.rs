//! The text of server-sent events.

use std::ops::RangeInclusive;

use bytes::BytesMut;
use fanfare_domain::secrets;
use fanfare_protocol::errors::Retry;

use crate::streams::{Stream, said};

/// How soon a client comes back that lost its stream, in milliseconds: each a different time, so that they do not come all at once.
const AFTER_A_LOSS: RangeInclusive<u64> = 1_000..=3_000;
/// How soon one comes back that is to come at once.
const AT_ONCE: RangeInclusive<u64> = 100..=500;

/// A comment, by which both ends and what is between them know that the stream lives.
pub(super) const COMMENT: &[u8] = b":\n\n";

/// The first event: the positions, and what the client has missed for good.
pub(super) fn open(stream: &Stream, text: &mut BytesMut) {
    let cursor = stream.positions.cursor();
    retry(text, secrets::random_in(AFTER_A_LOSS));
    event(text, "open", Some(&cursor), opened(stream).as_bytes());
    for gap in &stream.gaps {
        event(text, "gap", Some(&cursor), gap.as_bytes());
    }
}

fn opened(stream: &Stream) -> String {
    let connected = &stream.connected;
    fanfare_protocol::events::opened_text(connected, &stream.started)
}

/// One event of the WebSocket protocol as it is, with when to come back before it, where that is told.
pub(super) fn pass(text: &mut BytesMut, op: &str, cursor: Option<&str>, object: &[u8]) {
    match op {
        // Whoever is cut off before its time keeps to it all the same.
        "reconnect" => retry(text, said::after_ms(object).max(*AT_ONCE.start())),
        "error" => retry(
            text,
            secrets::random_in(match said::reason(object).code.row().retry {
                Retry::Now => AT_ONCE,
                Retry::Never | Retry::Backoff => AFTER_A_LOSS,
            }),
        ),
        _ => {}
    }
    event(text, op, cursor, object);
}

fn retry(text: &mut BytesMut, wait_ms: u64) {
    text.extend_from_slice(format!("retry: {wait_ms}\n").as_bytes());
}

fn event(text: &mut BytesMut, name: &str, id: Option<&str>, object: &[u8]) {
    let parts = [b"event: ", name.as_bytes(), b"\n"];
    parts.iter().for_each(|part| text.extend_from_slice(part));
    if let Some(id) = id {
        [b"id: ", id.as_bytes(), b"\n"].iter().for_each(|part| text.extend_from_slice(part));
    }
    [b"data: ", object, b"\n\n"].iter().for_each(|part| text.extend_from_slice(part));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(op: &str, cursor: Option<&str>, object: &str) -> String {
        let mut text = BytesMut::new();
        pass(&mut text, op, cursor, object.as_bytes());
        String::from_utf8(text.to_vec()).unwrap()
    }

    fn told_retry(text: &str) -> u64 {
        text.lines().next().unwrap().strip_prefix("retry: ").unwrap().parse().unwrap()
    }

    #[test]
    fn an_event_is_the_object_as_it_is() {
        assert_eq!(passed("message", Some("c1"), "{}"), "event: message\nid: c1\ndata: {}\n\n");
        assert_eq!(passed("presence", None, "{}"), "event: presence\ndata: {}\n\n");
    }

    #[test]
    fn when_to_come_back_is_told_before_the_end() {
        let again = passed("reconnect", None, r#"{"op":"reconnect","after_ms":7000,"reason":"draining"}"#);
        assert_eq!(told_retry(&again), 7_000);
        assert!(again.contains("\nevent: reconnect\n"), "{again}");
        let error = |code: &str| format!(r#"{{"op":"error","error":{{"code":"{code}","message":"x"}}}}"#);
        assert!(AT_ONCE.contains(&told_retry(&passed("error", None, &error("draining")))));
        assert!(AFTER_A_LOSS.contains(&told_retry(&passed("error", None, &error("slow_consumer")))));
    }
}
