//! A rolling restart of the gateways under traffic, with clients of every transport: none loses or doubles a message, and they come back evenly.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use super::*;
use crate::harness::{
    nodes::Node,
    server::{Options, Server},
    stalls::Stalls,
};

mod clients;

use clients::{Client, Drain, Stage, Transport};

const SOCKETS: usize = 2_000;
const STREAMS: usize = 100;
const POLLS: usize = 30;
const CLIENTS: usize = SOCKETS + STREAMS + POLLS;
const CHANNELS: usize = 20;
const WINDOW: Duration = Duration::from_secs(8);
const SECOND: Duration = Duration::from_secs(1);
/// How long clients may take to connect, and all of it to settle once the restarts are over; a machine with much else to do needs it.
const SETTLES: Duration = Duration::from_secs(60);

/// Publishes to each channel in turn, some 20 messages a second, until told; gives how many each has got.
async fn publish(fleet: &[String], tenant: &Tenant, over: &Notify) -> Vec<u64> {
    let mut counts = vec![0; CHANNELS];
    let mut due = tokio::time::interval(Duration::from_millis(50));
    let over = over.notified();
    tokio::pin!(over);
    for number in 0.. {
        tokio::select! { () = &mut over => break, _ = due.tick() => {} }
        let (channel, tenant) = (number % CHANNELS, tenant.at(&fleet[number % 2]));
        post(&tenant, &format!("room-{channel}"), json!(number)).await.expect(reqwest::StatusCode::ACCEPTED);
        counts[channel] += 1;
    }
    counts
}

/// The most of these moments in any second.
fn most_in_a_second(mut moments: Vec<Duration>) -> usize {
    moments.sort_unstable();
    let from = |at: usize| moments[at..].partition_point(|other| *other < moments[at] + SECOND);
    (0..moments.len()).map(from).max().unwrap_or(0)
}

/// How many of them are in each second.
fn by_second(moments: impl Iterator<Item = Duration>) -> Vec<usize> {
    let mut counts = Vec::new();
    for moment in moments {
        let second = moment.as_secs() as usize;
        counts.resize(counts.len().max(second + 1), 0);
        counts[second] += 1;
    }
    counts
}

/// Asks a gateway to end and waits for it; gives the longest time for which this machine kept a timer waiting meanwhile.
async fn end(gateway: &mut Server, drain: &std::sync::Mutex<Drain>) -> Duration {
    let stalls = Stalls::begin();
    drain.lock().expect("nobody panics").begun = Some(Instant::now());
    let status = gateway.terminate().await;
    assert!(status.success(), "{status}\n{}", gateway.stderr());
    stalls.longest()
}

/// Holds a drain to its promises.
fn judge(drain: &Drain, expected: usize, stalled: Duration) {
    let told = || drain.left.iter().map(|one| one.told);
    let closed = || drain.left.iter().map(|one| one.closed);
    let even = drain.left.len() as f64 / WINDOW.as_secs_f64();
    let (planned, seen) = (most_in_a_second(told().collect()), most_in_a_second(closed().collect()));
    println!(
        "{} clients left, {even:.0} a second if evenly; in the worst second {planned} by its word, {seen} by their clocks; a timer was {stalled:?} late",
        drain.left.len()
    );
    println!("second by second, by its word:     {:?}", by_second(told()));
    println!("second by second, by their clocks: {:?}", by_second(closed()));
    println!("{} polls were answered, the last after {:?}", drain.polls.len(), drain.polls.iter().max());
    assert!(drain.left.len() >= expected, "{} of {expected} were told to leave", drain.left.len());
    for one in &drain.left {
        assert!(one.closed >= one.told, "closed {:?} after the drain began, and told {:?}", one.closed, one.told);
    }
    assert!(planned as f64 <= 2.0 * even, "{planned} are told to leave in a second; evenly it would be {even}");
    // Who is closed while nobody on this machine goes on is seen to be closed at once when they do: what one second shows was spread over that and
    // the second.
    let bound = 2.0 * even * (SECOND + stalled).as_secs_f64();
    assert!(
        seen as f64 <= bound,
        "{seen} are closed in a second; evenly it would be {even}, and a timer was {stalled:?} late"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_every_transport_outlive_a_rolling_restart_and_come_back_evenly() {
    let options = |options: Options| {
        let options = options.env("FANFARE_GATEWAY_CONNECTION_PING_INTERVAL", "2s");
        options.env("FANFARE_DRAIN_WINDOW", &format!("{}s", WINDOW.as_secs()))
    };
    let mut fleet = Fleet::start(Production::start(PARTITIONS).await, options).await;
    let tenant = fleet.tenant().await;
    let urls = |nodes: &[Node]| nodes.iter().map(|node| node.url().to_owned()).collect::<Vec<_>>();
    let stage = Arc::new(Stage {
        gateways: urls(&fleet.gateways),
        tenant: tenant.clone(),
        begun: AtomicUsize::new(0),
        subscribed: AtomicUsize::new(0),
        drains: Default::default(),
        last: [const { AtomicU64::new(u64::MAX) }; CHANNELS],
        done: AtomicUsize::new(0),
        over: Notify::new(),
    });
    let transport = |number: usize| match number {
        0..SOCKETS => Transport::Socket,
        SOCKETS.. if number < SOCKETS + STREAMS => Transport::Stream,
        _ => Transport::Poll,
    };
    let client = |number| tokio::spawn(Client::new(&stage, number, transport(number)).follow());
    // Not all at once: the kernel's queue of handshakes is not what is tested.
    let mut clients = Vec::new();
    while clients.len() < CLIENTS {
        let all = CLIENTS.min(clients.len() + 200);
        clients.extend((clients.len()..all).map(client));
        within(SETTLES, "clients subscribe", async || (stage.begun.load(Ordering::SeqCst) >= all).then_some(())).await;
    }
    let (apis, over) = (urls(&fleet.apis), Notify::new());
    let restarting = async {
        let mut stalls = Vec::new();
        for (gateway, drain) in fleet.gateways.iter_mut().zip(&stage.drains) {
            // Whoever is still connecting is told to leave at once.
            let all = async || (stage.subscribed.load(Ordering::SeqCst) == SOCKETS + STREAMS).then_some(());
            within(SETTLES, "all are subscribed", all).await;
            stalls.push(end(gateway, drain).await);
            gateway.restart().await;
        }
        over.notify_one();
        stalls
    };
    let (stalls, published) = tokio::join!(restarting, publish(&apis, &tenant, &over));
    // One more each: whoever gets it has all before it.
    for (channel, count) in published.iter().enumerate() {
        stage.last[channel].store(count + 1, Ordering::SeqCst);
        post(&tenant, &format!("room-{channel}"), json!("last")).await.expect(reqwest::StatusCode::ACCEPTED);
    }
    within(SETTLES, "everybody has everything", async || {
        assert!(!clients.iter().any(tokio::task::JoinHandle::is_finished), "a client has failed");
        (stage.done.load(Ordering::SeqCst) == CLIENTS).then_some(())
    })
    .await;
    stage.over.notify_waiters();
    for client in clients {
        client.await.expect("no client has lost or doubled a message");
    }
    // Half of them are at the first gateway, and then all at the second, since nobody has a reason to leave it.
    for ((drain, stalled), expected) in stage.drains.iter().zip(stalls).zip([1, 2]) {
        let drain = drain.lock().expect("nobody panics");
        judge(&drain, (SOCKETS + STREAMS) * expected / 2, stalled);
        assert!(drain.polls.len() <= POLLS * 2, "a poll is answered once by a gateway that goes");
    }
}
