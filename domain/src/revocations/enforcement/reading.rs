//! Keeping the list: several reads may be under way, so that one that is not answered keeps nothing from being known.

use std::{
    sync::{Arc, PoisonError, atomic::Ordering},
    time::Duration,
};

use futures::{StreamExt, stream::FuturesUnordered};
use tokio::{
    sync::watch,
    time::{sleep_until, timeout},
};
use tracing::{info, warn};

use super::{
    super::{
        Beat, Latest, Revision, Revocation, Rows, Subject,
        currency::{BOUND, Currency},
    },
    Enforcement,
};
use crate::StoreError;

/// A read that takes longer says that the database is away; it may still be answered.
const READ_PATIENCE: Duration = Duration::from_millis(600);
/// How long who revokes waits for it to be in force here.
const ENFORCING: Duration = Duration::from_millis(1_500);
/// A read that takes longer is given up.
const GIVE_UP: Duration = Duration::from_secs(2);

impl Enforcement {
    /// A beat was heard.
    pub fn heard(&self, beat: Beat) {
        let now = self.steady();
        if self.has_jumped(now) {
            // What is heard now may have been sent before.
            self.demand();
            return;
        }
        let mut currency = self.currency();
        currency.heard(beat, now);
        let is_due = currency.next_read(now).is_some_and(|due| due <= now);
        self.renew(&currency);
        drop(currency);
        if is_due {
            self.wake.notify_one();
        }
    }

    /// Reads the list whenever that is due, until the process ends.
    pub async fn run(self: Arc<Self>, mut stopped: watch::Receiver<bool>) {
        let mut reads = FuturesUnordered::new();
        loop {
            let now = self.steady();
            let due = self.next_read(now);
            if due.is_some_and(|due| due <= now) {
                self.currency().begin(now);
                reads.push(self.read(now));
                continue;
            }
            tokio::select! {
                () = sleep_until(self.started + due.unwrap_or(now)), if due.is_some() => {}
                () = self.wake.notified() => {}
                Some(()) = reads.next() => {}
                _ = stopped.wait_for(|stop| *stop) => return,
            }
        }
    }

    fn next_read(&self, now: Duration) -> Option<Duration> {
        let currency = self.currency();
        match self.store.made_here() {
            Some(last) => currency.next_read_alone(last, now),
            None => currency.next_read(now),
        }
    }

    /// Has the list read once more, and waits for that: what was committed before is in force here then. What to tell the others;
    /// `None` if it could not be read in time.
    pub async fn read_again(&self) -> Option<Beat> {
        let mut ended = self.ended.subscribe();
        let asked = self.demand();
        let read = ended.wait_for(|began| *began >= asked);
        timeout(ENFORCING, read).await.ok()?.ok()?;
        let at = self.currency().stored(self.steady())?;
        self.is_current().then(|| Beat { revision: self.revision(), at, is_read: true })
    }

    async fn read(&self, began: Duration) {
        let apart = self.apart(began);
        let mut read = self.store.after(self.revision());
        let outcome = match timeout(READ_PATIENCE, &mut read).await {
            Ok(outcome) => outcome,
            Err(_) => {
                self.currency().is_late(began, self.steady());
                let late = timeout(GIVE_UP - READ_PATIENCE, read).await;
                late.unwrap_or_else(|late| Err(StoreError::unavailable(late)))
            }
        };
        self.currency().end(began);
        match outcome {
            Ok(rows) => self.take(rows, began, apart).await,
            Err(failure) => self.fail(began, &failure.to_string()),
        }
    }

    fn fail(&self, began: Duration, error: &str) {
        if self.currency().failed(began, self.steady()) {
            warn!(error, "The list of revocations cannot be read; trying again");
        }
    }

    /// Nobody may read from what was cached before once the number is known.
    async fn take(&self, Rows { latest, upto, revocations }: Rows, began: Duration, apart: i64) {
        for Revocation { subject, .. } in &revocations {
            match subject {
                Subject::Key(_, key) => self.directory.forget_key(key).await,
                Subject::App(app) | Subject::Signer(app, _) => self.directory.forget_app(app).await,
                Subject::Tenant(_) => self.directory.forget_all().await,
                Subject::Token(..) | Subject::Client(..) | Subject::Connections(..) => {}
            }
        }
        // Rows of before this node began say nothing of how fast it is.
        let _ = self.first_read.compare_exchange(0, latest.now.0, Ordering::AcqRel, Ordering::Relaxed);
        let (known, is_longer) = {
            let mut list = self.list.write().unwrap_or_else(PoisonError::into_inner);
            let known = list.revision();
            list.take(revocations, upto, latest.now);
            self.revision.store(list.revision().0, Ordering::Release);
            (known, list.revision() > known)
        };
        self.took(upto, latest, began, apart);
        if is_longer {
            self.changes.send_modify(|changes| *changes += 1);
            if self.enders.load(Ordering::Relaxed) == 0 {
                self.measure(self.list().times_after(known));
            }
        }
        self.ended.send_modify(|ended| *ended = began.max(*ended));
    }

    /// Takes note of what a read says of when the list was complete.
    fn took(&self, upto: Revision, latest: Latest, began: Duration, apart: i64) {
        let mut currency = self.currency();
        let now = self.steady();
        let is_apart = self.apart(now);
        if is_apart.abs_diff(apart) > super::JUMP_MS {
            // The machine stood still while it was read: nobody knows for how long ago that is the list.
            return currency.demand(now);
        }
        currency.read(upto, latest, began, now);
        self.is_whole.fetch_or(currency.is_whole(), Ordering::AcqRel);
        self.apart_ms.store(is_apart, Ordering::Relaxed);
        self.renew(&currency);
    }

    /// Says until when the list is good, and tells who waited for that.
    fn renew(&self, currency: &Currency) {
        let now = self.steady();
        let good_until = match self.store.made_here() {
            Some(last) => self.knows(last).then(|| now + BOUND),
            None => currency.good_until(),
        };
        let Some(good_until) = good_until.filter(|until| *until > now) else { return };
        self.good_until_ms.fetch_max(good_until.as_millis() as u64, Ordering::AcqRel);
        if self.has_lapsed.swap(false, Ordering::AcqRel) {
            let lapsed = Duration::from_millis(self.lapsed_at_ms.load(Ordering::Acquire));
            let after_ms = self.steady().saturating_sub(lapsed).as_millis() as u64;
            info!(after_ms, "Everything that was revoked is known here");
            self.changes.send_modify(|changes| *changes += 1);
        }
    }
}
