//! Retention: what is past every promise is removed from the log, in small slices, so that appends go on in between.

use std::{sync::Arc, time::Duration};

use fanfare_domain::{Clock, history::MessageLog};
use tokio::sync::watch;
use tracing::{error, info};

const EVERY: Duration = Duration::from_secs(60);
const SLICE: u32 = 500;
const BETWEEN_SLICES: Duration = Duration::from_millis(20);

/// Sweeps once a minute until `shutdown` says so.
pub async fn sweep(log: Arc<dyn MessageLog>, clock: Arc<dyn Clock>, mut shutdown: watch::Receiver<bool>) {
    loop {
        let mut pause = EVERY;
        match log.sweep(clock.now(), SLICE).await {
            Ok(0) => {}
            Ok(removed) => {
                info!(removed, "Removed what is past retention");
                if removed == SLICE as usize {
                    pause = BETWEEN_SLICES;
                }
            }
            Err(failure) => error!(error = %failure, "The log could not be swept"),
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = shutdown.changed() => return,
        }
    }
}
