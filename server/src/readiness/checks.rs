//! How a dependency is looked at.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use fanfare_domain::{accounts::Accounts, bus::Bus, ids::TenantId, revocations::Enforcement};
use fanfare_infra::sql::SqlStore;

use super::{Wrong, appends::Appends, pulses::Pulse};

/// A beat older than this means that messages do not arrive.
const STALE: Duration = Duration::from_secs(3);
/// A node that has not known for so long what is revoked serves nobody; one that has for a moment has only lacked a processor.
const LAPSED: Duration = Duration::from_secs(3);
/// How long the database may take to read, and to write.
const PATIENCE: Duration = Duration::from_secs(2);

/// A way to look.
pub enum Check {
    /// A read and a write, each time somebody looks.
    Database(SqlStore),
    /// The delivery of this process, and whether the log stored the last publishes.
    Delivery {
        /// Whether it runs.
        runs: Arc<AtomicBool>,
        /// The outcomes of appends.
        appends: Appends,
    },
    /// The age of the last beat on the bus.
    Beats(Arc<dyn Bus>),
    /// Whether it is known what is revoked.
    Revocations(Arc<Enforcement>),
    /// What is tried each second.
    Pulse(Arc<Pulse>),
    /// What somebody else knows.
    Told(Box<dyn Fn() -> Result<(), Wrong> + Send + Sync>),
}

impl Check {
    /// Looks, and may take its time.
    pub async fn look(&self) -> Result<(), Wrong> {
        match self {
            Check::Database(store) => database(store).await.map_err(Wrong::Borrowed),
            _ => self.known(),
        }
    }

    /// What is known without asking.
    pub fn known(&self) -> Result<(), Wrong> {
        match self {
            Check::Database(_) => Ok(()),
            Check::Delivery { runs, appends } => delivery(runs, appends).map_err(Wrong::Borrowed),
            Check::Beats(bus) => beats(bus.last_beat(), Instant::now()).map_err(Wrong::Borrowed),
            Check::Revocations(enforcement) => revocations(enforcement.lapsed_for()).map_err(Wrong::Borrowed),
            Check::Pulse(pulse) => pulse.state(Instant::now()),
            Check::Told(told) => told(),
        }
    }
}

async fn database(store: &SqlStore) -> Result<(), &'static str> {
    let nobody = TenantId::generate();
    match tokio::time::timeout(PATIENCE, store.tenant(&nobody)).await {
        Ok(Ok(_)) => {}
        Ok(Err(_)) => return Err("a read failed"),
        Err(_) => return Err("a read took too long"),
    }
    match tokio::time::timeout(PATIENCE, store.probe_writing()).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err("a write failed"),
        Err(_) => Err("a write took too long"),
    }
}

fn delivery(runs: &AtomicBool, appends: &Appends) -> Result<(), &'static str> {
    if !runs.load(Ordering::SeqCst) {
        return Err("the worker does not run");
    }
    if appends.fail(Instant::now()) {
        return Err("the last publishes could not be stored");
    }
    Ok(())
}

fn beats(last: Option<Instant>, now: Instant) -> Result<(), &'static str> {
    match last {
        Some(beat) if now.saturating_duration_since(beat) < STALE => Ok(()),
        Some(_) => Err("no worker's beats arrive any more"),
        None => Err("no worker's beat has arrived yet"),
    }
}

fn revocations(lapsed: Duration) -> Result<(), &'static str> {
    if lapsed < LAPSED {
        return Ok(());
    }
    Err("neither a beat nor the database tells what was revoked in the last seconds")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_late_beat_is_nothing_and_three_are_a_bus_that_does_not_deliver() {
        let now = Instant::now();
        assert_eq!(beats(Some(now), now + Duration::from_millis(2_500)), Ok(()));
        assert!(beats(Some(now), now + STALE).is_err());
        assert!(beats(None, now).unwrap_err().contains("yet"));
    }

    #[test]
    fn a_node_that_lacks_a_beat_for_a_moment_stays_ready_and_one_that_lasts_does_not() {
        assert_eq!(revocations(Duration::ZERO), Ok(()));
        assert_eq!(revocations(Duration::from_millis(1_500)), Ok(()));
        assert!(revocations(Duration::from_secs(4)).is_err());
        assert!(revocations(Duration::MAX).unwrap_err().contains("revoked"), "it never knew");
    }
}
