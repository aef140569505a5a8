//! The demo page in headless Chromium: two panes, a publish, and a server that goes away and comes back.

use std::path::PathBuf;

use serde_json::json;

use crate::harness::{
    browser::Page,
    server::{Options, Server},
    tenants::Tenant,
};

fn pictures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/screenshots")
}

/// Whether both panes show a serial, once, and all before it.
fn both_show(serial: u64) -> String {
    format!(
        "[1, 2].every((pane) => {{ const shown = [...document.querySelectorAll(`[data-pane=\"${{pane}}\"] [data-field=\"messages\"] li[data-serial]`)]\
         .map((item) => Number(item.dataset.serial)).sort((a, b) => a - b); return shown.length === {serial} && shown.every((n, at) => n === at + 1); }})"
    )
}

const BOTH_CONNECTED: &str = "[1, 2].every((pane) => document.querySelector(`[data-pane=\"${pane}\"] [data-field=\"state\"]`).textContent === 'connected')";
const BOTH_AWAY: &str = "[1, 2].every((pane) => document.querySelector(`[data-pane=\"${pane}\"] [data-field=\"state\"]`).textContent !== 'connected')";

async fn publish_from_page(page: &mut Page, text: &str) {
    let script = format!(
        "document.querySelector('#publish-data').value = {}; document.querySelector('#publish-data').dispatchEvent(new Event('input', {{bubbles: true}})); document.querySelector('#publish-button').click();",
        json!(text)
    );
    page.evaluate(&script).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_panes_show_every_message_also_after_a_restart() {
    let mut server = Server::start(Options::default()).await;
    let tenant = Tenant::sign_up(&server).await;
    tenant.rule("demo", json!({"public": true})).await;
    let mut page = Page::open(&format!("{}/demo#key={}", server.url(), tenant.credential())).await;
    page.wait_for(BOTH_CONNECTED).await;

    publish_from_page(&mut page, r#"{"text":"from the page"}"#).await;
    page.wait_for(&both_show(1)).await;
    tenant.publish("demo:hello", json!({"text": "from a backend"})).await;
    page.wait_for(&both_show(2)).await;
    page.screenshot(&pictures().join("demo-live.png")).await;

    server.kill9().await;
    page.wait_for(BOTH_AWAY).await;
    page.screenshot(&pictures().join("demo-away.png")).await;
    server.restart().await;
    for n in 0..3 {
        tenant.publish("demo:hello", json!({"text": format!("while the page was away {n}")})).await;
    }
    page.wait_for(BOTH_CONNECTED).await;
    page.wait_for(&both_show(5)).await;
    page.screenshot(&pictures().join("demo-resumed.png")).await;

    page.evaluate("document.querySelector('[data-pane=\"1\"] button[data-action=\"drop\"]').click()").await;
    tenant.publish("demo:hello", json!("once more")).await;
    page.wait_for(&both_show(6)).await;
    assert!(page.complaints.iter().all(|complaint| complaint.contains("network")), "{:?}", page.complaints);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pages_are_shown_without_a_complaint() {
    let server = Server::start(Options::default()).await;
    for (path, expected, picture) in [
        ("/", "document.body.innerText.includes('Fanfare')", "index.png"),
        ("/docs", "document.querySelectorAll('.opblock').length > 10", "docs.png"),
        ("/errors", "document.querySelector('#rate_limited') !== null", "errors.png"),
    ] {
        let mut page = Page::open(&format!("{}{path}", server.url())).await;
        page.wait_for(expected).await;
        page.screenshot(&pictures().join(picture)).await;
        assert!(page.complaints.is_empty(), "{path}: {:?}", page.complaints);
    }
}
