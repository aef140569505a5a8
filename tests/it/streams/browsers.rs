//! Headless Chromium, from a page of another origin: its own `EventSource` and `WebSocket`, and polls by `fetch`.

use serde_json::json;

use crate::harness::{
    browser::Page,
    pages::other_origin,
    server::{Options, Server},
    tenants::{Tenant, start},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_follows_by_its_own_means_and_comes_back_without_a_loss() {
    let mut server = Server::start(Options::default()).await;
    let tenant = Tenant::sign_up(&server).await;
    let token = tenant.full_token("ann").await;
    let mut page = Page::open(&other_origin().await).await;
    page.wait_for("typeof follow === 'function'").await;
    page.evaluate(&format!("follow('{}/v1/sse?channel=chat:1&token={token}')", server.url())).await;
    page.wait_for("window.opened === 1").await;
    tenant.publish("chat:1", json!(1)).await;
    page.wait_for("window.seen.length === 1").await;

    server.kill9().await;
    page.wait_for("window.errors > 0").await;
    server.restart().await;
    for number in 2..=4 {
        tenant.publish("chat:1", json!(number)).await;
    }
    page.wait_for("window.opened === 2").await;
    page.wait_for("window.seen.length >= 4").await;
    assert_eq!(page.evaluate("window.seen.map(([serial]) => serial)").await, json!([1, 2, 3, 4]));

    let socket = format!("socket('{}/v1/connect', '{token}', 'chat:1')", server.url().replace("http", "ws"));
    page.evaluate(&socket).await;
    page.wait_for("window.heard.some((frame) => frame.id === 2 && frame.ok.serial === 4)").await;
    tenant.publish("chat:1", json!(5)).await;
    page.wait_for("window.heard.some((frame) => frame.serial === 5) && window.seen.length === 5").await;

    let poll = format!("poll('{}/v1/poll?channel=chat:1&wait_ms=0', '{token}', window.seen[1][1])", server.url());
    let polled = page.evaluate(&poll).await;
    assert_eq!((&polled["status"], polled["id"].is_string()), (&json!(200), true), "{polled}");
    let serials: Vec<_> =
        polled["body"]["messages"].as_array().expect("messages").iter().map(|one| &one["serial"]).collect();
    assert_eq!(serials, [3, 4, 5]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_reads_a_stream_by_fetch_as_it_comes() {
    let (server, tenant) = start().await;
    let token = tenant.full_token("ann").await;
    let mut page = Page::open(&other_origin().await).await;
    page.wait_for("typeof stream === 'function'").await;
    page.evaluate(&format!("void stream('{}/v1/sse?channel=chat:1', '{token}')", server.url())).await;
    page.wait_for("window.streamed.events.length === 1").await;
    assert_eq!(page.evaluate("window.streamed.status").await, 200);
    assert_eq!(page.evaluate("window.streamed.type").await, "text/event-stream");
    let open = page.evaluate("window.streamed.events[0]").await;
    assert_eq!(
        (&open["event"], &open["data"]["client"], open["id"].is_string()),
        (&json!("open"), &json!("ann"), true)
    );
    for serial in 1..=3 {
        tenant.publish("chat:1", json!("line\nbreak: ü")).await;
        page.wait_for(&format!("window.streamed.events.length === {}", serial + 1)).await;
        let event = page.evaluate("window.streamed.events.at(-1)").await;
        assert_eq!((&event["event"], &event["data"]["serial"]), (&json!("message"), &json!(serial)));
        assert_eq!(event["data"]["data"], "line\nbreak: ü");
    }
    assert_eq!(page.evaluate("window.streamed.ended").await, false);
    crate::revocations::revoke(&tenant, json!({"client": "ann"})).await;
    page.wait_for("window.streamed.ended").await;
    let last = page.evaluate("window.streamed.events.at(-1)").await;
    assert_eq!((&last["event"], &last["data"]["error"]["code"]), (&json!("error"), &json!("revoked")));
}
