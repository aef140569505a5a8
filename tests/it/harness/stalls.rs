//! What a machine with much else to do takes from a test, so that bounds of time can be held to besides that.

use std::{
    fs,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use tokio::{task::JoinHandle, time::MissedTickBehavior};

/// How often the timer looks.
const TICK: Duration = Duration::from_millis(10);

/// A timer of the test's own runtime, which notes how late it is; and for how long something on this machine wanted a core, or its disk, and had to wait.
///
/// On a machine that does nothing else both are next to nothing, and a bound is what it says. A process of ours cannot have waited for longer than
/// something did, so what it took besides is its own.
#[derive(Debug)]
pub struct Stalls {
    seen: Arc<Mutex<Seen>>,
    /// What had been waited for when this began.
    before: Duration,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Seen {
    looked: Instant,
    longest: Duration,
    late: Duration,
}

impl Stalls {
    /// Begins to watch.
    pub fn begin() -> Self {
        let first = Seen { looked: Instant::now(), longest: Duration::ZERO, late: Duration::ZERO };
        let seen = Arc::new(Mutex::new(first));
        let task = tokio::spawn(watch(Arc::clone(&seen)));
        Self { seen, before: waited(), task }
    }

    /// The longest time for which the timer was late.
    pub fn longest(&self) -> Duration {
        let seen = self.seen();
        seen.longest.max(seen.since())
    }

    /// All that was lost so far: every lateness of the timer, and all that something waited for.
    pub fn lost(&self) -> Duration {
        let seen = self.seen();
        seen.late + seen.since() + waited().saturating_sub(self.before)
    }

    /// Holds what took so long since this began to a bound, besides what was lost.
    #[track_caller]
    pub fn hold(&self, what: &str, took: Duration, bound: Duration) {
        let lost = self.lost();
        assert!(took < bound + lost, "{what} took {took:?}; the bound is {bound:?}, and {lost:?} were lost to others");
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("nobody panics")
    }
}

impl Drop for Stalls {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Seen {
    /// How late the timer is by now.
    fn since(&self) -> Duration {
        self.looked.elapsed().saturating_sub(2 * TICK)
    }

    fn look(&mut self) {
        let late = self.since();
        self.late += late;
        self.longest = self.longest.max(late);
        self.looked = Instant::now();
    }
}

async fn watch(seen: Arc<Mutex<Seen>>) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        seen.lock().expect("nobody panics").look();
    }
}

/// What the kernel counts as time in which something had to wait, for a core or for a disk; nothing where it keeps no such account.
fn waited() -> Duration {
    let total = |of: &str| {
        let text = fs::read_to_string(format!("/proc/pressure/{of}")).ok()?;
        let micros = text.lines().next()?.rsplit("total=").next()?.parse().ok()?;
        Some(Duration::from_micros(micros))
    };
    ["cpu", "io"].into_iter().filter_map(total).sum()
}
