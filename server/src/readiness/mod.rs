//! Readiness: whether this process can do its part of getting a message from its publisher to its subscribers.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use serde::Serialize;
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};
use tracing::{info, warn};

pub mod appends;
pub mod checks;
pub mod pulses;

use checks::Check;

/// How often the state is looked at while the first readiness is waited for.
const LOOK: Duration = Duration::from_millis(20);
/// How often a change of the state is looked for afterwards.
const WATCH: Duration = Duration::from_millis(500);
/// How often it is logged what is waited for.
const SAY: Duration = Duration::from_secs(3);

/// What is wrong.
pub type Wrong = Cow<'static, str>;

/// What `/readyz` answers.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Whether every check that counts is good.
    pub ready: bool,
    /// Each dependency, by name.
    pub checks: BTreeMap<&'static str, State>,
}

/// One dependency.
#[derive(Debug, Serialize)]
pub struct State {
    /// Whether it works.
    pub ok: bool,
    /// Whether the process can be ready without it; only then is it said.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
    /// What is wrong, if it does not work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<Wrong>,
}

/// Something that the process depends on.
pub struct Dependency {
    /// Its name.
    pub name: &'static str,
    /// Whether the process can do its part without it, at least for a while.
    pub optional: bool,
    /// How it is looked at.
    pub check: Check,
}

/// Watches what readiness depends on.
pub struct Readiness {
    dependencies: Vec<Dependency>,
    stopping: AtomicBool,
}

impl Readiness {
    /// A process that depends on these.
    pub fn new(dependencies: Vec<Dependency>) -> Arc<Self> {
        Arc::new(Self { dependencies, stopping: AtomicBool::new(false) })
    }

    /// From now on the process is not ready, whatever else works.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
    }

    /// Looks at everything now.
    pub async fn report(&self) -> Report {
        let mut checks = BTreeMap::new();
        for Dependency { name, optional, check } in &self.dependencies {
            let outcome = check.look().await;
            checks.insert(*name, State { ok: outcome.is_ok(), optional: *optional, problem: outcome.err() });
        }
        let stopping = self.stopping.load(Ordering::SeqCst);
        let problem = stopping.then_some(Cow::Borrowed("the process is shutting down"));
        checks.insert("process", State { ok: !stopping, optional: false, problem });
        Report { ready: checks.values().all(|state| state.ok || state.optional), checks }
    }

    /// Waits until everything that is known without asking is good for the first time; says in the log what is still waited for.
    pub async fn first(&self) {
        let mut due = interval(LOOK);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut said = Instant::now();
        loop {
            due.tick().await;
            let Some(missing) = self.missing() else { return };
            if said.elapsed() >= SAY {
                said = Instant::now();
                info!("Waiting until it is ready: {missing}");
            }
        }
    }

    /// Logs each change between ready and not, until `stopped` says so.
    pub async fn log_changes(self: Arc<Self>, mut stopped: watch::Receiver<bool>) {
        let mut due = interval(WATCH);
        let mut was_ready = true;
        loop {
            tokio::select! {
                _ = due.tick() => {}
                _ = stopped.wait_for(|stop| *stop) => return,
            }
            let missing = self.missing();
            match &missing {
                Some(missing) if was_ready => warn!("Not ready: {missing}"),
                None if !was_ready => info!("Ready again"),
                _ => {}
            }
            was_ready = missing.is_none();
        }
    }

    /// What is not good, of that which is known without asking.
    fn missing(&self) -> Option<String> {
        let needed = self.dependencies.iter().filter(|dependency| !dependency.optional);
        let missing: Vec<_> = needed
            .filter_map(|dependency| Some(format!("{}: {}", dependency.name, dependency.check.known().err()?)))
            .collect();
        (!missing.is_empty()).then(|| missing.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[tokio::test]
    async fn only_what_a_process_needs_makes_it_unready_and_everything_is_named() {
        let wrong = Arc::new(Mutex::new(None));
        let look = Arc::clone(&wrong);
        let told = move || look.lock().unwrap().map_or(Ok(()), |wrong| Err(Wrong::Borrowed(wrong)));
        let always = || Err(Wrong::Borrowed("is away"));
        let readiness = Readiness::new(vec![
            Dependency { name: "bus", optional: false, check: Check::Told(Box::new(told)) },
            Dependency { name: "database", optional: true, check: Check::Told(Box::new(always)) },
        ]);
        let json = async |readiness: &Readiness| serde_json::to_value(readiness.report().await).unwrap();
        assert_eq!(
            json(&readiness).await,
            serde_json::json!({"ready": true, "checks": {
                "bus": {"ok": true},
                "database": {"ok": false, "optional": true, "problem": "is away"},
                "process": {"ok": true},
            }})
        );
        readiness.first().await;
        *wrong.lock().unwrap() = Some("is silent");
        assert_eq!(readiness.missing().as_deref(), Some("bus: is silent"));
        assert_eq!(json(&readiness).await["ready"], false);
        *wrong.lock().unwrap() = None;
        readiness.stop();
        assert_eq!(json(&readiness).await["checks"]["process"]["problem"], "the process is shutting down");
    }
}
