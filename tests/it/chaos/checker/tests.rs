//! The checker is checked: it passes a good log, and fails one with anything wrong in it, naming it.

use super::*;

const CHANNELS: [&str; 2] = ["chat", "news"];
const CALLERS: usize = 3;
const EACH: u64 = 40;

/// Callers that publish in turn, everything delivered to two subscribers; every third publish waited for its serial.
fn good() -> Evidence {
    let mut evidence = Evidence::default();
    let name = |caller| format!("caller {caller}");
    evidence.callers = (0..CALLERS).map(|n| Caller { name: name(n), publishes: Vec::new() }).collect();
    for number in 0..EACH {
        for (at, caller) in evidence.callers.iter_mut().enumerate() {
            let channel = CHANNELS[(number as usize + at) % 2];
            let history = evidence.histories.entry(channel.to_owned()).or_default();
            let serial = history.len() as u64 + 1;
            let payload = format!("{at}-{number}");
            let id = format!("msg_{payload}");
            let known = (number % 3 == 0).then_some(serial);
            let answer = Some(Answer { id: id.clone(), serial: known });
            history.push(Delivered { serial, id, payload: payload.clone() });
            caller.publishes.push(Publish { channel: channel.to_owned(), payload, answer });
        }
    }
    for subscriber in ["ann", "bob"] {
        for (channel, history) in &evidence.histories {
            evidence.subscriptions.push(Subscription {
                subscriber: subscriber.to_owned(),
                channel: channel.clone(),
                delivered: history.clone(),
            });
        }
    }
    evidence
}

/// The violation in a good log after one change.
fn broken(change: impl FnOnce(&mut Evidence)) -> Violation {
    let mut evidence = good();
    change(&mut evidence);
    check(&evidence).expect_err("something is wrong in it")
}

#[test]
fn a_good_log_passes_and_is_counted() {
    let accepted = CALLERS * EACH as usize;
    assert_eq!(check(&good()), Ok(Figures { accepted, unanswered: 0, delivered: 2 * accepted }));
}

#[test]
fn a_publish_that_was_never_answered_may_be_stored_or_not() {
    let mut evidence = good();
    evidence.callers[0].publishes[7].answer = None;
    let never = Publish { channel: "chat".to_owned(), payload: "never".to_owned(), answer: None };
    evidence.callers[1].publishes.push(never);
    let figures = check(&evidence).expect("nothing is wrong");
    assert_eq!((figures.accepted, figures.unanswered), (CALLERS * EACH as usize - 1, 1));
}

#[test]
fn one_message_lost_to_one_subscriber_is_found() {
    let violation = broken(|evidence| drop(evidence.subscriptions[1].delivered.remove(20)));
    assert_eq!(violation, Violation::Lost("serial 22 of news to ann came, and serial 21 never did".to_owned()));
    let violation = broken(|evidence| drop(evidence.subscriptions[3].delivered.pop()));
    assert_eq!(violation, Violation::Lost("serials 60 to 60 of news never reached bob".to_owned()));
}

#[test]
fn one_accepted_message_that_is_nowhere_is_found() {
    let violation = broken(|evidence| {
        let answer = Some(Answer { id: "msg_gone".to_owned(), serial: None });
        let publish = Publish { channel: "chat".to_owned(), payload: "gone".to_owned(), answer };
        evidence.callers[2].publishes.push(publish);
    });
    let what = "`gone` of caller 2 to chat was accepted as msg_gone and is not in history";
    assert_eq!(violation, Violation::Lost(what.to_owned()));
}

#[test]
fn a_hole_in_history_is_found() {
    let violation = broken(|evidence| {
        evidence.histories.get_mut("chat").expect("it is there").remove(10);
    });
    assert!(matches!(&violation, Violation::Lost(what) if what.starts_with("serial 12 of chat")), "{violation}");
}

#[test]
fn one_message_doubled_is_found() {
    let violation = broken(|evidence| {
        let delivered = &mut evidence.subscriptions[0].delivered;
        delivered.insert(9, delivered[8].clone());
    });
    let what = "serial 9 of chat to ann came again where serial 10 should";
    assert_eq!(violation, Violation::Doubled(what.to_owned()));
    // Stored twice, under two serials, and delivered so.
    let violation = broken(|evidence| {
        let again = |items: &mut Vec<Delivered>| {
            let copy = Delivered { serial: items.len() as u64 + 1, ..items[4].clone() };
            items.push(copy);
        };
        again(evidence.histories.get_mut("chat").expect("it is there"));
        for subscription in evidence.subscriptions.iter_mut().filter(|one| one.channel == "chat") {
            again(&mut subscription.delivered);
        }
    });
    assert!(matches!(&violation, Violation::Doubled(what) if what.contains("at serial 5 too")), "{violation}");
}

#[test]
fn two_messages_swapped_are_found() {
    let violation = broken(|evidence| evidence.subscriptions[2].delivered.swap(30, 31));
    assert_eq!(violation, Violation::Reordered("serial 32 of chat to bob came before serial 31".to_owned()));
}

#[test]
fn a_message_that_nobody_sent_is_found() {
    let invented = |serial| Delivered { serial, id: "msg_x".to_owned(), payload: "x".to_owned() };
    let violation = broken(|evidence| evidence.subscriptions[0].delivered[3] = invented(4));
    assert_eq!(violation, Violation::Invented("serial 4 of chat to ann: `x`".to_owned()));
    let violation = broken(|evidence| evidence.histories.get_mut("news").expect("it is there").push(invented(61)));
    assert_eq!(violation, Violation::Invented("serial 61 of news in history: `x`".to_owned()));
}

#[test]
fn one_callers_order_broken_is_found() {
    // Everything agrees that the two have each other's place; only the caller knows better.
    let violation = broken(|evidence| {
        let callers = &mut evidence.callers;
        callers[1].publishes.swap(10, 12);
    });
    assert!(matches!(&violation, Violation::CallerOrder(what) if what.contains("caller 1")), "{violation}");
}

#[test]
fn a_history_that_differs_from_what_was_delivered_or_answered_is_found() {
    let violation = broken(|evidence| {
        let history = evidence.histories.get_mut("chat").expect("it is there");
        history.pop();
        evidence.callers.iter_mut().for_each(|caller| caller.publishes.iter_mut().for_each(|one| one.answer = None));
    });
    assert!(matches!(&violation, Violation::Differs(what) if what.contains("history holds None")), "{violation}");
    let violation = broken(|evidence| evidence.subscriptions[0].delivered[0].payload = "1-1".to_owned());
    assert!(matches!(&violation, Violation::Differs(what) if what.contains("serial 1 of chat to ann")), "{violation}");
    let violation = broken(|evidence| {
        evidence.callers[0].publishes[0].answer = Some(Answer { id: "msg_0-0".to_owned(), serial: Some(2) });
    });
    assert!(matches!(&violation, Violation::Differs(what) if what.contains("was answered")), "{violation}");
}
