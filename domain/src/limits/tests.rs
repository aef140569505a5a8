//! Nodes and their allotter in virtual time.

use std::{
    collections::BTreeMap,
    num::NonZeroU32,
    ops::RangeInclusive,
    time::{Duration, Instant},
};

use proptest::prelude::*;

use super::{
    Allowed,
    allotments::{Allotter, REPORT_EVERY, Report},
    shares::Share,
};
use crate::Timestamp;

const LIMIT: u32 = 1_000;
const ALLOWED: Allowed = Allowed { per_s: LIMIT, burst: LIMIT };
/// What a plan of [`LIMIT`] may admit in ten seconds.
const TEN_SECONDS: RangeInclusive<u64> = 9_500..=10_500;
/// On the way to the allotter and back.
const LATENCY_MS: u64 = 3;

struct Node {
    share: Share,
    /// When it reports, within each period.
    phase_ms: u64,
    in_flight: Option<Report>,
    /// In thousandths.
    offered: u32,
    admitted: u64,
}

struct Cluster {
    allotter: Allotter,
    is_away: bool,
    began: Instant,
    now_ms: u64,
    nodes: BTreeMap<usize, Node>,
}

impl Cluster {
    fn new() -> Self {
        let nodes = BTreeMap::new();
        Self { allotter: Allotter::default(), is_away: false, began: Instant::now(), now_ms: 1_000_000, nodes }
    }

    fn now(&self) -> Instant {
        self.began + Duration::from_millis(self.now_ms)
    }

    /// Runs for so long with so many offered each second to each node, one at a time; returns how many were admitted.
    fn run(&mut self, seconds: u64, offered_per_s: &[u32]) -> u64 {
        let before = self.admitted();
        for _ in 0..seconds * 1_000 {
            self.now_ms += 1;
            for (id, per_s) in offered_per_s.iter().enumerate() {
                self.step(id, *per_s);
            }
            let granted = self.allotter.granted_milli(Timestamp(self.now_ms));
            assert!(granted <= u64::from(LIMIT) * 1_000, "{granted} are granted at once");
        }
        self.admitted() - before
    }

    fn step(&mut self, id: usize, per_s: u32) {
        let (now, now_ms) = (self.now(), self.now_ms);
        if per_s > 0 {
            self.nodes.entry(id).or_insert_with(|| Node {
                share: Share::new(ALLOWED, 1, now),
                phase_ms: (now_ms + 2) % REPORT_EVERY.as_millis() as u64,
                in_flight: None,
                offered: 0,
                admitted: 0,
            });
        }
        let Some(node) = self.nodes.get_mut(&id) else { return };
        node.offered += per_s;
        while node.offered >= 1_000 {
            node.offered -= 1_000;
            node.admitted += u64::from(node.share.take(NonZeroU32::MIN, now).is_ok());
        }
        let phase_ms = now_ms % REPORT_EVERY.as_millis() as u64;
        if phase_ms == node.phase_ms {
            node.in_flight = Some(node.share.report(now));
        }
        if phase_ms == (node.phase_ms + LATENCY_MS) % REPORT_EVERY.as_millis() as u64
            && let Some(report) = node.in_flight.take()
            && !self.is_away
        {
            let grant = self.allotter.report(&id.to_string(), &report, Timestamp(now_ms - 1));
            node.share.granted(&grant, now);
        }
    }

    fn admitted(&self) -> u64 {
        self.nodes.values().map(|node| node.admitted).sum()
    }

    fn die(&mut self, id: usize) {
        self.nodes.remove(&id);
    }
}

/// A cluster whose bucket is empty, with all debts paid.
fn saturated(offered_per_s: &[u32]) -> Cluster {
    let mut cluster = Cluster::new();
    cluster.run(5 + offered_per_s.len() as u64, offered_per_s);
    cluster
}

#[track_caller]
fn assert_within(range: RangeInclusive<u64>, admitted: u64) {
    assert!(range.contains(&admitted), "{admitted} were admitted");
}

#[test]
fn an_even_offer_is_held_to_the_limit() {
    assert_within(TEN_SECONDS, saturated(&[1_500, 1_500]).run(10, &[1_500, 1_500]));
}

#[test]
fn an_offer_to_one_of_two_nodes_is_held_to_the_limit() {
    let mut cluster = saturated(&[1_500, 1_500]);
    assert_within(TEN_SECONDS, cluster.run(10, &[3_000, 0]));
    assert_within(TEN_SECONDS, saturated(&[3_000, 0]).run(10, &[3_000, 0]));
    assert_within(TEN_SECONDS, saturated(&[2_990, 10]).run(10, &[2_990, 10]));
}

#[test]
fn an_offer_that_moves_between_nodes_is_held_to_the_limit() {
    let mut cluster = saturated(&[3_000, 0]);
    let fresh = cluster.run(3, &[3_000, 0]) + cluster.run(7, &[0, 3_000]);
    assert_within(TEN_SECONDS, fresh);
    let back_and_forth: u64 = (0..5).map(|_| cluster.run(1, &[3_000, 0]) + cluster.run(1, &[0, 3_000])).sum();
    assert_within(TEN_SECONDS, back_and_forth);
}

#[test]
fn many_nodes_are_held_to_one_limit() {
    let offers: [&[u32]; 5] = [&[600; 5], &[3_000, 0, 0, 0, 0], &[2_000, 500, 300, 200, 0], &[5_000; 5], &[1_000; 20]];
    for offered in offers {
        assert_within(TEN_SECONDS, saturated(offered).run(10, offered));
    }
}

