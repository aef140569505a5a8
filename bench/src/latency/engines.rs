//! The engines alone: what a durable publish cannot do without, one after the other, with nothing around it.

use std::time::{Duration, Instant};

use clap::Args;
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties,
    options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable},
};
use redis::aio::MultiplexedConnection;
use tokio_postgres::{Client, NoTls, Statement};

use crate::clients::Problem;

/// What the bench calls its own queue, table and channel.
const NAME: &str = "fanfare_bench_latency";
/// Bytes that the queue keeps, of which nobody takes any.
const QUEUE_BYTES: i64 = 1024 * 1024;

/// Where the engines are: those of the server under measure.
#[derive(Debug, Args)]
pub struct EngineUrls {
    /// Where RabbitMQ is
    #[arg(long, env = "FANFARE_AMQP_URL", hide_env_values = true)]
    amqp_url: String,
    /// Where Postgres is
    #[arg(long, env = "FANFARE_DATABASE_URL", hide_env_values = true)]
    database_url: String,
    /// Where Redis is
    #[arg(long, env = "FANFARE_REDIS_URL", hide_env_values = true)]
    redis_url: String,
}

/// A connection to each engine.
pub struct Engines {
    /// The channel goes with it.
    _amqp: Connection,
    channel: Channel,
    postgres: Client,
    insert: Statement,
    redis: MultiplexedConnection,
}

fn said(problem: impl std::fmt::Display) -> Problem {
    problem.to_string()
}

impl Engines {
    /// Connects, and makes a quorum queue and a table.
    ///
    /// # Errors
    /// An engine is away.
    pub async fn connect(urls: &EngineUrls) -> Result<Self, Problem> {
        let amqp = Connection::connect(&urls.amqp_url, ConnectionProperties::default()).await.map_err(said)?;
        let channel = amqp.create_channel().await.map_err(said)?;
        channel.confirm_select(ConfirmSelectOptions::default()).await.map_err(said)?;
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
        arguments.insert("x-max-length-bytes".into(), QUEUE_BYTES.into());
        channel.queue_declare(NAME.into(), QueueDeclareOptions::durable(), arguments).await.map_err(said)?;
        let (postgres, connection) = tokio_postgres::connect(&urls.database_url, NoTls).await.map_err(said)?;
        tokio::spawn(connection);
        let table = format!("create table if not exists {NAME} (id bigserial primary key, data text not null)");
        postgres.batch_execute(&table).await.map_err(said)?;
        let insert = postgres.prepare(&format!("insert into {NAME} (data) values ($1)")).await.map_err(said)?;
        let redis = redis::Client::open(urls.redis_url.as_str()).map_err(said)?;
        let redis = redis.get_multiplexed_async_connection().await.map_err(said)?;
        Ok(Self { _amqp: amqp, channel, postgres, insert, redis })
    }

    /// One confirm of the queue, one commit of one row and one publish, in turn; how long they took together.
    ///
    /// # Errors
    /// An engine did not do it.
    pub async fn take_a_turn(&self, data: &str) -> Result<Duration, Problem> {
        let begun = Instant::now();
        let properties = BasicProperties::default().with_delivery_mode(2);
        let options = BasicPublishOptions { mandatory: true, immediate: false };
        let confirm = self.channel.basic_publish("".into(), NAME.into(), options, data.as_bytes(), properties);
        match confirm.await.map_err(said)?.await.map_err(said)? {
            Confirmation::Ack(None) => {}
            refused => return Err(format!("the queue did not confirm: {refused:?}")),
        }
        self.postgres.execute(&self.insert, &[&data]).await.map_err(said)?;
        let mut publish = redis::cmd("PUBLISH");
        let _: i64 = publish.arg(NAME).arg(data).query_async(&mut self.redis.clone()).await.map_err(said)?;
        Ok(begun.elapsed())
    }
}
