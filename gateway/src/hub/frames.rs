//! Frames of messages, encoded once for everyone who receives them.

use bytes::Bytes;
use fanfare_protocol::{
    ChannelName,
    events::{Item, message_text},
    websocket::text_frame,
};

pub(super) fn message(channel: &ChannelName, item: &Item) -> Bytes {
    text_frame(message_text(channel, item).as_bytes())
}
