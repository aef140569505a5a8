//! RabbitMQ: the durable queue between intake and workers, one quorum queue for each partition.

use std::sync::Arc;

use fanfare_domain::partitions::Partition;
use secrecy::SecretString;
use tokio::task::JoinHandle;

use consuming::Consuming;
use publishing::Publishing;

use crate::names::Names;

mod acks;
mod answers;
mod backlogs;
mod batches;
mod connections;
mod consuming;
pub mod dead_letters;
mod groups;
mod intake;
mod lines;
mod publishing;
mod queues;
mod sessions;
mod taking;
mod topology;

pub use backlogs::RabbitBacklog;
pub use topology::{DeclareError, QUEUE_BYTES, check_declared, declare, declare_bounded};

/// Where RabbitMQ is, and how its messages are spread.
#[derive(Debug, Clone)]
pub struct RabbitConfig {
    /// `amqp://user:password@host:5672/vhost`, or `amqps://…`.
    pub url: SecretString,
    /// What queues are called.
    pub names: Names,
    /// How many partitions there are.
    pub partitions: Partition,
}

/// The durable queue in RabbitMQ: an `Intake` for publishers, and the `Queues` of the workers. One connection publishes and another one
/// consumes, since a broker that holds back a publisher holds back its whole connection.
pub struct Rabbit {
    partitions: Partition,
    publishing: Arc<Publishing>,
    consuming: Arc<Consuming>,
    /// Which partition the next probe goes through.
    probed: std::sync::atomic::AtomicUsize,
    session: JoinHandle<()>,
}

impl Rabbit {
    /// Returns at once; connects, and again whenever the connection is lost, in the background.
    pub fn connect(config: RabbitConfig) -> Arc<Self> {
        let publishing = Arc::new(Publishing::new(config.names.clone()));
        let session = tokio::spawn(sessions::keep(config.clone(), publishing.clone()));
        let consuming = Arc::new(Consuming::new(config.url, config.names, publishing.clone()));
        Arc::new(Self { partitions: config.partitions, publishing, consuming, probed: Default::default(), session })
    }

    /// Whether it can be published to now: `connected` or `away`.
    pub fn publishing(&self) -> &'static str {
        if self.publishing.is_live() { "connected" } else { "away" }
    }

    /// The partitions whose queues are taken from now.
    pub fn taken(&self) -> Vec<Partition> {
        self.consuming.taken()
    }
}

impl Drop for Rabbit {
    fn drop(&mut self) {
        self.session.abort();
    }
}
