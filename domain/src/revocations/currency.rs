//! Whether a node knows every revocation up to a moment ago: a machine that is told of beats and of reads, and holds no clock.
//!
//! Two clocks are told apart. *Steady* time is the node's own and never jumps. *Stored* time is the database's: beats carry it, and
//! reads bring it, so that the age of a beat is known however long it lay in a buffer, and without comparing clocks of nodes.

use std::time::Duration;

use super::{Latest, Revision};
use crate::Timestamp;

/// A list that is not known to be complete up to so long ago is not acted upon.
pub const BOUND: Duration = Duration::from_millis(1_000);
/// A list of that age is read afresh, before it is too old. Beats come more often.
const READ_AT: Duration = Duration::from_millis(500);
/// A read that takes longer is not waited for: another begins beside it.
const LATE: Duration = Duration::from_millis(200);
/// Reads that are under way at once.
const READS_AT_ONCE: usize = 4;
/// The list is read at least so often, so that the two clocks stay compared.
const READ_EVERY: Duration = Duration::from_secs(30);
/// How soon a read that failed is tried again.
const RETRY: Duration = Duration::from_millis(250);
/// For how long a read that failed, or was late, says that the database is away.
const AWAY_FOR: Duration = Duration::from_secs(3);
/// How far ahead a beat may seem before the clocks are compared again.
const AHEAD: Duration = Duration::from_millis(250);
/// How far the two clocks may drift apart: one part in so many.
const DRIFT: u32 = 1_000;

/// What crosses the bus twice a second: the latest number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beat {
    /// The number.
    pub revision: Revision,
    /// When it was the latest, by the database's clock.
    pub at: Timestamp,
    /// Whether the sender has just read it. One that cannot reach the database says what it read last; that counts only where the
    /// database cannot be reached either.
    pub is_read: bool,
}

/// What a node knows of its list.
#[derive(Debug, Default)]
pub struct Currency {
    /// The number up to which the list is known; `None` before the first read.
    known: Option<Revision>,
    /// The highest number that was heard of.
    wanted: Revision,
    /// The steady time up to which the list is complete; `None` before it was read to its end.
    complete_at: Option<Duration>,
    anchor: Option<Anchor>,
    /// When the last read that was answered began.
    last_read: Option<Duration>,
    /// When the last read failed, if none was answered since.
    failed_at: Option<Duration>,
    /// When the database was found not to answer.
    away_at: Option<Duration>,
    /// When the reads that are under way began, ascending.
    under_way: Vec<Duration>,
    /// Since when somebody waits for a read that begins later.
    demanded: Option<Duration>,
}

/// A steady time, and the stored time that it was, but for `error`.
#[derive(Debug, Clone, Copy)]
struct Anchor {
    steady: Duration,
    stored: Timestamp,
    error: Duration,
}

impl Currency {
    /// A beat was heard.
    pub fn heard(&mut self, beat: Beat, now: Duration) {
        if beat.revision > self.wanted {
            // What a beat tells of is committed: a read that begins now shows it.
            self.wanted = beat.revision;
            self.demanded = Some(now);
        }
        let Some(stored) = self.stored(now) else { return };
        if self.known != Some(self.wanted) || beat.revision != self.wanted {
            return;
        }
        if beat.at > stored.after(AHEAD) {
            // The database's clock, or this machine, has jumped.
            self.demanded = Some(now);
        } else if beat.is_read || self.is_away(now) {
            self.complete_at = self.complete_at.max(Some(now.saturating_sub(stored.since(beat.at))));
        }
    }

    /// A read begins.
    pub fn begin(&mut self, now: Duration) {
        self.under_way.push(now);
    }

    /// A read that began then is over, however it ended.
    pub fn end(&mut self, began: Duration) {
        if let Some(at) = self.under_way.iter().position(|other| *other == began) {
            self.under_way.remove(at);
        }
    }

