//! The publishing connection: one task owns its channel, so that messages go out in order and every confirm finds its message.

use std::{collections::HashSet, pin::pin, sync::Arc, time::Duration};

use futures::{
    FutureExt, StreamExt,
    future::{BoxFuture, ready},
    stream::FuturesUnordered,
};
use lapin::{
    Channel, Confirmation, Connection, Consumer,
    options::{BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions},
    types::{FieldTable, ShortString},
};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc, oneshot},
    time::{Instant, sleep_until},
};
use tracing::{error, info, warn};

use super::{
    RabbitConfig,
    answers::Answers,
    connections::{LOOK, Pauses, connect, is_lost, within},
    lines::Lines,
    publishing::{self, Live, Order, Publishing, Verdict},
    topology,
};

/// Messages are sent so far apart for each request that was in the last ones, so that nobody waits on a quiet node, and a busy one joins what comes, …
const APART_FOR_EACH: Duration = Duration::from_micros(500);
/// … and never further than this.
const FURTHEST_APART: Duration = Duration::from_millis(3);

/// Keeps a session for as long as the process wants one. An outage is told once, and so is its end.
pub(super) async fn keep(config: RabbitConfig, publishing: Arc<Publishing>) {
    let mut pauses = Pauses::default();
    let mut away = false;
    loop {
        match Session::begin(&config).await {
            Ok((session, live)) => {
                if std::mem::take(&mut away) {
                    info!("RabbitMQ is back: publishes are accepted again");
                }
                pauses = Pauses::default();
                publishing.set_live(Some(live));
                let reason = session.run(&publishing).await;
                warn!(reason, "The publishing connection to RabbitMQ was lost; connecting again");
            }
            Err(reason) if !away => {
                away = true;
                error!(reason, "RabbitMQ is away: publishes are refused until it is back");
            }
            Err(_) => {}
        }
        tokio::time::sleep(pauses.next()).await;
    }
}

/// What a message on the way is to be told by.
struct Sent {
    id: String,
    queue: String,
    verdicts: Vec<oneshot::Sender<Verdict>>,
    /// Given back once it is settled, and not when somebody stops waiting.
    _room: Option<OwnedSemaphorePermit>,
}

impl Sent {
    fn tell(self, verdict: Verdict) {
        publishing::tell(self.verdicts, verdict);
    }
}

type Settled = (Sent, lapin::Result<Confirmation>);

struct Session {
    /// Closed when the session is dropped.
    connection: Connection,
    channel: Channel,
    replies: Consumer,
    orders: mpsc::UnboundedReceiver<Order>,
    answers: Arc<Answers>,
    on_the_way: FuturesUnordered<BoxFuture<'static, Settled>>,
    lines: Lines,
    sent: u64,
}

impl Session {
    /// Connects, and looks whether all queues are there.
    async fn begin(config: &RabbitConfig) -> Result<(Self, Live), String> {
        let connection = connect(&config.url, config.names.connection("publishing")).await?;
        let channel = within(connection.create_channel()).await?;
        topology::check(&channel, &config.names, config.partitions).await?;
        within(channel.confirm_select(ConfirmSelectOptions::default())).await?;
        let options = QueueDeclareOptions::exclusive().auto_delete();
        let queue = ShortString::from(config.names.replies().as_str());
        within(channel.queue_declare(queue.clone(), options, FieldTable::default())).await?;
        let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
        let replies = within(channel.basic_consume(queue.clone(), "".into(), options, FieldTable::default())).await?;
        let (sender, orders) = mpsc::unbounded_channel();
        let answers = Arc::new(Answers::default());
        let live = Live { orders: sender, replies: queue, answers: answers.clone() };
        let (on_the_way, lines) = Default::default();
        Ok((Self { connection, channel, replies, orders, answers, on_the_way, lines, sent: 0 }, live))
    }

