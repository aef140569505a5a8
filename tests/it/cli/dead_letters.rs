//! Dead letters from end to end: what can never be stored is set aside with its reason, counted, and stands in nobody's way.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{engines::Installation, run};
use crate::harness::{
    metrics::Metrics,
    server::{Options, Server},
    tenants::Tenant,
    waiting::until,
};

/// Waits until something was set aside for a reason and counted so, and gives its line of the list.
async fn set_aside(engines: &Installation, server: &Server, reason: &str) -> String {
    let counted = format!("fanfare_dead_letters_total{{reason=\"{reason}\"}} 1");
    until("it is counted", async || Metrics::of(server).await.0.lines().any(|line| line == counted).then_some(()))
        .await;
    let listed = run(&mut engines.command(&["dead-letters", "list"])).succeeded();
    assert_eq!(listed.lines().filter(|line| line.contains(reason)).count(), 1, "{listed}");
    listed
}

/// Publishes, answered as soon as the queue has it.
async fn accept(tenant: &Tenant, body: Value) {
    tenant.data(Method::POST, "/v1/channels/chat/messages", body).await.expect(StatusCode::ACCEPTED);
}

fn data_of(history: &[Value]) -> Vec<&Value> {
    history.iter().map(|item| &item["data"]).collect()
}

#[actix_web::test]
async fn another_message_under_a_key_that_only_the_log_knows_is_set_aside_as_a_conflict() {
    let engines = Installation::new().await;
    let server = engines.serve(Options::default()).await;
    let tenant = Tenant::sign_up(&server).await;
    accept(&tenant, json!({"data": "first", "idempotency_key": "k"})).await;
    tenant.reaches("chat", 1).await;
    // Redis forgets what it knows of the key, so that intake takes the next one.
    let forget = "local keys = redis.call('keys', 'ff:f:*') return redis.call('del', unpack(keys))";
    assert_eq!(engines.engines.redis().ask(&["eval", forget, "0"]).await, "1");
    accept(&tenant, json!({"data": "second", "idempotency_key": "k"})).await;
    let listed = set_aside(&engines, &server, "conflict").await;
    assert!(listed.contains("another message has the same idempotency key"), "{listed}");
    assert_eq!(tenant.publish("chat", json!("third")).await, 2);
    assert_eq!(data_of(&tenant.history("chat").await), ["first", "third"]);
}

#[actix_web::test]
async fn what_the_database_refuses_for_good_is_set_aside_as_rejected_and_its_neighbours_are_stored() {
    let engines = Installation::new().await;
    let server = engines.serve(Options::default()).await;
    let tenant = Tenant::sign_up(&server).await;
    engines.execute("alter table messages add constraint never check (data <> '\"never\"')").await;
    let messages: Vec<_> = ["first", "never", "second"].map(|data| json!({"channel": "chat", "data": data})).into();
    tenant.data(Method::POST, "/v1/messages", json!({"messages": messages})).await.expect(StatusCode::OK);
    let listed = set_aside(&engines, &server, "rejected").await;
    assert!(listed.contains("never"), "the reason names what refused it: {listed}");
    assert_eq!(tenant.publish("chat", json!("third")).await, 3);
    assert_eq!(data_of(&tenant.history("chat").await), ["first", "second", "third"]);
    engines.execute("alter table messages drop constraint never").await;
    let replayed = run(&mut engines.command(&["dead-letters", "replay", "--reason", "rejected"])).succeeded();
    assert_eq!(replayed, "1 dead letter is in its queue again\n");
    tenant.reaches("chat", 4).await;
    assert_eq!(data_of(&tenant.history("chat").await), ["first", "second", "third", "never"]);
}

#[tokio::test]
async fn a_queue_without_dead_letters_is_said_to_be_empty() {
    let engines = Installation::new().await;
    run(&mut engines.command(&["migrate"])).succeeded();
    run(&mut engines.command(&["dead-letters", "list"])).succeeded();
    run(&mut engines.command(&["dead-letters", "show", "none"]))
        .failed_saying(&["`none`", "fanfare dead-letters list"]);
    run(&mut engines.command(&["dead-letters", "replay", "none"])).failed_saying(&["`none`"]);
    run(&mut engines.command(&["dead-letters", "replay", "--all"])).succeeded();
}

#[actix_web::test]
async fn what_a_worker_set_aside_is_listed_shown_and_replayed() {
    let engines = Installation::new().await;
    let server = engines.serve(Options::default()).await;
    let broker = lapin::Connection::connect(&engines.variable("FANFARE_AMQP_URL"), Default::default()).await.unwrap();
    let channel = broker.create_channel().await.unwrap();
    channel
        .basic_publish("".into(), "fanfare.p.0".into(), Default::default(), b"no envelope", Default::default())
        .await
        .unwrap();
    let listed = async |besides: &str| {
        until("a dead letter", async || {
            let said = run(&mut engines.command(&["dead-letters", "list"])).succeeded();
            let id = said.split(' ').next().expect("a line has a first word").to_owned();
            (id.starts_with("dead_") && id != besides).then_some((id, said))
        })
        .await
    };
    let (id, line) = listed("").await;
    assert!(line.contains("partition 0") && line.contains("malformed"), "{line}");
    let shown = run(&mut engines.command(&["dead-letters", "show", &id])).succeeded();
    for part in [&format!("id         {id}\n"), "where      partition 0\n", "body       no envelope\n"] {
        assert!(shown.contains(part), "{part} is not in:\n{shown}");
    }
    let replayed = run(&mut engines.command(&["dead-letters", "replay", &id])).succeeded();
    assert_eq!(replayed, "1 dead letter is in its queue again\n");
    let (again, _) = listed(&id).await;
    run(&mut engines.command(&["dead-letters", "replay", &id])).failed_saying(&["there is no dead letter"]);
    assert_ne!(again, id, "what can never be stored is set aside anew");
    let tenant = Tenant::sign_up(&server).await;
    assert_eq!(tenant.publish("chat:1", json!(1)).await, 1, "nothing stands in the others' way");
}
