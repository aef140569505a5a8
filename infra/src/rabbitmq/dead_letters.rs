//! What was set aside: why, and how it is listed, shown and sent on its way again.

use std::{str::FromStr, time::Duration};

use fanfare_domain::{
    Clock, Timestamp,
    clock::SystemClock,
    ids::DeadLetterId,
    partitions::Partition,
    publishing::{Accepted, QueueError},
};
use futures::StreamExt;
use lapin::{
    Acker, BasicProperties, Channel, Confirmation, Connection, Consumer,
    message::Delivery,
    options::{
        BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
        QueueDeclareOptions,
    },
    types::{AMQPValue, FieldTable},
};
use secrecy::SecretString;
use tokio::time::interval;

use super::{
    connections::{connect, within},
    publishing::{Publishing, Verdict},
};
use crate::{
    envelopes::{EnvelopeError, queued},
    names::Names,
};

const ID: &str = "fanfare-id";
const TIME: &str = "fanfare-time";
const PARTITION: &str = "fanfare-partition";
const REASON: &str = "fanfare-reason";
const DETAIL: &str = "fanfare-detail";
const MESSAGE_ID: &str = "fanfare-message-id";
/// On what was replayed: it may be stored already.
const REPLAYED: &str = "fanfare-replayed";

/// How often, and how many times, it is looked whether somebody else still reads dead letters.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
const LOOKS: u32 = 60;
/// As many as one consumer may have in hand.
const MOST: u16 = u16::MAX;

/// A message that was set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its id; `#<position>` for one that something else put there.
    pub id: String,
    /// When it was set aside.
    pub time: Timestamp,
    /// The partition that it was in.
    pub partition: Option<Partition>,
    /// Why it was set aside.
    pub reason: String,
    /// What was wrong with it.
    pub detail: Option<String>,
    /// The envelope, as it was in the partition's queue.
    pub body: Vec<u8>,
}

impl DeadLetter {
    /// The messages in it, where they can be read.
    pub fn messages(&self) -> Result<Vec<Accepted>, EnvelopeError> {
        queued::decode(&self.body)
    }
}

/// Which dead letters are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// All that are there now.
    All,
    /// The one with that id.
    Id(String),
    /// Those with that reason.
    Reason(String),
}

impl Which {
    fn means(&self, letter: &DeadLetter) -> bool {
        match self {
            Which::All => true,
            Which::Id(id) => letter.id == *id,
            Which::Reason(reason) => letter.reason == *reason,
        }
    }
}

/// What a replay did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Replayed {
    /// So many are in their partitions' queues again.
    pub replayed: usize,
    /// So many that were meant stay, since nobody knows their partition.
    pub stay: usize,
}

/// The dead letters could not be read or replayed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeadLettersError {
    /// The broker is away, or has no such queue.
    #[error("RabbitMQ is not available: {0}")]
    Unavailable(String),
    /// Somebody else reads them now, and so they would not all be seen.
    #[error("somebody else reads the dead letters now; try again when they are done")]
    Busy,
    /// A partition's queue did not take a dead letter, which stays where it is, as do those after it.
    #[error(
        "the queue `{queue}` did not take `{id}`, which stays where it is, as do those after it; {replayed} were replayed"
    )]
    NotTaken {
        /// The queue.
        queue: String,
        /// The dead letter.
        id: String,
        /// How many were replayed before it.
        replayed: usize,
    },
}

/// Why a message is set aside.
pub(super) struct Cause<'a> {
    pub reason: &'a str,
    pub detail: Option<&'a str>,
    pub partition: Partition,
}

/// Sets a message aside; returns once it is there. `original` are the properties that it had.
pub(super) async fn bury(
    publishing: &Publishing,
    cause: Cause<'_>,
    body: Vec<u8>,
    original: Option<&BasicProperties>,
) -> Result<(), QueueError> {
    let mut headers = original.and_then(|original| original.headers().clone()).unwrap_or_default();
    headers.insert(ID.into(), text(DeadLetterId::generate().as_str()));
    headers.insert(TIME.into(), text(&SystemClock.now().0.to_string()));
    headers.insert(PARTITION.into(), text(&cause.partition.to_string()));
    headers.insert(REASON.into(), text(cause.reason));
    if let Some(detail) = cause.detail {
        headers.insert(DETAIL.into(), text(detail));
    }
    if let Some(id) = original.and_then(|original| original.message_id().as_ref()) {
        headers.insert(MESSAGE_ID.into(), text(id.as_str()));
    }
    match publishing.publish(publishing.names.dead_letters(), body, Some(headers)).await {
        Verdict::Confirmed => Ok(()),
        verdict => Err(QueueError::Unavailable(format!("a dead letter was not confirmed ({verdict:?})"))),
    }
}

/// Whether a message comes from the dead letters. It may have been replayed before, by somebody who was interrupted.
pub(super) fn is_replayed(properties: &BasicProperties) -> bool {
    properties.headers().as_ref().is_some_and(|headers| headers.contains_key(REPLAYED))
}

fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

/// The oldest dead letters, at most so many and never more than 65,535. They stay where they are.
pub async fn list(url: &str, names: &Names, limit: usize) -> Result<Vec<DeadLetter>, DeadLettersError> {
    let mut reader = Reader::open(url, names, limit).await?;
    let mut letters = Vec::new();
    while let Some((letter, _)) = reader.next().await? {
        letters.push(letter);
    }
    reader.close().await;
    Ok(letters)
}

