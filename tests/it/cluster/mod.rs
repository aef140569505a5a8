//! Several nodes of each role on production engines: they are one service, and every engine and node may be away for a while.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{
    nodes::{Fleet, Links, Production},
    proxy::Proxy,
    server::Server,
    sockets::Socket,
    tenants::{Answer, Tenant},
    waiting::{until, within},
};

mod browsers;
mod caches;
mod deliveries;
mod drains;
mod ephemerals;
mod gateways;
mod limits;
mod occupancy;
mod postgres;
mod prefixes;
mod presence;
mod pusher;
mod rabbitmq;
mod readiness;
mod redis;
mod restored;
mod resumes;
mod revocations;
mod revoked_flows;
mod rolling;
mod sdk;
mod spread;
mod streams;
mod webhooks;
mod workers;

const PARTITIONS: u16 = 4;

/// Two nodes of each role on the servers that the tests share, with a Redis of their own.
async fn fleet() -> Fleet {
    Fleet::start(Production::start(PARTITIONS).await, |options| options).await
}

/// Takes an engine away from every node: connections are closed, new ones refused.
fn cut(fleet: &Fleet, engine: fn(&Links) -> &Proxy) {
    fleet.links(engine).into_iter().for_each(Proxy::cut);
}

/// Gives it back.
fn restore(fleet: &Fleet, engine: fn(&Links) -> &Proxy) {
    fleet.links(engine).into_iter().for_each(Proxy::restore);
}

/// A publish that is answered as soon as the queue has it.
async fn post(tenant: &Tenant, channel: &str, data: Value) -> Answer {
    tenant.data(Method::POST, &format!("/v1/channels/{channel}/messages"), json!({"data": data})).await
}

/// Publishes `1`, `2` … to `count` under keys, each until it is accepted, in turn at both API nodes.
async fn publish_numbers(fleet: &Fleet, tenant: &Tenant, channel: &str, numbers: std::ops::RangeInclusive<u64>) {
    for number in numbers {
        let tenant = tenant.at(fleet.apis[number as usize % 2].url());
        let body = json!({"data": number, "idempotency_key": format!("{channel}-{number}")});
        until("the publish is accepted", async || {
            let answer = tenant.data(Method::POST, &format!("/v1/channels/{channel}/messages"), body.clone()).await;
            match answer.status {
                202 => Some(()),
                503 => None,
                _ => panic!("{answer:?}"),
            }
        })
        .await;
    }
}

/// The next messages must be these numbers, at the serials that are the same numbers.
async fn receive_numbers(socket: &mut Socket, numbers: std::ops::RangeInclusive<u64>) {
    for number in numbers {
        let message = socket.event_of("message").await;
        assert_eq!((&message["serial"], &message["data"]), (&json!(number), &json!(number)), "{message}");
    }
}

/// Waits until `/readyz` of a process says so.
async fn until_ready(server: &Server, ready: bool) -> Value {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client can be built");
    let url = format!("{}/readyz", server.ops_url());
    until(if ready { "it becomes ready" } else { "it becomes unready" }, async || {
        let answer = Answer::of(client.get(&url)).await;
        (answer.body["ready"] == ready).then_some(answer.body)
    })
    .await
}
