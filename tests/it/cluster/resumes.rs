//! A long absence that begins at one gateway and ends at another: everything in order by every transport, and little waits meanwhile.

use reqwest::StatusCode;

use super::*;
use crate::harness::{metrics::most_held, streams::serials, tokens::every_right};

const BACKLOG: u64 = 50_000;
/// Messages of a batch.
const BATCH: u64 = 1_000;
/// The bound of one connection in the plan that the tests run on, and what else of one may wait beside it.
const OUTBOX_BYTES: f64 = 4.0 * 1024.0 * 1024.0 + 64.0 * 1024.0;

/// Publishes what follows the first message, in order.
async fn publish_backlog(tenant: &Tenant) {
    for batch in 0..BACKLOG / BATCH {
        let number = |at| 2 + batch * BATCH + at;
        let messages: Vec<_> = (0..BATCH).map(|at| json!({"channel": "chat", "data": number(at)})).collect();
        tenant.data(Method::POST, "/v1/messages", json!({"messages": messages})).await.expect(StatusCode::OK);
    }
    tenant.reaches("chat", BACKLOG + 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_thousand_messages_are_resumed_at_another_gateway_by_every_transport_and_little_waits() {
    let fleet = fleet().await;
    let tenant = fleet.tenant().await;
    let token = tenant.short_token("ann", every_right(), 3_600.0);
    let before = tenant.at(fleet.gateways[0].url());
    let mut socket = fleet.join(&tenant, 0, "ann").await;
    let epoch = socket.subscribe("chat").await["epoch"].as_str().expect("an epoch").to_owned();
    let mut stream = before.stream(&token, "channel=chat", None).await;
    stream.next_of("open").await;
    tenant.publish("chat", json!(1)).await;
    receive_numbers(&mut socket, 1..=1).await;
    stream.serials(1..=1).await;
    let cursor = stream.last_id.clone();
    socket.close().await;
    drop(stream);
    let begun = std::time::Instant::now();
    publish_backlog(&tenant).await;
    println!("{BACKLOG} messages were published after {:?}", begun.elapsed());

    let (after, gateway) = (tenant.at(fleet.gateways[1].url()), &fleet.gateways[1]);
    let last = BACKLOG + 1;
    let by_socket = async {
        let mut socket = fleet.join(&tenant, 1, "ann").await;
        let ok = socket.resume("chat", &epoch, 1).await;
        assert_eq!((&ok["resumed"], &ok["backlog"]), (&json!(true), &json!(BACKLOG)));
        receive_numbers(&mut socket, 2..=last).await;
        tenant.publish("chat", json!(last + 1)).await;
        receive_numbers(&mut socket, last + 1..=last + 1).await;
    };
    let by_stream = async {
        let mut stream = after.stream(&token, "channel=chat", Some(&cursor)).await;
        stream.next_of("open").await;
        stream.serials(2..=last + 1).await;
        tenant.publish("chat", json!(last + 2)).await;
        stream.serials(last + 2..=last + 2).await;
    };
    let by_polls = async {
        let (mut cursor, mut reached) = (cursor.clone(), 1);
        while reached < last + 2 {
            let (messages, next) = after.polled(&token, &format!("channel=chat&cursor={cursor}")).await;
            for serial in serials(&messages) {
                assert_eq!(serial, reached + 1);
                reached = serial;
            }
            cursor = next;
        }
        tenant.publish("chat", json!(last + 3)).await;
        let (messages, _) = after.polled(&token, &format!("channel=chat&cursor={cursor}")).await;
        assert_eq!(serials(&messages), [last + 3]);
    };
    let held = [
        ("socket", most_held(gateway, by_socket).await),
        ("stream", most_held(gateway, by_stream).await),
        ("polls", most_held(gateway, by_polls).await),
    ];
    println!("{BACKLOG} messages resumed after {:?}: at most so many bytes waited: {held:?}", begun.elapsed());
    assert!(held.iter().all(|(_, held)| *held > 0.0 && *held <= OUTBOX_BYTES), "{held:?}");
}
