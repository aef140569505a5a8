//! Beats: what a process that delivers sends over the bus, so that every node knows that messages would arrive.

use std::{sync::Arc, time::Duration};

use fanfare_domain::bus::{Broadcast, Bus};
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval, timeout},
};

/// How often a beat is sent.
const EVERY: Duration = Duration::from_secs(1);
/// How long the bus may take for one.
const PATIENCE: Duration = Duration::from_secs(5);

/// Sends a beat each second until `stopped` says so.
pub async fn send(bus: Arc<dyn Bus>, mut stopped: watch::Receiver<bool>) {
    let own: u64 = rand::random();
    let mut due = interval(EVERY);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            // A beat that was not taken is missed by those who wait for it.
            _ = async { due.tick().await; timeout(PATIENCE, bus.send(vec![Broadcast::Beat(own)])).await } => {}
            _ = stopped.wait_for(|stop| *stop) => return,
        }
    }
}
