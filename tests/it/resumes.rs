//! Coming back after a long time, or with many others: everything follows in order, at the cost of one read a page.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{
    metrics::Metrics,
    server::{Options, Server},
    sockets::Socket,
    stalls::Stalls,
    tenants::{Tenant, start},
    tokens::every_right,
};

const READS: &str = "fanfare_history_reads_total{purpose=\"resume\"}";
/// Items of a page.
const PAGE: usize = 1_000;
/// The bound of an outbox under the plan `unlimited`, and what else of one socket may wait beside it.
const OUTBOX_BYTES: f64 = 4.0 * 1024.0 * 1024.0 + 64.0 * 1024.0;

/// Publishes `first..first + count`, a batch after the other.
async fn publish(tenant: &Tenant, first: usize, count: usize) {
    for from in (first..first + count).step_by(PAGE) {
        let numbers = from..(from + PAGE).min(first + count);
        let items: Vec<_> = numbers.map(|number| json!({"channel": "room", "data": number})).collect();
        let answer = tenant.data(Method::POST, "/v1/messages", json!({"messages": items})).await;
        answer.expect(StatusCode::OK);
    }
    tenant.reaches("room", (first + count - 1) as u64).await;
}

async fn connect(tenant: &Tenant, client: usize) -> Socket {
    Socket::connect(&tenant.url, &tenant.short_token(&format!("client-{client}"), every_right(), 600.0)).await
}

