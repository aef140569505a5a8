//! What a broker that is killed, stopped or cut off costs: time, and nothing that was accepted.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use fanfare_domain::{
    apps::App,
    ids::MessageId,
    publishing::{Intake, IntakeError, Queues},
};
use fanfare_infra::{
    names::Names,
    rabbitmq::{Rabbit, declare},
};
use fanfare_protocol::requests::Ack;
use futures::future::join_all;
use tokio::task::JoinHandle;

use super::{PARTITIONS, connected, numbered, open, partition};
use crate::{
    harness::{proxy::Proxy, rabbitmq, stalls::Stalls, waiting::within},
    stores::{
        queue::{app, next},
        samples::message,
    },
};

const CHANNELS: usize = 8;
const LONG: Duration = Duration::from_secs(90);

/// What each channel's one caller was told was accepted, in order.
type Receipts = Arc<Mutex<BTreeMap<usize, Vec<MessageId>>>>;

/// Publishes one message after the other to a channel, until told to end; those that are not accepted are not repeated.
fn publisher(
    rabbit: &Arc<Rabbit>,
    app: &App,
    channel: usize,
    receipts: &Receipts,
    end: &Arc<AtomicBool>,
) -> JoinHandle<()> {
    let (rabbit, app, receipts, end) = (rabbit.clone(), app.clone(), receipts.clone(), end.clone());
    tokio::spawn(async move {
        for number in 0_u64.. {
            if end.load(Ordering::SeqCst) {
                return;
            }
            let sent = message(&app, &format!("c:{channel}"), &number.to_string());
            let id = sent.message.id.clone();
            if rabbit.submit(vec![sent], Ack::Accepted).await[0].is_ok() {
                receipts.lock().unwrap().entry(channel).or_default().push(id);
            }
        }
    })
}

/// What was handed out by channel, and whether it was flagged.
type Seen = Arc<Mutex<HashMap<String, Vec<(MessageId, bool)>>>>;

/// Takes from a partition for good, again after each loss.
fn taker(rabbit: &Arc<Rabbit>, partition: u16, seen: &Seen) -> JoinHandle<()> {
    let (rabbit, seen) = (rabbit.clone(), seen.clone());
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        loop {
            ticks.tick().await;
            let Ok(queue) = rabbit.open(partition).await else { continue };
            while let Some(batch) = queue.next().await {
                for accepted in batch.messages() {
                    let handed = (accepted.message.id.clone(), accepted.redelivered);
                    seen.lock().unwrap().entry(accepted.channel.to_string()).or_default().push(handed);
                }
                batch.ack().await;
            }
        }
    })
}

fn accepted(receipts: &Receipts) -> usize {
    receipts.lock().unwrap().values().map(Vec::len).sum()
}

