//! A subscriber's stream of server-sent events.

use serde_json::Value;

use super::{Begun, Got, Lost};
use crate::chaos::streams::Stream;

/// One stream's life; it is over well when everything has come. `cursor` is what the last one brought last.
pub async fn once(got: &mut Got, cursor: &mut Option<String>, gateway: usize, begun: &mut Begun) -> Result<(), Lost> {
    let gateway = got.stage.gateway(gateway).to_owned();
    let mut stream = Stream::open(&got.stage, &gateway, &got.query(), cursor.as_deref()).await?;
    opened(&stream.event().await?, cursor.is_some())?;
    *cursor = Some(stream.last_id().to_owned());
    drop(begun.take());
    let mut phase = got.stage.phase.subscribe();
    loop {
        if got.has_all(&phase.borrow_and_update()) {
            return Ok(());
        }
        tokio::select! {
            event = stream.event() => {
                got.take(&event?)?;
                *cursor = Some(stream.last_id().to_owned());
            }
            _ = phase.changed() => {}
        }
    }
}

/// The first event of a stream; one that goes on has lost nothing on any channel.
fn opened(open: &Value, goes_on: bool) -> Result<(), Lost> {
    let positions = open["positions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let is_whole = positions.iter().all(|position| !goes_on || position["resumed"] == true);
    if open["op"] == "open" && is_whole { Ok(()) } else { Err(Lost::Refused(format!("a stream began with {open}"))) }
}
