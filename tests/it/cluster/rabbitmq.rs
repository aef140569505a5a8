//! RabbitMQ is away: durable publishes are refused with a time to come again; all else goes on.

use reqwest::StatusCode;

use super::*;

#[tokio::test]
async fn without_rabbitmq_durable_publishes_wait_and_everything_else_goes_on() {
    let fleet = fleet().await;
    let tenant = fleet.tenant().await;
    let mut socket = fleet.join(&tenant, 1, "ann").await;
    socket.subscribe("chat").await;
    publish_numbers(&fleet, &tenant, "chat", 1..=3).await;
    receive_numbers(&mut socket, 1..=3).await;
    cut(&fleet, |links| &links.rabbitmq);
    for api in &fleet.apis {
        until_ready(api, false).await;
        let refused = post(&tenant.at(api.url()), "chat", json!("refused")).await;
        assert!(refused.headers["retry-after"].to_str().expect("text").parse::<u64>().expect("seconds") >= 1);
        refused.expect(StatusCode::SERVICE_UNAVAILABLE);
    }
    let ephemeral = json!({"data": "cursor", "ephemeral": true});
    tenant.data(Method::POST, "/v1/channels/chat/messages", ephemeral).await.expect(StatusCode::ACCEPTED);
    assert_eq!(socket.event_of("message").await["data"], "cursor");
    assert_eq!(tenant.history("chat").await.len(), 3);
    let mut late = fleet.join(&tenant, 0, "bob").await;
    let ok = late.ask(json!({"op": "subscribe", "channel": "chat", "rewind": {"messages": 2}})).await;
    assert_eq!((&ok["serial"], &ok["backlog"]), (&json!(3), &json!(2)));
    receive_numbers(&mut late, 2..=3).await;
    restore(&fleet, |links| &links.rabbitmq);
    publish_numbers(&fleet, &tenant, "chat", 4..=6).await;
    receive_numbers(&mut socket, 4..=6).await;
    for api in &fleet.apis {
        until_ready(api, true).await;
    }
}
