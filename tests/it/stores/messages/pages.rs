//! Reading.

use std::time::Duration;

use fanfare_domain::{
    apps::App,
    history::{Head, MessageLog, PAGE_BYTES, Visible},
    ids::AppId,
    rules::Retention,
};
use fanfare_protocol::{Serial, requests::Range};

use super::{Log, a_day, append_one, page, seen_at, serials};
use crate::stores::samples::{DAY_S, HOUR_S, NOW, at, channel, message, new_app};

pub async fn a_channel_without_messages_stands_at_its_apps_epoch(log: &impl Log) {
    let app = new_app(log).await;
    let head = log.head(&app.id, &channel("a")).await.unwrap().unwrap();
    assert_eq!((&head.epoch, head.serial), (&app.epoch, Serial(0)));
    for range in [Range::Newest, Range::After(Serial(0)), Range::After(Serial(9)), Range::Before(Serial(0))] {
        let page = page(log, &app, "a", range, 10, a_day()).await;
        assert_eq!((page.head.clone(), page.floor, page.items.len(), page.more), (head.clone(), Serial(0), 0, false));
    }
}

pub async fn heads_come_in_the_order_asked_for(log: &impl Log) {
    let (app, other) = (new_app(log).await, new_app(log).await);
    let batch = [message(&app, "a", "1"), message(&app, "a", "2"), message(&other, "b", "1")];
    log.append(None, &batch).await.unwrap();
    let gone = AppId::generate();
    let asked = [(&other.id, "b"), (&gone, "a"), (&app.id, "b"), (&app.id, "a"), (&other.id, "b")]
        .map(|(app, name)| (app.clone(), channel(name)));
    let heads = log.heads(&asked).await.unwrap();
    let head = |app: &App, serial| Some(Head { epoch: app.epoch.clone(), serial: Serial(serial) });
    assert_eq!(heads, [head(&other, 1), None, head(&app, 0), head(&app, 2), head(&other, 1)]);
    assert_eq!(log.heads(&[]).await.unwrap(), []);
}

pub async fn pages_ascend_after_a_serial(log: &impl Log) {
    let app = new_app(log).await;
    let batch: Vec<_> = (1..=5).map(|number| message(&app, "a", &number.to_string())).collect();
    log.append(None, &batch).await.unwrap();
    let read = async |after, limit| {
        let page = page(log, &app, "a", Range::After(Serial(after)), limit, a_day()).await;
        (serials(&page), page.more)
    };
    assert_eq!(read(0, 2).await, (vec![1, 2], true));
    assert_eq!(read(2, 2).await, (vec![3, 4], true));
    assert_eq!(read(4, 2).await, (vec![5], false));
    assert_eq!(read(3, 2).await, (vec![4, 5], false));
    assert_eq!(read(5, 2).await, (vec![], false));
    assert_eq!(read(u64::MAX, 2).await, (vec![], false));
}

pub async fn pages_descend_from_a_serial_and_from_the_head(log: &impl Log) {
    let app = new_app(log).await;
    let batch: Vec<_> = (1..=5).map(|number| message(&app, "a", &number.to_string())).collect();
    log.append(None, &batch).await.unwrap();
    let read = async |range, limit| {
        let page = page(log, &app, "a", range, limit, a_day()).await;
        (serials(&page), page.more)
    };
    assert_eq!(read(Range::Newest, 2).await, (vec![5, 4], true));
    assert_eq!(read(Range::Before(Serial(4)), 2).await, (vec![3, 2], true));
    assert_eq!(read(Range::Before(Serial(2)), 2).await, (vec![1], false));
    assert_eq!(read(Range::Before(Serial(3)), 2).await, (vec![2, 1], false));
    assert_eq!(read(Range::Before(Serial(1)), 2).await, (vec![], false));
    assert_eq!(read(Range::Before(Serial(99)), 10).await, (vec![5, 4, 3, 2, 1], false));
}

