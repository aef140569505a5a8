//! Sentinels: after a failover, delivery goes on by itself.

use fanfare_domain::ids::AppId;

use super::interruptions::send_at_last;
use crate::{
    harness::redis,
    stores::{bus::Ear, redis::bus},
};

#[tokio::test]
async fn delivery_goes_on_by_itself_after_a_failover() {
    let (mut ground, app) = (redis::sentinel().await, AppId::generate());
    let (sender, receiver) = (bus(&ground.url()), bus(&ground.url()));
    let mut ear = Ear::on(&*receiver, &app).await;
    ear.follow("chat").await;
    send_at_last(&*sender, &app, "chat", 1).await;
    assert_eq!(ear.sent().await, "chat:1");
    ground.master.engine().kill9().await;
    ear.interrupted().await;
    send_at_last(&*sender, &app, "chat", 2).await;
    while ear.sent_at_last().await != "chat:2" {}
    assert!(ground.replica.ask(&["role"]).await.starts_with("master"));
}