    /// The list was read up to a number: asked for at `began`, answered at `now`.
    pub fn read(&mut self, upto: Revision, latest: Latest, began: Duration, now: Duration) {
        self.known = Some(self.known.map_or(upto, |known| known.max(upto)));
        self.wanted = self.wanted.max(latest.revision);
        if self.known == Some(self.wanted) {
            self.complete_at = self.complete_at.max(Some(began));
        }
        self.last_read = self.last_read.max(Some(began));
        (self.failed_at, self.away_at) = (None, None);
        self.demanded = self.demanded.filter(|demanded| *demanded > began);
        if upto < latest.revision {
            // There is more than one read brings.
            self.demanded = Some(now);
        }
        // It was read at some time between; taken for the earliest, everything seems older than it is.
        let fresh = Anchor { steady: began, stored: latest.now, error: now.saturating_sub(began) };
        let is_better = self.anchor.is_none_or(|anchor| {
            let expected = anchor.at(began);
            let jumped = latest.now > expected.after(BOUND) || expected > latest.now.after(BOUND);
            let drifted = anchor.error + began.saturating_sub(anchor.steady) / DRIFT;
            jumped || fresh.error <= drifted
        });
        if is_better {
            self.anchor = Some(fresh);
        }
    }

    /// A read that began then is not answered in time; it may still be.
    pub fn is_late(&mut self, began: Duration, now: Duration) {
        if self.is_newer(began) {
            self.away_at = Some(now);
        }
    }

    /// A read that began then failed; whether that is news. Where a later one was answered, it says nothing.
    pub fn failed(&mut self, began: Duration, now: Duration) -> bool {
        if !self.is_newer(began) {
            return false;
        }
        self.away_at = Some(now);
        self.failed_at.replace(now).is_none()
    }

    fn is_newer(&self, began: Duration) -> bool {
        self.last_read.is_none_or(|last| began > last)
    }

    /// Somebody wants to know what is there now.
    pub fn demand(&mut self, now: Duration) {
        self.demanded = Some(now);
    }

    /// Whether the list was ever read to its end.
    pub fn is_whole(&self) -> bool {
        self.known == Some(self.wanted)
    }

    /// Until when the list may be acted upon; nothing before it was read to its end.
    pub fn good_until(&self) -> Option<Duration> {
        self.complete_at.map(|complete_at| complete_at + BOUND)
    }

    /// When the list is to be read next, unless a beat comes before; `None` while enough reads are under way.
    pub fn next_read(&self, now: Duration) -> Option<Duration> {
        self.apart_from_others(self.due(now))
    }

    /// The same for a process that makes every revocation itself, the last of them under that number: there is nothing to hear of.
    pub fn next_read_alone(&self, last: Revision, now: Duration) -> Option<Duration> {
        let due = match (self.known, self.last_read) {
            _ if self.failed_at.is_some() => self.due(now),
            (Some(known), Some(last_read)) if self.demanded.is_none() && known >= last => last_read + READ_EVERY,
            _ => now,
        };
        self.apart_from_others(due)
    }

    /// A read that nobody waits for anymore does not keep the next one from beginning, but there is a pause.
    fn apart_from_others(&self, due: Duration) -> Option<Duration> {
        let Some(last) = self.under_way.last() else { return Some(due) };
        if self.under_way.len() >= READS_AT_ONCE {
            return None;
        }
        // Whoever asked after the last one began is not served by it.
        let is_served = self.demanded.is_none_or(|demanded| demanded <= *last);
        Some(if is_served { due.max(*last + LATE) } else { due })
    }

    fn due(&self, now: Duration) -> Duration {
        if let Some(failed) = self.failed_at {
            return failed + RETRY;
        }
        let (Some(known), Some(last_read)) = (self.known, self.last_read) else { return now };
        if self.demanded.is_some() {
            return now;
        }
        // A read that does not show what a beat told of: the database was put back, or it is another one.
        if known < self.wanted {
            return last_read + RETRY;
        }
        self.complete_at.map_or(now, |complete_at| (complete_at + READ_AT).min(last_read + READ_EVERY))
    }

    /// The time by the database's clock; never earlier than it is.
    pub fn stored(&self, now: Duration) -> Option<Timestamp> {
        self.anchor.map(|anchor| anchor.at(now))
    }

    fn is_away(&self, now: Duration) -> bool {
        self.away_at.is_some_and(|away| now.saturating_sub(away) < AWAY_FOR)
    }
}

impl Anchor {
    fn at(&self, now: Duration) -> Timestamp {
        self.stored.after(now.saturating_sub(self.steady))
    }
}

#[cfg(test)]
mod tests;