/// The dead letter with that id. It stays where it is.
pub async fn show(url: &str, names: &Names, id: &str) -> Result<Option<DeadLetter>, DeadLettersError> {
    let mut reader = Reader::open(url, names, usize::MAX).await?;
    let which = Which::Id(id.to_owned());
    let mut found = None;
    while let Some((letter, _)) = reader.next().await? {
        if which.means(&letter) {
            found = Some(letter);
            break;
        }
    }
    reader.close().await;
    Ok(found)
}

/// Puts dead letters, of the oldest 65,535, back into their partitions' queues, each confirmed there before it is removed here. One that is
/// set aside again comes back as a new one. Replayed twice after a crash, a message is stored once.
pub async fn replay(url: &str, names: &Names, which: &Which) -> Result<Replayed, DeadLettersError> {
    let mut reader = Reader::open(url, names, usize::MAX).await?;
    within(reader.channel.confirm_select(ConfirmSelectOptions::default()))
        .await
        .map_err(DeadLettersError::Unavailable)?;
    let mut done = Replayed::default();
    while let Some((letter, acker)) = reader.next().await? {
        if !which.means(&letter) {
            continue;
        }
        let Some(partition) = letter.partition else {
            done.stay += 1;
            continue;
        };
        let queue = names.queue(partition);
        if !reader.put_back(&queue, &letter.body).await? {
            reader.close().await;
            return Err(DeadLettersError::NotTaken { queue, id: letter.id, replayed: done.replayed });
        }
        within(acker.ack(BasicAckOptions::default())).await.map_err(DeadLettersError::Unavailable)?;
        done.replayed += 1;
    }
    reader.close().await;
    Ok(done)
}

/// Reads dead letters one by one. Whatever is not acked returns to the queue when it is closed; in order, since one consumer has them all.
struct Reader {
    connection: Connection,
    channel: Channel,
    consumer: Consumer,
    /// How many were there at first; what comes later is another matter.
    left: usize,
    position: usize,
}

impl Reader {
    /// Reads the oldest, at most so many.
    async fn open(url: &str, names: &Names, most: usize) -> Result<Self, DeadLettersError> {
        let away = DeadLettersError::Unavailable;
        let url = SecretString::from(url.to_owned());
        let connection = connect(&url, names.connection("dead letters")).await.map_err(away)?;
        let queue = names.dead_letters();
        let channel = within(connection.create_channel()).await.map_err(away)?;
        let there = Self::undisturbed(&channel, &queue).await?;
        // To the broker, none would mean any number.
        let prefetch = u16::try_from(most).unwrap_or(MOST).max(1);
        within(channel.basic_qos(prefetch, BasicQosOptions::default())).await.map_err(away)?;
        let (options, nothing) = (BasicConsumeOptions::default(), FieldTable::default());
        let consumer = within(channel.basic_consume(queue.into(), "".into(), options, nothing)).await;
        let left = there.min(most).min(usize::from(MOST));
        Ok(Self { connection, channel, consumer: consumer.map_err(away)?, left, position: 0 })
    }

    /// How many there are, once nobody else has any of them in hand: whoever does counts as a consumer. What the last reader gave back
    /// returns a moment after its channel is closed.
    async fn undisturbed(channel: &Channel, queue: &str) -> Result<usize, DeadLettersError> {
        let mut ticks = interval(LOOK_AGAIN);
        for _ in 0..LOOKS {
            ticks.tick().await;
            let passive = QueueDeclareOptions::default().passive();
            let declared = within(channel.queue_declare(queue.into(), passive, FieldTable::default())).await;
            let declared = declared.map_err(DeadLettersError::Unavailable)?;
            if declared.consumer_count() == 0 {
                return Ok(declared.message_count() as usize);
            }
        }
        Err(DeadLettersError::Busy)
    }

    async fn next(&mut self) -> Result<Option<(DeadLetter, Acker)>, DeadLettersError> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        self.position += 1;
        let next = async {
            match self.consumer.next().await {
                Some(delivery) => delivery.map(Some),
                None => Ok(None),
            }
        };
        let delivery = within(next).await.map_err(DeadLettersError::Unavailable)?;
        Ok(delivery.map(|delivery| letter(delivery, self.position)))
    }

    /// Whether the queue took it.
    async fn put_back(&self, queue: &str, body: &[u8]) -> Result<bool, DeadLettersError> {
        let mut headers = FieldTable::default();
        headers.insert(REPLAYED.into(), true.into());
        let properties = BasicProperties::default()
            .with_delivery_mode(2)
            .with_content_type("application/json".into())
            .with_headers(headers);
        let options = BasicPublishOptions { mandatory: true, immediate: false };
        let published =
            async { self.channel.basic_publish("".into(), queue.into(), options, body, properties).await?.await };
        let confirmation = within(published).await.map_err(DeadLettersError::Unavailable)?;
        Ok(confirmation == Confirmation::Ack(None))
    }

    async fn close(self) {
        // What is not acked returns to the queue in any case.
        let _ = within(self.channel.close(200, "OK".into())).await;
        let _ = within(self.connection.close(200, "OK".into())).await;
    }
}

fn letter(message: Delivery, position: usize) -> (DeadLetter, Acker) {
    let headers = message.properties.headers().clone().unwrap_or_default();
    let header = |name: &str| headers.inner().get(name).and_then(AMQPValue::as_long_string).map(ToString::to_string);
    let letter = DeadLetter {
        id: header(ID).unwrap_or_else(|| format!("#{position}")),
        time: Timestamp(number(header(TIME)).unwrap_or_default()),
        partition: number(header(PARTITION)),
        reason: header(REASON).unwrap_or_else(|| "unknown".to_owned()),
        detail: header(DETAIL),
        body: message.data,
    };
    (letter, message.acker)
}

fn number<N: FromStr>(text: Option<String>) -> Option<N> {
    text?.parse().ok()
}
