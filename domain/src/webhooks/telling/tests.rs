//! The machine in virtual time.

use fanfare_protocol::ChannelName;

use super::*;
use crate::ids::AppId;

const ALL: Wishes = Wishes { occupancy: true, members: true, counts: false };
const COUNTS: Wishes = Wishes { counts: true, ..ALL };

fn name(text: &str) -> ClientName {
    ClientName::parse(text).unwrap()
}

/// A world in virtual time: a channel, what was told of it, and a log of what is told.
struct World {
    holder: Holder,
    place: Place,
    seen: Seen,
    known: Known,
    wishes: Wishes,
    now: Timestamp,
    told: Vec<(u64, Change)>,
}

impl World {
    fn new(channel: &str, wishes: Wishes) -> Self {
        let channel = ChannelName::restore(channel).unwrap();
        let place = Place { app: AppId::parse("app_a").unwrap(), channel };
        let (holder, now) = (Holder::default(), Timestamp(1_000_000));
        Self { holder, place, seen: Seen::default(), known: Known::default(), wishes, now, told: Vec::new() }
    }

    fn note(&mut self) {
        let effects = self.holder.apply(Input::Noted(self.place.clone()), self.now);
        assert!(effects.is_empty());
    }

    fn set(&mut self, subscribers: u64, members: &[&str]) {
        self.seen = Seen { subscribers, members: members.iter().copied().map(name).collect() };
        self.note();
    }

    /// Lets time pass, and does what is asked.
    fn pass(&mut self, ms: u64) {
        let end = Timestamp(self.now.0 + ms);
        while let Some(at) = self.holder.next().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            for effect in self.holder.apply(Input::Tick, self.now) {
                assert_eq!(effect, Effect::Look(self.place.clone()));
                self.look();
            }
        }
        self.now = end;
    }

    fn look(&mut self) {
        let (place, seen) = (self.place.clone(), self.seen.clone());
        let looked = Input::Looked { place, seen, known: self.known.clone(), wishes: self.wishes };
        for effect in self.holder.apply(looked, self.now) {
            let Effect::Tell(_, change) = effect else { panic!("{effect:?}") };
            match &change {
                Change::Occupied => self.known.subscribers = Some(0),
                Change::Vacated => self.known.subscribers = None,
                Change::Counted { to, .. } => self.known.subscribers = self.known.subscribers.map(|_| *to),
                Change::Added(member) => _ = self.known.members.insert(member.clone()),
                Change::Removed(member) => _ = self.known.members.remove(member),
            }
            self.told.push((self.now.0 - 1_000_000, change));
        }
    }

    fn told(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.told).into_iter().map(|(_, change)| change).collect()
    }
}

#[test]
fn a_channel_is_told_occupied_at_once_and_vacated_after_the_hold() {
    let mut world = World::new("a", ALL);
    world.set(1, &[]);
    world.pass(200);
    assert_eq!(world.told(), [Change::Occupied]);
    world.pass(10_000);
    world.set(0, &[]);
    world.pass(2_900);
    assert_eq!(world.told(), []);
    world.pass(300);
    assert_eq!(world.told(), [Change::Vacated]);
    world.pass(60_000);
    assert!(world.told().is_empty() && world.holder.is_empty(), "nothing is kept of what is told");
}

#[test]
fn what_is_back_within_the_hold_is_told_neither_as_gone_nor_as_back() {
    let mut world = World::new("presence-a", ALL);
    world.set(2, &["ann", "bob"]);
    world.pass(8_000);
    assert_eq!(world.told(), [Change::Occupied, Change::Added(name("ann")), Change::Added(name("bob"))]);
    for _ in 0..5 {
        world.set(0, &["bob"]);
        world.pass(2_500);
        world.set(2, &["ann", "bob"]);
        world.pass(2_500);
    }
    assert_eq!(world.told(), []);
    world.set(0, &[]);
    world.pass(4_000);
    assert_eq!(world.told(), [Change::Removed(name("ann")), Change::Removed(name("bob")), Change::Vacated]);
}

#[test]
fn what_counts_late_is_seen_by_the_second_look_and_what_fails_is_looked_at_again() {
    let mut world = World::new("a", ALL);
    world.note();
    world.pass(500);
    world.seen.subscribers = 1;
    world.pass(1_500);
    assert_eq!(world.told(), [Change::Occupied]);
    world.seen.subscribers = 0;
    world.holder.apply(Input::Failed(world.place.clone()), world.now);
    world.pass(4_500);
    assert_eq!(world.told(), [Change::Vacated]);
}

#[test]
fn a_crowds_number_is_told_every_five_seconds_and_a_small_one_at_every_change() {
    let mut world = World::new("a", COUNTS);
    world.set(1, &[]);
    world.pass(100);
    world.set(2, &[]);
    world.pass(100);
    assert_eq!(
        world.told(),
        [Change::Occupied, Change::Counted { from: 0, to: 1 }, Change::Counted { from: 1, to: 2 }]
    );
    for count in 200..300 {
        world.set(count, &[]);
        world.pass(100);
    }
    world.pass(10_000);
    let told = world.told();
    assert!((3..=4).contains(&told.len()), "{told:?}");
    assert!(matches!(told.last(), Some(Change::Counted { to: 299, .. })), "the last one is told: {told:?}");
    world.set(0, &[]);
    world.pass(10_000);
    assert_eq!(world.told(), [Change::Counted { from: 299, to: 0 }, Change::Vacated]);
}

#[test]
fn nothing_is_told_of_the_services_channels_and_no_number_of_presence_channels() {
    let mut world = World::new("#server-to-user-ann", COUNTS);
    world.set(1, &[]);
    assert!(world.holder.is_empty());
    let mut world = World::new("presence-a", COUNTS);
    world.set(3, &[]);
    world.pass(10_000);
    assert_eq!(world.told(), [Change::Occupied]);
}

#[test]
fn a_busy_channel_collects_few_looks() {
    let mut world = World::new("presence-a", ALL);
    for _ in 0..10_000 {
        world.note();
        world.now = Timestamp(world.now.0 + 1);
    }
    assert!(world.holder.due.len() < 40, "{}", world.holder.due.len());
}
