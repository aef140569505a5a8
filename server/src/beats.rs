//! Beats: what a process that delivers sends over the bus, so that every node knows that messages would arrive.

use std::{sync::Arc, time::Duration};

use fanfare_domain::{
    StoreError,
    bus::{Broadcast, Bus},
    revocations::{Beat, Latest, Revocations},
};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval, timeout},
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

/// How often the latest number of a revocation is said.
const REVISION_EVERY: Duration = Duration::from_millis(400);
/// How long the database may take to tell it.
const REVISION_PATIENCE: Duration = Duration::from_millis(300);

/// Says the latest number at least twice a second until `stopped` says so. While the database is away it says what it read last, and that it did
/// not read it now: nothing can be revoked meanwhile, unless only this process is cut off.
pub async fn send_revisions(store: Arc<dyn Revocations>, bus: Arc<dyn Bus>, mut stopped: watch::Receiver<bool>) {
    let mut due = interval(REVISION_EVERY);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut pending, mut last) = (None, None);
    loop {
        let beat = async {
            due.tick().await;
            latest(&store, &mut pending, &mut last).await
        };
        let beat = tokio::select! {
            beat = beat => beat,
            _ = stopped.wait_for(|stop| *stop) => return,
        };
        let Some(beat) = beat else { continue };
        tokio::select! {
            // One that was not taken is missed; nodes read the database then.
            _ = timeout(REVISION_EVERY, bus.send(vec![Broadcast::Revision(beat)])) => {}
            _ = stopped.wait_for(|stop| *stop) => return,
        }
    }
}

/// A reading that is under way, and since when.
type Pending = Option<(Instant, JoinHandle<Result<Latest, StoreError>>)>;

/// One reading at a time: a second would wait behind the first.
async fn latest(
    store: &Arc<dyn Revocations>,
    pending: &mut Pending,
    last: &mut Option<(Latest, Instant)>,
) -> Option<Beat> {
    let begin = || {
        let store = store.clone();
        (Instant::now(), tokio::spawn(async move { store.latest().await }))
    };
    let (asked, reading) = pending.get_or_insert_with(begin);
    if let Ok(outcome) = timeout(REVISION_PATIENCE, reading).await {
        let asked = *asked;
        *pending = None;
        if let Ok(Ok(latest)) = outcome {
            *last = Some((latest, asked));
            return Some(Beat { revision: latest.revision, at: latest.now, is_read: true });
        }
    }
    let (latest, read) = (*last)?;
    Some(Beat { revision: latest.revision, at: latest.now.after(read.elapsed()), is_read: false })
}
