//! A rolling restart of the gateways under traffic, with two thousand clients: none loses or doubles a message, and they come back evenly.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use super::*;
use crate::{
    chaos::links::{Link, Lost},
    harness::{server::Options, tokens::every_right},
};

const CLIENTS: usize = 2_000;
const CHANNELS: usize = 20;
const WINDOW: Duration = Duration::from_secs(8);
/// How long clients may take to connect, and all of it to settle once the restarts are over; a machine with much else to do needs it.
const SETTLES: Duration = Duration::from_secs(60);

/// What all clients share.
struct Stage {
    gateways: Vec<String>,
    tenant: Tenant,
    /// Clients whose subscription has begun.
    begun: AtomicUsize,
    /// Those who are subscribed now.
    subscribed: AtomicUsize,
    /// When clients of each gateway were to leave by its word, since it began to drain, and when they saw their close.
    plans: [Mutex<Vec<Duration>>; 2],
    closes: [Mutex<Vec<Instant>>; 2],
    /// The last serial of each channel, once it is known; clients that have it are done.
    last: [AtomicU64; CHANNELS],
    done: AtomicUsize,
    over: Notify,
}

/// One client: its channel, and how much of it has come.
struct Client {
    stage: Arc<Stage>,
    number: usize,
    epoch: Value,
    serial: u64,
}

impl Client {
    /// Follows the channel over as many connections as it takes.
    async fn follow(mut self) {
        let over = self.stage.clone();
        let over = over.over.notified();
        tokio::pin!(over);
        for round in self.number.. {
            tokio::select! {
                () = &mut over => return,
                lost = self.once(round % 2) => match lost {
                    // The gateway refuses while it drains and while it starts; the other one does not.
                    Lost::Away => tokio::task::yield_now().await,
                    Lost::Refused(what) => panic!("client {}: {what}", self.number),
                }
            }
        }
    }

    async fn once(&mut self, gateway: usize) -> Lost {
        let stage = Arc::clone(&self.stage);
        let mut told = None;
        let mut counted = false;
        let lost = self.connected(&stage.gateways[gateway], &mut told, &mut counted).await;
        stage.subscribed.fetch_sub(counted.into(), Ordering::SeqCst);
        if let Some(after) = told {
            stage.plans[gateway].lock().expect("nobody panics").push(after);
            stage.closes[gateway].lock().expect("nobody panics").push(Instant::now());
        }
        let Err(lost) = lost;
        lost
    }

    /// One connection's life, which is over when it is closed; `told` is when it was to leave, by the first word.
    async fn connected(
        &mut self,
        url: &str,
        told: &mut Option<Duration>,
        counted: &mut bool,
    ) -> Result<std::convert::Infallible, Lost> {
        let token = self.stage.tenant.short_token(&format!("client-{}", self.number), every_right(), 600.0);
        let mut link = Link::connect(url, &token).await?;
        let channel = self.number % CHANNELS;
        let mut subscribe = json!({"op": "subscribe", "channel": format!("room-{channel}")});
        if !self.epoch.is_null() {
            subscribe["since"] = json!({"epoch": self.epoch, "serial": self.serial});
        }
        let answer = link.ask(subscribe).await?;
        assert_ne!(answer["resumed"], false, "{answer}");
        *counted = true;
        self.stage.subscribed.fetch_add(1, Ordering::SeqCst);
        if self.epoch.is_null() {
            self.epoch = answer["epoch"].clone();
            self.stage.begun.fetch_add(1, Ordering::SeqCst);
        }
        loop {
            let event = link.event().await?;
            match event["op"].as_str() {
                Some("reconnect") => {
                    let after = Duration::from_millis(event["after_ms"].as_u64().expect("a number"));
                    told.get_or_insert(after);
                }
                Some("message") => {
                    assert_eq!(event["serial"], self.serial + 1, "client {}: {event}", self.number);
                    self.serial += 1;
                    if self.serial == self.stage.last[channel].load(Ordering::SeqCst) {
                        self.stage.done.fetch_add(1, Ordering::SeqCst);
                    }
                }
                _ => {}
            }
        }
    }
}

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
    let from = |at: usize| moments[at..].partition_point(|other| *other < moments[at] + Duration::from_secs(1));
    (0..moments.len()).map(from).max().unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_clients_outlive_a_rolling_restart_and_come_back_evenly() {
    let options = |options: Options| {
        let options = options.env("FANFARE_GATEWAY_CONNECTION_PING_INTERVAL", "2s");
        options.env("FANFARE_DRAIN_WINDOW", &format!("{}s", WINDOW.as_secs()))
    };
    let mut fleet = Fleet::start(Production::start(PARTITIONS).await, options).await;
    let tenant = fleet.tenant().await;
    let urls =
        |nodes: &[crate::harness::nodes::Node]| nodes.iter().map(|node| node.url().to_owned()).collect::<Vec<_>>();
    let stage = Arc::new(Stage {
        gateways: urls(&fleet.gateways),
        tenant: tenant.clone(),
        begun: AtomicUsize::new(0),
        subscribed: AtomicUsize::new(0),
        plans: Default::default(),
        closes: Default::default(),
        last: [const { AtomicU64::new(u64::MAX) }; CHANNELS],
        done: AtomicUsize::new(0),
        over: Notify::new(),
    });
    let client = |number| Client { stage: Arc::clone(&stage), number, epoch: Value::Null, serial: 0 };
    // Not all at once: the kernel's queue of handshakes is not what is tested.
    let mut clients = Vec::new();
    for batch in 0..CLIENTS / 200 {
        clients.extend((batch * 200..(batch + 1) * 200).map(|number| tokio::spawn(client(number).follow())));
        let all = (batch + 1) * 200;
        within(SETTLES, "clients subscribe", async || (stage.begun.load(Ordering::SeqCst) >= all).then_some(())).await;
    }
    let (apis, over) = (urls(&fleet.apis), Notify::new());
    let restarting = async {
        for gateway in &mut fleet.gateways {
            // Whoever is still connecting is told to leave at once.
            let all = async || (stage.subscribed.load(Ordering::SeqCst) == CLIENTS).then_some(());
            within(SETTLES, "all are subscribed", all).await;
            let status = gateway.terminate().await;
            assert!(status.success(), "{status}\n{}", gateway.stderr());
            gateway.restart().await;
        }
        over.notify_one();
    };
    let ((), published) = tokio::join!(restarting, publish(&apis, &tenant, &over));
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
    for (gateway, (plans, closes)) in stage.plans.iter().zip(&stage.closes).enumerate() {
        let (plans, closes) = (plans.lock().expect("nobody panics"), closes.lock().expect("nobody panics"));
        let even = plans.len() as f64 / WINDOW.as_secs_f64();
        let planned = most_in_a_second(plans.clone());
        let first = closes.iter().min().copied();
        let seen = most_in_a_second(closes.iter().map(|at| *at - first.expect("there is one")).collect());
        println!(
            "gateway {gateway}: {} clients left, {even:.0} a second if evenly; in the worst second {planned} by its word, {seen} by their clocks",
            plans.len()
        );
        // Their clocks are those of a machine that has all of them to serve; what they do is asserted of the word that they were given.
        assert!(plans.len() >= CLIENTS / 2 && planned as f64 <= 2.0 * even, "{planned} of {}", plans.len());
    }
}
