//! Frames of messages, encoded once for everyone who receives them.

use bytes::Bytes;
use fanfare_domain::messages::Message;
use fanfare_protocol::{ChannelName, Serial, events::message_text, websocket::text_frame};

pub(super) fn message(channel: &ChannelName, serial: Option<Serial>, message: &Message) -> Bytes {
    text_frame(message_text(&message.to_item(channel, serial)).as_bytes())
}
