use super::*;

#[test]
fn the_first_request_must_be_connect() {
    let mut subject = Subject::new();
    subject.text(r#"{"id":1,"op":"subscribe","channel":"a"}"#);
    assert_eq!(subject.said[0]["error"]["code"], "not_connected");
    assert_eq!(subject.said[1]["op"], "error");
    assert_eq!(subject.closed_with(), Some(ErrorCode::NotConnected));
}

#[test]
fn requests_sent_before_connect_is_answered_wait_their_turn() {
    let mut subject = Subject::new();
    subject.text(r#"{"id":1,"op":"connect","token":"t"}"#);
    subject.text(r#"{"id":2,"op":"subscribe","channel":"a"}"#);
    assert!(subject.said.is_empty());
    subject.apply(Command::Authenticated(Ok(everything())));
    assert_eq!(subject.said[0]["id"], 1);
    assert!(matches!(subject.wants.last(), Some(Effect::Locate { id: 2, .. })));
}

#[test]
fn a_second_connect_closes() {
    let mut subject = Subject::connected(everything());
    subject.text(r#"{"id":9,"op":"connect","token":"t"}"#);
    assert_eq!(subject.closed_with(), Some(ErrorCode::AlreadyConnected));
}

#[test]
fn a_refused_connect_is_answered_and_then_closed_with_its_code() {
    let mut subject = Subject::new();
    subject.text(r#"{"id":1,"op":"connect","token":"t"}"#);
    subject.apply(Command::Authenticated(Err(Refusal::plain(ErrorCode::BadToken))));
    assert_eq!(subject.said[0]["error"]["code"], "bad_token");
    assert_eq!(subject.said[1]["error"]["code"], "bad_token");
    assert_eq!(subject.closed_with(), Some(ErrorCode::BadToken));
}

#[test]
fn without_connect_the_socket_closes_after_ten_seconds() {
    let mut subject = Subject::new();
    subject.pass_until(Timestamp(at(10).0 - 1));
    assert_eq!(subject.closed_with(), None);
    subject.pass_until(at(10));
    assert_eq!(subject.closed_with(), Some(ErrorCode::ConnectTimeout));
}

#[test]
fn credentials_that_are_checked_for_too_long_are_unavailable_and_no_fault_of_the_client() {
    let mut subject = Subject::new();
    subject.pass_until(at(9));
    subject.text(r#"{"id":1,"op":"connect","token":"t"}"#);
    subject.pass_until(Timestamp(at(19).0 - 1));
    assert_eq!(subject.closed_with(), None);
    subject.pass_until(at(19));
    assert_eq!(subject.said[0]["id"], 1);
    assert_eq!(subject.said[0]["error"]["code"], "unavailable");
    assert_eq!(subject.said[0]["error"]["retry_after_ms"], 1_000);
    assert_eq!(subject.closed_with(), Some(ErrorCode::Unavailable));
}

#[test]
fn a_silent_connection_is_pinged_and_then_closed() {
    let mut subject = Subject::connected(everything());
    subject.pass_until(at(25));
    assert_eq!(subject.take_said()[0]["op"], "ping");
    subject.now = at(30);
    subject.text(r#"{"op":"pong"}"#);
    subject.pass_until(at(54));
    assert!(subject.said.is_empty());
    subject.pass_until(at(65));
    assert_eq!(subject.said[0]["op"], "ping");
    assert_eq!(subject.closed_with(), Some(ErrorCode::NoPong));
}

#[test]
fn a_subscription_is_answered_before_it_is_delivered() {
    let mut subject = Subject::connected(everything());
    subject.text(r#"{"id":2,"op":"subscribe","channel":"a"}"#);
    subject.locate_all();
    assert_eq!(subject.said[0]["ok"]["serial"], 4);
    assert!(matches!(subject.wants.last(), Some(Effect::Deliver { .. })));
    subject.text(r#"{"id":3,"op":"subscribe","channel":"a"}"#);
    assert_eq!(subject.said[1]["error"]["code"], "already_subscribed");
}

#[test]
fn unsubscribing_before_the_start_is_known_answers_both_requests() {
    let mut subject = Subject::connected(everything());
    subject.text(r#"{"id":2,"op":"subscribe","channel":"a"}"#);
    subject.text(r#"{"id":3,"op":"unsubscribe","channel":"a"}"#);
    subject.locate_all();
    assert_eq!(subject.said[0]["id"], 3);
    assert_eq!((&subject.said[1]["id"], &subject.said[1]["error"]["code"]), (&2.into(), &"not_subscribed".into()));
    assert!(!subject.wants.iter().any(|effect| matches!(effect, Effect::Deliver { .. })));
}

#[test]
fn rights_decide_what_may_be_asked() {
    let mut subject = Subject::connected(grant(r#"{"news":["subscribe"]}"#, 3_600));
    for (id, request) in [
        r#""op":"subscribe","channel":"other""#,
        r#""op":"subscribe","channel":"news","rewind":{"messages":1}"#,
        r#""op":"publish","channel":"news","data":1"#,
        r#""op":"history","channel":"news""#,
    ]
    .iter()
    .enumerate()
    {
        subject.text(&format!(r#"{{"id":{},{request}}}"#, id + 10));
        assert_eq!(subject.take_said()[0]["error"]["code"], "forbidden", "{request}");
    }
    assert!(subject.wants.is_empty());
    // The second has the right to subscribe, but not to begin in the past.
    let refused = |channel: &str| (channel.to_owned(), ErrorCode::Forbidden);
    assert_eq!(subject.refused, [refused("other"), refused("news")]);
}

#[test]
fn a_connection_has_as_many_channels_as_its_plan_allows() {
    let mut subject = Subject::connected(everything());
    for id in 2..6 {
        subject.text(&format!(r#"{{"id":{id},"op":"subscribe","channel":"c{id}"}}"#));
    }
    assert_eq!(subject.said[0]["error"]["code"], "channel_limit");
    assert_eq!(subject.wants.len(), 3);
}

#[test]
fn who_goes_on_too_fast_is_refused_and_then_closed() {
    let mut subject = Subject::connected(everything());
    let most = Limits::default().requests_per_s;
    for id in 1..=most + 1 {
        let text = format!(r#"{{"id":{id},"op":"history","channel":"a"}}"#);
        subject.apply(Command::TooFast { text, retry_after: Duration::from_millis(7) });
    }
    assert_eq!(subject.said[0]["error"]["retry_after_ms"], 7);
    assert_eq!(subject.closed_with(), Some(ErrorCode::RateLimited));
}

#[test]
fn the_place_is_told_only_to_who_waits_for_it() {
    let mut subject = Subject::connected(everything());
    subject.apply(Command::Published { id: 3, with_place: false, outcome: Ok(receipt()) });
    subject.apply(Command::Published { id: 4, with_place: true, outcome: Ok(receipt()) });
    assert_eq!(subject.said[0]["ok"], serde_json::json!({"message": "msg_1"}));
    assert_eq!(subject.said[1]["ok"], serde_json::json!({"message": "msg_1", "epoch": "e", "serial": 5}));
}

#[test]
fn a_rule_that_changes_ends_what_it_no_longer_allows() {
    let open = profile(&[("_default", Rule { public: true, ..Rule::default() })]);
    let stranger = Grant::for_tests(
        open,
        Voucher::Key(KeyId::parse("fk_a").unwrap()),
        Identity::Public,
        Capability::default(),
        Capability::everything(),
    );
    let mut subject = Subject::new();
    subject.text(r#"{"id":1,"op":"connect","key":"fk_a"}"#);
    subject.apply(Command::Authenticated(Ok(stranger)));
    subject.text(r#"{"id":2,"op":"subscribe","channel":"a"}"#);
    subject.locate_all();
    subject.take_said();
    subject.apply(Command::AppChanged(Ok(profile(&[]))));
    assert_eq!(subject.said[0]["op"], "unsubscribed");
    assert!(matches!(subject.wants.last(), Some(Effect::Stop(_, "forbidden"))));
}

#[test]
fn who_is_drained_is_told_when_served_until_then_and_closed() {
    let mut subject = Subject::subscribed(everything(), "a");
    subject.apply(Command::Drain { after: Duration::from_millis(7_500) });
    let said = subject.take_said();
    assert_eq!(said, [serde_json::json!({"op": "reconnect", "after_ms": 7_500, "reason": "draining"})]);
    subject.pass_until(START.after(Duration::from_millis(7_499)));
    subject.text(r#"{"id":9,"op":"unsubscribe","channel":"a"}"#);
    assert!(subject.take_said()[0].get("ok").is_some());
    assert_eq!(subject.closed_with(), None);
    subject.pass_until(at(8));
    assert_eq!(subject.said[0]["error"]["code"], "draining");
    assert_eq!(subject.closed_with(), Some(ErrorCode::Draining));
}

#[test]
fn a_drain_may_be_shortened_and_is_never_lengthened() {
    let mut subject = Subject::connected(everything());
    subject.apply(Command::Drain { after: Duration::from_secs(7) });
    subject.apply(Command::Drain { after: Duration::from_secs(9) });
    assert_eq!(subject.take_said().len(), 1);
    subject.apply(Command::Drain { after: Duration::ZERO });
    assert_eq!(subject.said[0]["after_ms"], 0);
    assert_eq!(subject.closed_with(), Some(ErrorCode::Draining));
}

#[test]
fn who_has_not_connected_is_drained_at_once() {
    let mut subject = Subject::new();
    subject.text(r#"{"id":1,"op":"connect","token":"t"}"#);
    subject.apply(Command::Drain { after: Duration::from_secs(7) });
    assert_eq!(subject.said[0]["after_ms"], 0);
    assert_eq!(subject.closed_with(), Some(ErrorCode::Draining));
}

#[test]
fn counts_are_watched_from_the_beginning_of_a_subscription_that_asked_for_them() {
    let mut subject = Subject::connected(everything());
    subject.text(r#"{"id":2,"op":"subscribe","channel":"a","occupancy":true}"#);
    subject.text(r#"{"id":3,"op":"subscribe","channel":"b"}"#);
    subject.text(r#"{"id":4,"op":"subscribe","channel":"c","occupancy":1}"#);
    assert_eq!(subject.take_said()[0]["error"]["code"], "bad_request");
    subject.locate_all();
    let watched: Vec<_> = subject.wants.iter().map(|effect| format!("{effect:?}")).collect();
    assert!(watched[0].starts_with("Deliver") && watched[1].starts_with(r#"WatchOccupancy("a")"#), "{watched:?}");
    assert!(watched[2].starts_with("Deliver") && watched.len() == 3, "{watched:?}");
}

#[test]
fn while_the_node_serves_nobody_requests_are_refused_and_a_connection_stays() {
    let unavailable = |text: &str| Command::Unavailable { text: text.to_owned() };
    let mut subject = Subject::subscribed(everything(), "a");
    subject.apply(unavailable(r#"{"op":"pong"}"#));
    subject.apply(unavailable(r#"{"id":7,"op":"publish","channel":"a","data":1}"#));
    subject.apply(unavailable(r#"{"id":8,"op":"else"}"#));
    let said = subject.take_said();
    assert_eq!(said.len(), 2, "{said:?}");
    for (answer, id) in said.iter().zip([7, 8]) {
        assert_eq!((&answer["id"], &answer["error"]["code"]), (&Value::from(id), &Value::from("unavailable")));
    }
    assert!(subject.wants.is_empty());
    subject.text(r#"{"id":9,"op":"publish","channel":"a","data":1}"#);
    assert!(matches!(subject.wants.last(), Some(Effect::Publish { id: 9, .. })));
    let mut subject = Subject::new();
    subject.apply(unavailable(r#"{"id":1,"op":"connect","token":"t"}"#));
    assert_eq!(subject.closed_with(), Some(ErrorCode::Unavailable));
}
