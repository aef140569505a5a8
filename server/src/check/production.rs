//! The production engines: Postgres with its tables and master key, RabbitMQ with its queues, Redis.

use fanfare_infra::{
    names::Names,
    rabbitmq,
    redis::{Call, Script},
    sql::{Installation, SqlStore},
};
use secrecy::ExposeSecret;

use super::Finding;
use crate::{
    compose::{self, postgres, production},
    config::{Config, engines::Engines},
    problem::Problem,
};

/// Each engine, and what stands on it only if it is sound.
pub(super) async fn look(config: &Config, engines: &Engines) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut installation = None;
    match postgres::connect(config, engines).await {
        Ok(store) => {
            findings.push(("database", Ok("Postgres answers".to_owned())));
            let schema = schema(&store).await;
            let is_sound = schema.is_ok();
            findings.push(("schema", schema));
            if is_sound {
                findings.push(("master key", master_key(&store).await));
                match postgres::require_fixed(&store, config).await {
                    Ok(fixed) => {
                        findings.push(("partitions", Ok(format!("{}, fixed for good", fixed.partitions))));
                        findings.push(("prefix", Ok(format!("`{}`, fixed for good", fixed.names))));
                        installation = Some(fixed);
                    }
                    Err(problem) => findings.push(("settings", Err(problem))),
                }
            }
        }
        Err(problem) => findings.push(("database", Err(problem))),
    }
    if let Some(installation) = &installation {
        findings.push(("queues", queues(engines, installation).await));
    }
    let fixed = installation.map(|installation| installation.names);
    let names = fixed.or(config.prefix.clone()).unwrap_or_default();
    findings.push(("redis", redis(engines, &names).await));
    findings
}

async fn schema(store: &SqlStore) -> Result<String, Problem> {
    let schema = store.schema().await.map_err(|error| postgres::unusable(&error))?;
    postgres::check_schema(&schema)?;
    Ok(format!("the tables are of version {}", schema.found.unwrap_or_default()))
}

async fn master_key(store: &SqlStore) -> Result<String, Problem> {
    store.check_master_key().await.map_err(|error| compose::wrong_master_key(&error))?;
    Ok("the database was made with this one".to_owned())
}

async fn queues(engines: &Engines, Installation { partitions, names }: &Installation) -> Result<String, Problem> {
    rabbitmq::check_declared(engines.amqp_url.expose_secret(), names, *partitions).await.map_err(|error| {
        Problem::new(
            format!("RabbitMQ cannot be used: {error}"),
            "Check that it runs and takes the user of `amqp_url` (FANFARE_AMQP_URL); `fanfare migrate` declares the queues.",
        )
    })?;
    Ok(format!("RabbitMQ has those of {partitions} partitions"))
}

async fn redis(engines: &Engines, names: &Names) -> Result<String, Problem> {
    let redis = production::redis(engines, names)?;
    redis.script(&Script::new("return 1"), Call::on(names.check())).await.map_err(|error| {
        Problem::new(error.to_string(), "Check that it runs, and that `redis_url` (FANFARE_REDIS_URL) is right.")
    })?;
    Ok("Redis answers".to_owned())
}
