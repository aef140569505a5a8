use std::collections::{BTreeMap, BTreeSet};

use fanfare_protocol::{ChannelName, presence::PresenceAction::*};
use proptest::prelude::*;

use super::*;
use crate::{
    ids::AppId,
    presence::{
        Life, Place, PresenceEvent, Snapshot,
        views::{Outcome, View},
    },
};

const START: Timestamp = Timestamp(1_000);

pub(crate) fn entry(client: &str, connection: &str, data: &str) -> Entry {
    Entry {
        connection: ConnectionId::parse(&format!("con_{connection}")).unwrap(),
        client: ClientName::parse(client).unwrap(),
        data: Some(RawValue::from_string(data.to_owned()).unwrap()),
        info: None,
    }
}

fn connection(name: &str) -> ConnectionId {
    ConnectionId::parse(&format!("con_{name}")).unwrap()
}

#[test]
fn the_first_connection_enters_and_the_last_leaves() {
    let mut roster = Roster::new(START.0);
    let first = roster.enter(entry("ann", "1", "1"), 10, START).unwrap().unwrap();
    assert_eq!((first.action, first.version), (Enter, START.0 + 1));
    assert!(roster.enter(entry("ann", "2", "1"), 10, START).unwrap().is_none());
    let update = roster.enter(entry("ann", "2", "2"), 10, START).unwrap().unwrap();
    assert_eq!((update.action, update.version), (Update, START.0 + 2));
    assert!(roster.leave(&connection("1"), None).unwrap().is_none());
    let last = roster.leave(&connection("2"), None).unwrap().unwrap();
    assert_eq!((last.action, last.version, last.entry.data.unwrap().get()), (Leave, START.0 + 3, "2"));
    assert!(roster.is_empty() && roster.leave(&connection("2"), None).is_err());
}

#[test]
fn who_comes_back_in_time_was_never_away() {
    let mut roster = Roster::new(START.0);
    roster.enter(entry("ann", "1", "1"), 10, START).unwrap();
    let leaves_at = roster.ended(&connection("1"), START).unwrap();
    assert_eq!(leaves_at, START.after(GRACE));
    assert!(roster.reap(leaves_at.before(std::time::Duration::from_millis(1))).is_empty());
    assert!(roster.enter(entry("ann", "2", "1"), 10, leaves_at).unwrap().is_none());
    assert!(roster.reap(leaves_at).is_empty());
    roster.ended(&connection("2"), leaves_at).unwrap();
    let gone = roster.reap(leaves_at.after(GRACE));
    assert_eq!((gone.len(), gone[0].action), (1, Leave));
}

#[test]
fn a_channel_takes_so_many_members() {
    let mut roster = Roster::new(START.0);
    roster.enter(entry("ann", "1", "1"), 2, START).unwrap();
    roster.enter(entry("bob", "2", "1"), 2, START).unwrap();
    assert!(matches!(roster.enter(entry("cat", "3", "1"), 2, START), Err(PresenceError::Full(2))));
    assert!(roster.enter(entry("ann", "4", "1"), 2, START).is_ok());
}

#[test]
fn pages_go_by_client() {
    let mut roster = Roster::new(START.0);
    for client in ["c", "a", "b"] {
        roster.enter(entry(client, client, "1"), 10, START).unwrap();
    }
    let names = |page: &MemberPage| page.items.iter().map(|one| one.entry.client.to_string()).collect::<String>();
    let first = roster.page(None, 2);
    assert_eq!((names(&first).as_str(), first.count), ("ab", 3));
    let rest = roster.page(first.next.as_ref(), 2);
    assert_eq!((names(&rest).as_str(), rest.next), ("c", None));
}

#[derive(Debug, Clone)]
enum Step {
    Enter(u8, u8, u8),
    Update(u8, u8, u8),
    Leave(u8, u8),
    Ended(u8, u8),
    Pass(u16),
    /// The watcher misses what happens until it reads the channel.
    Miss(bool),
}

fn step() -> impl Strategy<Value = Step> {
    let (client, connection, data) = (0..4u8, 0..3u8, 0..2u8);
    prop_oneof![
        4 => (client.clone(), connection.clone(), data.clone()).prop_map(|(a, b, c)| Step::Enter(a, b, c)),
        2 => (client.clone(), connection.clone(), data).prop_map(|(a, b, c)| Step::Update(a, b, c)),
        2 => (client.clone(), connection.clone()).prop_map(|(a, b)| Step::Leave(a, b)),
        2 => (client, connection).prop_map(|(a, b)| Step::Ended(a, b)),
        2 => (0..4_000u16).prop_map(Step::Pass),
        1 => any::<bool>().prop_map(Step::Miss),
    ]
}

