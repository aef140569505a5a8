//! The contract of `Occupancy`.

use fanfare_domain::{
    ids::AppId,
    occupancy::{Listed, Occupancy, Wanted},
};
use fanfare_protocol::ChannelName;

use crate::harness::waiting::until;

mod shared;

fn channel(name: &str) -> ChannelName {
    ChannelName::parse(name).unwrap()
}

async fn subscribers(occupancy: &dyn Occupancy, app: &AppId, name: &str) -> u64 {
    occupancy.subscribers(&[(app.clone(), channel(name))]).await.unwrap()[0]
}

/// Waits until a channel has so many subscriptions.
async fn until_there_are(occupancy: &dyn Occupancy, app: &AppId, name: &str, count: u64) {
    until("the count is told", async || (subscribers(occupancy, app, name).await == count).then_some(())).await;
}

fn names(listed: &Listed) -> Vec<&str> {
    listed.channels.iter().map(|(channel, _)| channel.as_str()).collect()
}

/// The whole list, page by page.
async fn list_all(occupancy: &dyn Occupancy, app: &AppId, prefix: &str, limit: usize) -> Vec<(String, u64)> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = occupancy.list(app, &Wanted { prefix: prefix.to_owned(), after, limit }).await.unwrap();
        assert!(page.channels.len() <= limit, "{page:?}");
        all.extend(page.channels.into_iter().map(|(channel, count)| (channel.to_string(), count)));
        after = page.next;
        if after.is_none() {
            return all;
        }
    }
}

async fn subscriptions_are_counted_by_app_and_channel(occupancy: &dyn Occupancy) {
    let (app, other) = (AppId::generate(), AppId::generate());
    occupancy.enter(&app, &channel("room"));
    occupancy.enter(&app, &channel("room"));
    occupancy.enter(&app, &channel("hall"));
    occupancy.enter(&other, &channel("room"));
    until_there_are(occupancy, &app, "room", 2).await;
    until_there_are(occupancy, &other, "room", 1).await;
    let asked = [(&app, "hall"), (&app, "attic"), (&other, "room"), (&other, "hall"), (&app, "room")];
    let places: Vec<_> = asked.iter().map(|(app, name)| ((*app).clone(), channel(name))).collect();
    assert_eq!(occupancy.subscribers(&places).await.unwrap(), [1, 0, 1, 0, 2]);
    assert!(occupancy.subscribers(&[]).await.unwrap().is_empty());
    occupancy.leave(&app, &channel("room"));
    until_there_are(occupancy, &app, "room", 1).await;
    occupancy.leave(&app, &channel("room"));
    until_there_are(occupancy, &app, "room", 0).await;
    assert_eq!(subscribers(occupancy, &other, "room").await, 1);
}

async fn occupied_channels_are_listed_in_order_and_those_that_were_left_are_not(occupancy: &dyn Occupancy) {
    let (app, other) = (AppId::generate(), AppId::generate());
    for name in ["b", "chat:2", "chat:10", "a", "chat:1", "chat", "z", "chats"] {
        occupancy.enter(&app, &channel(name));
    }
    occupancy.enter(&app, &channel("b"));
    occupancy.enter(&other, &channel("chat:3"));
    until_there_are(occupancy, &other, "chat:3", 1).await;
    let all = [("a", 1), ("b", 2), ("chat", 1), ("chat:1", 1), ("chat:10", 1), ("chat:2", 1), ("chats", 1), ("z", 1)];
    let all: Vec<_> = all.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
    for limit in [1, 3, 8, 100] {
        assert_eq!(list_all(occupancy, &app, "", limit).await, all, "{limit} a page");
        assert_eq!(list_all(occupancy, &app, "chat:", limit).await, all[3..6], "{limit} a page");
    }
    assert_eq!(list_all(occupancy, &app, "none", 10).await, []);
    let wanted = |after: &str| Wanted { prefix: "chat:".to_owned(), after: Some(after.to_owned()), limit: 2 };
    assert_eq!(names(&occupancy.list(&app, &wanted("chat:1")).await.unwrap()), ["chat:10", "chat:2"]);
    assert_eq!(names(&occupancy.list(&app, &wanted("a")).await.unwrap()), ["chat:1", "chat:10"]);
    assert_eq!(names(&occupancy.list(&app, &wanted("z")).await.unwrap()), Vec::<&str>::new());
    for name in ["chat:10", "a"] {
        occupancy.leave(&app, &channel(name));
        until_there_are(occupancy, &app, name, 0).await;
    }
    occupancy.leave(&app, &channel("b"));
    until_there_are(occupancy, &app, "b", 1).await;
    let left = list_all(occupancy, &app, "", 100).await;
    assert_eq!(left.len(), 6);
    assert_eq!(left[0], ("b".to_owned(), 1));
}

async fn a_large_app_is_listed_whole(occupancy: &dyn Occupancy) {
    let app = AppId::generate();
    let name = |n: usize| format!("many:{n:04}");
    (0..900).for_each(|n| occupancy.enter(&app, &channel(&name(n))));
    (0..900).filter(|n| n % 3 == 0).for_each(|n| occupancy.leave(&app, &channel(&name(n))));
    let expected: Vec<_> = (0..900).filter(|n| n % 3 != 0).map(|n| (name(n), 1)).collect();
    until("all is told", async || (list_all(occupancy, &app, "many:", 70).await == expected).then_some(())).await;
}

hold_a_node_to! {
    fanfare_infra::memory::MemoryOccupancy::default();
    subscriptions_are_counted_by_app_and_channel
    occupied_channels_are_listed_in_order_and_those_that_were_left_are_not
    a_large_app_is_listed_whole
}
