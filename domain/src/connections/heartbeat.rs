//! Signs of life: who is silent is pinged, who stays silent is closed.

use fanfare_protocol::events::{Event, event_text};

use super::{ConnectionConfig, Effect, Effects};
use crate::Timestamp;

#[derive(Debug)]
pub(super) struct Heartbeat {
    ping_interval_ms: u32,
    pong_timeout_ms: u32,
    heard_at: Timestamp,
    pinged_at: Option<Timestamp>,
}

/// What a tick found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Alive,
    Silent,
}

impl Heartbeat {
    pub(super) fn new(config: &ConnectionConfig, now: Timestamp) -> Self {
        Self {
            ping_interval_ms: config.ping_interval.as_millis() as u32,
            pong_timeout_ms: config.pong_timeout.as_millis() as u32,
            heard_at: now,
            pinged_at: None,
        }
    }

    pub(super) fn ping_ms(&self) -> u64 {
        self.ping_interval_ms.into()
    }

    pub(super) fn heard(&mut self, now: Timestamp) {
        self.heard_at = now;
        self.pinged_at = None;
    }

    pub(super) fn deadline(&self) -> Timestamp {
        match self.pinged_at {
            Some(pinged_at) => Timestamp(pinged_at.0 + u64::from(self.pong_timeout_ms)),
            None => Timestamp(self.heard_at.0 + u64::from(self.ping_interval_ms)),
        }
    }

    pub(super) fn tick(&mut self, now: Timestamp, effects: &mut Effects) -> Verdict {
        if now < self.deadline() {
            return Verdict::Alive;
        }
        if self.pinged_at.is_some() {
            return Verdict::Silent;
        }
        self.pinged_at = Some(now);
        effects.push(Effect::Send(event_text(&Event::Ping)));
        Verdict::Alive
    }
}
