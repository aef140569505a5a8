//! Drains: a gateway that is asked to end sends its clients away one by one, and serves each until its time.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;

use crate::harness::{
    server::{Options, Server, signal},
    sockets::{Received, Socket},
    stalls::Stalls,
    tenants::{Answer, Tenant},
    tokens::every_right,
};

/// What was answered so long before a client's time is delivered to it, besides what is lost to others.
const DELIVERED: Duration = Duration::from_millis(500);
/// Long enough that a test which waits for it fails.
const NEVER: &str = "10m";

async fn start(window: &str) -> (Server, Tenant) {
    let server = Server::start(Options::default().env("FANFARE_DRAIN_WINDOW", window)).await;
    let tenant = Tenant::sign_up(&server).await;
    (server, tenant)
}

async fn join(tenant: &Tenant, count: usize) -> Vec<Socket> {
    let mut sockets = Vec::new();
    for n in 0..count {
        let token = tenant.short_token(&format!("client-{n}"), every_right(), 600.0);
        let mut socket = Socket::connect(&tenant.url, &token).await;
        socket.subscribe("room").await;
        sockets.push(socket);
    }
    sockets
}

/// A client's drain: what it was told and when it heard that, when it was closed, and the messages that came before.
struct Left {
    told: Duration,
    heard: Duration,
    closed: Duration,
    messages: Vec<u64>,
}

/// Reads a socket until the drain closes it.
async fn leave(socket: &mut Socket, begun: Instant) -> Left {
    let (mut told, mut messages) = (None, Vec::new());
    let end = loop {
        match socket.next().await {
            Received::Json(event) if event["op"] == "reconnect" => {
                assert_eq!(event["reason"], "draining", "{event}");
                let after = Duration::from_millis(event["after_ms"].as_u64().expect("a number"));
                assert!(told.replace((after, begun.elapsed())).is_none(), "it is told once");
            }
            Received::Json(event) => messages.extend(event["serial"].as_u64()),
            end => break end,
        }
    };
    let closed = begun.elapsed();
    assert_eq!(end, Received::Close(4200, "draining".into()));
    let (told, heard) = told.expect("it is told");
    Left { told, heard, closed, messages }
}

