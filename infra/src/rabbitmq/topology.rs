//! The queues: one for each partition, one for what is set aside, and two for webhooks.

use fanfare_domain::partitions::Partition;
use lapin::{
    Channel, ErrorKind,
    options::QueueDeclareOptions,
    protocol::{AMQPErrorKind, AMQPSoftError},
    types::FieldTable,
};
use secrecy::SecretString;

use super::connections::{connect, within};
use crate::names::Names;

/// How many bytes a queue holds before it refuses more.
pub const QUEUE_BYTES: u64 = 256 * 1024 * 1024;

/// The broker never judges: it would drop a message that was handed out more often than this.
const DELIVERY_LIMIT: i64 = 1_000_000;

/// The queues could not be declared.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeclareError {
    /// The broker is away, or takes no declaration from this user.
    #[error("RabbitMQ is not available: {0}")]
    Unavailable(String),
    /// The queue is there, with other properties; only a person may decide what becomes of it.
    #[error("the queue `{queue}` is there already with other properties: {reason}")]
    Differs {
        /// The queue.
        queue: String,
        /// What RabbitMQ says of it.
        reason: String,
    },
}

/// Declares the queues of so many partitions, the one for dead letters and those for webhooks, each of at most [`QUEUE_BYTES`]; harmless where they are there.
pub async fn declare(url: &str, names: &Names, partitions: Partition) -> Result<(), DeclareError> {
    declare_bounded(url, names, partitions, QUEUE_BYTES).await
}

/// Declares them with another bound.
pub async fn declare_bounded(
    url: &str,
    names: &Names,
    partitions: Partition,
    queue_bytes: u64,
) -> Result<(), DeclareError> {
    let connection = connect(&SecretString::from(url.to_owned()), names.connection("migrate")).await;
    let connection = connection.map_err(DeclareError::Unavailable)?;
    let channel = within(connection.create_channel()).await.map_err(DeclareError::Unavailable)?;
    for partition in 0..partitions {
        declare_one(&channel, &names.queue(partition), arguments(queue_bytes, "reject-publish")).await?;
    }
    // What is set aside stands in nobody's way: the oldest goes before a partition has to stop.
    declare_one(&channel, &names.dead_letters(), arguments(queue_bytes, "drop-head")).await?;
    // One consumer at a time, so that notes are compared, and webhooks told, in order; another takes over when it is gone.
    for queue in [names.notes(), names.webhooks()] {
        let mut arguments = arguments(queue_bytes, "reject-publish");
        arguments.insert("x-single-active-consumer".into(), true.into());
        declare_one(&channel, &queue, arguments).await?;
    }
    // It is all done; a connection that cannot be closed in good order changes nothing.
    let _ = within(connection.close(200, "OK".into())).await;
    Ok(())
}

/// Looks whether the queues of so many partitions, the one for dead letters and those for webhooks are there; changes nothing.
pub async fn check_declared(url: &str, names: &Names, partitions: Partition) -> Result<(), DeclareError> {
    let connection = connect(&SecretString::from(url.to_owned()), names.connection("check")).await;
    let connection = connection.map_err(DeclareError::Unavailable)?;
    let channel = within(connection.create_channel()).await.map_err(DeclareError::Unavailable)?;
    let checked = async {
        check(&channel, names, partitions).await?;
        are_there(&channel, [names.notes(), names.webhooks()]).await
    };
    let checked = checked.await.map_err(DeclareError::Unavailable);
    // It was only looked at; a connection that cannot be closed in good order changes nothing.
    let _ = within(connection.close(200, "OK".into())).await;
    checked
}

fn arguments(queue_bytes: u64, overflow: &str) -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), text("quorum"));
    arguments.insert("x-delivery-limit".into(), DELIVERY_LIMIT.into());
    arguments.insert("x-max-length-bytes".into(), i64::try_from(queue_bytes).unwrap_or(i64::MAX).into());
    arguments.insert("x-overflow".into(), text(overflow));
    arguments
}

fn text(text: &str) -> lapin::types::AMQPValue {
    lapin::types::AMQPValue::LongString(text.into())
}

async fn declare_one(channel: &Channel, queue: &str, arguments: FieldTable) -> Result<(), DeclareError> {
    let declared = channel.queue_declare(queue.into(), QueueDeclareOptions::durable(), arguments);
    match tokio::time::timeout(super::connections::PATIENCE, declared).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) if differs(&error) => {
            Err(DeclareError::Differs { queue: queue.to_owned(), reason: error.to_string() })
        }
        Ok(Err(error)) => Err(DeclareError::Unavailable(error.to_string())),
        Err(_) => Err(DeclareError::Unavailable(format!("it did not declare `{queue}` in time"))),
    }
}

fn differs(error: &lapin::Error) -> bool {
    matches!(error.kind(), ErrorKind::ProtocolError(error)
        if *error.kind() == AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED))
}

/// Whether all queues are there that publishers and workers need; says which one is not.
pub(super) async fn check(channel: &Channel, names: &Names, partitions: Partition) -> Result<(), String> {
    are_there(channel, (0..partitions).map(|partition| names.queue(partition)).chain([names.dead_letters()])).await
}

async fn are_there(channel: &Channel, queues: impl IntoIterator<Item = String>) -> Result<(), String> {
    for queue in queues {
        let options = QueueDeclareOptions::default().passive();
        let asked = within(channel.queue_declare(queue.as_str().into(), options, FieldTable::default())).await;
        asked
            .map_err(|error| format!("the queue `{queue}` cannot be used ({error}); `fanfare migrate` declares it"))?;
    }
    Ok(())
}
