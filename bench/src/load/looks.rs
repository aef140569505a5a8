//! What servers, this program and the machine had used at one time, and how much that is more than at another.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::processes::{self, Role, Used};
use crate::clients::Problem;

/// What everything had used at one time.
pub struct Look {
    pub at: Instant,
    pub roles: BTreeMap<String, Used>,
    /// This program.
    pub own: Used,
    /// How busy all cores have been.
    machine: Duration,
}

impl Look {
    /// Looks now.
    ///
    /// # Errors
    /// A process is gone.
    pub fn at(roles: &[Role]) -> Result<Self, Problem> {
        let (roles, own, machine) = (processes::look(roles)?, processes::own(), processes::machine()?);
        Ok(Self { at: Instant::now(), roles, own, machine })
    }

    /// Processor time of the servers so far.
    pub fn cpu(&self) -> Duration {
        self.roles.values().map(|used| used.cpu).sum()
    }

    /// Their memory, in bytes.
    pub fn memory(&self) -> u64 {
        self.roles.values().map(|used| used.memory).sum()
    }

    /// Microseconds of the servers since then, divided; `None` where nothing is known of them, or it is divided by nothing.
    pub fn cpu_us(&self, since: &Self, by: u64) -> Option<f64> {
        let known = !self.roles.is_empty() && by > 0;
        known.then(|| self.cpu().saturating_sub(since.cpu()).as_secs_f64() * 1e6 / by as f64)
    }

    /// Hundredths of a core that others have used since then.
    pub fn others_percent(&self, since: &Self) -> f64 {
        let ours = |look: &Self| look.cpu() + look.own.cpu;
        let others = self.machine.saturating_sub(since.machine).saturating_sub(ours(self).saturating_sub(ours(since)));
        100.0 * others.as_secs_f64() / self.at.duration_since(since.at).as_secs_f64()
    }

    /// Bytes of memory more than then, divided.
    pub fn growth(&self, since: &Self, by: u64) -> Option<f64> {
        let known = !self.roles.is_empty() && by > 0;
        known.then(|| (self.memory() as f64 - since.memory() as f64) / by as f64)
    }
}