#[test]
fn each_node_admits_by_its_need() {
    let mut cluster = saturated(&[3_000, 200]);
    let before: Vec<_> = cluster.nodes.values().map(|node| node.admitted).collect();
    cluster.run(10, &[3_000, 200]);
    let admitted: Vec<_> = cluster.nodes.values().zip(before).map(|(node, before)| node.admitted - before).collect();
    assert_within(7_600..=8_400, admitted[0]);
    assert_within(1_950..=2_000, admitted[1]);
}

#[test]
fn an_offer_below_the_limit_is_admitted_whole() {
    let mut cluster = Cluster::new();
    assert_eq!(cluster.run(10, &[450, 450]), 9_000);
    assert_eq!(cluster.run(10, &[900, 0]), 9_000);
    assert_eq!(cluster.run(10, &[0, 900]), 9_000);
}

#[test]
fn batches_as_large_as_the_bucket_pass_on_every_node() {
    let (now, mut nodes) = (Instant::now(), Vec::new());
    let mut allotter = Allotter::default();
    for name in ["a", "b"] {
        nodes.push((name, Share::new(ALLOWED, 2, now), 0));
    }
    for period in 0..80_u64 {
        let now = now + REPORT_EVERY * period as u32;
        for (name, share, admitted) in &mut nodes {
            *admitted += u32::from(share.take(NonZeroU32::new(LIMIT).unwrap(), now).is_ok());
            let report = share.report(now);
            share.granted(&allotter.report(name, &report, Timestamp(period * 250)), now);
        }
    }
    let admitted: Vec<_> = nodes.iter().map(|(.., admitted)| *admitted).collect();
    assert!(
        (17..=21).contains(&admitted.iter().sum::<u32>()) && admitted.iter().all(|count| *count >= 5),
        "{admitted:?}"
    );
}

#[test]
fn what_a_dead_node_had_goes_to_the_others() {
    let mut cluster = saturated(&[1_500, 1_500]);
    cluster.die(1);
    assert_within(TEN_SECONDS, cluster.run(10, &[3_000]));
}

#[test]
fn a_cluster_at_rest_admits_one_burst_however_many_nodes_it_comes_to() {
    for nodes in [1, 2, 5] {
        let offered = vec![5_000; nodes];
        assert_within(10_700..=11_300, Cluster::new().run(10, &offered));
    }
}

#[test]
fn while_the_allotter_is_away_nodes_keep_their_shares() {
    for offered in [[1_500, 1_500], [3_000, 0]] {
        let mut cluster = saturated(&offered);
        cluster.is_away = true;
        assert_within(TEN_SECONDS, cluster.run(10, &offered));
        cluster.is_away = false;
        assert_within(TEN_SECONDS, cluster.run(10, &offered));
    }
}

#[test]
fn an_allotter_that_forgot_everything_learns_it_from_the_nodes() {
    let mut cluster = saturated(&[1_500, 1_500]);
    cluster.allotter = Allotter::default();
    assert_within(TEN_SECONDS, cluster.run(10, &[1_500, 1_500]));
}

#[test]
fn a_node_whose_share_is_small_is_not_shut_out_while_the_allotter_is_away() {
    let mut cluster = saturated(&[1_500, 1_500]);
    cluster.run(10, &[3_000, 0]);
    cluster.is_away = true;
    assert_within(150..=1_000, cluster.run(10, &[0, 1_000]));
}

#[test]
fn a_changed_plan_keeps_what_was_left() {
    let now = Instant::now();
    let mut share = Share::new(ALLOWED, 1, now);
    let count = |number| NonZeroU32::new(number).unwrap();
    share.take(count(LIMIT), now).unwrap();
    share.change(Allowed { per_s: 5_000, burst: 5_000 }, now);
    assert_eq!(share.take(count(1_000), now).unwrap().remaining, 3_000);
    share.change(ALLOWED, now);
    let exceeded = share.take(count(500), now).unwrap_err();
    assert_eq!((exceeded.limit, exceeded.retry_after), (LIMIT, Duration::from_millis(1_500)));
}

#[test]
fn a_share_is_idle_once_its_bucket_is_full_and_nothing_comes() {
    let now = Instant::now();
    let after = |ms| now + Duration::from_millis(ms);
    let mut share = Share::new(Allowed { per_s: 100, burst: 1_000 }, 1, now);
    share.take(NonZeroU32::new(500).unwrap(), now).unwrap();
    assert!(!share.is_idle(after(4_900)));
    assert!(share.is_idle(after(5_100)));
    share.take(NonZeroU32::MIN, after(5_100)).unwrap();
    assert!(!share.is_idle(after(5_200)), "something came lately");
}

proptest! {
    #[test]
    fn shares_are_never_more_than_the_limit(reports in prop::collection::vec((0..6_u8, 0..3_000_u64, 0..1_500_u64), 1..200)) {
        let (mut allotter, mut now) = (Allotter::default(), Timestamp(1));
        for (node, demand, pause) in reports {
            now = now.after(Duration::from_millis(pause));
            let report = Report {
                allowed: ALLOWED,
                demand_milli: demand * 1_000,
                taken: 0,
                uncharged: 0,
                level_milli: 0,
            };
            allotter.report(&node.to_string(), &report, now);
            prop_assert!(allotter.granted_milli(now) <= u64::from(LIMIT) * 1_000);
        }
    }
}
