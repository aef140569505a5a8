//! One cursor for streams and polls, on every node, and nowhere else.

use serde_json::json;

use crate::harness::{
    streams::serials,
    tenants::{Tenant, start},
};

#[tokio::test]
async fn a_cursor_serves_streams_and_polls_alike_also_after_a_restart() {
    let (mut server, tenant) = start().await;
    let token = tenant.full_token("ann").await;
    let (_, polled) = tenant.polled(&token, "channel=chat:1").await;
    tenant.publish("chat:1", json!(1)).await;
    server.kill9().await;
    server.restart().await;
    let mut stream = tenant.stream(&token, &format!("channel=chat:1&cursor={polled}"), None).await;
    stream.next_of("open").await;
    stream.serials(1..=1).await;
    tenant.publish("chat:1", json!(2)).await;
    let (messages, _) = tenant.polled(&token, &format!("channel=chat:1&cursor={}", stream.last_id)).await;
    assert_eq!(serials(&messages), [2]);
}

#[tokio::test]
async fn a_cursor_of_other_channels_or_another_app_is_refused() {
    let (server, tenant) = start().await;
    let token = tenant.full_token("ann").await;
    let (_, cursor) = tenant.polled(&token, "channel=chat:1&channel=chat:2").await;
    tenant.polled(&token, &format!("channel=chat:2&channel=chat:1&cursor={cursor}&wait_ms=0")).await;
    for channels in ["channel=chat:1", "channel=chat:1&channel=chat:3", "channel=chat:1&channel=chat:2&channel=chat:3"]
    {
        let problem =
            tenant.poll(&token, &format!("{channels}&cursor={cursor}")).await.expect_problem(422, "bad_cursor");
        assert_eq!(problem["errors"][0]["pointer"], "/cursor");
    }
    let other = Tenant::sign_up(&server).await;
    let foreign = other.full_token("ann").await;
    let query = format!("channel=chat:1&channel=chat:2&cursor={cursor}");
    other.poll(&foreign, &query).await.expect_problem(422, "bad_cursor");
    other.refused_stream(&foreign, &query).await.expect_problem(422, "bad_cursor");
}

#[tokio::test]
async fn a_cursor_of_a_history_that_was_replaced_is_told_and_goes_on_from_the_head() {
    let (mut server, tenant) = start().await;
    let token = tenant.full_token("ann").await;
    tenant.publish("chat:1", json!(1)).await;
    let (_, cursor) = tenant.polled(&token, "channel=chat:1").await;
    server.terminate().await;
    let mut restored = server.command(&["restored"]);
    let ran = tokio::task::spawn_blocking(move || restored.output()).await.expect("it does not panic");
    assert!(ran.expect("the binary can be started").status.success());
    server.restart().await;
    let (messages, cursor) = tenant.polled(&token, &format!("channel=chat:1&cursor={cursor}")).await;
    assert_eq!(messages, [json!({"op": "gap", "channel": "chat:1", "from": 2})]);
    tenant.publish("chat:1", json!("anew")).await;
    let (messages, _) = tenant.polled(&token, &format!("channel=chat:1&cursor={cursor}")).await;
    assert_eq!(messages[0]["data"], "anew");
}
