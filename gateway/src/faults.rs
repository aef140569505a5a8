//! Faults on purpose, for the tests of those who build on Fanfare: armed from outside, met with where connections begin and frames leave.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use fanfare_domain::Refusal;
use fanfare_protocol::{Epoch, ErrorCode, Position, requests::Start};
use serde::Deserialize;
use tokio::sync::broadcast;

/// An epoch that no channel has.
const NO_EPOCH: &str = "lost";
/// What is told to hubs and not taken yet; who is slower than that misses some.
const MOST_SHOTS: usize = 1_024;

/// What is to go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(tag = "fault", rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// Every connection that is open is cut, without a close.
    Drop,
    /// The next `count` frames leave `ms` milliseconds late, and what is behind them waits.
    Delay {
        /// How late.
        ms: u64,
        /// How many.
        #[serde(default = "one")]
        count: u32,
    },
    /// The next `count` messages are sent twice.
    Duplicate {
        /// How many.
        #[serde(default = "one")]
        count: u32,
    },
    /// Nothing leaves for `ms` milliseconds, pings and comments included.
    Stall {
        /// How long.
        ms: u64,
    },
    /// The tokens of all connections end in `in_ms` milliseconds, of which they are warned; without, they ended a while ago.
    Expire {
        /// How soon.
        #[serde(default)]
        in_ms: u64,
    },
    /// The next `count` connections are refused.
    Refuse {
        /// How many.
        #[serde(default = "one")]
        count: u32,
        /// With which code.
        #[serde(default = "unavailable", deserialize_with = "code")]
        code: ErrorCode,
    },
    /// The next `count` subscriptions that resume find their position void.
    LosePosition {
        /// How many.
        #[serde(default = "one")]
        count: u32,
    },
    /// What is armed and did not happen yet does not happen.
    Clear,
}

fn one() -> u32 {
    1
}

fn unavailable() -> ErrorCode {
    ErrorCode::Unavailable
}

fn code<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<ErrorCode, D::Error> {
    let name = String::deserialize(deserializer)?;
    ErrorCode::from_name(&name).ok_or_else(|| serde::de::Error::custom(format!("`{name}` is no error code")))
}

/// The faults of one process. Clones share what is armed.
#[derive(Clone)]
pub struct Faults {
    armed: Arc<Mutex<Armed>>,
    shots: broadcast::Sender<Shot>,
}

#[derive(Default)]
struct Armed {
    delays: u32,
    delay: Duration,
    duplicates: u32,
    stalled_until: Option<Instant>,
    refusals: u32,
    refusal: Option<ErrorCode>,
    positions: u32,
}

/// What every hub does at once, or at its time.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shot {
    /// Cut every connection.
    Cut,
    /// End every token so soon.
    Expire(Duration),
    /// Have every writer look again then.
    Wake(Instant),
}

impl Default for Faults {
    fn default() -> Self {
        Self { armed: Arc::default(), shots: broadcast::Sender::new(MOST_SHOTS) }
    }
}

impl Faults {
    /// Makes a fault, or arms it for what comes.
    pub fn make(&self, fault: Fault) {
        let mut armed = self.armed();
        match fault {
            Fault::Drop => self.shoot(Shot::Cut),
            Fault::Delay { ms, count } => (armed.delay, armed.delays) = (Duration::from_millis(ms), count),
            Fault::Duplicate { count } => armed.duplicates = count,
            Fault::Stall { ms } => {
                let end = Instant::now() + Duration::from_millis(ms);
                armed.stalled_until = Some(end);
                self.shoot(Shot::Wake(end));
            }
            Fault::Expire { in_ms } => self.shoot(Shot::Expire(Duration::from_millis(in_ms))),
            Fault::Refuse { count, code } => (armed.refusals, armed.refusal) = (count, Some(code)),
            Fault::LosePosition { count } => armed.positions = count,
            Fault::Clear => {
                *armed = Armed::default();
                self.shoot(Shot::Wake(Instant::now()));
            }
        }
    }

