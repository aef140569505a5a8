//! A table of courses, and what each says about message 10, accepted at 100 s and asked about at 200 s.

use super::*;
use crate::{deliveries::Passed, ids::ConnectionId};

const SECOND: u64 = 1_000;

fn asked() -> Asked {
    Asked {
        epoch: Epoch::new("e"),
        serial: Serial(10),
        time: Timestamp(100 * SECOND),
        traced_since: Timestamp(10 * SECOND),
        now: Timestamp(200 * SECOND),
    }
}

/// An open course from a serial on, that has written up to another.
fn course(from: u64, written: u64, began_s: u64) -> Course {
    let connection = ConnectionId::parse("con_1").unwrap();
    let began_at = Timestamp(began_s * SECOND);
    let course = Course::new("c".to_owned(), connection, "websocket", Some(Epoch::new("e")), Serial(from), began_at);
    Course { written: Serial(written), queued: Serial(written), told_at: Timestamp(199 * SECOND), ..course }
}

fn ended(course: Course, reason: &str, at_s: u64) -> Course {
    let at = Timestamp(at_s * SECOND);
    Course { end: Some(End { at, reason: reason.to_owned(), is_refusal: false }), told_at: at, ..course }
}

fn refused(reason: &str, at_s: u64) -> Course {
    let mut course = ended(Course { epoch: None, ..course(0, 0, at_s) }, reason, at_s);
    course.end.as_mut().unwrap().is_refusal = true;
    course
}

fn kept(courses: impl IntoIterator<Item = Course>) -> Kept {
    Kept { courses: courses.into_iter().map(|course| (course, true)).collect(), ..Kept::default() }
}

fn of(courses: impl IntoIterator<Item = Course>) -> Outcome {
    judge(&asked(), &kept(courses)).outcome
}

#[test]
fn a_course_says_what_became_of_a_message() {
    let passing = |why| Course { passed: vec![Passed { from: Serial(9), to: Serial(11), why }], ..course(5, 20, 50) };
    for (one, expected) in [
        (course(5, 10, 50), Outcome::Delivered),
        (course(9, 10, 50), Outcome::Delivered),
        (course(10, 20, 150), Outcome::NotSubscribed),
        (Course { is_late: true, ..course(10, 20, 150) }, Outcome::Unknown),
        (Course { epoch: Some(Epoch::new("other")), ..course(5, 20, 50) }, Outcome::NotSubscribed),
        (course(5, 9, 50), Outcome::Waiting),
        (Course { queued: Serial(10), ..course(5, 9, 50) }, Outcome::Waiting),
        (Course { is_held: true, ..course(5, 9, 50) }, Outcome::NoRight),
        (passing(Passing::Filtered), Outcome::Filtered),
        (passing(Passing::PastRetention), Outcome::PastRetention),
        (Course { passed_before: Serial(10), ..course(5, 20, 50) }, Outcome::Unknown),
        (Course { passed_before: Serial(9), ..course(5, 20, 50) }, Outcome::Delivered),
        (ended(course(5, 10, 50), "slow_consumer", 120), Outcome::Delivered),
        (ended(course(5, 9, 50), "slow_consumer", 120), Outcome::Slow),
        (ended(course(5, 9, 50), End::LEFT, 120), Outcome::Disconnected),
        (ended(course(5, 9, 50), End::ANSWERED, 90), Outcome::Disconnected),
        (ended(course(5, 9, 50), "draining", 90), Outcome::Disconnected),
        (ended(course(5, 9, 50), "no_pong", 120), Outcome::Disconnected),
        (ended(course(5, 9, 50), "forbidden", 90), Outcome::NoRight),
        (ended(course(5, 9, 50), "token_expired", 90), Outcome::NoRight),
        (ended(course(5, 9, 50), End::UNSUBSCRIBED, 90), Outcome::NotSubscribed),
        (refused("forbidden", 90), Outcome::NoRight),
        (refused("channel_limit", 90), Outcome::NotSubscribed),
    ] {
        assert_eq!(of([one.clone()]), expected, "{one:?}");
    }
    assert_eq!(of([]), Outcome::NotSubscribed);
}

#[test]
fn a_node_that_is_lost_may_have_delivered_more_than_it_told() {
    let lost = |course: Course| judge(&asked(), &Kept { courses: vec![(course, false)], ..Kept::default() }).outcome;
    assert_eq!(lost(course(5, 9, 50)), Outcome::Unknown);
    assert_eq!(lost(course(5, 10, 50)), Outcome::Delivered);
    assert_eq!(lost(ended(course(5, 9, 50), End::LEFT, 120)), Outcome::Disconnected, "it told all that there was");
    let untold = Course { told_at: Timestamp(11 * SECOND), ..course(5, 9, 50) };
    let late = Asked { now: Timestamp(4_000 * SECOND), ..asked() };
    assert_eq!(judge(&late, &kept([untold])).outcome, Outcome::Unknown);
}

