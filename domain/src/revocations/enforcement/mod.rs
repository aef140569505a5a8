//! A node's list in force: read from the database when there is more, asked by everyone who lets somebody in.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard,
        atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use fanfare_protocol::{ClientName, ErrorCode};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, timeout_at},
};
use tracing::warn;

use super::{
    Cut, Revision, RevocationList, Revocations, Standing,
    currency::{BOUND, Currency},
    list::Reach,
};
use crate::{Clock, Refusal, Timestamp, directory::Directory, grants::Grant, ids::AppId, metrics::Metric};

mod reading;

/// How long callers wait until the node knows everything again, from when that was missed; after that they are refused at once.
const CALLER_PATIENCE: Duration = Duration::from_secs(3);
/// How often it is noted, at least, that a process that makes every revocation itself knows them all.
const NOTED_EVERY_MS: u64 = 100;
/// A difference of the two clocks of this machine that changes by so much says that it was suspended.
const JUMP_MS: u64 = 1_000;

/// A node's revocations in force.
///
/// While it is not known that the list was complete a second ago, nothing is delivered and nobody is let in: [`Enforcement::is_current`]
/// says so by the clock, so that a process that was stopped knows it before it does anything else. A process that makes every revocation
/// itself has nobody to hear of: it is behind only from a commit of its own until that is read.
pub struct Enforcement {
    store: Arc<dyn Revocations>,
    directory: Arc<dyn Directory>,
    clock: Arc<dyn Clock>,
    started: Instant,
    list: RwLock<RevocationList>,
    currency: Mutex<Currency>,
    revision: AtomicU64,
    /// When the list was read first, by the database's clock.
    first_read: AtomicU64,
    /// Whether the list was ever read to its end.
    is_whole: AtomicBool,
    /// Steady time, in milliseconds; 0 before the first read.
    good_until_ms: AtomicU64,
    /// The system's clock less the steady one when that was said.
    apart_ms: AtomicI64,
    /// Somebody found the list too old, and when; at first it is.
    has_lapsed: AtomicBool,
    lapsed_at_ms: AtomicU64,
    /// Threads that end sockets by themselves, and say when they have.
    enders: AtomicUsize,
    wake: Notify,
    changes: watch::Sender<u64>,
    /// When the last read that was answered began.
    ended: watch::Sender<Duration>,
}

