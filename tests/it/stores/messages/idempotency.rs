//! One publish takes one serial, however often it is repeated.

use std::time::Duration;

use fanfare_domain::{
    apps::App,
    history::Appended,
    publishing::{Accepted, IDEMPOTENCY_WINDOW},
};
use fanfare_protocol::{Serial, requests::Range};

use super::{Log, a_day, append_one, page, serials};
use crate::stores::samples::{NOW, at, channel, keyed, message, new_app};

fn repeated(app: &App, serial: u64) -> Appended {
    Appended::Repeated { epoch: app.epoch.clone(), serial: Serial(serial), time: NOW }
}

pub async fn a_repeated_key_has_the_first_place(log: &impl Log) {
    let app = new_app(log).await;
    append_one(log, message(&app, "a", "0")).await;
    assert_eq!(append_one(log, keyed(&app, "a", 1, 1)).await, 2);
    append_one(log, message(&app, "a", "2")).await;
    let later = at(keyed(&app, "a", 1, 1), NOW.after(Duration::from_secs(3_600)));
    assert_eq!(log.append(None, &[later]).await.unwrap(), [repeated(&app, 2)]);
    assert_eq!(log.head(&app.id, &channel("a")).await.unwrap().unwrap().serial, Serial(3));
}

pub async fn a_key_repeated_within_a_batch_has_the_first_place(log: &impl Log) {
    let app = new_app(log).await;
    let batch = [keyed(&app, "a", 1, 1), message(&app, "a", "0"), keyed(&app, "a", 1, 1), keyed(&app, "a", 1, 9)];
    let outcomes = log.append(None, &batch).await.unwrap();
    assert!(matches!(outcomes[0], Appended::Stored { serial: Serial(1), .. }));
    assert!(matches!(outcomes[1], Appended::Stored { serial: Serial(2), .. }));
    assert_eq!(outcomes[2..], [repeated(&app, 1), Appended::Conflict]);
}

pub async fn another_message_under_a_key_takes_no_serial(log: &impl Log) {
    let app = new_app(log).await;
    append_one(log, keyed(&app, "a", 1, 1)).await;
    assert_eq!(log.append(None, &[keyed(&app, "a", 1, 2)]).await.unwrap(), [Appended::Conflict]);
    assert_eq!(append_one(log, message(&app, "a", "2")).await, 2);
    let page = page(log, &app, "a", Range::After(Serial(0)), 10, a_day()).await;
    assert_eq!(serials(&page), [1, 2]);
    assert_eq!(page.items[0].1.data.get(), "1");
}

pub async fn a_key_is_free_again_after_its_window(log: &impl Log) {
    let app = new_app(log).await;
    append_one(log, keyed(&app, "a", 1, 1)).await;
    let end = NOW.after(IDEMPOTENCY_WINDOW);
    assert_eq!(log.append(None, &[at(keyed(&app, "a", 1, 2), end)]).await.unwrap(), [Appended::Conflict]);
    let past = end.after(Duration::from_millis(1));
    assert_eq!(append_one(log, at(keyed(&app, "a", 1, 2), past)).await, 2);
    let again = [at(keyed(&app, "a", 1, 2), past), at(keyed(&app, "a", 1, 1), past)];
    let latest = Appended::Repeated { epoch: app.epoch.clone(), serial: Serial(2), time: past };
    assert_eq!(log.append(None, &again).await.unwrap(), [latest, Appended::Conflict], "the latest place counts");
}

pub async fn a_key_belongs_to_its_channel_and_app(log: &impl Log) {
    let (app, other) = (new_app(log).await, new_app(log).await);
    for accepted in [keyed(&app, "a", 1, 1), keyed(&app, "b", 1, 2), keyed(&other, "a", 1, 3)] {
        assert_eq!(append_one(log, accepted).await, 1);
    }
    let outcomes = log.append(None, &[keyed(&app, "b", 1, 2), keyed(&other, "a", 1, 1)]).await.unwrap();
    assert_eq!(outcomes, [repeated(&app, 1), Appended::Conflict]);
}

fn redelivered(mut accepted: Accepted) -> Accepted {
    accepted.redelivered = true;
    accepted
}

pub async fn a_redelivered_message_without_a_key_has_its_first_place(log: &impl Log) {
    let app = new_app(log).await;
    let (first, second) = (message(&app, "a", "1"), message(&app, "a", "2"));
    log.append(None, &[first.clone(), second.clone()]).await.unwrap();
    let third = redelivered(message(&app, "a", "3"));
    let again = [redelivered(second), third.clone(), redelivered(first.clone()), third, redelivered(first)];
    let outcomes = log.append(None, &again).await.unwrap();
    let stored = Appended::Stored { epoch: app.epoch.clone(), serial: Serial(3), time: NOW };
    assert_eq!(outcomes, [repeated(&app, 2), stored, repeated(&app, 1), repeated(&app, 3), repeated(&app, 1)]);
}

pub async fn a_redelivered_message_with_a_key_has_its_first_place(log: &impl Log) {
    let app = new_app(log).await;
    let late = NOW.after(Duration::from_secs(60));
    append_one(log, at(message(&app, "a", "0"), late)).await;
    append_one(log, keyed(&app, "a", 1, 1)).await;
    let again = [redelivered(keyed(&app, "a", 1, 1)), redelivered(keyed(&app, "a", 1, 2))];
    let first = Appended::Repeated { epoch: app.epoch.clone(), serial: Serial(2), time: late };
    assert_eq!(log.append(None, &again).await.unwrap(), [first, Appended::Conflict]);
}

pub async fn repeats_at_the_same_time_take_one_serial(log: &impl Log) {
    let app = new_app(log).await;
    for (name, accepted) in [("a", keyed(&app, "a", 1, 1)), ("b", redelivered(message(&app, "b", "1")))] {
        let racers: Vec<_> = (0..8)
            .map(|_| {
                let (log, accepted) = (log.clone(), accepted.clone());
                tokio::spawn(async move { log.append(None, &[accepted]).await.unwrap().remove(0) })
            })
            .collect();
        let mut stored = 0;
        for racer in racers {
            match racer.await.unwrap() {
                Appended::Stored { serial: Serial(1), .. } => stored += 1,
                other => assert_eq!(other, repeated(&app, 1), "{name}"),
            }
        }
        assert_eq!(stored, 1, "{name}");
    }
}
