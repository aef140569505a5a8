//! How often Redis is asked: a batch is one pipeline, only what is followed is subscribed to, and all heads are compared in one round trip.

use std::collections::HashMap;

use fanfare_domain::{bus::Heard, ids::AppId};

use crate::{
    harness::{
        redis::{self, Redis},
        waiting::until,
    },
    stores::{
        bus::{Ear, messages},
        redis::bus,
    },
};

/// Calls of each command since the counts began anew.
async fn calls(server: &Redis) -> HashMap<String, u64> {
    let told = server.ask(&["info", "commandstats"]).await;
    let lines = told.lines().filter_map(|line| line.trim().strip_prefix("cmdstat_")?.split_once(":calls="));
    lines.map(|(command, rest)| (command.to_owned(), rest.split(',').next().unwrap().parse().unwrap())).collect()
}

/// How often the server has read from its connections, of all that it was asked: many commands in one write are one read, or few.
async fn reads(server: &Redis) -> u64 {
    let told = server.ask(&["info", "stats"]).await;
    let count = told.lines().find_map(|line| line.trim().strip_prefix("total_reads_processed:"));
    count.unwrap().parse().unwrap()
}

/// What asking for the counts, and signs of life of the connections in a few seconds, read besides.
const BESIDES: u64 = 15;

#[tokio::test]
async fn a_batch_is_one_call_a_channel_and_all_of_them_one_pipeline() {
    let (server, app) = (redis::server().await, AppId::generate());
    let bus = bus(&server.url());
    // The script is loaded with the first batch.
    bus.send(messages(&app, "chat", 1..2)).await.unwrap();
    server.ask(&["config", "resetstat"]).await;
    bus.send(messages(&app, "chat", 2..52)).await.unwrap();
    let counted = calls(&server).await;
    assert_eq!(counted.get("evalsha"), Some(&1), "{counted:?}");
    assert!(!counted.contains_key("eval"), "{counted:?}");
    server.ask(&["config", "resetstat"]).await;
    let batch = (0..50).flat_map(|n| messages(&app, &format!("chat:{n}"), 1..2)).collect();
    bus.send(batch).await.unwrap();
    let (counted, read) = (calls(&server).await, reads(&server).await);
    assert_eq!(counted.get("evalsha"), Some(&50), "{counted:?}");
    assert!(read <= BESIDES, "{read} reads");
}

#[tokio::test]
async fn only_channels_that_somebody_follows_are_subscribed_to() {
    let (server, app) = (redis::server().await, AppId::generate());
    let bus = bus(&server.url());
    let name = format!("ff:c:{{{app}/chat}}");
    let subscribers = async || {
        let told = server.ask(&["pubsub", "numsub", &name]).await;
        told.lines().last().unwrap().parse::<u64>().unwrap()
    };
    let (one, two) = (Ear::on(&*bus, &app).await, Ear::on(&*bus, &app).await);
    assert_eq!(subscribers().await, 0);
    one.follow("chat").await;
    two.follow("chat").await;
    assert_eq!(subscribers().await, 1, "once for the whole process");
    one.unfollow("chat");
    two.follow("news").await;
    assert_eq!(subscribers().await, 1, "somebody still follows it");
    two.unfollow("chat");
    until("it is left", async || (subscribers().await == 0).then_some(())).await;
}

#[tokio::test]
async fn the_heads_of_all_followed_channels_are_compared_in_one_round_trip() {
    let (server, app) = (redis::server().await, AppId::generate());
    let bus = bus(&server.url());
    let mut ear = Ear::on(&*bus, &app).await;
    for n in 0..500 {
        ear.follow(&format!("chat:{n}")).await;
    }
    let write =
        format!("for n = 0, 499 do redis.call('hset', 'ff:h:{{{app}/chat:' .. n .. '}}', 'e', 'e', 's', '5') end");
    server.ask(&["eval", &write, "0"]).await;
    server.ask(&["config", "resetstat"]).await;
    for _ in 0..500 {
        let heard = ear.hear().await;
        assert!(matches!(&heard, Heard::Head { head, .. } if head.serial.0 == 5), "{heard:?}");
    }
    let (counted, read) = (calls(&server).await, reads(&server).await);
    assert_eq!(counted.get("hmget"), Some(&500), "{counted:?}");
    assert!(read <= 4 * BESIDES, "{read} reads");
}
