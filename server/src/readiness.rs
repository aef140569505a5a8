//! Readiness: whether a message that is published now would arrive.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use fanfare_domain::{
    accounts::Accounts,
    bus::{Broadcast, Bus, Heard},
    ids::TenantId,
};
use fanfare_infra::sql::SqlStore;
use serde::Serialize;
use tokio::sync::{Notify, watch};

use crate::{appends::Appends, problem::Problem};

/// How often a beat is sent over the bus.
const BEAT: Duration = Duration::from_secs(1);
/// A beat older than this means that messages do not arrive.
const STALE: Duration = Duration::from_secs(3);
/// How long the database may take to read, and to write.
const PATIENCE: Duration = Duration::from_secs(2);

/// What `/readyz` answers.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Whether every check is good.
    pub ready: bool,
    /// Each dependency.
    pub checks: Checks,
}

/// Each dependency, named.
#[derive(Debug, Serialize)]
pub struct Checks {
    /// A read of the database, and a write.
    pub database: Check,
    /// The worker that takes publishes from the queue to the log and the bus, and whether the log stored the last ones.
    pub queue: Check,
    /// This process's own beat, back from the bus.
    pub bus: Check,
    /// Whether the process takes new work.
    pub process: Check,
}

/// One dependency.
#[derive(Debug, Serialize)]
pub struct Check {
    /// Whether it works.
    pub ok: bool,
    /// What is wrong, if it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<&'static str>,
}

impl Check {
    fn of(outcome: Result<(), &'static str>) -> Self {
        Self { ok: outcome.is_ok(), problem: outcome.err() }
    }
}

/// Watches what readiness depends on.
pub struct Readiness {
    store: SqlStore,
    appends: Appends,
    beat: Mutex<Option<Instant>>,
    beaten: Notify,
    delivering: AtomicBool,
    stopping: AtomicBool,
}

impl Readiness {
    /// Nothing is ready until a first beat has come back.
    pub fn new(store: SqlStore, appends: Appends) -> Arc<Self> {
        Arc::new(Self {
            store,
            appends,
            beat: Mutex::new(None),
            beaten: Notify::new(),
            delivering: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
        })
    }

    /// Tells whether the worker runs.
    pub fn delivering(&self, runs: bool) {
        self.delivering.store(runs, Ordering::SeqCst);
    }

    /// From now on the process is not ready, whatever else works.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
    }

    /// Sends beats over the bus and takes note of those that come back, until `shutdown` says so.
    pub async fn beat(self: Arc<Self>, bus: Arc<dyn Bus>, mut shutdown: watch::Receiver<bool>) -> Result<(), Problem> {
        let failed = |error: fanfare_domain::bus::BusError| Problem::new(error.to_string(), "Start the server again.");
        let mut listener = bus.listen().await.map_err(failed)?;
        let own: u64 = rand::random();
        let mut due = tokio::time::interval(BEAT);
        let mut sending = tokio::spawn(async {});
        loop {
            tokio::select! {
                // Sent from a task of its own: this one must go on taking, or a full bus could never be sent to.
                _ = due.tick() => if sending.is_finished() {
                    sending = tokio::spawn(send(bus.clone(), own));
                },
                heard = listener.heard.recv() => match heard {
                    Some(Heard::Sent(Broadcast::Beat(number))) if number == own => self.note_beat(),
                    Some(_) => {}
                    None => return Err(Problem::new("the bus closed", "Start the server again.")),
                },
                _ = shutdown.wait_for(|stop| *stop) => return Ok(()),
            }
        }
    }

    /// Waits for the first beat to come back.
    pub async fn first_beat(&self) {
        let beaten = self.beaten.notified();
        if self.last_beat().is_none() {
            beaten.await;
        }
    }

    /// Looks at everything now.
    pub async fn report(&self) -> Report {
        let checks = Checks {
            database: Check::of(self.database().await),
            queue: Check::of(self.queue()),
            bus: Check::of(match self.last_beat() {
                Some(beat) if beat.elapsed() < STALE => Ok(()),
                Some(_) => Err("beats do not come back"),
                None => Err("no beat has come back yet"),
            }),
            process: Check::of(
                (!self.stopping.load(Ordering::SeqCst)).then_some(()).ok_or("the process is shutting down"),
            ),
        };
        let ready = [&checks.database, &checks.queue, &checks.bus, &checks.process].iter().all(|check| check.ok);
        Report { ready, checks }
    }

    async fn database(&self) -> Result<(), &'static str> {
        let nobody = TenantId::generate();
        match tokio::time::timeout(PATIENCE, self.store.tenant(&nobody)).await {
            Ok(Ok(_)) => {}
            Ok(Err(_)) => return Err("a read failed"),
            Err(_) => return Err("a read took too long"),
        }
        match tokio::time::timeout(PATIENCE, self.store.probe_writing()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err("a write failed"),
            Err(_) => Err("a write took too long"),
        }
    }

    fn queue(&self) -> Result<(), &'static str> {
        if !self.delivering.load(Ordering::SeqCst) {
            return Err("the worker does not run");
        }
        if self.appends.fail(Instant::now()) {
            return Err("the last publishes could not be stored");
        }
        Ok(())
    }

    fn note_beat(&self) {
        *self.beat.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        self.beaten.notify_waiters();
    }

    fn last_beat(&self) -> Option<Instant> {
        *self.beat.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn send(bus: Arc<dyn Bus>, own: u64) {
    // A beat that was not taken is missed when it does not come back.
    let _ = bus.send(vec![Broadcast::Beat(own)]).await;
}
