//! The allotter of one rate of one app: the bucket that all nodes draw from, and the share of the rate that each may count on.
//!
//! It is kept where all nodes reach it; in Redis it is a script that follows this code line by line and is compared with it by a test.
//! Whole numbers only, so that both compute the same: rates and levels are in thousandths.

use std::{collections::BTreeMap, time::Duration};

use super::Allowed;
use crate::Timestamp;

/// How often a node reports.
pub const REPORT_EVERY: Duration = Duration::from_millis(250);
/// How long a share stays reserved for a node that does not report.
pub const SHARE_LASTS: Duration = Duration::from_secs(2);

/// What a node tells about one rate of one app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// What the plan allows.
    pub allowed: Allowed,
    /// What was lately offered to the node each second, in thousandths.
    pub demand_milli: u64,
    /// What the node has ever taken. A count, so that a report that is repeated or lost charges nothing twice and forgets nothing.
    pub taken: u64,
    /// What an allotter that does not know the node is to charge it with.
    pub uncharged: u64,
    /// What the node's own bucket holds, in thousandths.
    pub level_milli: i64,
}

/// The answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    /// The node's share of the rate, in thousandths a second.
    pub share_milli: u64,
    /// What the bucket of all holds, less what the other nodes have probably taken since they reported, in thousandths; less than nothing
    /// is a debt.
    pub level_milli: i64,
    /// How many nodes share the rate.
    pub nodes: u32,
}

/// The state of an allotter. One that has forgotten everything is one whose bucket is full.
#[derive(Debug, Clone, Default)]
pub struct Allotter(Option<State>);

#[derive(Debug, Clone)]
struct State {
    level: i64,
    burst: i64,
    at: Timestamp,
    nodes: BTreeMap<String, Entry>,
}

#[derive(Debug, Clone)]
struct Entry {
    demand: u64,
    share: u64,
    taken: u64,
    until: Timestamp,
}

impl Allotter {
    /// Charges what the node took, and grants it a share until [`SHARE_LASTS`] from now. All shares that are granted at a time are
    /// together never more than the limit: a node that is due more than what the others have left waits until they report.
    pub fn report(&mut self, node: &str, report: &Report, now: Timestamp) -> Grant {
        let (limit, burst) = (u64::from(report.allowed.per_s) * 1_000, i64::from(report.allowed.burst) * 1_000);
        let state = self.0.get_or_insert_with(|| State { level: burst, burst, at: now, nodes: BTreeMap::default() });
        state.settle(report, burst, now);
        state.charge(node, report);
        let share = state.share(node, report.demand_milli, limit);
        let entry = Entry { demand: report.demand_milli, share, taken: report.taken, until: now.after(SHARE_LASTS) };
        state.nodes.insert(node.to_owned(), entry);
        let nodes = u32::try_from(state.nodes.len()).unwrap_or(u32::MAX);
        Grant { share_milli: share, level_milli: state.level - state.untold(node), nodes }
    }

    /// The shares that are granted at this time, together, in thousandths a second.
    pub fn granted_milli(&self, now: Timestamp) -> u64 {
        self.0.iter().flat_map(|state| state.nodes.values()).filter(|e| e.until > now).map(|e| e.share).sum()
    }
}

impl State {
    /// Fills the bucket, and forgets the nodes whose shares have ended.
    fn settle(&mut self, report: &Report, burst: i64, now: Timestamp) {
        let elapsed_ms = i64::try_from(now.0.saturating_sub(self.at.0)).unwrap_or(i64::MAX);
        let filled =
            self.level.saturating_add(i64::from(report.allowed.per_s).saturating_mul(elapsed_ms)).min(self.burst);
        // A changed plan moves the brim and the level alike.
        self.level = (filled + burst - self.burst).min(burst);
        self.burst = burst;
        self.at = self.at.max(now);
        self.nodes.retain(|_, entry| entry.until > now);
    }

    fn charge(&mut self, node: &str, report: &Report) {
        match self.nodes.get(node) {
            Some(entry) => self.level -= milli(report.taken.saturating_sub(entry.taken)),
            // It has just begun, or returns after it was cut off: then the bucket filled up while the node went on taking.
            None => self.level = (self.level - milli(report.uncharged)).min(report.level_milli),
        }
    }

    /// What the other nodes have probably taken since they last reported.
    fn untold(&self, node: &str) -> i64 {
        let others = self.nodes.iter().filter(|(name, _)| *name != node).map(|(_, entry)| entry);
        let untold = others.map(|entry| {
            let since_ms = self.at.since(entry.until.before(SHARE_LASTS)).as_millis() as u64;
            entry.share.min(entry.demand).saturating_mul(since_ms) / 1_000
        });
        untold.fold(0, |sum, untold| sum + i64::try_from(untold).unwrap_or(i64::MAX))
    }

    /// By need and then evenly, and never what is still reserved for others.
    fn share(&self, node: &str, demand: u64, limit: u64) -> u64 {
        let others = || self.nodes.iter().filter(|(name, _)| *name != node).map(|(_, entry)| entry);
        let mut demands: Vec<_> = others().map(|entry| entry.demand).chain([demand]).collect();
        demands.sort_unstable();
        let reserved = others().map(|entry| entry.share).sum();
        fair(limit, demand, &demands).min(limit.saturating_sub(reserved))
    }
}

/// The share of one demand among all, which ascend: small demands are met, the others are cut to one size; what nobody needs is spread evenly.
fn fair(limit: u64, mine: u64, demands: &[u64]) -> u64 {
    let mut left = limit;
    for (met, demand) in demands.iter().enumerate() {
        let even = left / (demands.len() - met) as u64;
        if *demand > even {
            return mine.min(even);
        }
        left -= demand;
    }
    mine + left / demands.len() as u64
}

fn milli(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX).saturating_mul(1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_demands_are_met_and_the_others_are_cut_to_one_size() {
        let cases: [(&[u64], &[u64]); 5] = [
            (&[300], &[1_000]),
            (&[0, 3_000], &[0, 1_000]),
            (&[100, 200], &[450, 550]),
            (&[100, 900, 5_000], &[100, 450, 450]),
            (&[500, 500, 500], &[333, 333, 333]),
        ];
        for (demands, shares) in cases {
            let found: Vec<_> = demands.iter().map(|mine| fair(1_000, *mine, demands)).collect();
            assert_eq!(found, shares, "{demands:?}");
        }
    }
}