#[test]
fn the_course_that_says_most_decides() {
    let slow = || ended(course(5, 8, 50), "slow_consumer", 110);
    let left = |at| ended(course(5, 8, 50), End::LEFT, at);
    for (courses, expected) in [
        // It came back where it was.
        (vec![left(90), course(8, 20, 150)], Outcome::Delivered),
        (vec![left(90), course(8, 9, 150)], Outcome::Waiting),
        // It came back anew.
        (vec![left(90), course(12, 20, 150)], Outcome::Disconnected),
        (vec![slow(), course(12, 20, 150)], Outcome::Slow),
        // It was refused when it came back.
        (vec![left(90), refused("forbidden", 95)], Outcome::NoRight),
        (vec![left(90), refused("forbidden", 120)], Outcome::Disconnected),
        (vec![slow(), refused("forbidden", 120)], Outcome::Slow),
        // It had unsubscribed, and was there at other times.
        (
            vec![ended(course(1, 4, 20), End::LEFT, 40), ended(course(5, 9, 50), End::UNSUBSCRIBED, 90)],
            Outcome::NotSubscribed,
        ),
        (vec![ended(course(1, 4, 20), End::UNSUBSCRIBED, 40), left(90)], Outcome::Disconnected),
        (vec![course(12, 20, 150), refused("forbidden", 120)], Outcome::NoRight),
        // Of two connections one is the publisher's.
        (
            vec![
                Course {
                    passed: vec![Passed { from: Serial(10), to: Serial(10), why: Passing::Filtered }],
                    ..course(5, 20, 50)
                },
                course(5, 20, 60),
            ],
            Outcome::Delivered,
        ),
    ] {
        assert_eq!(of(courses.clone()), expected, "{courses:?}");
        assert_eq!(of(courses.iter().rev().cloned()), expected, "{courses:?}");
    }
    let verdict = judge(&asked(), &kept([course(8, 20, 150), left(90)]));
    assert_eq!(
        (verdict.by, verdict.courses[0].outcome, verdict.courses[1].outcome),
        (Some(1), Outcome::Disconnected, Outcome::Delivered)
    );
}

#[test]
fn that_nothing_is_known_means_nothing_where_the_trace_does_not_reach() {
    let left = || ended(course(5, 8, 50), End::LEFT, 90);
    let reaching = |to_s: u64, courses: Vec<Course>| {
        judge(&asked(), &Kept { reaches_back_to: Timestamp(to_s * SECOND), ..kept(courses) })
    };
    for (to_s, courses, expected) in [
        (100, vec![], Outcome::NotSubscribed),
        (101, vec![], Outcome::Unknown),
        (101, vec![left()], Outcome::Unknown),
        (101, vec![course(5, 20, 50)], Outcome::Delivered),
        (100, vec![left()], Outcome::Disconnected),
    ] {
        assert_eq!(reaching(to_s, courses.clone()).outcome, expected, "{to_s} {courses:?}");
    }
    let young = Asked { now: Timestamp(102 * SECOND), ..asked() };
    let verdict = judge(&young, &kept([left()]));
    assert_eq!((verdict.outcome, verdict.doubt, verdict.by), (Outcome::Unknown, Some(Doubt::Young), None));
    assert_eq!(judge(&young, &kept([course(5, 20, 50)])).outcome, Outcome::Delivered);
    let old = Asked { now: Timestamp(100 * SECOND).after(KEPT).after(LAG), ..asked() };
    assert_eq!(judge(&old, &kept([])).outcome, Outcome::Unknown, "what is older is forgotten");
    let before = Asked { traced_since: Timestamp(150 * SECOND), ..asked() };
    assert_eq!(judge(&before, &kept([])).outcome, Outcome::Unknown);
    let stale = judge(&before, &kept([ended(course(5, 8, 50), "slow_consumer", 120)]));
    assert_eq!((stale.outcome, stale.courses.len()), (Outcome::Unknown, 0), "of a trace that was switched off since");
}

#[test]
fn that_nothing_is_known_means_nothing_while_a_node_has_not_told_all() {
    let at = |s| Timestamp(s * SECOND);
    let with =
        |from, to, courses: Vec<Course>| judge(&asked(), &Kept { gaps: vec![(at(from), at(to))], ..kept(courses) });
    for (from, to, expected) in [
        (90, 110, Outcome::Unknown),
        (101, 110, Outcome::Unknown),
        (102, 110, Outcome::NotSubscribed),
        (90, 101, Outcome::Unknown),
        (90, 100, Outcome::NotSubscribed),
    ] {
        let verdict = with(from, to, vec![]);
        assert_eq!((verdict.outcome, verdict.doubt.is_some()), (expected, expected == Outcome::Unknown), "{from} {to}");
    }
    let verdict = with(90, 110, vec![course(5, 20, 50)]);
    assert_eq!((verdict.outcome, verdict.doubt), (Outcome::Delivered, None));
}

#[test]
fn it_is_told_by_when_a_message_had_been_written() {
    let at = |s| Timestamp(s * SECOND);
    let steps = vec![(Serial(7), at(99)), (Serial(12), at(101)), (Serial(20), at(150))];
    let verdict = judge(&asked(), &kept([Course { steps, ..course(5, 20, 50) }]));
    assert_eq!(verdict.courses[0].written_by, Some(at(101)));
}