/// Who is there, as one who hears events believes.
#[derive(Default)]
struct Watcher(BTreeMap<String, String>);

impl Watcher {
    fn hear(&mut self, event: &PresenceEvent) {
        let client = event.entry.client.to_string();
        let data = event.entry.data.as_ref().map(|data| data.get().to_owned()).unwrap_or_default();
        match event.action {
            Enter => assert!(self.0.insert(client, data).is_none(), "a second enter: {event:?}"),
            Update => assert!(self.0.insert(client, data).is_some(), "an update of nobody: {event:?}"),
            Leave => assert!(self.0.remove(&client).is_some(), "a leave of nobody: {event:?}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_and_is_missed_watchers_end_up_right(steps in prop::collection::vec(step(), 1..60)) {
        let place = Place { app: AppId::parse("app_a").unwrap(), channel: ChannelName::parse("a").unwrap() };
        let (mut roster, mut view, mut watcher) = (Roster::new(START.0), View::default(), Watcher::default());
        let (mut now, mut is_deaf, mut version) = (START, false, roster.version());
        let life = Some(Life { number: 1, age: std::time::Duration::from_secs(3_600) });
        let mut sessions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let read = |roster: &Roster, view: &mut View, watcher: &mut Watcher, now| {
            let members = roster.members().cloned().collect();
            let (events, again) = view.replace(&place, Snapshot { version: roster.version(), life, members, is_whole: true }, now);
            assert!(again.is_none());
            events.iter().for_each(|event| watcher.hear(event));
        };
        read(&roster, &mut view, &mut watcher, now);
        for step in steps {
            let named = |client: u8, at: u8| (format!("c{client}"), format!("{client}x{at}"));
            let changes: Vec<Change> = match step {
                Step::Enter(client, at, data) => {
                    let (client, at) = named(client, at);
                    sessions.entry(client.clone()).or_default().insert(at.clone());
                    roster.enter(entry(&client, &at, &data.to_string()), 100, now).unwrap().into_iter().collect()
                }
                Step::Update(client, at, data) => {
                    let (client, at) = named(client, at);
                    let has = sessions.get(&client).is_some_and(|of| of.contains(&at));
                    let updated = roster.update(entry(&client, &at, &data.to_string()));
                    prop_assert_eq!(updated.is_ok(), has);
                    updated.into_iter().collect()
                }
                Step::Leave(client, at) => {
                    let (client, at) = named(client, at);
                    let had = sessions.get_mut(&client).is_some_and(|of| of.remove(&at));
                    let left = roster.leave(&connection(&at), None);
                    prop_assert_eq!(left.is_ok(), had);
                    left.ok().flatten().into_iter().collect()
                }
                Step::Ended(client, at) => {
                    let (client, at) = named(client, at);
                    sessions.get_mut(&client).map(|of| of.remove(&at));
                    roster.ended(&connection(&at), now);
                    Vec::new()
                }
                Step::Pass(ms) => {
                    now = now.after(std::time::Duration::from_millis(ms.into()));
                    roster.reap(now)
                }
                Step::Miss(deaf) => {
                    is_deaf = deaf;
                    Vec::new()
                }
            };
            for Change { version: of, action, entry } in changes {
                version += 1;
                prop_assert_eq!(of, version, "versions have no hole");
                let event = PresenceEvent { place: place.clone(), version: of, action, entry, time: now };
                if is_deaf {
                    continue;
                }
                match view.take(event) {
                    Outcome::Tell(event) => watcher.hear(&event),
                    Outcome::Known => {}
                    Outcome::Hole => read(&roster, &mut view, &mut watcher, now),
                }
            }
        }
        now = now.after(GRACE);
        roster.reap(now);
        read(&roster, &mut view, &mut watcher, now);
        let here: BTreeMap<_, _> = roster.members().map(|one| (one.entry.client.to_string(), one.entry.data.as_ref().unwrap().get().to_owned())).collect();
        prop_assert_eq!(&watcher.0, &here);
        let expected: BTreeSet<_> = sessions.iter().filter(|(_, of)| !of.is_empty()).map(|(client, _)| client.clone()).collect();
        prop_assert_eq!(here.keys().cloned().collect::<BTreeSet<_>>(), expected);
    }
}
