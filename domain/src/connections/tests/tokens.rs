use super::*;

fn refresh(subject: &mut Subject, outcome: Result<Grant, Refusal>) {
    subject.text(r#"{"id":50,"op":"token","token":"t"}"#);
    let Some(Effect::Refresh { id: 50, turn, .. }) = subject.wants.pop() else { panic!("the token is looked at") };
    subject.apply(Command::Refreshed { id: 50, turn, outcome });
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
    assert!(matches!(&subject.wants[..], [Effect::Stop(channel, "forbidden")] if channel.as_str() == "b"));
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
    assert!(matches!(&subject.wants[..], [Effect::Stop(channel, _)] if channel.as_str() == "a"));
    assert_eq!(subject.closed_with(), None);
}

#[test]
fn of_two_fresh_tokens_in_flight_the_one_that_was_sent_last_stands() {
    for newest_first in [false, true] {
        let mut subject = Subject::subscribed(everything(), "a");
        for id in [50, 51] {
            subject.text(&format!(r#"{{"id":{id},"op":"token","token":"t"}}"#));
        }
        let mut looks = std::mem::take(&mut subject.wants);
        if newest_first {
            looks.reverse();
        }
        for look in looks {
            let Effect::Refresh { id, turn, .. } = look else { panic!("{look:?}") };
            let (capability, expires_s) = if id == 51 { (r#"{"a":["subscribe"]}"#, 1_000) } else { (r#"{}"#, 500) };
            subject.apply(Command::Refreshed { id, turn, outcome: Ok(grant(capability, expires_s)) });
        }
        let said = subject.take_said();
        let answers: Vec<_> =
            said.iter().filter(|said| said.get("ok").is_some()).map(|said| said["id"].clone()).collect();
        assert_eq!(answers.len(), 2, "{said:?}");
        // Where the narrower one took effect for a moment, its loss was told; where it came late, nothing was lost.
        let ended = said.iter().any(|said| said["op"] == "unsubscribed");
        assert_eq!(ended, !newest_first, "{said:?}");
        subject.text(r#"{"id":60,"op":"subscribe","channel":"b"}"#);
        assert_eq!(subject.take_said()[0]["error"]["code"], "forbidden");
        stay_alive_until(&mut subject, at(600));
        assert!(subject.take_said().iter().all(|said| said["op"] != "token_expiring"), "the later token is in force");
    }
}

#[test]
fn a_token_that_ends_while_it_is_looked_at_changes_nothing() {
    let mut subject = Subject::subscribed(grant(r#"{"*":["subscribe"]}"#, 100), "a");
    stay_alive_until(&mut subject, at(110));
    subject.take_said();
    subject.wants.clear();
    refresh(&mut subject, Ok(grant(r#"{"*":["subscribe"]}"#, 110)));
    assert_eq!(subject.said[0]["error"]["code"], "token_expired");
    assert!(!subject.wants.iter().any(|want| matches!(want, Effect::Resume)));
    let mut late = Subject::new();
    late.text(r#"{"id":1,"op":"connect","token":"t"}"#);
    late.apply(Command::Authenticated(Ok(grant("{}", 0))));
    assert_eq!(late.closed_with(), Some(ErrorCode::TokenExpired));
}

#[test]
fn a_rewind_that_begins_under_a_narrower_token_needs_its_right_then() {
    for (capability, begins) in [(r#"{"a":["subscribe"]}"#, false), (r#"{"a":["subscribe","history"]}"#, true)] {
        let mut subject = Subject::connected(everything());
        subject.text(r#"{"id":3,"op":"subscribe","channel":"a","rewind":{"messages":9}}"#);
        let locating = std::mem::take(&mut subject.wants);
        refresh(&mut subject, Ok(grant(capability, 1_000)));
        subject.take_said();
        subject.wants = locating;
        subject.locate_all();
        assert_eq!(subject.take_said()[0].get("ok").is_some(), begins);
    }
}

/// When a fresh token is sent, and what becomes of the connection: asleep means that no tick comes until then.
#[test]
fn a_fresh_token_in_time_resumes_and_one_too_late_does_not() {
    for (what, asleep, sent_s, closes, resumes) in [
        ("before it ends", false, 90, false, false),
        ("at its end", false, 100, false, true),
        ("in the 30 s after", false, 129, false, true),
        ("asleep until it had ended", true, 105, false, true),
        ("asleep until the last moment", true, 129, false, true),
        ("asleep past both", true, 131, true, false),
        ("asleep for an hour", true, 3_700, true, false),
    ] {
        let mut subject = Subject::subscribed(grant(r#"{"*":["subscribe"]}"#, 100), "a");
        match asleep {
            false => stay_alive_until(&mut subject, at(sent_s)),
            true => subject.now = at(sent_s),
        }
        let before = subject.wants.len();
        subject.text(r#"{"id":50,"op":"token","token":"t"}"#);
        if closes {
            assert_eq!(subject.closed_with(), Some(ErrorCode::TokenExpired), "{what}");
            continue;
        }
        let Some(Effect::Refresh { id, turn, .. }) = subject.wants.pop() else { panic!("{what}") };
        subject.apply(Command::Refreshed { id, turn, outcome: Ok(grant(r#"{"*":["subscribe"]}"#, 10_000)) });
        let wants = &subject.wants[before.min(subject.wants.len())..];
        assert_eq!(wants.iter().any(|want| matches!(want, Effect::Resume)), resumes, "{what}: {wants:?}");
        stay_alive_until(&mut subject, at(5_000));
        assert_eq!(subject.closed_with(), None, "{what}");
    }
}

#[test]
fn a_signer_that_was_removed_ends_the_connections_of_its_tokens() {
    let signer = crate::ids::SignerId::generate();
    let mut own = everything();
    own.voucher = Voucher::Signer(signer);
    let mut subject = Subject::subscribed(own, "a");
    subject.apply(Command::AppChanged(Ok(profile(&[]))));
    assert_eq!(subject.closed_with(), Some(ErrorCode::BadKey));
    let mut other = Subject::subscribed(everything(), "a");
    other.apply(Command::AppChanged(Ok(profile(&[]))));
    assert_eq!(other.closed_with(), None);
}
