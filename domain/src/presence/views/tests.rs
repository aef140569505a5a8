use std::time::Duration;

use fanfare_protocol::{ChannelName, presence::PresenceAction::*};
use serde_json::value::RawValue;

use super::*;
use crate::{
    ids::AppId,
    presence::{Life, Member},
};

const NOW: Timestamp = Timestamp(100_000);

fn place() -> Place {
    Place { app: AppId::parse("app_a").unwrap(), channel: ChannelName::parse("a").unwrap() }
}

fn member(client: &str) -> Member {
    let connection = ConnectionId::parse("con_1").unwrap();
    let data = Some(RawValue::from_string("1".to_owned()).unwrap());
    Member { entry: Entry { connection, client: ClientName::parse(client).unwrap(), data, info: None }, since: NOW }
}

fn snapshot(version: u64, life: Option<(u64, u64)>, clients: &[&str]) -> Snapshot {
    let life = life.map(|(number, age_s)| Life { number, age: Duration::from_secs(age_s) });
    Snapshot { version, life, members: clients.iter().map(|client| member(client)).collect(), is_whole: true }
}

fn told((events, again): (Vec<PresenceEvent>, Option<Duration>)) -> (Vec<String>, Option<u64>) {
    let events = events.iter().map(|event| format!("{} {}", event.action.name(), event.entry.client));
    (events.collect(), again.map(|again| again.as_secs()))
}

#[test]
fn a_hole_is_found_and_the_difference_is_told() {
    let mut view = View::default();
    assert_eq!(
        told(view.replace(&place(), snapshot(5, Some((1, 60)), &["ann", "bob"]), NOW)).0,
        ["enter ann", "enter bob"]
    );
    let event =
        |version| PresenceEvent { place: place(), version, action: Enter, entry: member("cat").entry, time: NOW };
    assert!(matches!(view.take(event(5)), Outcome::Known));
    assert!(matches!(view.take(event(7)), Outcome::Hole));
    let difference = told(view.replace(&place(), snapshot(8, Some((1, 61)), &["bob", "cat"]), NOW));
    assert_eq!(difference, (vec!["leave ann".to_owned(), "enter cat".to_owned()], None));
    assert!(matches!(view.take(event(9)), Outcome::Known), "an enter of one who is known is no news");
}

#[test]
fn after_everything_was_forgotten_nobody_leaves_before_all_had_time_to_be_named_again() {
    let mut view = View::default();
    view.replace(&place(), snapshot(5, Some((1, 60)), &["ann", "bob"]), NOW);
    assert_eq!(told(view.replace(&place(), snapshot(0, None, &[]), NOW)), (vec![], Some(15)));
    let later = NOW.after(Duration::from_secs(4));
    let partly = snapshot(900, Some((2, 1)), &["ann"]);
    assert_eq!(told(view.replace(&place(), partly, later)), (vec![], Some(15)));
    let leave = PresenceEvent { place: place(), version: 901, action: Leave, entry: member("ann").entry, time: later };
    assert!(matches!(view.take(leave), Outcome::Tell(_)), "who says so leaves at once");
    let settled = later.after(SETTLING);
    assert_eq!(
        told(view.replace(&place(), snapshot(901, Some((2, 16)), &[]), settled)),
        (vec!["leave bob".to_owned()], None)
    );
}

#[test]
fn a_channel_that_nobody_ever_entered_is_read_twice_and_then_left_alone() {
    let mut view = View::default();
    assert_eq!(told(view.replace(&place(), snapshot(0, None, &[]), NOW)), (vec![], Some(15)));
    assert_eq!(told(view.replace(&place(), snapshot(0, None, &[]), NOW.after(SETTLING))), (vec![], None));
}
