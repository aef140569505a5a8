//! From a message's place and a client's courses to what became of it.

use std::{cmp::Reverse, time::Duration};

use fanfare_protocol::{Epoch, Serial};

use super::{Course, End, KEPT, Kept, LAG, Passing, TOLD_AGAIN};
use crate::Timestamp;

/// How long an open course may go without being told before it is nobody's.
const UNTOLD: u32 = 3;
/// How far the clocks of nodes may be apart.
const SKEW: Duration = Duration::from_secs(1);

/// What is asked: the place of a message, and when that is.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The channel's epoch.
    pub epoch: Epoch,
    /// The message's serial.
    pub serial: Serial,
    /// When it was accepted.
    pub time: Timestamp,
    /// Since when the app keeps a trace.
    pub traced_since: Timestamp,
    /// The time now.
    pub now: Timestamp,
}

/// What became of a message for a client, or for one of its subscriptions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It left for the client's connection.
    Delivered,
    /// It waits for the connection, or it is not known yet that it has left.
    Waiting,
    /// The trace does not know, or knows no more.
    Unknown,
    /// The connection was excluded: by the publisher, or since it was the publisher.
    Filtered,
    /// It was past retention when it would have been read.
    PastRetention,
    /// The connection read too slowly and was closed.
    Slow,
    /// The client had no right to it, or its token had expired.
    NoRight,
    /// The connection had ended.
    Disconnected,
    /// The client did not subscribe to the channel then.
    NotSubscribed,
}

impl Outcome {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Waiting => "waiting",
            Self::Unknown => "unknown",
            Self::Filtered => "filtered",
            Self::PastRetention => "past_retention",
            Self::Slow => "slow",
            Self::NoRight => "no_right",
            Self::Disconnected => "disconnected",
            Self::NotSubscribed => "not_subscribed",
        }
    }

    /// Whether the client got it, where that is known.
    pub fn is_delivered(self) -> Option<bool> {
        match self {
            Self::Delivered => Some(true),
            Self::Waiting | Self::Unknown => None,
            _ => Some(false),
        }
    }
}

/// One course, and what it means for the message.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// The course.
    pub course: Course,
    /// What it means.
    pub outcome: Outcome,
    /// Where it was delivered: by when it had been written.
    pub written_by: Option<Timestamp>,
    /// Whether the node of the course is lost, so that what it did last is not known.
    pub is_lost: bool,
}

/// What became of a message for a client.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// All in all.
    pub outcome: Outcome,
    /// Which course says so; where there is none, no course says anything.
    pub by: Option<usize>,
    /// Every course, oldest first.
    pub courses: Vec<Judged>,
    /// Back to when the trace is whole.
    pub reaches_back_to: Timestamp,
    /// Where no course says it and the trace is not whole: why it is not.
    pub doubt: Option<Doubt>,
}

/// Why the trace is not whole where a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubt {
    /// The message is older than it.
    Old,
    /// The message is so young that nodes may have yet to tell.
    Young,
    /// A node was late to tell, or is lost.
    Gap,
}

/// Judges a message by what is kept of a client.
pub fn judge(asked: &Asked, kept: &Kept) -> Verdict {
    let reaches_back_to = kept.reaches_back_to.max(asked.traced_since).max(asked.now.before(KEPT));
    let is_in = |(from, to): &(Timestamp, Timestamp)| (*from..=*to).contains(&asked.time.after(SKEW));
    let doubt = match asked.time {
        time if time < reaches_back_to => Some(Doubt::Old),
        time if asked.now.since(time) < LAG => Some(Doubt::Young),
        _ => kept.gaps.iter().any(is_in).then_some(Doubt::Gap),
    };
    let ours = kept.courses.iter().filter(|(course, _)| course.told_at >= asked.traced_since);
    let mut courses: Vec<Judged> = ours.map(|(course, is_alive)| judge_course(asked, course, *is_alive)).collect();
    courses.sort_by_key(|judged| judged.course.began_at);
    let best = (0..courses.len()).max_by_key(|at| weight(asked, &courses[*at]));
    let told = best.map_or(Outcome::NotSubscribed, |at| courses[at].outcome);
    // What shows that it was delivered, or that it could not be on that connection, stands. That nothing shows it means something only where
    // nothing is missing.
    let is_certain = matches!(told, Outcome::Delivered | Outcome::Waiting | Outcome::Unknown);
    let doubt = doubt.filter(|_| !is_certain);
    let (outcome, by) = if doubt.is_none() { (told, best) } else { (Outcome::Unknown, None) };
    Verdict { outcome, by, courses, reaches_back_to, doubt }
}

