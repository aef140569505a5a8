//! A backup of Postgres is put back: with `fanfare restored` everybody learns of it; without, the partition stops and says so.

use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};
use reqwest::StatusCode;

use super::*;
use crate::harness::nodes::Postgres;

/// Five messages are delivered; then the workers end, and the database knows three of them only.
async fn put_back(fleet: &mut Fleet, tenant: &Tenant, socket: &mut Socket) {
    publish_numbers(fleet, tenant, "chat", 1..=5).await;
    receive_numbers(socket, 1..=5).await;
    for worker in &mut fleet.workers {
        worker.terminate().await;
    }
    let Postgres::Shared(database) = &fleet.production.postgres else { panic!("these tests share a server") };
    let mut sql = AsyncPgConnection::establish(&database.url).await.expect("the database answers");
    let older = format!(
        "delete from messages where app_id = '{0}' and serial > 3; update channels set serial = 3 where app_id = '{0}'",
        tenant.app
    );
    sql.batch_execute(&older).await.expect("the database can be put back");
}

async fn restart_workers(fleet: &mut Fleet) {
    for worker in &mut fleet.workers {
        worker.restart().await;
    }
}

#[tokio::test]
async fn after_a_restore_that_is_told_subscriptions_end_and_old_positions_are_void() {
    let mut fleet = fleet().await;
    let tenant = fleet.tenant().await;
    let mut socket = fleet.join(&tenant, 0, "ann").await;
    let epoch = socket.subscribe("chat").await["epoch"].clone();
    put_back(&mut fleet, &tenant, &mut socket).await;
    fleet.production.run(&["restored"]).await;
    restart_workers(&mut fleet).await;

    let path = "/v1/channels/chat/messages?ack=persisted";
    let stored = tenant.data(Method::POST, path, json!({"data": "new"})).await.expect(StatusCode::CREATED);
    assert_eq!(stored["serial"], 4, "serials go on after what was restored");
    assert_ne!(stored["epoch"], epoch);
    let ended = socket.event_of("unsubscribed").await;
    assert_eq!((&ended["channel"], &ended["error"]["code"]), (&json!("chat"), &json!("epoch_changed")));

    let since = json!({"epoch": epoch, "serial": 5});
    let mut back = fleet.join(&tenant, 1, "ann").await;
    let answer = back.ask(json!({"op": "subscribe", "channel": "chat", "since": since})).await;
    assert_eq!((&answer["resumed"], &answer["serial"]), (&json!(false), &json!(4)), "{answer}");
    assert_eq!(answer["epoch"], stored["epoch"]);
    let history = tenant.history("chat").await;
    let data: Vec<_> = history.iter().map(|item| item["data"].clone()).collect();
    assert_eq!(data, [json!(1), json!(2), json!(3), json!("new")], "what was restored can be read");
}

#[tokio::test]
async fn after_a_restore_that_nobody_told_the_partition_stops_and_its_worker_says_so() {
    let mut fleet = fleet().await;
    let tenant = fleet.tenant().await;
    let mut socket = fleet.join(&tenant, 0, "ann").await;
    socket.subscribe("chat").await;
    put_back(&mut fleet, &tenant, &mut socket).await;
    restart_workers(&mut fleet).await;
    post(&tenant, "chat", json!("new")).await.expect(StatusCode::ACCEPTED);
    until("a worker says that the database is older than the bus", async || {
        for worker in &fleet.workers {
            let url = format!("{}/readyz", worker.ops_url());
            let answer = Answer::of(reqwest::Client::builder().no_proxy().build().expect("a client").get(&url)).await;
            if answer.text.contains("the database is older than the bus") {
                return Some(());
            }
        }
        None
    })
    .await;
    fleet.production.run(&["restored"]).await;
    until("the partition moves again", async || {
        let history = tenant.history("chat").await;
        let other = tenant.data(Method::POST, "/v1/channels/chat/messages?ack=persisted", json!({"data": "on"})).await;
        (other.status == 201 && !history.is_empty()).then_some(())
    })
    .await;
}
