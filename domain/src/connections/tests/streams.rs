//! Connections on which nothing comes in, and those of web pages.

use super::*;
use crate::origins::Origins;

fn subject(machine: impl FnOnce(Connection) -> Connection) -> Subject {
    let mut subject = Subject::new();
    let fresh = Connection::new(ConnectionId::generate(), &ConnectionConfig::default(), None, START);
    subject.machine = machine(fresh);
    subject.text(r#"{"id":1,"op":"connect","token":"t"}"#);
    subject.wants.clear();
    subject
}

fn allowing(origins: &[&str]) -> Arc<AppProfile> {
    let mut profile = AppProfile::clone(&profile(&[]));
    profile.app.origins = Origins::parse(origins.iter().map(|origin| (*origin).to_owned())).unwrap();
    Arc::new(profile)
}

#[test]
fn what_cannot_be_sent_a_fresh_token_ends_with_the_one_it_has() {
    let mut subject = subject(Connection::one_way);
    subject.apply(Command::Authenticated(Ok(grant(r#"{"*":["subscribe"]}"#, 100))));
    for second in 1..100 {
        subject.apply(Command::Heard);
        subject.pass_until(at(second));
    }
    assert_eq!(subject.closed_with(), None);
    subject.pass_until(at(100));
    assert_eq!(subject.closed_with(), Some(ErrorCode::TokenExpired));
    assert_eq!(subject.take_said().pop().unwrap()["error"]["code"], "token_expired");
}

#[test]
fn a_page_is_let_in_only_from_an_origin_that_the_app_allows() {
    for (origin, expected) in [
        (None, None),
        (Some("https://ours.test"), None),
        (Some("https://other.test"), Some(ErrorCode::OriginNotAllowed)),
    ] {
        let mut subject = subject(|machine| machine.from_origin(origin.map(str::to_owned)));
        let mut grant = everything();
        grant.profile = allowing(&["https://ours.test"]);
        subject.apply(Command::Authenticated(Ok(grant)));
        assert_eq!(subject.closed_with(), expected, "{origin:?}");
        assert_eq!(subject.said[0].get("ok").is_some(), expected.is_none());
    }
}

#[test]
fn a_page_whose_origin_is_allowed_no_more_is_closed() {
    for (origin, expected) in [(None, None), (Some("https://ours.test"), Some(ErrorCode::OriginNotAllowed))] {
        let mut subject = subject(|machine| machine.from_origin(origin.map(str::to_owned)));
        subject.apply(Command::Authenticated(Ok(everything())));
        subject.apply(Command::AppChanged(Ok(allowing(&["https://theirs.test"]))));
        assert_eq!(subject.closed_with(), expected, "{origin:?}");
    }
}