async fn receive(socket: &mut Socket, numbers: std::ops::RangeInclusive<usize>) {
    for number in numbers {
        let message = socket.event_of("message").await;
        assert_eq!((&message["serial"], &message["data"]), (&json!(number), &json!(number)), "{message}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_clients_that_come_back_to_one_position_cost_one_read_a_page() {
    const CLIENTS: usize = 300;
    // Few and large, so that the pages are many and not the messages: a page ends at 1 MiB.
    const BACKLOG: u64 = 80;
    const PAGES: f64 = 3.0;
    // So long that no ping comes between texts that are not read as JSON.
    let options = Options::default().env("FANFARE_GATEWAY_CONNECTION_PING_INTERVAL", "10m");
    let server = Server::start(options).await;
    let tenant = Tenant::sign_up(&server).await;
    let text = "x".repeat(30_000);
    for serial in 1..=BACKLOG {
        assert_eq!(tenant.publish("room", json!(text)).await, serial);
    }
    let epoch = connect(&tenant, 0).await.subscribe("room").await["epoch"].as_str().expect("an epoch").to_owned();
    let mut sockets = Vec::new();
    for batch in 0..CLIENTS / 50 {
        let joining = (batch * 50..(batch + 1) * 50).map(|client| connect(&tenant, client));
        sockets.extend(futures::future::join_all(joining).await);
    }
    let before = Metrics::of(&server).await.sample(READS);
    let stalls = Stalls::begin();
    let mut coming = tokio::task::JoinSet::new();
    for mut socket in sockets {
        let epoch = epoch.clone();
        coming.spawn(async move {
            let ok = socket.resume("room", &epoch, 0).await;
            assert_eq!((&ok["resumed"], &ok["backlog"]), (&Value::Bool(true), &json!(BACKLOG)));
            for serial in 1..=BACKLOG {
                let text = socket.receive_text().await;
                assert!(text.contains(&format!("\"serial\":{serial},")), "{serial} was expected: {text:.200}");
            }
            socket
        });
    }
    let mut sockets = coming.join_all().await;
    let reads = Metrics::of(&server).await.sample(READS) - before;
    println!(
        "{CLIENTS} clients resumed {BACKLOG} messages: {reads} reads of {PAGES} pages; {:?} were lost",
        stalls.lost()
    );
    // A page is kept on while somebody asks for it every 5 s. Whoever is kept waiting for longer has it read again, and only that.
    let lost = stalls.lost();
    let bound = 2.0 * PAGES * (1.0 + (lost.as_secs() / 5) as f64);
    assert!((PAGES..=bound).contains(&reads), "{reads} pages were read for {CLIENTS} clients; {lost:?} were lost");
    let live = tenant.publish("room", json!("live")).await;
    for socket in &mut sockets {
        assert_eq!(socket.event_of("message").await["serial"], live);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_thousand_messages_follow_a_position_in_order_then_live_and_little_waits_meanwhile() {
    const BACKLOG: usize = 50_000;
    let (server, tenant) = start().await;
    let mut socket = connect(&tenant, 0).await;
    let epoch = socket.subscribe("room").await["epoch"].as_str().expect("an epoch").to_owned();
    publish(&tenant, 1, 1).await;
    receive(&mut socket, 1..=1).await;
    socket.close().await;
    publish(&tenant, 2, BACKLOG).await;
    let mut socket = connect(&tenant, 0).await;
    let ok = socket.resume("room", &epoch, 1).await;
    assert_eq!((&ok["resumed"], &ok["backlog"]), (&Value::Bool(true), &json!(BACKLOG)));
    let (mut most, waits) = (0.0f64, async || Metrics::of(&server).await.sample("fanfare_outbox_bytes"));
    // What is published meanwhile takes its place behind the backlog.
    let mut live = 0;
    for from in (2..BACKLOG + 2).step_by(PAGE) {
        most = most.max(waits().await);
        receive(&mut socket, from..=from + PAGE - 1).await;
        if from % (10 * PAGE) == 2 {
            live += 1;
            publish(&tenant, BACKLOG + 1 + live, 1).await;
        }
    }
    receive(&mut socket, BACKLOG + 2..=BACKLOG + 1 + live).await;
    publish(&tenant, BACKLOG + 2 + live, 1).await;
    receive(&mut socket, BACKLOG + 2 + live..=BACKLOG + 2 + live).await;
    println!("{BACKLOG} messages resumed: at most {most} bytes waited");
    assert!(most > 0.0 && most <= OUTBOX_BYTES, "{most} bytes waited for one socket");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_of_many_keeps_its_order_for_all_who_come_and_go_while_it_is_handed_out() {
    const FOLLOWERS: usize = 500;
    const MESSAGES: usize = 60;
    let (_server, tenant) = start().await;
    let mut sockets = Vec::new();
    for batch in 0..FOLLOWERS / 50 {
        let joining = (batch * 50..(batch + 1) * 50).map(|client| connect(&tenant, client));
        sockets.extend(futures::future::join_all(joining).await);
    }
    for batch in sockets.chunks_mut(50) {
        futures::future::join_all(batch.iter_mut().map(|socket| socket.subscribe("room"))).await;
    }
    let publishing = async {
        for number in 1..=MESSAGES {
            let item = json!({"channel": "room", "data": number});
            tenant.data(Method::POST, "/v1/messages", json!({"messages": [item]})).await.expect(StatusCode::OK);
        }
    };
    let following = futures::future::join_all(sockets.iter_mut().map(|socket| receive(socket, 1..=MESSAGES)));
    // Others come back to the beginning all the while, and go when they have everything.
    let coming = async {
        for client in 0..20 {
            let mut socket = connect(&tenant, client).await;
            let epoch = socket.subscribe("other").await["epoch"].as_str().expect("an epoch").to_owned();
            socket.resume("room", &epoch, 0).await;
            receive(&mut socket, 1..=MESSAGES).await;
        }
    };
    tokio::join!(publishing, following, coming);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_while_a_slow_client_catches_up_comes_behind_its_backlog_whole_and_in_order() {
    const BACKLOG: u64 = 60;
    const FLOOD: u64 = 60;
    let (_server, tenant) = start().await;
    let text = "x".repeat(30_000);
    let mut epoch = Value::Null;
    for serial in 1..=BACKLOG {
        assert_eq!(tenant.publish("room", json!(text)).await, serial);
        if epoch.is_null() {
            epoch = connect(&tenant, 0).await.subscribe("room").await["epoch"].clone();
        }
    }
    let token = tenant.short_token("slow", every_right(), 600.0);
    let mut slow = Socket::open_narrow(&tenant.url).await;
    slow.ask(json!({"op": "connect", "token": token})).await;
    let ok = slow.resume("room", epoch.as_str().expect("an epoch"), 0).await;
    assert_eq!(ok["backlog"], BACKLOG);
    // Nothing is read while many times of what a socket holds is published, all of it live; and the rest of it between what is read.
    for serial in BACKLOG + 1..=BACKLOG + FLOOD {
        assert_eq!(tenant.publish("room", json!(text)).await, serial);
    }
    for serial in 1..=BACKLOG + FLOOD {
        assert_eq!(slow.event_of("message").await["serial"], serial);
        if serial % 10 == 0 {
            tenant.publish("room", json!(text)).await;
        }
    }
    for serial in BACKLOG + FLOOD + 1..=BACKLOG + FLOOD + (BACKLOG + FLOOD) / 10 {
        assert_eq!(slow.event_of("message").await["serial"], serial);
    }
}
