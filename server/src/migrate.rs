//! `fanfare migrate`: tables, master key, queues and what is fixed for good, made ready for this version.

use std::time::Duration;

use fanfare_domain::partitions::Partition;
use fanfare_infra::{
    rabbitmq,
    sql::{Installation, SqlStore},
};
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
    let fixed = postgres::fixed(&store, config).await?;
    if let Some(warning) = strangers(config, engines, fixed.as_ref()).await {
        tell(warning)?;
    }
    let Installation { partitions, names } = queues(&store, config, engines, fixed.as_ref()).await?;
    tell(format!("RabbitMQ: the queues of {partitions} partitions are declared"))?;
    let how = if fixed.is_some() { "were fixed before" } else { "are fixed now, for good" };
    tell(format!("Partitions: {partitions}; they {how}"))?;
    let how = if fixed.is_some() { "was fixed before" } else { "is fixed now, for good" };
    tell(format!("Prefix: `{names}`; it {how}"))
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

/// What to say where nothing is fixed yet and queues are there by these names: they may be another installation's.
pub async fn strangers(config: &Config, engines: &Engines, fixed: Option<&Installation>) -> Option<String> {
    if fixed.is_some() {
        return None;
    }
    let names = config.prefix.clone().unwrap_or_default();
    let found = timeout(PATIENCE, rabbitmq::check_declared(engines.amqp_url.expose_secret(), &names, 1)).await;
    found.ok()?.ok()?;
    Some(format!(
        "RabbitMQ: the queue `{}` was there before this database. If another installation uses it, end this one, and give it a database and a `prefix` (FANFARE_PREFIX) of its own",
        names.queue(0)
    ))
}

/// Declares the queues, and fixes their number and what they are called where that was not done before.
pub async fn queues(
    store: &SqlStore,
    config: &Config,
    engines: &Engines,
    fixed: Option<&Installation>,
) -> Result<Installation, Problem> {
    let configured = || Installation {
        partitions: config.partitions.unwrap_or(PARTITIONS),
        names: config.prefix.clone().unwrap_or_default(),
    };
    let wanted = fixed.cloned().unwrap_or_else(configured);
    declare(engines, &wanted).await?;
    // Fixed once the queues are there, so that what is fixed always has its queues.
    let fixed = store.fix(wanted.clone()).await.map_err(|error| postgres::unusable(&error))?;
    if fixed != wanted {
        // Somebody else was faster.
        postgres::check_fixed(&fixed, config)?;
        declare(engines, &fixed).await?;
    }
    Ok(fixed)
}

async fn declare(engines: &Engines, Installation { partitions, names }: &Installation) -> Result<(), Problem> {
    let remedy = "Check that RabbitMQ runs, and that `amqp_url` (FANFARE_AMQP_URL) names a user, a password and a virtual host that it takes.";
    let failed = |error: String| Problem::new(format!("the queues cannot be declared in RabbitMQ: {error}"), remedy);
    match timeout(PATIENCE, rabbitmq::declare(engines.amqp_url.expose_secret(), names, *partitions)).await {
        Ok(declared) => declared.map_err(|error| failed(error.to_string())),
        Err(_) => Err(failed(format!("it took longer than {} s", PATIENCE.as_secs()))),
    }
}
