//! A subscriber's polls.

use std::time::Duration;

use super::{Begun, Got, Lost};
use crate::chaos::{stage::pass, streams::poll};

/// How long a poll waits for something to come.
const WAIT: Duration = Duration::from_secs(4);
/// Between two polls.
const PACE: Duration = Duration::from_millis(100);

/// Polls until one fails; it is over well when everything has come. No gateway is asked twice in turn.
pub async fn once(got: &mut Got, cursor: &mut Option<String>, gateway: usize, begun: &mut Begun) -> Result<(), Lost> {
    let mut phase = got.stage.phase.subscribe();
    for gateway in gateway.. {
        if got.has_all(&phase.borrow_and_update()) {
            break;
        }
        let gateway = got.stage.gateway(gateway);
        let query = cursor.iter().fold(got.query(), |query, cursor| format!("{query}&cursor={cursor}"));
        let (messages, next) = tokio::select! {
            polled = poll(&got.stage, gateway, &query, WAIT) => polled?,
            // A poll that is given up is repeated with the same cursor.
            _ = phase.changed() => continue,
        };
        *cursor = Some(next);
        for message in &messages {
            match got.take(message) {
                // The next poll goes on from the cursor, whatever ended this one.
                Ok(()) | Err(Lost::Away) => {}
                Err(refused) => return Err(refused),
            }
        }
        drop(begun.take());
        pass(PACE).await;
    }
    Ok(())
}
