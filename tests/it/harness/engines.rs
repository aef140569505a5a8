//! The production engines of one server: a database, a virtual host and a Redis of its own.

use super::{
    postgres::{self, Database},
    rabbitmq::{self, Vhost},
    redis::{self, Redis},
};

/// Few, since a queue is made for each.
const PARTITIONS: &str = "4";
/// The master key of every server that the tests start on production engines.
pub const MASTER_KEY: &str = "7f1c5d0a9b3e48266c4f8a1d2e5b70937f1c5d0a9b3e48266c4f8a1d2e5b7093";

/// Engines that nobody else uses.
#[derive(Debug)]
pub struct Engines {
    database: Database,
    vhost: Vhost,
    redis: Redis,
}

/// Whether servers are to run on production engines: `FANFARE_TEST_ENGINES=production`.
pub fn are_wanted() -> bool {
    match std::env::var("FANFARE_TEST_ENGINES").as_deref() {
        Ok("production") => true,
        Ok("embedded") | Err(_) => false,
        Ok(other) => panic!("FANFARE_TEST_ENGINES is `{other}`; it may be `production` or `embedded`"),
    }
}

impl Engines {
    /// Makes them.
    pub async fn own() -> Self {
        let (database, vhost, redis) = tokio::join!(postgres::database(), rabbitmq::broker(), redis::server());
        Self { database, vhost, redis }
    }

    /// The Redis.
    pub fn redis(&self) -> &Redis {
        &self.redis
    }

    /// What a server is told of them.
    pub fn env(&self) -> Vec<(&'static str, String)> {
        variables(&self.database.tcp_url, &self.redis.url(), &self.vhost.url, PARTITIONS)
    }
}

/// The variables that choose production engines.
pub fn variables(database: &str, redis: &str, amqp: &str, partitions: &str) -> Vec<(&'static str, String)> {
    vec![
        ("FANFARE_DATABASE_URL", database.to_owned()),
        ("FANFARE_REDIS_URL", redis.to_owned()),
        ("FANFARE_AMQP_URL", amqp.to_owned()),
        ("FANFARE_MASTER_KEY", MASTER_KEY.to_owned()),
        ("FANFARE_PARTITIONS", partitions.to_owned()),
    ]
}
