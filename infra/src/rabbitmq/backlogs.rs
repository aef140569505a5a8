//! A backlog in RabbitMQ: one quorum queue, of which one process takes at a time, and another when that is gone.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use fanfare_domain::webhooks::{Backlog, BacklogAway, Receipt, Taken};
use futures::{FutureExt, StreamExt};
use lapin::{
    Acker, BasicProperties, Channel, Confirmation, Connection, Consumer,
    message::Delivery,
    options::{BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions},
    types::FieldTable,
};
use secrecy::SecretString;
use tokio::{sync::mpsc, task::JoinHandle};
use tracing::{debug, error, info};

use super::{
    RabbitConfig,
    connections::{Pauses, connect, lost, within},
};
use crate::names::Names;

/// How long all of what is put in may take to be confirmed.
const CONFIRM: Duration = Duration::from_secs(5);

/// A backlog in RabbitMQ. It connects when it is first used; it puts over one connection and takes over another.
pub struct RabbitBacklog {
    shared: Arc<Shared>,
    putting: tokio::sync::Mutex<Option<Putting>>,
    taken: tokio::sync::Mutex<Option<Taker>>,
}

struct Shared {
    url: SecretString,
    names: Names,
    queue: String,
    prefetch: u16,
    acks: Mutex<Acks>,
}

/// What takes in the background. Whoever waits for what it has taken may give up; it does not: a consumer that was asked for and not waited for would
/// stay, and be handed everything that nobody hears of.
struct Taker {
    taken: mpsc::Receiver<Vec<Taken>>,
    task: JoinHandle<()>,
}

impl Drop for Taker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Putting {
    connection: Connection,
    channel: Channel,
}

struct Taking {
    connection: Connection,
    channel: Channel,
    consumer: Consumer,
    life: u64,
}

/// How what was handed out is acked, in this life of the connection.
#[derive(Default)]
struct Acks {
    life: u64,
    by_number: HashMap<u64, Acker>,
}

impl RabbitBacklog {
    /// The notes for webhooks.
    pub fn notes(config: &RabbitConfig) -> Arc<Self> {
        Self::over(config, config.names.notes(), 32)
    }

    /// What webhooks are to be told, of which so many may be in hand.
    pub fn tellings(config: &RabbitConfig, in_hand: u16) -> Arc<Self> {
        Self::over(config, config.names.webhooks(), in_hand)
    }

    fn over(config: &RabbitConfig, queue: String, prefetch: u16) -> Arc<Self> {
        let (url, names) = (config.url.clone(), config.names.clone());
        let shared = Arc::new(Shared { url, names, queue, prefetch, acks: Mutex::default() });
        Arc::new(Self { shared, putting: Default::default(), taken: Default::default() })
    }
}

impl Shared {
    async fn begin_to_put(&self) -> Result<Putting, String> {
        let connection = connect(&self.url, self.names.connection("webhooks")).await?;
        let channel = within(connection.create_channel()).await?;
        within(channel.confirm_select(ConfirmSelectOptions::default())).await?;
        Ok(Putting { connection, channel })
    }

    async fn put_over(&self, putting: &Putting, bodies: Vec<Vec<u8>>) -> Result<(), String> {
        let options = BasicPublishOptions { mandatory: true, immediate: false };
        let mut confirms = Vec::with_capacity(bodies.len());
        for body in bodies {
            let properties =
                BasicProperties::default().with_content_type("application/json".into()).with_delivery_mode(2);
            let queue = self.queue.as_str().into();
            let published = putting.channel.basic_publish("".into(), queue, options, &body, properties);
            confirms.push(within(published).await?);
        }
        for confirm in confirms {
            match within(confirm).await? {
                Confirmation::Ack(None) => {}
                Confirmation::Ack(Some(_)) => {
                    return Err(format!("the queue `{}` is missing; `fanfare migrate` declares it", self.queue));
                }
                Confirmation::Nack(_) => return Err(format!("the queue `{}` is full", self.queue)),
                Confirmation::NotRequested => return Err("it confirms nothing".to_owned()),
            }
        }
        Ok(())
    }

