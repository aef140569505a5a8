//! Pusher's clients over several gateways: one order with everybody else, and restarts that nobody stays away from.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{io::copy_bidirectional, net::TcpListener, net::TcpStream};

use super::*;
use crate::harness::{
    pusher_sockets::{PusherSocket, data, switch},
    server::Options,
    stock,
};

#[actix_web::test]
async fn a_pusher_client_here_and_a_native_one_there_see_one_order_and_one_of_them_resumes() {
    let fleet = Fleet::start(Production::start(4).await, |options| options).await;
    let tenant = fleet.tenant().await;
    switch(&tenant, json!({"pusher": true})).await;
    let mut pusher = PusherSocket::connect(fleet.gateways[0].url(), &tenant.key).await;
    pusher.subscribe("mixed").await;
    let mut native = fleet.join(&tenant, 1, "nat").await;
    let followed = native.subscribe("mixed").await;
    for n in 0..40 {
        tenant.at(fleet.apis[n % 2].url()).publish("mixed", json!({"n": n})).await;
    }
    let heard: Vec<_> = native.messages(40).await.iter().map(|message| message["data"].clone()).collect();
    for expected in &heard {
        assert_eq!(data(&pusher.event_of("message").await), *expected);
    }
    // What the one missed while it was away, the other saw go by.
    native.drop_connection();
    for n in 40..60 {
        tenant.publish("mixed", json!({"n": n})).await;
    }
    let mut native = fleet.join(&tenant, 0, "nat").await;
    let epoch = followed["epoch"].as_str().expect("a text");
    assert_eq!(native.resume("mixed", epoch, 40).await["resumed"], true);
    for message in native.messages(20).await {
        assert_eq!(data(&pusher.event_of("message").await), message["data"]);
    }
    // Members are the same at both, whatever they speak.
    let mut other = PusherSocket::connect(fleet.gateways[1].url(), &tenant.key).await;
    pusher.join(&tenant, "presence-mixed", "ann").await;
    let members = other.join(&tenant, "presence-mixed", "bob").await;
    assert_eq!(members["ids"], json!(["ann", "bob"]));
    assert_eq!(data(&pusher.event_of("pusher_internal:member_added").await)["user_id"], "bob");
    other.trigger("presence-mixed", "client-x", json!({"to": "ann"})).await;
    assert_eq!(pusher.event_of("client-x").await["user_id"], "bob");
}

#[actix_web::test]
async fn the_members_of_a_gateway_that_is_killed_are_removed_once() {
    let mut fleet = Fleet::start(Production::start(4).await, |options| options).await;
    let tenant = fleet.tenant().await;
    switch(&tenant, json!({"pusher": true})).await;
    let mut watcher = PusherSocket::connect(fleet.gateways[1].url(), &tenant.key).await;
    watcher.join(&tenant, "presence-killed", "watcher").await;
    let mut members = Vec::new();
    for n in 0..10 {
        let mut member = PusherSocket::connect(fleet.gateways[0].url(), &tenant.key).await;
        member.join(&tenant, "presence-killed", &format!("user{n}")).await;
        members.push(member);
    }
    for _ in 0..10 {
        watcher.event_of("pusher_internal:member_added").await;
    }
    fleet.gateways[0].kill9().await;
    let mut removed = Vec::new();
    for _ in 0..10 {
        let said = watcher.event_of("pusher_internal:member_removed").await;
        removed.push(data(&said)["user_id"].as_str().expect("a text").to_owned());
    }
    removed.sort();
    removed.dedup();
    assert_eq!(removed.len(), 10);
    assert!(watcher.until_now().await.is_empty());
}

const CLIENTS: usize = 500;
const WINDOW: Duration = Duration::from_secs(10);

/// Hands each connection to the next of the gateways that takes it, without asking whether it wants more.
async fn balance(gateways: Vec<String>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let address = listener.local_addr().expect("it is bound").to_string();
    let next = Arc::new(AtomicUsize::new(0));
    actix_web::rt::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let (gateways, next) = (gateways.clone(), next.clone());
            actix_web::rt::spawn(async move {
                for _ in 0..gateways.len() {
                    let at = next.fetch_add(1, Ordering::SeqCst) % gateways.len();
                    if let Ok(mut gateway) = TcpStream::connect(&gateways[at]).await {
                        let _ = copy_bidirectional(&mut client, &mut gateway).await;
                        return;
                    }
                }
            });
        }
    });
    address
}

#[actix_web::test]
async fn five_hundred_stock_clients_outlive_a_rolling_restart_and_come_back_spread() {
    let window = format!("{}s", WINDOW.as_secs());
    let options = |options: Options| options.env("FANFARE_DRAIN_WINDOW", &window);
    let Fleet { apis, gateways, workers, production } = Fleet::start(Production::start(4).await, options).await;
    let tenant = Tenant::sign_up(&apis[0]).await;
    let switched = switch(&tenant, json!({"pusher": true})).await;
    let authority = |url: &str| url.split_once("://").expect("a URL").1.to_owned();
    let addresses: Vec<_> = gateways.iter().map(|gateway| authority(gateway.url())).collect();
    let front = format!("http://{}", balance(addresses.clone()).await);
    let more = [("FANFARE_CLIENTS", CLIENTS.to_string())];
    let mut storm = stock::start("storm.mjs", &tenant, &switched, &[&front], &more);
    assert_eq!(storm.line().await.as_deref(), Some("ready"));
    storm.say("publish 5").await;
    assert_eq!(storm.line().await.as_deref(), Some("published 5"));
    let mut restarted = Vec::new();
    for (mut gateway, address) in gateways.into_iter().zip(&addresses) {
        assert!(gateway.terminate().await.success(), "{}", gateway.stderr());
        let again = options(Options::role("gateway")).env("FANFARE_LISTEN", address);
        restarted.push(production.node_with(again).await);
    }
    storm.say("publish 5").await;
    assert_eq!(storm.line().await.as_deref(), Some("published 10"));
    storm.say("end").await;
    let report: Vec<Value> = serde_json::from_str(&storm.line().await.expect("a report")).expect("JSON");
    assert_eq!(report.len(), CLIENTS);
    let mut comebacks: Vec<u64> = Vec::new();
    for client in &report {
        let is_well = client["state"] == "connected"
            && client["failed"] == false
            && client["doubled"] == false
            && client["ordered"] == true
            && client["has_last"] == true;
        assert!(is_well, "{client}");
        let connects = client["connects"].as_array().expect("a list");
        comebacks.extend(connects[1..].iter().map(|at| at.as_u64().expect("a time")));
    }
    // Each restart sends away whoever is there, evenly over the window.
    let even = CLIENTS as u64 / WINDOW.as_secs();
    let mut seconds = std::collections::BTreeMap::<u64, u64>::new();
    comebacks.iter().for_each(|at| *seconds.entry(at / 1_000).or_default() += 1);
    let most = seconds.values().max().copied().unwrap_or_default();
    println!("{} comebacks, at most {most} in a second where {even} is even: {:?}", comebacks.len(), seconds.values());
    assert!(comebacks.len() >= CLIENTS / 2, "both gateways had clients");
    assert!(most <= 2 * even, "{seconds:?}");
    drop((restarted, workers));
}
