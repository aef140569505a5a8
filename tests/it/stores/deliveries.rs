//! The contract of `DeliveryTrace`.

use std::time::Duration;

use fanfare_domain::{
    Timestamp,
    deliveries::{
        Beginning, COURSES_OF_APP, COURSES_OF_CLIENT, DeliveryTrace, End, KEPT, Kept, Ledger, Memory, Place, Publish,
    },
    ids::{AppId, ConnectionId, MessageId},
};
use fanfare_protocol::{ClientName, Epoch, Serial};

use super::samples::{NOW, channel};

mod shared;

fn place(app: &AppId, name: &str, client: &str) -> Place {
    Place { app: app.clone(), channel: channel(name), client: ClientName::parse(client).unwrap() }
}

fn beginning(place: &Place, from: u64) -> Beginning {
    Beginning {
        place: place.clone(),
        connection: ConnectionId::generate(),
        transport: "websocket",
        epoch: Epoch::new("e"),
        from: Serial(from),
        is_late: false,
    }
}

fn later(seconds: u64) -> Timestamp {
    NOW.after(Duration::from_secs(seconds))
}

/// Tells everything that a ledger has.
async fn tell(trace: &dyn DeliveryTrace, ledger: &Ledger, now: Timestamp) {
    let lot = ledger.take_urgent(usize::MAX, now);
    assert_eq!(trace.write(&lot, now).await, Ok(Memory::Whole));
    ledger.settle(lot);
}

async fn read(trace: &dyn DeliveryTrace, place: &Place) -> Kept {
    trace.read(place, &MessageId::parse("msg_none").unwrap(), later(900)).await.unwrap()
}

async fn what_is_told_is_read_back_and_replaced_by_what_is_told_later(trace: &dyn DeliveryTrace) {
    let (app, ledger) = (AppId::generate(), Ledger::default());
    // A client's name may hold anything but control characters.
    let (ann, other) = (place(&app, "chat:1", "ann {x} é 1"), place(&app, "chat:2", "ann {x} é 1"));
    trace.begin(&app, NOW).await.unwrap();
    let receipts = ledger.begin(beginning(&ann, 3), NOW);
    tell(trace, &ledger, NOW).await;
    let kept = read(trace, &ann).await;
    let (course, is_alive) = &kept.courses[0];
    assert_eq!((course.from, course.queued, *is_alive, &course.end), (Serial(3), Serial(3), true, &None));
    assert_eq!((kept.reaches_back_to, kept.publish), (NOW, None));
    receipts.queued(Serial(9), None);
    receipts.written(Serial(8));
    receipts.end(End::LEFT, later(1));
    let _second = ledger.begin(beginning(&ann, 9), later(2));
    ledger.refuse(other.clone(), ConnectionId::generate(), "sse", "forbidden", later(2));
    tell(trace, &ledger, later(2)).await;
    let kept = read(trace, &ann).await;
    assert_eq!(kept.courses.len(), 2);
    let (course, _) = &kept.courses[0];
    assert_eq!((course.queued, course.written), (Serial(9), Serial(8)));
    assert_eq!(course.end.as_ref().map(|end| end.reason.as_str()), Some(End::LEFT));
    assert_eq!((kept.courses[1].0.from, &kept.courses[1].0.end), (Serial(9), &None));
    let refused = read(trace, &other).await;
    assert!(refused.courses.len() == 1 && refused.courses[0].0.end.as_ref().is_some_and(|end| end.is_refusal));
    for nobody in [place(&app, "chat:1", "bob"), place(&AppId::generate(), "chat:1", "ann {x} é 1")] {
        assert!(read(trace, &nobody).await.courses.is_empty());
    }
    trace.forget(&app).await.unwrap();
    assert!(read(trace, &ann).await.courses.is_empty());
    trace.begin(&app, later(5)).await.unwrap();
    assert_eq!(read(trace, &ann).await.reaches_back_to, later(5));
}

async fn of_one_client_the_oldest_courses_go_first_and_that_is_noted_for_it_alone(trace: &dyn DeliveryTrace) {
    let (app, ledger) = (AppId::generate(), Ledger::default());
    let (ann, bob) = (place(&app, "chat", "ann"), place(&app, "chat", "bob"));
    trace.begin(&app, NOW).await.unwrap();
    drop(ledger.begin(beginning(&bob, 0), NOW));
    for second in 1..=COURSES_OF_CLIENT as u64 + 3 {
        drop(ledger.begin(beginning(&ann, second), later(second)));
        tell(trace, &ledger, later(second)).await;
    }
    let kept = read(trace, &ann).await;
    assert_eq!((kept.courses.len(), kept.courses[0].0.from), (COURSES_OF_CLIENT, Serial(4)));
    assert_eq!(kept.reaches_back_to, later(3));
    let kept = read(trace, &bob).await;
    assert_eq!((kept.courses.len(), kept.reaches_back_to), (1, NOW));
}