#[tokio::test]
async fn each_client_is_told_its_own_time_and_served_until_then_and_closed() {
    let (mut server, tenant) = start("4s").await;
    let mut sockets = join(&tenant, 40).await;
    let mut fresh = Socket::open(&tenant.url).await;
    let (begun, stalls) = (Instant::now(), Stalls::begin());
    signal(server.pid(), "TERM");
    assert_eq!(fresh.event_of("reconnect").await["after_ms"], 0, "nobody knows who this is");
    assert_eq!(fresh.closed().await.1, Received::Close(4200, "draining".into()));
    let client = reqwest::Client::builder().no_proxy().build().expect("a client can be built");
    let ready = Answer::of(client.get(format!("{}/readyz", server.ops_url()))).await;
    assert_eq!(ready.body["ready"], false, "{}", ready.text);
    Answer::of(tenant.request(Method::GET, "/v1/connect")).await.expect_problem(503, "draining");
    // The rest of the process goes on: what is published is answered and delivered.
    let publishing = async {
        let mut answered = Vec::new();
        while begun.elapsed() < Duration::from_secs(3) {
            assert_eq!(tenant.publish("room", json!("on")).await, answered.len() as u64 + 1);
            answered.push(begun.elapsed());
        }
        answered
    };
    let leaving = futures::future::join_all(sockets.iter_mut().map(|socket| leave(socket, begun)));
    let ending = async {
        let status = server.exited().await;
        (status, begun.elapsed())
    };
    let (answered, mut left, (status, ended)) = tokio::join!(publishing, leaving, ending);
    assert!(status.success(), "{status}\n{}", server.stderr());
    // The window, and what a process may take to end after it.
    stalls.hold("the drain", ended, Duration::from_secs(9));

    // Slots are 100 ms apart, from the moment in which the server begins; what each client is told is what is left of its slot in the moment in
    // which it is told, which is not later than it hears of it.
    let slots = || (0..40).map(|slot| Duration::from_millis(slot * 100));
    left.sort_by_key(|one| one.told + one.heard);
    for (slot, one) in slots().zip(&left) {
        assert!(
            one.told + one.heard >= slot,
            "slot {slot:?}: told {:?}, which was heard after {:?}",
            one.told,
            one.heard
        );
    }
    left.sort_by_key(|one| one.told);
    for (slot, one) in slots().zip(&left) {
        assert!(one.told <= slot, "slot {slot:?}: told {:?}", one.told);
        assert!(one.closed >= one.told, "slot {slot:?}: told {:?}, closed after {:?}", one.told, one.closed);
        assert_eq!(one.messages, (1..=one.messages.len() as u64).collect::<Vec<_>>());
    }
    let (lost, last) = (stalls.lost(), &left[39]);
    let in_time = answered.iter().filter(|at| **at + DELIVERED + lost < last.told).count();
    assert!(
        last.messages.len() >= in_time,
        "the last one is served until its time: {} of {in_time}",
        last.messages.len()
    );
    for pair in left.windows(21) {
        let apart = pair[20].closed.saturating_sub(pair[0].closed) + lost;
        assert!(apart > Duration::from_secs(1), "more than 20 of 40 in a second of 4");
    }

    let published = answered.len() as u64;
    server.restart().await;
    let head = tenant.join("looker").await.subscribe("room").await;
    let epoch = head["epoch"].as_str().expect("an epoch");
    for one in left.iter().step_by(13) {
        let token = tenant.short_token("again", every_right(), 600.0);
        let mut socket = Socket::connect(&tenant.url, &token).await;
        let had = one.messages.len() as u64;
        assert_eq!(socket.resume("room", epoch, had).await["resumed"], true);
        for serial in had + 1..=published {
            assert_eq!(socket.event_of("message").await["serial"], serial);
        }
    }
}

#[tokio::test]
async fn a_server_whose_clients_have_all_left_ends_before_the_window_does() {
    let (mut server, tenant) = start(NEVER).await;
    let mut sockets = join(&tenant, 5).await;
    signal(server.pid(), "TERM");
    for socket in &mut sockets {
        socket.event_of("reconnect").await;
    }
    for socket in sockets {
        socket.close().await;
    }
    assert!(server.exited().await.success());
}

#[tokio::test]
async fn without_clients_and_on_sigint_and_on_a_second_signal_a_server_ends_at_once() {
    let (mut server, tenant) = start(NEVER).await;
    assert!(server.terminate().await.success());
    for (first, second) in [("INT", None), ("TERM", Some("TERM")), ("TERM", Some("INT"))] {
        server.restart().await;
        let mut sockets = join(&tenant, 5).await;
        signal(server.pid(), first);
        if let Some(second) = second {
            // The first slot is at once; those after it are far away.
            let told = futures::future::join_all(sockets.iter_mut().map(|socket| socket.event_of("reconnect"))).await;
            assert_eq!(told.iter().filter(|event| event["after_ms"] != json!(0)).count(), 4, "{told:?}");
            signal(server.pid(), second);
        }
        let ended = async {
            let (begun, stalls) = (Instant::now(), Stalls::begin());
            assert!(server.exited().await.success());
            stalls.hold(&format!("the end by {first}, {second:?},"), begun.elapsed(), Duration::from_secs(5));
        };
        let closed = futures::future::join_all(sockets.iter_mut().map(Socket::closed));
        let ((), closed) = tokio::join!(ended, closed);
        for (events, end) in closed {
            assert_eq!(end, Received::Close(4200, "draining".into()));
            let last =
                events.iter().filter(|event| event["op"] == "reconnect").map(|event| &event["after_ms"]).next_back();
            assert!(last.is_none_or(|after| *after == 0), "{events:?}");
        }
    }
}
