//! The consuming connection, made when the first queue is taken from, and the queues that are.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use fanfare_domain::{
    partitions::Partition,
    publishing::{Queue, QueueError, Queues},
};
use lapin::{
    Channel, Connection,
    options::{BasicConsumeOptions, BasicQosOptions, QueueDeclareOptions},
    types::FieldTable,
};
use secrecy::SecretString;
use tracing::{error, info};

use super::{
    Rabbit,
    connections::{Pauses, connect, within},
    publishing::Publishing,
    queues::RabbitQueue,
    taking::Taking,
};
use crate::names::Names;

/// How many messages of a queue are handed to its consumer ahead of their acks; the same on every worker, since the first so many of each
/// consumer are looked up as if they were stored already.
pub(super) const PREFETCH: u16 = 256;
/// How long a queue that has messages may take to hand out its first one.
const FIRST_MESSAGE: Duration = Duration::from_secs(2);

/// What queues are taken from.
pub(super) struct Consuming {
    url: SecretString,
    names: Names,
    publishing: Arc<Publishing>,
    connection: tokio::sync::Mutex<Slot>,
    taken: Mutex<HashMap<Partition, Weak<Taking>>>,
}

/// The connection, or when it is tried again.
#[derive(Default)]
struct Slot {
    connection: Option<Arc<Connection>>,
    away: Option<Away>,
}

struct Away {
    pauses: Pauses,
    until: Instant,
    reason: String,
}

impl Consuming {
    pub fn new(url: SecretString, names: Names, publishing: Arc<Publishing>) -> Self {
        Self { url, names, publishing, connection: Default::default(), taken: Mutex::default() }
    }

    /// The partitions whose queues are taken from now.
    pub fn taken(&self) -> Vec<Partition> {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let is_alive = |taking: &Weak<Taking>| taking.upgrade().is_some_and(|taking| taking.is_alive());
        let mut partitions: Vec<_> =
            taken.iter().filter(|(_, taking)| is_alive(taking)).map(|(partition, _)| *partition).collect();
        partitions.sort_unstable();
        partitions
    }

    /// The connection, made by the first who asks. While the broker is away it is tried now and then, whoever asks how often. An outage is
    /// told once, and so is its end.
    async fn connection(&self) -> Result<Arc<Connection>, String> {
        let mut slot = self.connection.lock().await;
        if let Some(connection) = slot.connection.as_ref().filter(|connection| connection.status().connected()) {
            return Ok(connection.clone());
        }
        slot.connection = None;
        if let Some(away) = slot.away.as_ref().filter(|away| Instant::now() < away.until) {
            return Err(away.reason.clone());
        }
        match connect(&self.url, self.names.connection("consuming")).await {
            Ok(connection) => {
                if slot.away.take().is_some() {
                    info!("RabbitMQ is back: partitions are taken from again");
                }
                Ok(slot.connection.insert(Arc::new(connection)).clone())
            }
            Err(reason) => {
                let mut pauses = match slot.away.take() {
                    Some(away) => away.pauses,
                    None => {
                        error!(reason, "RabbitMQ is away: no partition is taken from until it is back");
                        Pauses::default()
                    }
                };
                let until = Instant::now() + pauses.next();
                slot.away = Some(Away { pauses, until, reason: reason.clone() });
                Err(reason)
            }
        }
    }

    /// Begins to take from a queue, unless somebody does. It is not to be given up half-way: the library would leave a consumer behind that
    /// nobody knows of, and the queue busy for as long as the connection lives.
    async fn begin(&self, partition: Partition) -> Result<RabbitQueue, QueueError> {
        let away = QueueError::Unavailable;
        let connection = self.connection().await.map_err(away)?;
        let channel = within(connection.create_channel()).await.map_err(away)?;
        let begun = self.begin_on(connection, channel.clone(), partition).await;
        if begun.is_err() {
            // What was asked of the broker and not answered must not come true later.
            let _ = within(channel.close(200, "OK".into())).await;
        }
        begun
    }

    async fn begin_on(
        &self,
        connection: Arc<Connection>,
        channel: Channel,
        partition: Partition,
    ) -> Result<RabbitQueue, QueueError> {
        let away = QueueError::Unavailable;
        let (name, nothing) = (self.names.queue(partition), FieldTable::default());
        let passive = QueueDeclareOptions::default().passive();
        let declared =
            within(channel.queue_declare(name.as_str().into(), passive, nothing.clone())).await.map_err(away)?;
        // A consumer counts for as long as anything of it is out, even after it was cancelled.
        if declared.consumer_count() > 0 {
            return Err(QueueError::Busy);
        }
        within(channel.basic_qos(PREFETCH, BasicQosOptions::default())).await.map_err(away)?;
        let options = BasicConsumeOptions::default();
        let consumer = within(channel.basic_consume(name.as_str().into(), "".into(), options, nothing)).await;
        let consumer = consumer.map_err(away)?;
        let taking = Arc::new(Taking::new(partition, connection, channel));
        let queue = RabbitQueue::new(taking, self.publishing.clone(), consumer);
        if declared.message_count() > 0 {
            queue.look_ahead(FIRST_MESSAGE).await?;
        }
        Ok(queue)
    }
}

#[async_trait]
impl Queues for Rabbit {
    async fn open(&self, partition: Partition) -> Result<Arc<dyn Queue>, QueueError> {
        let consuming = Arc::clone(&self.consuming);
        // It runs to its end, even if the caller goes away; a queue that nobody gets closes itself.
        let queue = tokio::spawn(async move { consuming.begin(partition).await }).await;
        let queue = queue.map_err(|lost| QueueError::Unavailable(lost.to_string()))??;
        let mut taken = self.consuming.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.insert(partition, Arc::downgrade(queue.taking()));
        drop(taken);
        Ok(Arc::new(queue))
    }
}