impl Enforcement {
    /// Over this store; `directory` forgets what a revocation changes. It does nothing before [`Enforcement::run`] is.
    pub fn new(store: Arc<dyn Revocations>, directory: Arc<dyn Directory>, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self {
            store,
            directory,
            clock,
            started: Instant::now(),
            list: RwLock::default(),
            currency: Mutex::default(),
            revision: AtomicU64::new(0),
            first_read: AtomicU64::new(0),
            is_whole: AtomicBool::new(false),
            good_until_ms: AtomicU64::new(0),
            apart_ms: AtomicI64::new(0),
            has_lapsed: AtomicBool::new(true),
            lapsed_at_ms: AtomicU64::new(0),
            enders: AtomicUsize::new(0),
            wake: Notify::new(),
            changes: watch::Sender::new(0),
            ended: watch::Sender::new(Duration::ZERO),
        })
    }

    /// Whether everything that was revoked until a second ago is known. Cheap: two looks at clocks.
    pub fn is_current(&self) -> bool {
        let now = self.steady();
        let is_current = self.is_current_at(now);
        if is_current || self.has_lapsed.load(Ordering::Acquire) {
            return is_current;
        }
        self.lapsed_at_ms.store(now.as_millis() as u64, Ordering::Release);
        if !self.has_lapsed.swap(true, Ordering::AcqRel) {
            warn!("What was revoked in the last second is not known; nothing is delivered until it is");
            self.demand();
        }
        false
    }

    /// For how long it has not been known; nothing while it is, and without end before it ever was.
    pub fn lapsed_for(&self) -> Duration {
        if self.is_current() {
            return Duration::ZERO;
        }
        let good_until_ms = self.good_until_ms.load(Ordering::Acquire);
        if good_until_ms == 0 {
            return Duration::MAX;
        }
        // Nobody may have asked since then; or the machine stood still, which only who asked has found.
        let since_ms = good_until_ms.min(self.lapsed_at_ms.load(Ordering::Acquire));
        self.steady().saturating_sub(Duration::from_millis(since_ms))
    }

    fn is_current_at(&self, now: Duration) -> bool {
        let now_ms = now.as_millis() as u64;
        let good_until_ms = self.good_until_ms.load(Ordering::Acquire);
        match self.store.made_here() {
            Some(last) if self.knows(last) => {
                // Whatever is made from here on is made after this.
                let until_ms = now_ms + BOUND.as_millis() as u64;
                if good_until_ms + NOTED_EVERY_MS < until_ms {
                    self.good_until_ms.fetch_max(until_ms, Ordering::AcqRel);
                }
                true
            }
            Some(_) => now_ms < good_until_ms,
            None => now_ms < good_until_ms && !self.has_jumped(now),
        }
    }

    /// Whether the list goes up to a number.
    fn knows(&self, last: Revision) -> bool {
        self.is_whole.load(Ordering::Acquire) && self.revision() >= last
    }

    /// The number up to which everything is known here.
    pub fn revision(&self) -> Revision {
        Revision(self.revision.load(Ordering::Acquire))
    }

    /// Waits until everything is known, for a moment at most; the number to look a caller up under.
    pub async fn require_current(&self) -> Result<Revision, Refusal> {
        if self.current_soon().await {
            return Ok(self.revision());
        }
        let why = "this node cannot tell what was revoked in the last second";
        Err(Refusal::new(ErrorCode::Unavailable, why).retry_after(Duration::from_secs(1)))
    }

    /// Waits until everything is known, for a moment at most; whether it is. Once that has lasted, nobody waits any more.
    pub async fn current_soon(&self) -> bool {
        if self.is_current() {
            return true;
        }
        let lapsed = Duration::from_millis(self.lapsed_at_ms.load(Ordering::Acquire));
        timeout_at(self.started + lapsed + CALLER_PATIENCE, self.current()).await.is_ok()
    }

    /// Waits until everything is known.
    pub async fn current(&self) {
        let mut changes = self.changes.subscribe();
        while !self.is_current() {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Refuses a caller who was let in before and is cut off by now.
    pub async fn require_good(&self, grant: &Grant) -> Result<(), Refusal> {
        // It was looked at when that was the last number.
        if self.require_current().await? == grant.as_of { Ok(()) } else { self.check(&grant.standing()) }
    }

    /// Refuses a caller that is cut off.
    pub fn check(&self, caller: &Standing) -> Result<(), Refusal> {
        self.cut(caller).map_or(Ok(()), |cut| Err(cut.refusal()))
    }

    /// Whether a caller is cut off, and by what.
    pub fn cut(&self, caller: &Standing) -> Option<Cut> {
        self.list().cut(caller)
    }

    /// Whose callers the revocations after a number may reach, and the number up to which that is said.
    pub fn reach_after(&self, known: Revision) -> (Reach, Revision) {
        let list = self.list();
        (list.reach_after(known), list.revision())
    }

    /// When a token that is minted now is to say that it was issued: not before the client's tokens were cut off.
    pub fn issue_time(&self, app: &AppId, client: Option<&ClientName>, now: Timestamp) -> Timestamp {
        let cut_at = client.and_then(|client| self.list().client_cut_at(app, client));
        cut_at.map_or(now, |at| now.max(Timestamp(at.0 + 1)))
    }

    /// Changes of the list, and of whether it is current.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// A thread ends sockets from now on, and says so with [`Enforcement::ended_sockets`].
    pub fn add_ender(&self) {
        self.enders.fetch_add(1, Ordering::Relaxed);
    }

    /// Everything after `known` is obeyed on one more thread.
    pub fn ended_sockets(&self, known: Revision) {
        let list = self.list();
        self.measure(list.times_after(known));
    }

    /// From a row to where it is obeyed.
    fn measure(&self, rows: Vec<Timestamp>) {
        let Some(now) = self.currency().stored(self.steady()) else { return };
        let first = Timestamp(self.first_read.load(Ordering::Acquire));
        rows.into_iter().filter(|at| *at >= first).for_each(|at| Metric::RevocationSeconds.observe(now.since(at)));
    }

    /// Has the list read by a read that begins from now on.
    fn demand(&self) -> Duration {
        let now = self.steady();
        self.currency().demand(now);
        self.wake.notify_one();
        now
    }

    fn list(&self) -> RwLockReadGuard<'_, RevocationList> {
        self.list.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn currency(&self) -> MutexGuard<'_, Currency> {
        self.currency.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn steady(&self) -> Duration {
        self.started.elapsed()
    }

    /// Whether this machine stood still without the steady clock noticing, or the system's clock was set.
    fn has_jumped(&self, now: Duration) -> bool {
        let is_known = self.good_until_ms.load(Ordering::Acquire) > 0;
        is_known && self.apart(now).abs_diff(self.apart_ms.load(Ordering::Relaxed)) > JUMP_MS
    }

    /// The system's clock less the steady one, in milliseconds.
    fn apart(&self, now: Duration) -> i64 {
        i64::try_from(self.clock.now().0).unwrap_or(i64::MAX).saturating_sub_unsigned(now.as_millis() as u64)
    }
}

#[cfg(test)]
mod tests;
