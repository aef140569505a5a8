//! Sweeping.

use std::time::Duration;

use fanfare_domain::{Timestamp, apps::Apps, history::MessageLog};
use fanfare_protocol::{Serial, requests::Range};

use super::{Log, a_day, append_one, page, seen_at, serials};
use crate::stores::{
    engines,
    samples::{DAY_S, HOUR_S, NOW, channel, kept_for, message, new_app},
};

fn in_days(days: u64) -> Timestamp {
    NOW.after(Duration::from_secs(days * DAY_S))
}

/// Sweeps until nothing is left to do, and tells how much every slice removed.
async fn sweep_all(log: &impl Log, now: Timestamp, limit: u32) -> Vec<usize> {
    let mut slices = Vec::new();
    loop {
        match log.sweep(now, limit).await.unwrap() {
            0 => return slices,
            count => slices.push(count),
        }
    }
}

pub async fn a_sweep_removes_what_is_over_and_nothing_else(log: &impl Log) {
    let app = new_app(log).await;
    let short: Vec<_> = (0..5).map(|_| kept_for(message(&app, "a", "0"), 60)).collect();
    log.append(None, &short).await.unwrap();
    append_one(log, kept_for(message(&app, "b", "0"), 3 * DAY_S)).await;
    assert_eq!(log.sweep(in_days(1), 10).await.unwrap(), 0, "keys must be remembered for a day");
    assert_ne!(sweep_all(log, in_days(2), 2).await, [0; 0]);
    let forever = seen_at(in_days(2), 100 * DAY_S);
    let swept = page(log, &app, "a", Range::After(Serial(0)), 10, forever).await;
    assert_eq!((swept.floor, swept.items.len(), swept.more), (Serial(5), 0, false));
    assert_eq!(serials(&page(log, &app, "b", Range::Newest, 10, forever).await), [1]);
}

#[tokio::test]
async fn sqlite_removes_in_slices() {
    let engine = engines::sqlite().await;
    let app = new_app(&engine.store).await;
    let short: Vec<_> = (0..5).map(|_| kept_for(message(&app, "a", "0"), 60)).collect();
    engine.store.append(None, &short).await.unwrap();
    assert_eq!(sweep_all(&engine.store, in_days(2), 2).await, [2, 2, 1]);
}

pub async fn heads_outlive_their_messages(log: &impl Log) {
    let app = new_app(log).await;
    log.append(None, &[message(&app, "a", "1"), message(&app, "a", "2")]).await.unwrap();
    sweep_all(log, in_days(30), 10).await;
    let head = log.head(&app.id, &channel("a")).await.unwrap().unwrap();
    assert_eq!((head.epoch, head.serial), (app.epoch.clone(), Serial(2)));
    assert_eq!(append_one(log, message(&app, "a", "3")).await, 3);
}

pub async fn a_hole_is_never_shown(log: &impl Log) {
    let app = new_app(log).await;
    for life_s in [9 * DAY_S, HOUR_S, 9 * DAY_S, 9 * DAY_S] {
        append_one(log, kept_for(message(&app, "a", "0"), life_s)).await;
    }
    assert_eq!(sweep_all(log, in_days(2), 10).await, [1]);
    let page = page(log, &app, "a", Range::After(Serial(0)), 10, seen_at(in_days(2), 9 * DAY_S)).await;
    assert_eq!((page.floor, serials(&page)), (Serial(2), vec![3, 4]));
}

pub async fn holes_are_passed_over_page_by_page(log: &impl Log) {
    let app = new_app(log).await;
    // 1 2 . . . 6 . 8 9
    for life_s in [9, 9, 0, 0, 0, 9, 0, 9, 9].map(|days| days * DAY_S) {
        append_one(log, kept_for(message(&app, "a", "0"), life_s)).await;
    }
    sweep_all(log, in_days(2), 10).await;
    let read = async |range, limit| {
        let page = page(log, &app, "a", range, limit, seen_at(in_days(2), 9 * DAY_S)).await;
        (page.floor.0, serials(&page), page.more)
    };
    assert_eq!(read(Range::After(Serial(0)), 2).await, (0, vec![1, 2], true), "nothing above was looked at");
    assert_eq!(read(Range::After(Serial(2)), 2).await, (7, vec![8, 9], false));
    assert_eq!(read(Range::After(Serial(2)), 1).await, (5, vec![6], true));
    assert_eq!(read(Range::After(Serial(0)), 9).await, (7, vec![8, 9], false));
    assert_eq!(read(Range::Newest, 9).await, (7, vec![9, 8], false));
    assert_eq!(read(Range::Before(Serial(9)), 9).await, (7, vec![8], false));
    assert_eq!(read(Range::Before(Serial(5)), 9).await, (5, vec![], false));
    append_one(log, message(&app, "a", "0")).await;
    sweep_all(log, in_days(2), 10).await;
    assert_eq!(read(Range::Newest, 9).await, (10, vec![], false), "the last one is gone");
}

pub async fn a_removed_app_is_unreadable_at_once_and_swept_in_slices(log: &impl Log) {
    let (app, other) = (new_app(log).await, new_app(log).await);
    let batch: Vec<_> = (0..3).map(|_| message(&app, "a", "0")).collect();
    log.append(None, &batch).await.unwrap();
    append_one(log, message(&other, "a", "0")).await;
    assert!(Apps::remove(log, &app.tenant, &app.id).await.unwrap());
    assert!(log.read(&app.id, &channel("a"), Range::Newest, 10, a_day()).await.unwrap().is_none());
    assert_eq!(log.head(&app.id, &channel("a")).await.unwrap(), None);
    assert_eq!(sweep_all(log, NOW, 2).await, [2, 2, 1], "three messages, the channel, and the note");
    assert_eq!(serials(&page(log, &other, "a", Range::Newest, 10, a_day()).await), [1]);
}
