//! A cluster: channels on every shard are heard, and a shard that comes back is heard again.

use std::{collections::BTreeSet, sync::Arc};

use fanfare_domain::{
    bus::{Broadcast, Bus},
    ids::AppId,
};
use fanfare_infra::redis::{Redis, RedisBus};

use super::interruptions::send_at_last;
use crate::{
    harness::{
        redis::{self, Cluster},
        waiting::until,
    },
    stores::bus::{Ear, messages},
};

/// The bus of a process whose names have a prefix, which has no part in where they lie.
fn bus(url: &str) -> Arc<dyn Bus> {
    RedisBus::new(Redis::connect(url, "acme".parse().unwrap()).unwrap())
}

/// Whose slots a channel's belongs to.
async fn shard_of(cluster: &Cluster, app: &AppId, name: &str) -> usize {
    let slot = cluster.masters[0].ask(&["cluster", "keyslot", &format!("acme:c:{{{app}/{name}}}")]).await;
    slot.parse::<usize>().unwrap() * 3 / 16_384
}

/// A channel of each shard.
async fn channels(cluster: &Cluster, app: &AppId) -> Vec<String> {
    let mut names = vec![None; 3];
    for n in 0.. {
        let name = format!("c:{n}");
        let shard = shard_of(cluster, app, &name).await;
        names[shard].get_or_insert(name);
        if names.iter().all(Option::is_some) {
            break;
        }
    }
    names.into_iter().flatten().collect()
}

async fn beat(bus: &dyn Bus) {
    bus.send(vec![Broadcast::Beat(1)]).await.unwrap();
}

#[tokio::test]
async fn channels_control_messages_and_beats_of_all_shards_are_heard() {
    let (cluster, app) = (redis::cluster().await, AppId::generate());
    let (sender, receiver) = (bus(&cluster.url()), bus(&cluster.url()));
    let mut ear = Ear::on(&*receiver, &app).await;
    let names = channels(&cluster, &app).await;
    for name in &names {
        ear.follow(name).await;
    }
    let batch = names.iter().flat_map(|name| messages(&app, name, 1..4)).collect();
    sender.send(batch).await.unwrap();
    let mut heard = Vec::new();
    for _ in 0..9 {
        heard.push(ear.sent().await);
    }
    for name in &names {
        let of_channel: Vec<_> = heard.iter().filter(|sent| sent.starts_with(&format!("{name}:"))).collect();
        assert_eq!(of_channel, [&format!("{name}:1"), &format!("{name}:2"), &format!("{name}:3")]);
    }
    sender.send(vec![Broadcast::AppChanged(app.clone())]).await.unwrap();
    assert_eq!(ear.sent().await, format!("changed {app}"));
    assert!(receiver.last_beat().is_none());
    beat(&*sender).await;
    for _ in 0..3 {
        assert_eq!(ear.sent().await, "beat 1");
    }
    assert!(receiver.last_beat().is_some());
}

#[tokio::test]
async fn a_killed_master_interrupts_and_delivers_again_when_it_is_back() {
    let (mut cluster, app) = (redis::cluster().await, AppId::generate());
    let (sender, receiver) = (bus(&cluster.url()), bus(&cluster.url()));
    let mut ear = Ear::on(&*receiver, &app).await;
    let names = channels(&cluster, &app).await;
    for name in &names {
        ear.follow(name).await;
        send_at_last(&*sender, &app, name, 1).await;
        assert_eq!(ear.sent().await, format!("{name}:1"));
    }
    cluster.masters[1].engine().kill9().await;
    assert!(sender.send(messages(&app, &names[1], [2])).await.is_err());
    cluster.masters[1].engine().restart().await;
    ear.interrupted().await;
    for name in &names {
        send_at_last(&*sender, &app, name, 2).await;
    }
    let mut missing: BTreeSet<_> = names.iter().map(|name| format!("{name}:2")).collect();
    while !missing.is_empty() {
        missing.remove(&ear.sent_at_last().await);
    }
}

#[tokio::test]
async fn a_slot_that_moves_to_another_master_is_heard_there() {
    let (cluster, app) = (redis::cluster().await, AppId::generate());
    let (sender, receiver) = (bus(&cluster.url()), bus(&cluster.url()));
    let mut ear = Ear::on(&*receiver, &app).await;
    let names = channels(&cluster, &app).await;
    let name = &names[0];
    ear.follow(name).await;
    send_at_last(&*sender, &app, name, 1).await;
    assert_eq!(ear.sent().await, format!("{name}:1"));
    let slot = cluster.masters[0].ask(&["cluster", "keyslot", &format!("acme:c:{{{app}/{name}}}")]).await;
    let heir = cluster.masters[2].ask(&["cluster", "myid"]).await;
    for key in cluster.masters[0].ask(&["cluster", "getkeysinslot", &slot, "10"]).await.lines() {
        assert_eq!(cluster.masters[0].ask(&["del", key]).await, "1");
    }
    for master in [2, 0, 1] {
        assert_eq!(cluster.masters[master].ask(&["cluster", "setslot", &slot, "node", &heir]).await, "OK");
    }
    ear.interrupted().await;
    let mut serial = 2;
    until("the channel is heard on its new shard", async || {
        let sent = sender.send(messages(&app, name, [serial])).await;
        serial += 1;
        sent.ok()
    })
    .await;
    while !ear.sent_at_last().await.starts_with(&format!("{name}:")) {}
}
