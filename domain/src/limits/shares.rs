//! A node's share of one rate of one app: what it admits by, what it reports, what it is granted.

use std::{
    num::NonZeroU32,
    time::{Duration, Instant},
};

use super::{
    Allowed, Exceeded, Quota,
    allotments::{Grant, REPORT_EVERY, Report},
    buckets::{Bucket, wait_for},
};

/// Over how long demand is averaged.
const MEMORY: Duration = Duration::from_secs(1);
/// A node that is offered nothing is taken to want this part of the limit, so that it is not shut out while no new share can be had.
const LEAST_DEMAND: f64 = 0.02;
/// A share that was not asked for anything for this long, and whose bucket is full, is the same as none.
const IDLE_AFTER: Duration = Duration::from_secs(1);

/// One node's share. Until the first grant it is taken for an even one and its bucket for full, so that the first request on a node is
/// answered at once; what turns out too much is a debt of all. While no grants come it goes on as it was.
#[derive(Debug, Clone)]
pub struct Share {
    allowed: Allowed,
    bucket: Bucket,
    /// What an even share is at least, or the granted one if that is more: by it, waits are told.
    hope_per_s: f64,
    demand_per_s: f64,
    /// What was asked for since the last report, admitted or not.
    offered: u64,
    offered_at: Instant,
    taken: u64,
    reported: Option<Reported>,
}

#[derive(Debug, Clone, Copy)]
struct Reported {
    allowed: Allowed,
    taken: u64,
    at: Instant,
}

impl Share {
    /// A share of a rate among so many nodes.
    pub fn new(allowed: Allowed, nodes: u32, now: Instant) -> Self {
        let even_per_s = f64::from(allowed.per_s) / f64::from(nodes.max(1));
        Self {
            allowed,
            bucket: Bucket::full(allowed.burst, even_per_s, now),
            hope_per_s: even_per_s,
            demand_per_s: 0.0,
            offered: 0,
            offered_at: now,
            taken: 0,
            reported: None,
        }
    }

    /// Another plan: what was left of the old one stays, and so does the part of the whole.
    pub fn change(&mut self, allowed: Allowed, now: Instant) {
        let before = std::mem::replace(&mut self.allowed, allowed);
        if before == allowed {
            return;
        }
        let level = self.bucket.level(now) + f64::from(allowed.burst) - f64::from(before.burst);
        let part = if before.per_s == 0 { 1.0 } else { self.bucket.per_s / f64::from(before.per_s) };
        self.bucket = Bucket::full(allowed.burst, part * f64::from(allowed.per_s), now);
        self.bucket.set_level(level, now);
        self.hope_per_s = self.bucket.per_s;
    }

    /// Takes so many, or says when they might be had.
    pub fn take(&mut self, count: NonZeroU32, now: Instant) -> Result<Quota, Exceeded> {
        let Allowed { per_s: limit, burst } = self.allowed;
        let exceeded = |tokens, per_s| Exceeded { limit, retry_after: wait_for(tokens, per_s) };
        self.offered += u64::from(count.get());
        self.offered_at = now;
        if limit == 0 || count.get() > burst {
            return Err(exceeded(f64::from(burst), self.hope_per_s));
        }
        self.bucket.take(count.get(), now).map_err(|missing| exceeded(missing, self.hope_per_s))?;
        self.taken += u64::from(count.get());
        Ok(Quota { limit, remaining: (self.bucket.level(now) as u32).min(limit) })
    }

    /// Whether this share was never reported, so that the first report should not wait.
    pub fn is_unreported(&self) -> bool {
        self.reported.is_none() && self.allowed.per_s > 0
    }

    /// Whether it is time for a report.
    pub fn is_due(&self, now: Instant) -> bool {
        let has_waited = |last: &Reported| now.saturating_duration_since(last.at) >= REPORT_EVERY / 2;
        self.allowed.per_s > 0 && self.reported.as_ref().is_none_or(has_waited)
    }

    /// A report of what was offered and taken.
    pub fn report(&mut self, now: Instant) -> Report {
        let last = self.reported.replace(Reported { allowed: self.allowed, taken: self.taken, at: now });
        let span = last.map_or(REPORT_EVERY, |last| now.saturating_duration_since(last.at).max(REPORT_EVERY));
        let weight = last.map_or(1.0, |_| span.div_duration_f64(MEMORY).min(1.0));
        let offered_per_s = std::mem::take(&mut self.offered) as f64 / span.as_secs_f64();
        self.demand_per_s += (offered_per_s - self.demand_per_s) * weight;
        let demand_per_s = self.demand_per_s.max(f64::from(self.allowed.per_s) * LEAST_DEMAND);
        Report {
            allowed: self.allowed,
            demand_milli: (demand_per_s * 1_000.0) as u64,
            taken: self.taken,
            uncharged: self.taken - last.map_or(0, |last| last.taken),
            level_milli: (self.bucket.level(now) * 1_000.0) as i64,
        }
    }

    /// The answer to the last report. What was saved in the bucket of all may be taken on any node, so that a batch passes anywhere. A debt,
    /// or no more than what comes in between two reports, is divided, lest all nodes take the same.
    pub fn granted(&mut self, grant: &Grant, now: Instant) {
        // An answer under another plan says nothing about this one.
        let Some(reported) = self.reported.filter(|reported| reported.allowed == self.allowed) else { return };
        let limit = f64::from(self.allowed.per_s.max(1));
        let share_per_s = grant.share_milli as f64 / 1_000.0;
        let of_all = grant.level_milli as f64 / 1_000.0;
        let is_saved = of_all > limit * REPORT_EVERY.as_secs_f64();
        let mine = if is_saved { of_all } else { of_all * share_per_s / limit };
        self.bucket.set_level(mine - (self.taken - reported.taken) as f64, now);
        self.bucket.per_s = share_per_s;
        self.hope_per_s = share_per_s.max(limit / f64::from(grant.nodes.max(1)));
    }

    /// Whether forgetting this share changes nothing.
    pub fn is_idle(&mut self, now: Instant) -> bool {
        let is_quiet = now.saturating_duration_since(self.offered_at) >= IDLE_AFTER;
        is_quiet && (self.allowed.per_s == 0 || self.bucket.is_full(now))
    }
}