    /// Everything that hubs are to do from now on.
    pub(crate) fn shots(&self) -> broadcast::Receiver<Shot> {
        self.shots.subscribe()
    }

    /// Why a new connection is refused, if it is.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        let mut armed = self.armed();
        let code = armed.refusal?;
        take_one(&mut armed.refusals).then(|| Refusal::new(code, "refused by a fault that was made on purpose"))
    }

    /// When a frame may leave that is queued now, if not at once.
    pub(crate) fn leaves_at(&self) -> Option<Instant> {
        let mut armed = self.armed();
        let at = Instant::now() + armed.delay;
        take_one(&mut armed.delays).then(|| self.shoot(Shot::Wake(at)))?;
        Some(at)
    }

    /// Whether a message is sent twice.
    pub(crate) fn duplicates(&self) -> bool {
        take_one(&mut self.armed().duplicates)
    }

    /// Whether nothing may leave now.
    pub(crate) fn is_stalled(&self) -> bool {
        self.armed().stalled_until.is_some_and(|end| Instant::now() < end)
    }

    /// Where a subscription starts that asks to start there.
    pub(crate) fn start(&self, start: Start) -> Start {
        match start {
            Start::Since(position) if take_one(&mut self.armed().positions) => {
                Start::Since(Position { epoch: Epoch::new(NO_EPOCH), ..position })
            }
            start => start,
        }
    }

    fn armed(&self) -> MutexGuard<'_, Armed> {
        self.armed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shoot(&self, shot: Shot) {
        // Without a hub there is nothing to hit.
        let _ = self.shots.send(shot);
    }
}

/// Whether there is one left, which is used up.
fn take_one(count: &mut u32) -> bool {
    let is_left = *count > 0;
    *count = count.saturating_sub(1);
    is_left
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fault(value: serde_json::Value) -> Result<Fault, serde_json::Error> {
        serde_json::from_value(value)
    }

    #[test]
    fn a_fault_is_read_strictly() {
        assert_eq!(fault(json!({"fault": "drop"})).unwrap(), Fault::Drop);
        assert_eq!(fault(json!({"fault": "delay", "ms": 5})).unwrap(), Fault::Delay { ms: 5, count: 1 });
        let refuse = fault(json!({"fault": "refuse", "count": 2, "code": "draining"})).unwrap();
        assert_eq!(refuse, Fault::Refuse { count: 2, code: ErrorCode::Draining });
        for bad in [
            json!({"fault": "delay"}),
            json!({"fault": "stall", "ms": -1}),
            json!({"fault": "refuse", "code": "nope"}),
            json!({"fault": "duplicate", "counts": 1}),
            json!({"fault": "burn"}),
        ] {
            fault(bad).unwrap_err();
        }
    }

    #[test]
    fn what_is_armed_is_used_up() {
        let faults = Faults::default();
        assert!(faults.refusal().is_none() && !faults.duplicates() && faults.leaves_at().is_none());
        faults.make(Fault::Duplicate { count: 2 });
        assert!(faults.duplicates() && faults.duplicates() && !faults.duplicates());
        faults.make(Fault::Refuse { count: 1, code: ErrorCode::Draining });
        assert_eq!(faults.refusal().map(|refusal| refusal.code), Some(ErrorCode::Draining));
        assert!(faults.refusal().is_none());
        faults.make(Fault::Stall { ms: 60_000 });
        assert!(faults.is_stalled());
        faults.make(Fault::Clear);
        assert!(!faults.is_stalled());
    }

    #[test]
    fn only_a_position_can_be_lost() {
        let faults = Faults::default();
        faults.make(Fault::LosePosition { count: 1 });
        assert_eq!(faults.start(Start::Live), Start::Live);
        let since = Start::Since(Position { epoch: Epoch::new("e"), serial: fanfare_protocol::Serial(7) });
        assert_ne!(faults.start(since.clone()), since);
        assert_eq!(faults.start(since.clone()), since);
    }
}
