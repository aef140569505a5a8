//! Heads, as Redis tells them.

use fanfare_domain::{history::Head, ids::AppId};
use fanfare_protocol::{ChannelName, Epoch, Serial};
use redis::{Cmd, Value};

use super::text;
use crate::names::Names;

/// Asks for a channel's head.
pub(super) fn ask(names: &Names, app: &AppId, channel: &ChannelName) -> Cmd {
    let mut command = redis::cmd("HMGET");
    command.arg(names.head(app, channel)).arg("e").arg("s");
    command
}

/// The head of an answer; `None` where there is none.
pub(super) fn read(answer: &Value) -> Option<Head> {
    match answer {
        Value::Array(fields) => read_fields(fields),
        _ => None,
    }
}

/// The head of an answer that begins with its epoch and its serial.
pub(super) fn read_fields(fields: &[Value]) -> Option<Head> {
    let [epoch, serial, ..] = fields else { return None };
    let (epoch, serial) = (text(epoch)?, text(serial)?);
    Some(Head { epoch: Epoch::new(&epoch), serial: Serial(serial.parse().ok()?) })
}