async fn of_an_app_the_oldest_courses_go_first(trace: &dyn DeliveryTrace) {
    let (app, other, ledger) = (AppId::generate(), AppId::generate(), Ledger::default());
    for app in [&app, &other] {
        trace.begin(app, NOW).await.unwrap();
    }
    let first = place(&app, "chat", "first");
    drop(ledger.begin(beginning(&first, 0), later(1)));
    drop(ledger.begin(beginning(&place(&other, "chat", "first"), 0), later(1)));
    tell(trace, &ledger, later(1)).await;
    for n in 0..COURSES_OF_APP {
        let client = place(&app, "chat", &format!("client-{}", n / 50));
        drop(ledger.begin(beginning(&client, n as u64), later(2)));
    }
    tell(trace, &ledger, later(2)).await;
    let kept = read(trace, &first).await;
    assert_eq!((kept.courses.len(), kept.reaches_back_to), (0, later(1)));
    let kept = read(trace, &place(&app, "chat", "client-7")).await;
    assert_eq!((kept.courses.len(), kept.reaches_back_to), (50, later(1)));
    let kept = read(trace, &place(&other, "chat", "first")).await;
    assert_eq!((kept.courses.len(), kept.reaches_back_to), (1, NOW));
}

async fn what_is_old_goes(trace: &dyn DeliveryTrace) {
    let (app, ledger) = (AppId::generate(), Ledger::default());
    let (old, young) = (place(&app, "chat", "old"), place(&app, "chat", "young"));
    trace.begin(&app, NOW).await.unwrap();
    drop(ledger.begin(beginning(&old, 0), NOW));
    tell(trace, &ledger, NOW).await;
    let then = NOW.after(KEPT).after(Duration::from_secs(1));
    drop(ledger.begin(beginning(&young, 0), then));
    tell(trace, &ledger, then).await;
    assert_eq!((read(trace, &old).await.courses.len(), read(trace, &young).await.courses.len()), (0, 1));
    assert_eq!(read(trace, &young).await.reaches_back_to, NOW);
}

async fn publishes_are_remembered_by_channel_and_kind(trace: &dyn DeliveryTrace) {
    let (app, ledger) = (AppId::generate(), Ledger::default());
    let publish = |name: &str, message: &str, is_ephemeral| Publish {
        app: app.clone(),
        channel: channel(name),
        message: MessageId::parse(message).unwrap(),
        is_ephemeral,
    };
    ledger.publish([publish("a", "msg_1", false), publish("a", "msg_2", true), publish("b", "msg_3", false)]);
    tell(trace, &ledger, NOW).await;
    let known = async |app: &AppId, name: &str, message: &str| {
        let kept = trace.read(&place(app, name, "ann"), &MessageId::parse(message).unwrap(), NOW).await;
        kept.unwrap().publish
    };
    assert_eq!(known(&app, "a", "msg_1").await, Some(false));
    assert_eq!(known(&app, "a", "msg_2").await, Some(true));
    assert_eq!(known(&app, "a", "msg_3").await, None);
    assert_eq!(known(&app, "a", "msg_4").await, None);
    assert_eq!(known(&AppId::generate(), "a", "msg_1").await, None);
}

async fn what_a_node_has_not_told_yet_is_a_gap(trace: &dyn DeliveryTrace) {
    let (app, ledger) = (AppId::generate(), Ledger::default());
    let ann = place(&app, "chat", "ann");
    ledger.publish([]);
    tell(trace, &ledger, NOW).await;
    assert_eq!(read(trace, &ann).await.gaps, [], "a node without courses has none to tell");
    let _open = [ledger.begin(beginning(&ann, 0), NOW), ledger.begin(beginning(&ann, 0), NOW)];
    let lot = ledger.take_urgent(1, later(5));
    trace.write(&lot, later(5)).await.unwrap();
    ledger.settle(lot);
    let gap = async || match read(trace, &ann).await.gaps[..] {
        [(from, to)] if to > later(5) => from,
        ref other => panic!("{other:?}"),
    };
    assert_eq!(gap().await, NOW);
    tell(trace, &ledger, later(6)).await;
    assert_eq!(gap().await, later(6));
}

hold_a_node_to! {
    fanfare_infra::memory::MemoryTrace::new(super::NOW);
    what_is_told_is_read_back_and_replaced_by_what_is_told_later
    of_one_client_the_oldest_courses_go_first_and_that_is_noted_for_it_alone
    of_an_app_the_oldest_courses_go_first
    what_is_old_goes
    publishes_are_remembered_by_channel_and_kind
    what_a_node_has_not_told_yet_is_a_gap
}
