//! The Postgres of the production engines: opened under the master key, and refused unless `fanfare migrate` made it what this version needs.

use std::{
    error::Error,
    time::{Duration, Instant},
};

use fanfare_domain::StoreError;
use fanfare_infra::{
    sealing::{MasterKey, Sealer},
    sql::{Installation, Schema, SqlStore},
};
use secrecy::ExposeSecret;
use tracing::{info, warn};

use crate::{
    config::{Config, engines::Engines},
    problem::Problem,
};

/// How long a process waits for an engine without which it cannot begin.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// How soon it is tried again.
pub const PAUSE: Duration = Duration::from_secs(2);
/// What to do about tables that are not those of this version.
const MIGRATE: &str = "Run `fanfare migrate` with the same configuration, and start again.";

/// Connects, and waits for a database that is away, with a line in the log at each try.
pub async fn wait_for(config: &Config, engines: &Engines) -> Result<SqlStore, Problem> {
    let begun = Instant::now();
    loop {
        match connect(config, engines).await {
            Err(problem) if begun.elapsed() < PATIENCE => info!("Waiting for Postgres: {}", problem.what),
            outcome => return outcome,
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Connects once.
pub async fn connect(config: &Config, engines: &Engines) -> Result<SqlStore, Problem> {
    let sealer = sealer(config)?;
    let url = engines.database_url.expose_secret();
    let connected = SqlStore::connect_postgres(url, config.database_connections, sealer).await;
    connected.map_err(|error| unusable(&error))
}

/// Refuses tables that are older than this version, or were never made, and a master key or settings that are not theirs; gives what is fixed.
pub async fn require_migrated(store: &SqlStore, config: &Config) -> Result<Installation, Problem> {
    let schema = store.schema().await.map_err(|error| unusable(&error))?;
    check_schema(&schema)?;
    store.check_master_key().await.map_err(|error| super::wrong_master_key(&error))?;
    require_fixed(store, config).await
}

/// What is fixed; refused if nothing is, or something else is configured.
pub async fn require_fixed(store: &SqlStore, config: &Config) -> Result<Installation, Problem> {
    fixed(store, config).await?.ok_or_else(nothing_fixed)
}

/// What was fixed, if it was; refused if something else is configured.
pub async fn fixed(store: &SqlStore, config: &Config) -> Result<Option<Installation>, Problem> {
    let fixed = store.installation().await.map_err(|error| unusable(&error))?;
    fixed.map(|fixed| check_fixed(&fixed, config).map(|()| fixed)).transpose()
}

/// Refuses tables that are older than this version; newer ones can be used, since each version leaves room for the one before it.
pub fn check_schema(Schema { found, wanted }: &Schema) -> Result<(), Problem> {
    match found {
        None => Err(Problem::new("the database has no tables of Fanfare", MIGRATE)),
        Some(found) if found < wanted => Err(Problem::new(
            format!("the database's tables are of version {found}, and this version of Fanfare needs {wanted}"),
            MIGRATE,
        )),
        Some(found) => {
            if found > wanted {
                warn!(
                    "The database's tables are of version {found}, which is newer than the {wanted} of this version of Fanfare"
                );
            }
            Ok(())
        }
    }
}

/// Refuses a configured number of partitions or prefix that is not the fixed one.
pub fn check_fixed(fixed: &Installation, config: &Config) -> Result<(), Problem> {
    let Installation { partitions, names } = fixed;
    if let Some(configured) = config.partitions.filter(|configured| configured != partitions) {
        return Err(Problem::new(
            format!(
                "`partitions` (FANFARE_PARTITIONS) is {configured}, and this installation was made with {partitions}"
            ),
            format!(
                "Set it to {partitions}, or unset it. The number is fixed for good, since another would reorder what is in the queues."
            ),
        ));
    }
    if let Some(configured) = config.prefix.as_ref().filter(|configured| *configured != names) {
        return Err(Problem::new(
            format!("`prefix` (FANFARE_PREFIX) is `{configured}`, and this installation was made with `{names}`"),
            format!(
                "Set it to `{names}`, or unset it. It is fixed for good, since nodes with another would publish to queues that nobody takes from."
            ),
        ));
    }
    Ok(())
}

/// A database in which nothing was fixed yet.
fn nothing_fixed() -> Problem {
    Problem::new("the number of partitions is not fixed yet", MIGRATE)
}

/// A database that cannot be asked.
pub fn unusable(error: &StoreError) -> Problem {
    let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
    Problem::new(
        format!("Postgres cannot be used: {error}{cause}"),
        "Check that it runs, and that `database_url` (FANFARE_DATABASE_URL) names a database, a user and a password that it takes.",
    )
}

/// The sealer under the configured master key.
fn sealer(config: &Config) -> Result<Sealer, Problem> {
    let read =
        |text| MasterKey::from_hex(text).map_err(|error| Problem::new(error.to_string(), "Mend FANFARE_MASTER_KEY."));
    let current =
        config.master_key.as_ref().ok_or_else(|| Problem::new("there is no master key", "Set FANFARE_MASTER_KEY."))?;
    let old = config.master_key_old.as_ref().map(read).transpose()?;
    Ok(Sealer::new(&read(current)?, old.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(found: Option<&str>) -> Schema {
        Schema { found: found.map(str::to_owned), wanted: "0005".to_owned() }
    }

    #[test]
    fn older_tables_are_refused_with_the_command_that_mends_them_and_newer_ones_are_used() {
        for found in [None, Some("0004")] {
            assert!(check_schema(&schema(found)).unwrap_err().remedy.contains("fanfare migrate"), "{found:?}");
        }
        for found in ["0005", "0006"] {
            assert_eq!(check_schema(&schema(Some(found))), Ok(()), "{found}");
        }
    }

    #[test]
    fn what_differs_from_what_is_fixed_is_refused_and_what_is_not_set_takes_it() {
        let fixed = Installation { partitions: 64, names: "acme".parse().unwrap() };
        let check = |variables: &[(&str, &str)]| {
            let environment: Vec<_> = variables.iter().map(|(name, value)| (name.into(), value.into())).collect();
            check_fixed(&fixed, &Config::from_sources(None, &environment).unwrap())
        };
        assert_eq!(check(&[]), Ok(()));
        assert_eq!(check(&[("FANFARE_PARTITIONS", "64"), ("FANFARE_PREFIX", "acme")]), Ok(()));
        let refused = check(&[("FANFARE_PARTITIONS", "16")]).unwrap_err();
        assert!(refused.what.contains("is 16") && refused.remedy.contains("Set it to 64"), "{refused}");
        for other in ["fanfare", "Acme", "acme."] {
            let refused = check(&[("FANFARE_PREFIX", other)]).unwrap_err();
            assert!(refused.what.contains(other) && refused.remedy.contains("Set it to `acme`"), "{refused}");
        }
    }
}
