use super::*;

fn enter(subject: &mut Subject, id: u32, channel: &str) -> Option<Effect> {
    subject.text(&format!(r#"{{"id":{id},"op":"presence","channel":"{channel}","action":"enter","data":{{"a": 1}}}}"#));
    subject.wants.pop()
}

fn done(subject: &mut Subject, id: u32, channel: &str, done: PresenceDone) {
    let was_to_enter = matches!(done, PresenceDone::Entered);
    let channel = ChannelName::parse(channel).unwrap();
    subject.apply(Command::PresenceDone { id, channel, was_to_enter, outcome: Ok(done) });
}

fn entered(grant: Grant) -> Subject {
    let mut subject = Subject::connected(grant);
    enter(&mut subject, 2, "a").unwrap();
    done(&mut subject, 2, "a", PresenceDone::Entered);
    assert_eq!(subject.take_said()[0], serde_json::json!({"id": 2, "ok": {}}));
    subject
}

fn withdrawn(subject: &Subject) -> usize {
    subject.wants.iter().filter(|effect| matches!(effect, Effect::Withdraw(_))).count()
}

#[test]
fn whoever_enters_is_named_by_its_token() {
    let mut subject = Subject::connected(everything());
    let Some(Effect::Presence { id: 2, wish, .. }) = enter(&mut subject, 2, "a") else { panic!() };
    let PresenceWish::Enter { entry, most } = *wish else { panic!() };
    assert_eq!((entry.client.as_str(), entry.data.unwrap().get()), ("ann", r#"{"a":1}"#));
    assert_eq!(most, Limits::default().presence_members);
}

#[test]
fn presence_needs_its_right_a_name_and_the_rule() {
    let mut subject = Subject::connected(grant(r#"{"*":["subscribe"]}"#, 3_600));
    assert!(enter(&mut subject, 2, "a").is_none());
    subject.text(r#"{"id":3,"op":"presence","channel":"a","action":"list"}"#);
    subject.text(r#"{"id":4,"op":"subscribe","channel":"a","presence":true}"#);
    let off = profile(&[("_default", Rule { presence: false, ..Rule::default() })]);
    let mut ruled_out = everything();
    ruled_out.profile = off;
    let mut of_rule = Subject::connected(ruled_out);
    enter(&mut of_rule, 2, "a");
    let nameless = Identity::Client(ClientIdentity { client: None, info: None, token_id: None });
    let mut anonymous = Subject::new();
    anonymous.text(r#"{"id":1,"op":"connect","token":"t"}"#);
    let mut unnamed = everything();
    unnamed.identity = nameless;
    anonymous.apply(Command::Authenticated(Ok(unnamed)));
    anonymous.take_said();
    anonymous.wants.clear();
    assert!(enter(&mut anonymous, 2, "a").is_none());
    for said in [subject.take_said(), of_rule.take_said(), anonymous.take_said()].concat() {
        assert_eq!(said["error"]["code"], "forbidden", "{said}");
    }
}

#[test]
fn data_is_bounded_and_what_is_not_entered_is_neither_updated_nor_left() {
    let mut subject = Subject::connected(everything());
    let data = "x".repeat(1_023);
    subject.text(&format!(r#"{{"id":2,"op":"presence","channel":"a","action":"enter","data":"{data}"}}"#));
    subject.text(r#"{"id":3,"op":"presence","channel":"a","action":"update"}"#);
    subject.text(r#"{"id":4,"op":"presence","channel":"a","action":"leave"}"#);
    subject.text(r#"{"id":5,"op":"presence","channel":"a","action":"dance"}"#);
    subject.text(r#"{"id":6,"op":"presence","channel":"a","action":"list","next":"?"}"#);
    let codes: Vec<_> = subject.take_said().iter().map(|said| said["error"]["code"].clone()).collect();
    assert_eq!(codes, ["message_too_large", "not_entered", "not_entered", "bad_request", "bad_request"]);
}

#[test]
fn a_connection_enters_as_many_channels_as_its_plan_allows() {
    let mut subject = Subject::connected(everything());
    for id in 2..5 {
        assert!(enter(&mut subject, id, &format!("c{id}")).is_some());
    }
    assert!(enter(&mut subject, 5, "c2").is_some(), "a channel may be entered again");
    assert!(enter(&mut subject, 6, "c6").is_none());
    assert_eq!(subject.take_said()[0]["error"]["code"], "channel_limit");
    done(&mut subject, 2, "c2", PresenceDone::Entered);
    done(&mut subject, 5, "c2", PresenceDone::Entered);
    done(&mut subject, 7, "c2", PresenceDone::Left);
    assert!(enter(&mut subject, 8, "c8").is_some());
}

/// A fresh token without the right to presence comes.
fn narrow(subject: &mut Subject) {
    subject.text(r#"{"id":50,"op":"token","token":"t"}"#);
    let at = subject.wants.iter().position(|effect| matches!(effect, Effect::Refresh { .. }));
    let Effect::Refresh { turn, .. } = subject.wants.remove(at.expect("the token is looked at")) else {
        unreachable!()
    };
    subject.apply(Command::Refreshed { id: 50, turn, outcome: Ok(grant(r#"{"a":["subscribe"]}"#, 60)) });
}

#[test]
fn a_narrower_token_and_a_changed_rule_end_memberships() {
    let mut subject = entered(everything());
    narrow(&mut subject);
    assert_eq!(withdrawn(&subject), 1);
    let mut subject = entered(everything());
    subject.apply(Command::AppChanged(Ok(profile(&[("_default", Rule { presence: false, ..Rule::default() })]))));
    assert_eq!(withdrawn(&subject), 1);
}

#[test]
fn a_right_that_goes_while_a_connection_enters_takes_it_out_again() {
    let mut subject = Subject::connected(everything());
    enter(&mut subject, 2, "a").unwrap();
    narrow(&mut subject);
    subject.take_said();
    done(&mut subject, 2, "a", PresenceDone::Entered);
    assert_eq!(subject.take_said()[0]["error"]["code"], "forbidden");
    assert_eq!(withdrawn(&subject), 2);
}

#[test]
fn whoever_is_turned_away_leaves_and_whoever_is_to_come_back_does_not() {
    let codes = [(ErrorCode::BadKey, 1), (ErrorCode::AppDisabled, 1), (ErrorCode::TokenExpired, 1)];
    for (code, expected) in codes.into_iter().chain([(ErrorCode::SlowConsumer, 0), (ErrorCode::NoPong, 0)]) {
        let mut subject = entered(everything());
        subject.apply(Command::End(Refusal::plain(code)));
        assert_eq!(withdrawn(&subject), expected, "{code:?}");
    }
    let mut subject = entered(everything());
    subject.apply(Command::Drain { after: Duration::ZERO });
    assert_eq!(withdrawn(&subject), 0);
}

#[test]
fn a_subscription_with_presence_ends_with_the_right_to_presence() {
    let mut subject = Subject::connected(everything());
    subject.text(r#"{"id":2,"op":"subscribe","channel":"a","presence":true}"#);
    assert!(matches!(subject.wants[0], Effect::Locate { presence: true, .. }));
    subject.locate_all();
    assert!(matches!(subject.wants[0], Effect::Deliver { presence: true, .. }));
    subject.take_said();
    subject.apply(Command::AppChanged(Ok(profile(&[("_default", Rule { presence: false, ..Rule::default() })]))));
    assert_eq!(subject.take_said()[0]["op"], "unsubscribed");
}
