//! A rolling upgrade: nodes of the build before are replaced one by one while messages flow; both builds serve together all the while.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tokio::sync::Notify;

use super::*;
use crate::{
    chaos::links::{Link, Lost},
    harness::{nodes::Node, server::previous_binary, sockets::PATIENCE, tokens::every_right},
};

/// Messages that are delivered between two replacements.
const BETWEEN: u64 = 40;

/// How far the one subscriber is that is followed.
#[derive(Default)]
struct Progress {
    received: AtomicU64,
    more: Notify,
}

impl Progress {
    async fn reaches(&self, serial: u64) {
        loop {
            let more = self.more.notified();
            if self.received.load(Ordering::SeqCst) >= serial {
                return;
            }
            more.await;
        }
    }
}

/// Publishes 1, 2 … each until it is accepted, at both API nodes in turn.
async fn publish_on(tenant: Tenant, urls: Vec<String>, over: Arc<Notify>) -> u64 {
    let over = over.notified();
    tokio::pin!(over);
    for number in 1.. {
        let body = json!({"data": number, "idempotency_key": number.to_string()});
        for url in urls.iter().cycle() {
            let request = tenant.at(url).request(Method::POST, "/v1/channels/chat/messages");
            let sent = request.bearer_auth(tenant.credential()).json(&body).send().await;
            match sent.map(|answer| answer.status().as_u16()) {
                Ok(202) => break,
                // That node is being replaced, or has just been.
                Ok(503) | Err(_) => {}
                Ok(other) => panic!("{body} was answered {other}"),
            }
        }
        if futures::poll!(&mut over).is_ready() {
            return number;
        }
    }
    unreachable!("numbers do not end")
}

/// Follows the channel from its beginning, at whichever gateway takes it; each number must come as its own serial.
async fn follow(gateways: Vec<String>, token: String, progress: Arc<Progress>) {
    let mut epoch = Value::Null;
    for url in gateways.iter().cycle() {
        match follow_at(url, &token, &mut epoch, &progress).await {
            Lost::Away => tokio::task::yield_now().await,
            Lost::Refused(what) => panic!("{what}"),
        }
    }
}

/// One connection's life.
async fn follow_at(url: &str, token: &str, epoch: &mut Value, progress: &Progress) -> Lost {
    let once = async {
        let mut link = Link::connect(url, token).await?;
        let mut subscribe = json!({"op": "subscribe", "channel": "chat"});
        if !epoch.is_null() {
            subscribe["since"] = json!({"epoch": epoch, "serial": progress.received.load(Ordering::SeqCst)});
        }
        let answer = link.ask(subscribe).await?;
        assert_ne!(answer["resumed"], false, "{answer}");
        *epoch = answer["epoch"].clone();
        loop {
            let event = link.event().await?;
            if event["op"] == "reconnect" {
                return Err(Lost::Away);
            }
            if event["op"] == "message" {
                let next = progress.received.load(Ordering::SeqCst) + 1;
                assert_eq!((&event["serial"], &event["data"]), (&json!(next), &json!(next)), "{event}");
                progress.received.store(next, Ordering::SeqCst);
                progress.more.notify_waiters();
            }
        }
    };
    let lost: Result<std::convert::Infallible, Lost> = once.await;
    let Err(lost) = lost;
    lost
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_of_this_build_and_of_the_one_before_serve_together_and_nothing_is_lost() {
    let production = Production::start(PARTITIONS).await;
    let mut fleet = Fleet::start(production, |options| options.binary(previous_binary())).await;
    let tenant = fleet.tenant().await;
    let token = tenant.short_token("ann", every_right(), 3_600.0);
    let urls = |nodes: &[Node]| nodes.iter().map(|node| node.url().to_owned()).collect::<Vec<_>>();
    let (progress, over) = (Arc::<Progress>::default(), Arc::<Notify>::default());
    // The first message comes after the first subscription, which begins at the head.
    let following = tokio::spawn(follow(urls(&fleet.gateways), token, Arc::clone(&progress)));
    until("the subscriber is there", async || {
        let metrics = reqwest::get(format!("{}/metrics", fleet.gateways[0].ops_url())).await.ok()?.text().await.ok()?;
        metrics.contains("fanfare_subscriptions 1").then_some(())
    })
    .await;
    let publishing = tokio::spawn(publish_on(tenant.clone(), urls(&fleet.apis), Arc::clone(&over)));
    let mut goal = BETWEEN;
    for place in 0..2 {
        for role in 0..3 {
            within(PATIENCE, "messages flow", async || {
                (progress.received.load(Ordering::SeqCst) >= goal).then_some(())
            })
            .await;
            let node = match role {
                0 => &mut fleet.workers[place],
                1 => &mut fleet.gateways[place],
                _ => &mut fleet.apis[place],
            };
            node.upgrade().await;
            goal = progress.received.load(Ordering::SeqCst) + BETWEEN;
        }
    }
    over.notify_one();
    let published = publishing.await.expect("the publisher is answered");
    let all = tokio::time::timeout(PATIENCE, progress.reaches(published));
    all.await.expect("everything published is delivered");
    following.abort();
    let history = tenant.history("chat").await;
    let data: Vec<_> = history.iter().filter_map(|item| item["data"].as_u64()).collect();
    assert_eq!(data, (1..=published).collect::<Vec<_>>());
}
