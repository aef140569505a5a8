//! The life of a connection's token: warned of, expired, replaced without losing a position.

use std::time::Duration;

use fanfare_protocol::{
    ErrorCode,
    events::{Event, TokenAccepted, error_text, event_text, ok_text},
};

use super::{Connection, Effect, Effects, Phase};
use crate::{
    Refusal, Timestamp,
    grants::{Grant, Identity},
};

const WARNINGS: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(10)];
/// How long an expired connection may still bring a fresh token.
const GRACE: Duration = Duration::from_secs(30);

/// What is still to be said about a token.
#[derive(Debug)]
pub(super) struct TokenWatch {
    expires_at: Option<Timestamp>,
    warned: usize,
    expired: bool,
}

/// What a tick found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Good,
    Over,
}

impl TokenWatch {
    pub(super) fn new(expires_at: Option<Timestamp>, now: Timestamp) -> Self {
        let left = expires_at.map(|end| end.since(now));
        let warned = left.map_or(0, |left| WARNINGS.iter().filter(|before| left < **before).count());
        Self { expires_at, warned, expired: false }
    }

    pub(super) fn is_expired(&self) -> bool {
        self.expired
    }

    /// Ends no later than that; whether there is a token that ends.
    fn end_by(&mut self, end: Timestamp) -> bool {
        self.expires_at = self.expires_at.map(|told| told.min(end));
        self.expires_at.is_some()
    }

    pub(super) fn ttl_ms(&self, now: Timestamp) -> Option<u64> {
        self.expires_at.map(|end| end.since(now).as_millis() as u64)
    }

    pub(super) fn deadline(&self) -> Option<Timestamp> {
        let end = self.expires_at?;
        Some(match WARNINGS.get(self.warned) {
            _ if self.expired => end.after(GRACE),
            Some(before) => end.before(*before),
            None => end,
        })
    }

    pub(super) fn tick(&mut self, now: Timestamp, effects: &mut Effects) -> Verdict {
        let Some(end) = self.expires_at else { return Verdict::Good };
        if now >= end.after(GRACE) {
            return Verdict::Over;
        }
        if now >= end {
            if !self.expired {
                self.expired = true;
                effects.push(Effect::Hold);
            }
            return Verdict::Good;
        }
        let left = end.since(now);
        let passed = WARNINGS.iter().filter(|before| left <= **before).count();
        if passed > self.warned {
            self.warned = passed;
            effects.push(Effect::Send(event_text(&Event::TokenExpiring { in_ms: left.as_millis() as u64 })));
        }
        Verdict::Good
    }
}

/// The order of a connection's fresh tokens: they are looked at at once, and may be known good in another order than they were sent in.
#[derive(Debug, Default)]
pub(super) struct Turns {
    begun: u32,
    applied: u32,
}

impl Turns {
    /// The turn of a token that was sent just now.
    pub(super) fn begin(&mut self) -> u32 {
        self.begun += 1;
        self.begun
    }

    /// Whether a good token takes effect: not if one that was sent later has already.
    fn apply(&mut self, turn: u32) -> bool {
        let is_newest = turn >= self.applied;
        self.applied = self.applied.max(turn);
        is_newest
    }
}

impl Connection {
    /// The token ends that soon.
    pub(super) fn expire(&mut self, after: Duration, now: Timestamp, effects: &mut Effects) {
        let Phase::Open(open) = &mut self.phase else { return };
        if !open.token.end_by(now.after(after)) {
            return;
        }
        match after.is_zero() {
            true => self.close(&Refusal::plain(ErrorCode::TokenExpired), effects),
            false => self.tick(now, effects),
        }
    }

    /// A fresh token was looked at: it continues every subscription that it still has the right to.
    pub(super) fn refreshed(
        &mut self,
        id: u32,
        turn: u32,
        outcome: Result<Grant, Refusal>,
        now: Timestamp,
        effects: &mut Effects,
    ) {
        let Phase::Open(open) = &mut self.phase else { return };
        let fresh = outcome.and_then(|grant| same_bearer(&open.grant, grant)).and_then(|grant| still_good(grant, now));
        let grant = match fresh {
            Ok(grant) => grant,
            Err(refusal) => return effects.push(Effect::Send(error_text(id, &refusal.to_wire()))),
        };
        if !open.turns.apply(turn) {
            let token_ttl_ms = open.token.ttl_ms(now).unwrap_or_default();
            return effects.push(Effect::Send(ok_text(id, &TokenAccepted { token_ttl_ms })));
        }
        let was_expired = open.token.is_expired();
        open.token = TokenWatch::new(grant.expires_at, now);
        open.grant = grant;
        let token_ttl_ms = open.token.ttl_ms(now).unwrap_or_default();
        effects.push(Effect::Send(ok_text(id, &TokenAccepted { token_ttl_ms })));
        let why = Refusal::new(ErrorCode::Forbidden, "the new token has no right to subscribe to this channel");
        open.end_lost_subscriptions(&why, effects);
        open.end_lost_memberships(effects);
        if was_expired {
            effects.push(Effect::Resume);
        }
    }
}

fn same_bearer(old: &Grant, new: Grant) -> Result<Grant, Refusal> {
    let (Identity::Client(before), Identity::Client(after)) = (&old.identity, &new.identity) else {
        return Err(Refusal::new(ErrorCode::TokenMismatch, "the connection was not opened with a token"));
    };
    if old.profile.app.id != new.profile.app.id || before.client != after.client {
        return Err(Refusal::plain(ErrorCode::TokenMismatch));
    }
    Ok(new)
}

/// A token may end while it is looked at.
fn still_good(grant: Grant, now: Timestamp) -> Result<Grant, Refusal> {
    match grant.expires_at {
        Some(end) if end <= now => Err(Refusal::plain(ErrorCode::TokenExpired)),
        _ => Ok(grant),
    }
}