pub async fn a_page_ends_at_its_bytes(log: &impl Log) {
    let app = new_app(log).await;
    let quarter = format!("\"{}\"", "x".repeat(PAGE_BYTES / 4 - 2));
    let batch: Vec<_> = (0..6).map(|_| message(&app, "a", &quarter)).collect();
    log.append(None, &batch).await.unwrap();
    let up = page(log, &app, "a", Range::After(Serial(0)), 100, a_day()).await;
    assert_eq!((serials(&up), up.more), (vec![1, 2, 3, 4], true));
    let rest = page(log, &app, "a", Range::After(Serial(4)), 100, a_day()).await;
    assert_eq!((serials(&rest), rest.more), (vec![5, 6], false));
    let down = page(log, &app, "a", Range::Newest, 100, a_day()).await;
    assert_eq!((serials(&down), down.more), (vec![6, 5, 4, 3], true));
}

pub async fn a_message_larger_than_a_page_comes_alone(log: &impl Log) {
    let app = new_app(log).await;
    let large = format!("\"{}\"", "x".repeat(PAGE_BYTES));
    log.append(None, &[message(&app, "a", &large), message(&app, "a", "2")]).await.unwrap();
    let page = page(log, &app, "a", Range::After(Serial(0)), 100, a_day()).await;
    assert_eq!((serials(&page), page.more), (vec![1], true));
}

pub async fn retention_hides_what_is_older(log: &impl Log) {
    let app = new_app(log).await;
    for hour in 0..4 {
        append_one(log, at(message(&app, "a", "0"), NOW.after(Duration::from_secs(hour * HOUR_S)))).await;
    }
    let now = NOW.after(Duration::from_secs(4 * HOUR_S));
    let read = async |retention_s, range| {
        let page = page(log, &app, "a", range, 10, seen_at(now, retention_s)).await;
        (page.floor.0, serials(&page), page.more)
    };
    assert_eq!(read(DAY_S, Range::After(Serial(0))).await, (0, vec![1, 2, 3, 4], false));
    assert_eq!(read(2 * HOUR_S, Range::After(Serial(0))).await, (2, vec![3, 4], false));
    assert_eq!(read(2 * HOUR_S, Range::Newest).await, (2, vec![4, 3], false));
    assert_eq!(read(2 * HOUR_S, Range::Before(Serial(3))).await, (2, vec![], false));
    assert_eq!(read(60, Range::After(Serial(0))).await, (4, vec![], false), "nothing is visible above the head");
}

pub async fn only_the_last_messages_are_shown(log: &impl Log) {
    let app = new_app(log).await;
    let batch: Vec<_> = (1..=5).map(|number| message(&app, "a", &number.to_string())).collect();
    log.append(None, &batch).await.unwrap();
    let read = async |most| {
        let retention = Retention { retention_s: DAY_S, max_messages: Some(most) };
        let page = page(log, &app, "a", Range::After(Serial(0)), 10, Visible { retention, now: NOW }).await;
        (page.floor.0, serials(&page))
    };
    assert_eq!(read(2).await, (3, vec![4, 5]));
    assert_eq!(read(99).await, (0, vec![1, 2, 3, 4, 5]));
    assert_eq!(read(0).await, (5, vec![]));
}

pub async fn a_message_is_found_by_its_id_with_the_floor_of_what_is_visible(log: &impl Log) {
    let (app, other) = (new_app(log).await, new_app(log).await);
    let batch: Vec<_> = (1..=4).map(|number| message(&app, "a", &number.to_string())).collect();
    log.append(None, &batch).await.unwrap();
    let newest_two = Visible { retention: Retention { retention_s: DAY_S, max_messages: Some(2) }, now: NOW };
    let find = async |app: &App, name: &str, at: usize, visible| {
        let found = MessageLog::find(log, &app.id, &channel(name), &batch[at].message.id, visible).await.unwrap();
        found.map(|found| (found.epoch == app.epoch, found.serial.0, found.floor.0, found.time))
    };
    assert_eq!(find(&app, "a", 2, a_day()).await, Some((true, 3, 0, NOW)));
    assert_eq!(find(&app, "a", 2, newest_two).await, Some((true, 3, 2, NOW)));
    assert_eq!(find(&app, "a", 0, newest_two).await, Some((true, 1, 2, NOW)), "there, and not visible");
    assert_eq!(find(&app, "b", 2, a_day()).await, None);
    assert_eq!(find(&other, "a", 2, a_day()).await, None);
}
