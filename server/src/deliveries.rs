//! Telling the trace of deliveries what this process has noted.

use fanfare_domain::deliveries::{Recorder, TOLD_EVERY};
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};
use tracing::{info, warn};

/// Tells what there is until `stopped` says so. What cannot be told now is told later.
pub async fn tell(recorder: Recorder, mut stopped: watch::Receiver<bool>) {
    let mut due = interval(TOLD_EVERY);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_known_to_fail = false;
    loop {
        tokio::select! {
            _ = due.tick() => {}
            _ = stopped.wait_for(|stop| *stop) => return,
        }
        match recorder.tell().await {
            Ok(()) if std::mem::take(&mut is_known_to_fail) => info!("The trace of deliveries goes on"),
            Ok(()) => {}
            Err(failure) if !std::mem::replace(&mut is_known_to_fail, true) => {
                warn!(error = %failure, "The trace of deliveries waits");
            }
            Err(_) => {}
        }
    }
}
