//! `fanfare migrate`: tables, master key, queues and the number of partitions, made ready for this version.

use std::time::Duration;

use fanfare_domain::partitions::Partition;
use fanfare_infra::{rabbitmq, sql::SqlStore};
use secrecy::ExposeSecret;
use tokio::time::timeout;

use crate::{
    compose::{self, embedded, postgres},
    config::{Config, engines::Engines},
    output,
    problem::Problem,
};

/// Partitions where nobody asked for another number.
const PARTITIONS: Partition = 64;
/// How long declaring the queues may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Migrates the configured engines, and prints a line for each thing that is done.
pub async fn run(config: &Config) -> Result<(), Problem> {
    let Some(engines) = &config.engines else {
        let (data_dir, _) = embedded::open(config).await?;
        return output::print(&format!("{} is up to date\n", data_dir.database().display())).map(drop);
    };
    let store = postgres::connect(config, engines).await?;
    let tell = |line: String| output::print(&format!("{line}\n")).map(drop);
    tell(tables(&store).await?)?;
    tell("Master key: it is the one that this database was made with".to_owned())?;
    let fixed = fixed(&store, config).await?;
    let count = queues(&store, config, engines, fixed).await?;
    tell(format!("RabbitMQ: the queues of {count} partitions are declared"))?;
    let how = if fixed.is_some() { "were fixed before" } else { "are fixed now, for good" };
    tell(format!("Partitions: {count}; they {how}"))
}

/// Brings the tables up to this version's and compares the master key; says what was done. Whoever does it at the same time waits.
pub async fn tables(store: &SqlStore) -> Result<String, Problem> {
    let failed = |error| postgres::unusable(&error);
    let before = store.schema().await.map_err(failed)?;
    let done = match &before.found {
        Some(found) if *found >= before.wanted => {
            postgres::check_schema(&before)?;
            format!("Postgres: the tables are of version {found} already")
        }
        found => {
            store.migrate().await.map_err(failed)?;
            format!(
                "Postgres: the tables are of version {} (before: {})",
                before.wanted,
                found.as_deref().unwrap_or("none")
            )
        }
    };
    store.check_master_key().await.map_err(|error| compose::wrong_master_key(&error))?;
    Ok(done)
}

/// The number of partitions that was fixed before, if one was; refused if another one is configured.
pub async fn fixed(store: &SqlStore, config: &Config) -> Result<Option<Partition>, Problem> {
    let fixed = store.partitions().await.map_err(|error| postgres::unusable(&error))?;
    fixed.map(|fixed| postgres::check_partitions(fixed, config.partitions).map(|()| fixed)).transpose()
}

/// Declares the queues, and fixes the number of partitions where that was not done before.
pub async fn queues(
    store: &SqlStore,
    config: &Config,
    engines: &Engines,
    fixed: Option<Partition>,
) -> Result<Partition, Problem> {
    let wanted = fixed.or(config.partitions).unwrap_or(PARTITIONS);
    declare(engines, wanted).await?;
    // Fixed once the queues are there, so that a fixed number always has its queues.
    let count = store.fix_partitions(wanted).await.map_err(|error| postgres::unusable(&error))?;
    if count != wanted {
        // Somebody else was faster.
        postgres::check_partitions(count, config.partitions)?;
        declare(engines, count).await?;
    }
    Ok(count)
}

async fn declare(engines: &Engines, count: Partition) -> Result<(), Problem> {
    let remedy = "Check that RabbitMQ runs, and that `amqp_url` (FANFARE_AMQP_URL) names a user, a password and a virtual host that it takes.";
    let failed = |error: String| Problem::new(format!("the queues cannot be declared in RabbitMQ: {error}"), remedy);
    match timeout(PATIENCE, rabbitmq::declare(engines.amqp_url.expose_secret(), count)).await {
        Ok(declared) => declared.map_err(|error| failed(error.to_string())),
        Err(_) => Err(failed(format!("it took longer than {} s", PATIENCE.as_secs()))),
    }
}