/// The more a course says about the message, the more it weighs.
fn weight(asked: &Asked, judged: &Judged) -> impl Ord + use<> {
    let rank = match judged.outcome {
        Outcome::Delivered => 6,
        Outcome::Waiting => 5,
        Outcome::Unknown => 4,
        Outcome::Filtered => 3,
        Outcome::PastRetention => 2,
        Outcome::Slow | Outcome::NoRight | Outcome::Disconnected => 1,
        Outcome::NotSubscribed => u8::from(judged.course.end.as_ref().is_some_and(|end| end.at <= asked.time)),
    };
    // Of those that ended, the one weighs most that was there when the message came; then the last one before it; then the first after it.
    let end = judged.course.end.as_ref();
    let at = end.map_or(judged.course.began_at, |end| end.at);
    let was_there =
        end.is_some_and(|end| !end.is_refusal && end.at >= asked.time) && judged.course.began_at <= asked.time;
    let distance =
        if at <= asked.time { (true, Reverse(asked.time.0 - at.0)) } else { (false, Reverse(at.0 - asked.time.0)) };
    (rank, was_there, distance)
}

fn judge_course(asked: &Asked, course: &Course, is_alive: bool) -> Judged {
    let is_told = asked.now.since(course.told_at) < TOLD_AGAIN * UNTOLD;
    let is_lost = course.end.is_none() && !(is_alive && is_told);
    let outcome = outcome(asked, course, is_lost);
    let step = course.steps.iter().find(|(serial, _)| *serial >= asked.serial);
    let written_by = step.filter(|_| outcome == Outcome::Delivered).map(|(_, at)| *at);
    Judged { course: course.clone(), outcome, written_by, is_lost }
}

fn outcome(asked: &Asked, course: &Course, is_lost: bool) -> Outcome {
    if course.end.as_ref().is_some_and(|end| end.is_refusal) {
        return shortfall(course.end.as_ref());
    }
    if course.epoch.as_ref() != Some(&asked.epoch) || course.from >= asked.serial {
        return if course.is_late { Outcome::Unknown } else { Outcome::NotSubscribed };
    }
    let passed = course.passed.iter().find(|passed| (passed.from..=passed.to).contains(&asked.serial));
    match passed.map(|passed| passed.why) {
        Some(Passing::Filtered) => return Outcome::Filtered,
        Some(Passing::PastRetention) => return Outcome::PastRetention,
        None if asked.serial <= course.passed_before => return Outcome::Unknown,
        None => {}
    }
    if asked.serial <= course.written {
        return Outcome::Delivered;
    }
    match &course.end {
        Some(end) => shortfall(Some(end)),
        None if is_lost => Outcome::Unknown,
        None if course.is_held => Outcome::NoRight,
        None => Outcome::Waiting,
    }
}

/// What an end means for a message that was not written before it.
fn shortfall(end: Option<&End>) -> Outcome {
    let Some(end) = end else { return Outcome::Unknown };
    match end.reason.as_str() {
        "slow_consumer" => Outcome::Slow,
        "forbidden" | "token_expired" | "unauthorized" | "bad_key" | "bad_token" | "revoked" | "app_disabled"
        | "origin_not_allowed" => Outcome::NoRight,
        End::UNSUBSCRIBED | "epoch_changed" => Outcome::NotSubscribed,
        _ if end.is_refusal => Outcome::NotSubscribed,
        _ => Outcome::Disconnected,
    }
}

#[cfg(test)]
mod tests;
