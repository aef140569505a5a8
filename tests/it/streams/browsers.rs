//! Headless Chromium, from a page of another origin: its own `EventSource` and `WebSocket`, and polls by `fetch`.

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use crate::harness::{
    browser::Page,
    server::{Options, Server},
    tenants::Tenant,
};

const PAGE: &str = "<!doctype html><title>another origin</title><script>
window.seen = []; window.opened = 0; window.errors = 0;
function follow(url) {
  const source = window.source = new EventSource(url);
  source.addEventListener('open', (event) => { if (event.data) window.opened += 1; });
  source.addEventListener('message', (event) => window.seen.push([JSON.parse(event.data).serial, event.lastEventId]));
  source.onerror = () => { window.errors += 1; };
}
function socket(url, token, channel) {
  window.heard = [];
  const socket = new WebSocket(url);
  const send = (frame) => socket.send(JSON.stringify(frame));
  socket.onopen = () => { send({id: 1, op: 'connect', token}); send({id: 2, op: 'subscribe', channel}); };
  socket.onmessage = (event) => window.heard.push(JSON.parse(event.data));
}
async function poll(url, token, last) {
  const headers = {Authorization: `Bearer ${token}`};
  const answer = await fetch(url, {headers: last ? {...headers, 'Last-Event-ID': last} : headers});
  return {status: answer.status, id: answer.headers.get('x-request-id'), body: await answer.json()};
}
</script>";

/// Serves the page at an address of its own, so that everything it asks of the server is of another origin.
async fn other_origin() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let address = format!("http://{}", listener.local_addr().expect("it is bound"));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _ = stream.read(&mut [0; 4096]).await;
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    PAGE.len()
                );
                let _ = stream.write_all(format!("{head}{PAGE}").as_bytes()).await;
            });
        }
    });
    address
}

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
