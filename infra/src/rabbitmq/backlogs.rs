//! A backlog in RabbitMQ: one quorum queue, of which one process takes at a time, and another when that is gone.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
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
    url: SecretString,
    names: Names,
    queue: String,
    prefetch: u16,
    putting: tokio::sync::Mutex<Option<Putting>>,
    taking: tokio::sync::Mutex<Option<Taking>>,
    acks: Mutex<Acks>,
    is_away: AtomicBool,
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
        Arc::new(Self {
            url: config.url.clone(),
            names: config.names.clone(),
            queue,
            prefetch,
            putting: Default::default(),
            taking: Default::default(),
            acks: Mutex::default(),
            is_away: AtomicBool::new(false),
        })
    }

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

    /// The next one, and whatever is there already.
    async fn next(&self) -> Result<Vec<Taken>, String> {
        let mut slot = self.taking.lock().await;
        if slot.is_none() {
            *slot = Some(self.begin_to_take().await?);
            if self.is_away.swap(false, Ordering::Relaxed) {
                info!(queue = self.queue, "A queue for webhooks is taken from again");
            }
        }
        let Some(taking) = slot.as_mut() else { return Ok(Vec::new()) };
        let first = tokio::select! {
            first = taking.consumer.next() => first,
            () = lost(&taking.connection, &taking.channel) => None,
        };
        let first = match first {
            Some(Ok(first)) => first,
            ended => {
                *slot = None;
                return Err(match ended {
                    Some(Err(error)) => error.to_string(),
                    _ => "the connection is gone".to_owned(),
                });
            }
        };
        let mut taken = vec![self.hand_out(taking.life, first)];
        while let Some(Some(Ok(more))) = taking.consumer.next().now_or_never() {
            taken.push(self.hand_out(taking.life, more));
        }
        Ok(taken)
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
            None => self.begin_to_put().await.map_err(BacklogAway)?,
        };
        let put = tokio::time::timeout(CONFIRM, self.put_over(&putting, bodies)).await;
        put.unwrap_or_else(|_| Err("it did not confirm in time".to_owned())).map_err(BacklogAway)?;
        *slot = Some(putting);
        Ok(())
    }

    async fn take(&self) -> Vec<Taken> {
        let mut pauses = Pauses::default();
        loop {
            match self.next().await {
                Ok(taken) if !taken.is_empty() => return taken,
                Ok(_) => {}
                Err(reason) if !self.is_away.swap(true, Ordering::Relaxed) => {
                    error!(queue = self.queue, reason, "A queue for webhooks is not taken from until RabbitMQ is back");
                }
                Err(reason) => debug!(queue = self.queue, reason, "A queue for webhooks cannot be taken from"),
            }
            tokio::time::sleep(pauses.next()).await;
        }
    }

    async fn settle(&self, receipts: &[Receipt]) {
        let ackers: Vec<_> = {
            let mut acks = self.acks();
            let life = acks.life;
            let current = receipts.iter().filter(|receipt| receipt.life == life);
            current.filter_map(|receipt| acks.by_number.remove(&receipt.number)).collect()
        };
        for acker in ackers {
            if let Err(error) = acker.ack(BasicAckOptions::default()).await {
                // The broker hands it out again.
                debug!(%error, queue = self.queue, "An ack was lost with its connection");
            }
        }
    }
}
