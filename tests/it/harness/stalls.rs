//! What a machine with much else to do takes from a test and from the processes that it watches, so that bounds of time can be held to besides that.

use std::{
    collections::HashMap,
    fs,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use tokio::{task::JoinHandle, time::MissedTickBehavior};

use super::server::Server;

/// How often the timer looks.
const TICK: Duration = Duration::from_millis(10);
/// How often the kernel is asked what processes waited for.
const ASKED_EVERY: u32 = 10;

/// A timer of the test's own runtime, which notes how late it is; and how long threads of processes could have run but had no core.
#[derive(Debug)]
pub struct Stalls {
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Seen {
    looked: Instant,
    longest: Duration,
    late: Duration,
    /// By thread: what it had waited when it was seen first, and last. Those that ended are still counted.
    waits: HashMap<String, (u64, u64)>,
}

impl Stalls {
    /// Begins to watch this runtime.
    pub fn begin() -> Self {
        Self::with(&[])
    }

    /// The same, and these servers.
    pub fn with(servers: &[&Server]) -> Self {
        let pids: Vec<_> = servers.iter().map(|server| server.pid()).collect();
        let mut first =
            Seen { looked: Instant::now(), longest: Duration::ZERO, late: Duration::ZERO, waits: HashMap::new() };
        pids.iter().for_each(|pid| first.ask(*pid));
        let seen = Arc::new(Mutex::new(first));
        let task = tokio::spawn(watch(Arc::clone(&seen), pids));
        Self { seen, task }
    }

    /// The longest time for which the timer was late.
    pub fn longest(&self) -> Duration {
        let seen = self.seen();
        seen.longest.max(seen.since())
    }

    /// All that was lost so far: every lateness of the timer, and all that threads of the processes waited for a core.
    pub fn lost(&self) -> Duration {
        let seen = self.seen();
        let waited = seen.waits.values().map(|(first, last)| last - first).sum();
        seen.late + seen.since() + Duration::from_nanos(waited)
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

    /// The second number of a thread's `schedstat` is how long it waited for a core, in nanoseconds. A kernel that keeps no such account tells 0.
    fn ask(&mut self, pid: u32) {
        for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
            let path = task.path().join("schedstat");
            let waited = fs::read_to_string(&path).ok().and_then(|text| text.split(' ').nth(1)?.parse().ok());
            if let Some(waited) = waited {
                self.waits.entry(path.display().to_string()).or_insert((waited, waited)).1 = waited;
            }
        }
    }
}

async fn watch(seen: Arc<Mutex<Seen>>, pids: Vec<u32>) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for tick in 0_u32.. {
        ticks.tick().await;
        let mut seen = seen.lock().expect("nobody panics");
        seen.look();
        if tick.is_multiple_of(ASKED_EVERY) {
            pids.iter().for_each(|pid| seen.ask(*pid));
        }
    }
}