/// Every accepted message was handed out, those of a channel in their order; what came again was flagged.
fn check(receipts: &Receipts, seen: &Seen) -> Result<(), String> {
    let seen = seen.lock().unwrap();
    for (channel, accepted) in receipts.lock().unwrap().iter() {
        let mut met = HashSet::new();
        let mut first = Vec::new();
        for (id, flagged) in seen.get(&format!("c:{channel}")).into_iter().flatten() {
            if met.insert(id.clone()) {
                first.push(id.clone());
            } else if !flagged {
                return Err(format!("{id} came again without a flag"));
            }
        }
        let wanted: HashSet<_> = accepted.iter().collect();
        first.retain(|id| wanted.contains(id));
        if first != *accepted {
            return Err(format!("channel {channel}: {} of {} in order", first.len(), accepted.len()));
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_was_accepted_survives_a_kill_of_the_broker_in_order() {
    let mut broker = rabbitmq::Private::start().await;
    let url = broker.url();
    declare(&url, &Names::default(), PARTITIONS).await.unwrap();
    let rabbit = connected(&url).await;
    let (receipts, seen, end) = (Receipts::default(), Seen::default(), Arc::new(AtomicBool::new(false)));
    let app = app();
    let publishers: Vec<_> = (0..CHANNELS).map(|channel| publisher(&rabbit, &app, channel, &receipts, &end)).collect();
    let takers: Vec<_> = (0..PARTITIONS).map(|partition| taker(&rabbit, partition, &seen)).collect();
    for _ in 0..2 {
        // A queue that was declared just before the kill would not come back.
        let (begun, before) = (Instant::now(), accepted(&receipts));
        within(LONG, "traffic", async || {
            (begun.elapsed() > Duration::from_millis(1_500) && accepted(&receipts) > before + 200).then_some(())
        })
        .await;
        broker.engine().kill9().await;
        within(LONG, "the outage is noticed", async || (rabbit.publishing() == "away").then_some(())).await;
        broker.engine().restart().await;
    }
    let before = accepted(&receipts);
    within(LONG, "traffic again", async || (accepted(&receipts) > before + 200).then_some(())).await;
    end.store(true, Ordering::SeqCst);
    join_all(publishers).await.into_iter().for_each(|ended| ended.unwrap());
    let mut last = String::new();
    let deadline = Instant::now() + LONG;
    within(LONG + LONG, "everything", async || match check(&receipts, &seen) {
        Ok(()) => Some(()),
        Err(problem) => {
            last = problem;
            assert!(Instant::now() < deadline, "{last}");
            None
        }
    })
    .await;
    takers.into_iter().for_each(|taker| taker.abort());
}

#[tokio::test]
async fn a_cut_connection_ends_what_waits_at_once_and_comes_back_by_itself() {
    let vhost = rabbitmq::broker().await;
    let port = vhost.url.rsplit(':').next().unwrap().split('/').next().unwrap().to_owned();
    let proxy = Proxy::start(port.parse().unwrap()).await;
    declare(&vhost.url, &Names::default(), PARTITIONS).await.unwrap();
    let rabbit = connected(&vhost.url.replace(&port, &proxy.port().to_string())).await;
    let app = app();
    let queue = open(&rabbit, partition(&app)).await;
    let waiting = {
        let (rabbit, app) = (rabbit.clone(), app.clone());
        tokio::spawn(async move { rabbit.submit(vec![numbered(&app, 1)], Ack::Persisted).await })
    };
    let batch = next(queue.as_ref()).await.unwrap();
    let (begun, stalls) = (Instant::now(), Stalls::begin());
    proxy.cut();
    assert_eq!(waiting.await.unwrap(), [Err(IntakeError::Unconfirmed)], "it may be stored, but nobody can say so");
    stalls.hold("the end of what waited", begun.elapsed(), Duration::from_secs(3));
    assert!(next(queue.as_ref()).await.is_none());
    batch.ack().await;
    assert_eq!(rabbit.submit(vec![numbered(&app, 2)], Ack::Accepted).await, [Err(IntakeError::Unavailable)]);
    proxy.restore();
    within(LONG, "connected", async || (rabbit.publishing() == "connected").then_some(())).await;
    let queue = open(&rabbit, partition(&app)).await;
    let batch = next(queue.as_ref()).await.unwrap();
    assert_eq!(super::numbers(batch.as_ref()), [1]);
    assert!(batch.messages()[0].redelivered);
    batch.ack().await;
}

#[tokio::test]
async fn a_broker_that_stops_confirming_leaves_publishes_unconfirmed() {
    let vhost = rabbitmq::broker().await;
    let port = vhost.url.rsplit(':').next().unwrap().split('/').next().unwrap().to_owned();
    let proxy = Proxy::start(port.parse().unwrap()).await;
    declare(&vhost.url, &Names::default(), PARTITIONS).await.unwrap();
    let rabbit = connected(&vhost.url.replace(&port, &proxy.port().to_string())).await;
    proxy.stall();
    let (begun, stalls) = (Instant::now(), Stalls::begin());
    let answer = rabbit.submit(vec![numbered(&app(), 1)], Ack::Accepted).await;
    assert_eq!(answer, [Err(IntakeError::Unconfirmed)]);
    assert!(begun.elapsed() > Duration::from_secs(4), "{:?}", begun.elapsed());
    stalls.hold("giving up", begun.elapsed(), Duration::from_secs(7));
    within(LONG, "the silence is noticed", async || (rabbit.publishing() == "away").then_some(())).await;
    stalls.hold("noticing the silence", begun.elapsed(), Duration::from_secs(15));
    proxy.restore();
    within(LONG, "connected", async || (rabbit.publishing() == "connected").then_some(())).await;
    rabbit.probe().await.unwrap();
}