    async fn begin_to_take(&self) -> Result<Taking, String> {
        let connection = connect(&self.url, self.names.connection("webhooks")).await?;
        let channel = within(connection.create_channel()).await?;
        within(channel.basic_qos(self.prefetch, BasicQosOptions::default())).await?;
        let (options, nothing) = (BasicConsumeOptions::default(), FieldTable::default());
        let consumer =
            within(channel.basic_consume(self.queue.as_str().into(), "".into(), options, nothing)).await.map_err(
                |error| format!("the queue `{}` cannot be used ({error}); `fanfare migrate` declares it", self.queue),
            )?;
        let mut acks = self.acks();
        acks.life += 1;
        acks.by_number.clear();
        Ok(Taking { connection, channel, consumer, life: acks.life })
    }

    /// Takes for as long as somebody wants it, and begins again whenever the connection is lost.
    async fn take_on(self: Arc<Self>, sender: mpsc::Sender<Vec<Taken>>) {
        let (mut pauses, mut is_away) = (Pauses::default(), false);
        loop {
            let reason = match self.begin_to_take().await {
                Ok(taking) => {
                    pauses = Pauses::default();
                    if std::mem::take(&mut is_away) {
                        info!(queue = self.queue, "A queue for webhooks is taken from again");
                    }
                    match self.take_over(taking, &sender).await {
                        Some(reason) => reason,
                        None => return,
                    }
                }
                Err(reason) => reason,
            };
            if !std::mem::replace(&mut is_away, true) {
                error!(queue = self.queue, reason, "A queue for webhooks is not taken from until RabbitMQ is back");
            }
            tokio::time::sleep(pauses.next()).await;
        }
    }

    /// Takes over one connection; why it was lost, or `None` when nobody wants anything any more.
    async fn take_over(&self, mut taking: Taking, sender: &mpsc::Sender<Vec<Taken>>) -> Option<String> {
        loop {
            let first = tokio::select! {
                first = taking.consumer.next() => first,
                () = lost(&taking.connection, &taking.channel) => None,
                () = sender.closed() => return None,
            };
            let first = match first {
                Some(Ok(first)) => first,
                Some(Err(error)) => return Some(error.to_string()),
                None => return Some("the connection is gone".to_owned()),
            };
            let mut taken = vec![self.hand_out(taking.life, first)];
            while let Some(Some(Ok(more))) = taking.consumer.next().now_or_never() {
                taken.push(self.hand_out(taking.life, more));
            }
            if sender.send(taken).await.is_err() {
                return None;
            }
        }
    }

    fn hand_out(&self, life: u64, message: Delivery) -> Taken {
        let number = message.delivery_tag;
        self.acks().by_number.insert(number, message.acker);
        Taken { receipt: Receipt { life, number }, body: message.data }
    }

    fn acks(&self) -> MutexGuard<'_, Acks> {
        self.acks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Backlog for RabbitBacklog {
    async fn put(&self, bodies: Vec<Vec<u8>>) -> Result<(), BacklogAway> {
        let mut slot = self.putting.lock().await;
        // Taken out, so that a connection on which something was given up half-way is not used again.
        let there = slot
            .take()
            .filter(|putting| putting.connection.status().connected() && putting.channel.status().connected());
        let putting = match there {
            Some(putting) => putting,
            None => self.shared.begin_to_put().await.map_err(BacklogAway)?,
        };
        let put = tokio::time::timeout(CONFIRM, self.shared.put_over(&putting, bodies)).await;
        put.unwrap_or_else(|_| Err("it did not confirm in time".to_owned())).map_err(BacklogAway)?;
        *slot = Some(putting);
        Ok(())
    }

    async fn take(&self) -> Vec<Taken> {
        let mut slot = self.taken.lock().await;
        loop {
            let taker = slot.get_or_insert_with(|| {
                let (sender, taken) = mpsc::channel(1);
                Taker { taken, task: tokio::spawn(self.shared.clone().take_on(sender)) }
            });
            match taker.taken.recv().await {
                Some(taken) => return taken,
                // It ends only with its runtime; then this does too.
                None => *slot = None,
            }
        }
    }

    async fn settle(&self, receipts: &[Receipt]) {
        let ackers: Vec<_> = {
            let mut acks = self.shared.acks();
            let life = acks.life;
            let current = receipts.iter().filter(|receipt| receipt.life == life);
            current.filter_map(|receipt| acks.by_number.remove(&receipt.number)).collect()
        };
        for acker in ackers {
            if let Err(error) = acker.ack(BasicAckOptions::default()).await {
                // The broker hands it out again.
                debug!(%error, queue = self.shared.queue, "An ack was lost with its connection");
            }
        }
    }
}
