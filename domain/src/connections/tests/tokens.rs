use super::*;

fn refresh(subject: &mut Subject, outcome: Result<Grant, Refusal>) {
    subject.text(r#"{"id":50,"op":"token","token":"t"}"#);
    assert!(matches!(subject.wants.pop(), Some(Effect::Refresh { id: 50, .. })));
    subject.apply(Command::Refreshed { id: 50, outcome });
}

/// Passes time with a client that answers pings.
fn stay_alive_until(subject: &mut Subject, end: Timestamp) {
    while subject.now < end {
        let next = subject.now.after(Duration::from_secs(5)).min(end);
        subject.pass_until(next);
        subject.apply(Command::Heard);
    }
}

#[test]
fn an_expiring_token_is_warned_of_twice() {
    let mut subject = Subject::connected(grant(r#"{"*":["subscribe"]}"#, 100));
    stay_alive_until(&mut subject, at(99));
    let warnings: Vec<_> = subject
        .take_said()
        .iter()
        .filter(|said| said["op"] == "token_expiring")
        .map(|said| said["in_ms"].clone())
        .collect();
    assert_eq!(warnings, [60_000, 10_000]);
}

#[test]
fn an_expired_token_holds_delivery_and_then_closes() {
    let mut subject = Subject::subscribed(grant(r#"{"*":["subscribe"]}"#, 100), "a");
    stay_alive_until(&mut subject, at(100));
    assert!(matches!(subject.wants.last(), Some(Effect::Hold)));
    subject.take_said();
    subject.text(r#"{"id":3,"op":"unsubscribe","channel":"a"}"#);
    assert_eq!(subject.take_said()[0]["error"]["code"], "token_expired");
    stay_alive_until(&mut subject, at(129));
    assert_eq!(subject.closed_with(), None);
    stay_alive_until(&mut subject, at(130));
    assert_eq!(subject.closed_with(), Some(ErrorCode::TokenExpired));
}

#[test]
fn a_subscription_that_begins_as_the_token_ends_is_refused() {
    let mut subject = Subject::connected(grant(r#"{"*":["subscribe"]}"#, 100));
    stay_alive_until(&mut subject, at(99));
    subject.text(r#"{"id":3,"op":"subscribe","channel":"b"}"#);
    stay_alive_until(&mut subject, at(100));
    subject.take_said();
    subject.locate_all();
    assert_eq!(subject.take_said()[0]["error"]["code"], "token_expired");
    assert!(!subject.wants.iter().any(|effect| matches!(effect, Effect::Deliver { .. })));
}

#[test]
fn a_token_in_time_continues_every_subscription() {
    let mut subject = Subject::subscribed(grant(r#"{"*":["subscribe"]}"#, 100), "a");
    stay_alive_until(&mut subject, at(110));
    subject.take_said();
    refresh(&mut subject, Ok(grant(r#"{"*":["subscribe"]}"#, 1_000)));
    assert_eq!(subject.said[0]["ok"]["token_ttl_ms"], 890_000);
    assert!(matches!(subject.wants.last(), Some(Effect::Resume)));
    stay_alive_until(&mut subject, at(200));
    assert_eq!(subject.closed_with(), None);
}

#[test]
fn a_narrower_token_ends_only_what_lost_its_right() {
    let mut subject = Subject::subscribed(everything(), "a");
    subject.text(r#"{"id":3,"op":"subscribe","channel":"b"}"#);
    subject.locate_all();
    subject.take_said();
    subject.wants.clear();
    refresh(&mut subject, Ok(grant(r#"{"a":["subscribe"]}"#, 1_000)));
    assert_eq!(subject.said[1]["op"], "unsubscribed");
    assert_eq!(subject.said[1]["channel"], "b");
    assert_eq!(subject.said.len(), 2);
    assert!(matches!(&subject.wants[..], [Effect::Stop(channel)] if channel.as_str() == "b"));
}

#[test]
fn a_token_of_another_client_changes_nothing() {
    let mut subject = Subject::subscribed(everything(), "a");
    let mut other = everything();
    let Identity::Client(client) = &mut other.identity else { panic!() };
    client.client = None;
    refresh(&mut subject, Ok(other));
    assert_eq!(subject.said[0]["error"]["code"], "token_mismatch");
    assert_eq!(subject.closed_with(), None);
    assert!(subject.wants.is_empty());
}

#[test]
fn a_bad_token_changes_nothing() {
    let mut subject = Subject::subscribed(everything(), "a");
    refresh(&mut subject, Err(Refusal::plain(ErrorCode::BadToken)));
    assert_eq!(subject.said[0]["error"]["code"], "bad_token");
    assert_eq!(subject.closed_with(), None);
}

#[test]
fn a_replaced_history_ends_only_that_subscription() {
    let mut subject = Subject::subscribed(everything(), "a");
    subject.apply(Command::EpochChanged(ChannelName::parse("b").unwrap()));
    assert!(subject.said.is_empty() && subject.wants.is_empty());
    subject.apply(Command::EpochChanged(ChannelName::parse("a").unwrap()));
    assert_eq!(subject.said[0]["op"], "unsubscribed");
    assert_eq!(subject.said[0]["error"]["code"], "epoch_changed");
    assert!(matches!(&subject.wants[..], [Effect::Stop(channel)] if channel.as_str() == "a"));
    assert_eq!(subject.closed_with(), None);
}