    /// Publishes and hears answers until the connection is lost; why it was.
    async fn run(mut self, publishing: &Publishing) -> String {
        let mut looks = tokio::time::interval(LOOK);
        let mut pause = pin!(sleep_until(Instant::now()));
        let reason = loop {
            tokio::select! {
                biased;
                Some(settled) = self.on_the_way.next() => {
                    if let Err(reason) = self.settle(settled) {
                        break reason;
                    }
                }
                reply = self.replies.next() => match reply {
                    Some(Ok(reply)) => self.hear(&reply),
                    Some(Err(error)) => break error.to_string(),
                    None => break "the reply queue is gone".to_owned(),
                },
                _ = looks.tick() => if is_lost(&self.connection, &self.channel) {
                    break "the connection is gone".to_owned();
                },
                () = &mut pause, if self.lines.is_ready() => pause.as_mut().reset(self.send()),
                order = self.orders.recv() => match order {
                    Some(order) if order.durable => self.lines.enter(order),
                    // Whoever waits for an answer is not to wait longer than for the broker.
                    Some(order) => self.publish(order),
                    None => break "nobody publishes any more".to_owned(),
                },
            }
        };
        publishing.set_live(None);
        self.answers.end();
        // What was not sent is told so; what is on the way is dropped with the session, and so is not known.
        self.orders.close();
        while let Ok(order) = self.orders.try_recv() {
            order.tell(Verdict::Unsent);
        }
        self.lines.drain().for_each(|order| order.tell(Verdict::Unsent));
        reason
    }

    fn hear(&self, reply: &lapin::message::Delivery) {
        if let Some(correlation) = reply.properties.correlation_id() {
            self.answers.hear(correlation.as_str(), &reply.data);
        }
    }

    /// Sends what can be sent; when that is done again.
    fn send(&mut self) -> Instant {
        let orders = self.lines.take();
        let requests = orders.iter().map(|order| order.verdicts.len()).sum::<usize>();
        orders.into_iter().for_each(|order| self.publish(order));
        let apart = APART_FOR_EACH * u32::try_from(requests.saturating_sub(1)).unwrap_or(u32::MAX).min(1_000);
        Instant::now() + apart.min(FURTHEST_APART)
    }

    /// Puts a message on the way. Polled once here, in order: that is when it takes its number and its place among the frames.
    fn publish(&mut self, mut order: Order) {
        self.sent += 1;
        let id = self.sent.to_string();
        let properties = order.properties(ShortString::from(id.as_str()));
        let Order { queue, body, verdicts, room, durable, .. } = order;
        let (channel, routing_key) = (self.channel.clone(), ShortString::from(queue.as_str()));
        let sent = Sent { id, queue, verdicts, _room: room };
        let mut publishing = async move {
            let options = BasicPublishOptions { mandatory: durable, immediate: false };
            let confirm = channel.basic_publish("".into(), routing_key, options, &body, properties).await;
            drop(body);
            match confirm {
                Ok(confirm) => (sent, confirm.await),
                Err(error) => (sent, Err(error)),
            }
        }
        .boxed();
        match (&mut publishing).now_or_never() {
            // It never reached the frames; the connection's loss is heard in a moment.
            Some((sent, Err(_))) => sent.tell(Verdict::Unsent),
            // The broker was faster than this thread.
            Some(settled) => self.on_the_way.push(ready(settled).boxed()),
            None => self.on_the_way.push(publishing),
        }
    }

    /// Tells the verdicts. The library attaches a returned message to whichever confirm comes next, not always to its own; so all that are
    /// settled now are looked at together, and after a return nothing else is taken for confirmed.
    fn settle(&mut self, first: Settled) -> Result<(), String> {
        let mut settled = vec![first];
        let mut idle = 0;
        while idle < 2 {
            match self.on_the_way.next().now_or_never().flatten() {
                Some(more) => settled.push(more),
                None => idle += 1,
            }
        }
        let mut returned = HashSet::new();
        let mut told = Vec::with_capacity(settled.len());
        for (sent, outcome) in settled {
            let verdict = match &outcome {
                Ok(Confirmation::Ack(_)) => Verdict::Confirmed,
                Ok(Confirmation::Nack(_)) => Verdict::Refused,
                Ok(Confirmation::NotRequested) | Err(_) => Verdict::Unknown,
            };
            if let Some(message) = outcome.ok().and_then(Confirmation::take_message) {
                returned.extend(message.properties.message_id().as_ref().map(ToString::to_string));
            }
            told.push((sent, verdict));
        }
        if returned.is_empty() {
            for (sent, verdict) in told {
                self.lines.settled(&sent.queue);
                sent.tell(verdict);
            }
            return Ok(());
        }
        for (sent, verdict) in told {
            if returned.contains(&sent.id) {
                error!(queue = sent.queue, "A queue is missing in RabbitMQ; run `fanfare migrate`");
                sent.tell(Verdict::Returned);
            } else {
                sent.tell(if verdict == Verdict::Confirmed { Verdict::Unknown } else { verdict });
            }
        }
        Err("a message was returned".to_owned())
    }
}
