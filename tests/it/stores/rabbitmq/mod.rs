//! The contract of the durable queue on RabbitMQ, and what holds there beyond it.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use fanfare_domain::{
    apps::App,
    history::Appended,
    partitions::{Partition, partition_of},
    publishing::{Accepted, Batch, Intake, IntakeError, Queue, QueueError, Queues, Receipt},
};
use fanfare_infra::{
    names::Names,
    rabbitmq::{self, Rabbit, RabbitConfig},
};
use fanfare_protocol::requests::Ack;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, options::BasicPublishOptions};
use secrecy::SecretString;

use super::{
    queue::{self, next, stored},
    samples::{channel, message},
};
use crate::harness::{
    rabbitmq::{Vhost, broker},
    waiting::{until, within},
};

mod accepting;
mod dead_letters;
mod declaring;
mod outages;
mod taking;

pub const PARTITIONS: Partition = 4;

/// A broker's queues, all empty.
pub struct Ground {
    pub url: String,
    pub rabbit: Arc<Rabbit>,
    _vhost: Vhost,
}

pub async fn ground() -> Ground {
    bounded(rabbitmq::QUEUE_BYTES).await
}

/// Queues that hold so many bytes.
pub async fn bounded(queue_bytes: u64) -> Ground {
    let vhost = broker().await;
    rabbitmq::declare_bounded(&vhost.url, &Names::default(), PARTITIONS, queue_bytes).await.unwrap();
    Ground { url: vhost.url.clone(), rabbit: connected(&vhost.url).await, _vhost: vhost }
}

pub fn connecting(url: &str) -> Arc<Rabbit> {
    Rabbit::connect(RabbitConfig {
        url: SecretString::from(url.to_owned()),
        names: Names::default(),
        partitions: PARTITIONS,
    })
}

pub async fn connected(url: &str) -> Arc<Rabbit> {
    let rabbit = connecting(url);
    until("connected", async || (rabbit.publishing() == "connected").then_some(())).await;
    rabbit
}

/// Takes a partition over, once nobody else takes from it and the broker is there.
pub async fn open(rabbit: &Rabbit, partition: Partition) -> Arc<dyn Queue> {
    within(Duration::from_secs(60), "the queue", async || match rabbit.open(partition).await {
        Ok(queue) => Some(queue),
        Err(QueueError::Busy | QueueError::Unavailable(_)) => None,
        Err(QueueError::Newer) => panic!("a newer message"),
    })
    .await
}

/// The only partition that the channel `a` of the app is in.
pub fn partition(app: &App) -> Partition {
    partition_of(&app.id, &channel("a"), PARTITIONS)
}

/// A message for the channel `a` that holds its number.
pub fn numbered(app: &App, number: u64) -> Accepted {
    message(app, "a", &number.to_string())
}

pub fn number(accepted: &Accepted) -> u64 {
    accepted.message.data.get().parse().unwrap()
}

pub fn numbers(batch: &dyn Batch) -> Vec<u64> {
    batch.messages().iter().map(number).collect()
}

/// Accepts numbered messages, each as a request of its own.
pub async fn accept(rabbit: &Rabbit, app: &App, numbers: impl IntoIterator<Item = u64>) {
    for each in numbers {
        rabbit.submit(vec![numbered(app, each)], Ack::Accepted).await[0].as_ref().unwrap();
    }
}

/// Takes and acknowledges messages until so many have come.
pub async fn take(queue: &dyn Queue, count: usize) -> Vec<Accepted> {
    let mut taken = Vec::new();
    while taken.len() < count {
        let batch = next(queue).await.unwrap();
        taken.extend_from_slice(batch.messages());
        batch.ack().await;
    }
    taken
}

/// Takes messages without acknowledging them, until so many have come.
pub async fn hold(queue: &dyn Queue, count: usize) -> (Vec<u64>, Vec<Box<dyn Batch>>) {
    let (mut held, mut batches) = (Vec::new(), Vec::new());
    while held.len() < count {
        let batch = next(queue).await.unwrap();
        held.extend(numbers(batch.as_ref()));
        batches.push(batch);
    }
    (held, batches)
}

/// The broker without our code.
pub async fn bare(url: &str) -> (Connection, Channel) {
    let connection = Connection::connect(url, ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    (connection, channel)
}

/// Puts any bytes into a partition's queue.
pub async fn put(url: &str, partition: Partition, body: &[u8]) {
    let (_connection, channel) = bare(url).await;
    channel.confirm_select(Default::default()).await.unwrap();
    let properties = BasicProperties::default().with_delivery_mode(2).with_message_id("theirs".into());
    let name = Names::default().queue(partition).as_str().into();
    let published = channel.basic_publish("".into(), name, BasicPublishOptions::default(), body, properties).await;
    assert!(published.unwrap().await.unwrap().is_ack());
}

/// The whole queue as one: what is submitted, and the partition that it is taken from.
#[derive(Clone)]
struct Whole {
    ground: Arc<Ground>,
    queue: Arc<dyn Queue>,
}

/// The messages of the contract are all of one channel; its partition is the only one there is.
async fn whole() -> Whole {
    let vhost = broker().await;
    rabbitmq::declare(&vhost.url, &Names::default(), 1).await.unwrap();
    let rabbit = Rabbit::connect(RabbitConfig {
        url: SecretString::from(vhost.url.clone()),
        names: Names::default(),
        partitions: 1,
    });
    until("connected", async || (rabbit.publishing() == "connected").then_some(())).await;
    let queue = open(&rabbit, 0).await;
    Whole { ground: Arc::new(Ground { url: vhost.url.clone(), rabbit, _vhost: vhost }), queue }
}

#[async_trait]
impl Intake for Whole {
    async fn submit(&self, messages: Vec<Accepted>, ack: Ack) -> Vec<Result<Receipt, IntakeError>> {
        self.ground.rabbit.submit(messages, ack).await
    }

    async fn probe(&self) -> Result<(), IntakeError> {
        self.ground.rabbit.probe().await
    }
}

#[async_trait]
impl Queue for Whole {
    async fn next(&self) -> Option<Box<dyn Batch>> {
        self.queue.next().await
    }

    async fn close(&self) {
        self.queue.close().await;
    }
}

#[tokio::test]
async fn every_message_has_its_own_answer() {
    queue::every_message_has_its_own_answer(whole().await).await;
}

#[tokio::test]
async fn an_accepted_message_is_answered_without_its_place() {
    queue::an_accepted_message_is_answered_without_its_place(whole().await).await;
}

#[tokio::test]
async fn what_is_submitted_is_handed_out_in_order() {
    queue::what_is_submitted_is_handed_out_in_order(whole().await).await;
}

#[tokio::test]
async fn closing_wakes_a_worker_that_waits() {
    queue::closing_wakes_a_worker_that_waits(whole().await).await;
}

#[tokio::test]
async fn nothing_submitted_is_answered_at_once() {
    queue::nothing_submitted_is_answered_at_once(whole().await).await;
}

/// The places that a batch's messages would have, from a serial on.
pub fn places(batch: &dyn Batch, from: u64) -> Vec<Appended> {
    (from..).take(batch.messages().len()).map(stored).collect()
}
