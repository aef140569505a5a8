//! What only presence on Redis promises: nodes that die, that are stopped, and a Redis that forgets.

use std::{collections::BTreeSet, time::Duration};

use fanfare_domain::ids::AppId;
use fanfare_infra::redis::PresenceTimes;

use crate::{
    harness::{proxy::Proxy, redis, waiting::until},
    stores::presence::{Side, connection, shown},
};

/// Short, so that the tests are.
fn times() -> PresenceTimes {
    PresenceTimes {
        lease: Duration::from_secs(3),
        round: Duration::from_millis(200),
        settling: Duration::from_secs(1),
        grace: Duration::from_secs(2),
    }
}

async fn hear(side: &mut Side, action: &str, count: usize) -> BTreeSet<String> {
    let mut clients = BTreeSet::new();
    for _ in 0..count {
        let event = side.any_event().await;
        assert_eq!(event.action.name(), action, "{event:?}");
        assert!(clients.insert(event.entry.client.to_string()), "twice: {event:?}");
    }
    clients
}

async fn enter_all(side: &Side, count: usize) {
    for number in 0..count {
        side.enter(&format!("client-{number:03}"), &connection(), "1").await.unwrap();
    }
}

#[tokio::test]
async fn the_members_of_a_node_that_dies_leave_once_but_for_those_who_are_elsewhere() {
    let (server, app) = (redis::server().await, AppId::generate());
    let dying = Side::on_redis(&server.url(), "a", times(), &app).await;
    let mut survivor = Side::on_redis(&server.url(), "b", times(), &app).await;
    let _other = Side::on_redis(&server.url(), "c", times(), &app).await;
    enter_all(&dying, 500).await;
    hear(&mut survivor, "enter", 500).await;
    for number in 0..50 {
        survivor.enter(&format!("client-{number:03}"), &connection(), "1").await.unwrap();
    }
    drop(dying);
    let gone = hear(&mut survivor, "leave", 450).await;
    assert!(gone.iter().all(|client| client.as_str() >= "client-050"), "{gone:?}");
    survivor.enter("last", &connection(), "1").await.unwrap();
    assert_eq!(shown(&survivor.any_event().await), "enter last 1");
    assert_eq!(survivor.members().await.len(), 51);
}

#[tokio::test]
async fn a_node_that_was_cut_off_for_long_neither_revives_nor_doubles_anybody() {
    let (server, app) = (redis::server().await, AppId::generate());
    let link = Proxy::start(server.port()).await;
    let url = format!("redis://127.0.0.1:{}", link.port());
    let cut_off = Side::on_redis(&url, "a", times(), &app).await;
    let mut survivor = Side::on_redis(&server.url(), "b", times(), &app).await;
    let (stays, goes) = (connection(), connection());
    cut_off.enter("stays", &stays, "1").await.unwrap();
    cut_off.enter("goes", &goes, "1").await.unwrap();
    hear(&mut survivor, "enter", 2).await;
    link.stall();
    hear(&mut survivor, "leave", 2).await;
    cut_off.presence.ended(&goes);
    survivor.enter("goes", &connection(), "2").await.unwrap();
    hear(&mut survivor, "enter", 1).await;
    link.restore();
    assert_eq!(shown(&survivor.any_event().await), "enter stays 1");
    until("the node is of use again", async || cut_off.enter("new", &connection(), "1").await.ok()).await;
    assert_eq!(shown(&survivor.any_event().await), "enter new 1");
    assert_eq!(survivor.members().await, ["goes", "new", "stays"]);
    drop(cut_off);
    assert_eq!(hear(&mut survivor, "leave", 2).await, ["new".to_owned(), "stays".to_owned()].into());
}

#[tokio::test]
async fn what_redis_forgets_is_named_again_without_a_word() {
    let (server, app) = (redis::server().await, AppId::generate());
    let times = PresenceTimes { settling: Duration::from_secs(6), ..times() };
    let one = Side::on_redis(&server.url(), "a", times, &app).await;
    let mut two = Side::on_redis(&server.url(), "b", times, &app).await;
    enter_all(&one, 40).await;
    two.enter("bob", &connection(), "1").await.unwrap();
    hear(&mut two, "enter", 41).await;
    assert_eq!(server.ask(&["flushall"]).await, "OK");
    // Until then nobody is told a part of them as everyone.
    let listed = until("all are named again", async || {
        let (page, snapshot) =
            (two.presence.page(&two.place, None, 1_000).await, two.presence.snapshot(&two.place).await.unwrap());
        assert!(!snapshot.is_whole || snapshot.members.len() == 41, "{snapshot:?}");
        // A count says what is known by now.
        assert!(two.presence.count(&two.place).await.unwrap() >= snapshot.members.len() as u64);
        page.ok().filter(|_| snapshot.is_whole)
    });
    assert_eq!(listed.await.count, 41);
    let last = connection();
    two.enter("last", &last, "1").await.unwrap();
    assert_eq!(shown(&two.any_event().await), "enter last 1");
    drop(one);
    hear(&mut two, "leave", 40).await;
    assert_eq!(two.members().await, ["bob", "last"]);
}

#[tokio::test]
async fn a_node_that_ends_in_good_order_leaves_its_members_the_grace_only() {
    let (server, app) = (redis::server().await, AppId::generate());
    let patient = PresenceTimes { lease: Duration::from_secs(60), settling: Duration::ZERO, ..times() };
    let ending = Side::on_redis(&server.url(), "a", patient, &app).await;
    let mut stays = Side::on_redis(&server.url(), "b", patient, &app).await;
    for client in ["ann", "bob"] {
        ending.enter(client, &connection(), "1").await.unwrap();
    }
    hear(&mut stays, "enter", 2).await;
    ending.presence.retire().await;
    drop(ending);
    stays.enter("ann", &connection(), "1").await.unwrap();
    assert_eq!(shown(&stays.any_event().await), "leave bob 1");
    assert_eq!(stays.members().await, ["ann"]);
}

#[tokio::test]
async fn on_a_cluster_every_channel_is_kept_where_its_slot_is() {
    let (cluster, app) = (redis::cluster().await, AppId::generate());
    let mut sides = Vec::new();
    for (number, name) in ["a", "b"].iter().enumerate() {
        let mut side = Side::on_redis(&cluster.url(), name, times(), &app).await;
        side.enter(&format!("here-{number}"), &connection(), "1").await.unwrap();
        for n in 0..20 {
            side.place.channel = fanfare_protocol::ChannelName::parse(&format!("c:{n}")).unwrap();
            side.enter(&format!("client-{number}"), &connection(), "1").await.unwrap();
        }
        sides.push(side);
    }
    assert_eq!(sides[0].members().await, ["client-0", "client-1"]);
    drop(sides.pop());
    let left = &sides[0];
    until("the other node's members have left", async || (left.members().await == ["client-0"]).then_some(())).await;
}
