//! What a serving process is to its system: its runtime, its limits, its signals, and its end when a part of it breaks.

use std::time::Duration;

use fanfare_infra::telemetry::Metrics;
use tokio::{
    runtime::Runtime,
    signal::unix::{self as signal, SignalKind},
    sync::watch,
};
use tracing::{error, info, warn};

use crate::problem::Problem;

/// Threads of the stores and of delivery; what blocks is done on others.
const ENGINE_THREADS: usize = 2;
/// How often histograms are folded.
const UPKEEP: Duration = Duration::from_secs(5);

/// The runtime of the stores and of delivery; that of actix is for what is served.
pub fn engine() -> Result<Runtime, Problem> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(ENGINE_THREADS)
        .thread_name("engine")
        .enable_all()
        .build();
    runtime.map_err(|error| {
        Problem::new(format!("the runtime cannot start: {error}"), "Raise the limits of threads and open files.")
    })
}

/// A part that broke must not leave the rest looking healthy: any panic ends the process.
pub fn end_on_panic() {
    std::panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current().name().unwrap_or("unnamed").to_owned();
        error!(thread, "A thread panicked, so the process ends: {panic}");
        std::process::exit(1);
    }));
}

/// Raises the limit of open files as far as it goes: every socket takes one.
pub fn raise_open_files() {
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) => info!(limit, "Open files are limited to {limit}"),
        Err(error) => warn!(%error, "The limit of open files could not be raised"),
    }
}

/// Keeps the metrics small until `stopped` says so.
pub async fn keep_up(metrics: Metrics, mut stopped: watch::Receiver<bool>) {
    let mut due = tokio::time::interval(UPKEEP);
    loop {
        tokio::select! {
            _ = due.tick() => metrics.upkeep(),
            _ = stopped.wait_for(|stop| *stop) => return,
        }
    }
}

/// The signals that ask the process to end.
pub struct Endings {
    terminate: signal::Signal,
    interrupt: signal::Signal,
}

/// How the process is asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// In its own time, by SIGTERM.
    InTime,
    /// At once, by SIGINT.
    AtOnce,
}

impl Endings {
    /// Takes both signals from now on.
    ///
    /// # Errors
    /// They cannot be waited for.
    pub fn listen() -> Result<Self, Problem> {
        let failed = |error: std::io::Error| {
            Problem::new(format!("signals cannot be waited for: {error}"), "Raise the limit of open files.")
        };
        let terminate = signal::signal(SignalKind::terminate()).map_err(failed)?;
        let interrupt = signal::signal(SignalKind::interrupt()).map_err(failed)?;
        Ok(Self { terminate, interrupt })
    }

    /// Waits for the next one.
    pub async fn next(&mut self) -> Ending {
        tokio::select! {
            _ = self.terminate.recv() => Ending::InTime,
            _ = self.interrupt.recv() => Ending::AtOnce,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    const PROBE: &str = "PANIC_PROBE";

    #[test]
    fn a_panic_in_any_thread_ends_the_process_with_1() {
        if std::env::var_os(PROBE).is_some() {
            end_on_panic();
            let _ = std::thread::spawn(|| panic!("on purpose")).join();
            std::process::exit(0);
        }
        let own = std::env::current_exe().unwrap();
        let name = "process::tests::a_panic_in_any_thread_ends_the_process_with_1";
        let output = Command::new(own).args(["--exact", name, "--nocapture"]).env(PROBE, "1").output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
    }
}
