//! The Postgres of the production engines: opened under the master key, and refused unless `fanfare migrate` made it what this version needs.

use std::{
    error::Error,
    time::{Duration, Instant},
};

use fanfare_domain::{StoreError, partitions::Partition};
use fanfare_infra::{
    sealing::{MasterKey, Sealer},
    sql::{Schema, SqlStore},
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
    SqlStore::connect_postgres(engines.database_url.expose_secret(), sealer).await.map_err(|error| unusable(&error))
}

/// Refuses tables that are older than this version, or were never made, and a master key that is not theirs; gives the number of partitions.
pub async fn require_migrated(store: &SqlStore, config: &Config) -> Result<Partition, Problem> {
    let schema = store.schema().await.map_err(|error| unusable(&error))?;
    check_schema(&schema)?;
    store.check_master_key().await.map_err(|error| super::wrong_master_key(&error))?;
    let fixed = store.partitions().await.map_err(|error| unusable(&error))?;
    let fixed = fixed.ok_or_else(no_partitions)?;
    check_partitions(fixed, config.partitions)?;
    Ok(fixed)
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

/// Refuses a configured number of partitions that is not the fixed one.
pub fn check_partitions(fixed: Partition, configured: Option<Partition>) -> Result<(), Problem> {
    match configured {
        Some(configured) if configured != fixed => Err(Problem::new(
            format!("`partitions` (FANFARE_PARTITIONS) is {configured}, and this installation was made with {fixed}"),
            format!(
                "Set it to {fixed}, or unset it. The number is fixed for good, since another would reorder what is in the queues."
            ),
        )),
        _ => Ok(()),
    }
}

/// A database whose number of partitions was never fixed.
pub fn no_partitions() -> Problem {
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
    fn another_number_of_partitions_is_refused_and_none_takes_what_is_fixed() {
        assert_eq!(check_partitions(64, None), Ok(()));
        assert_eq!(check_partitions(64, Some(64)), Ok(()));
        let refused = check_partitions(64, Some(16)).unwrap_err();
        assert!(refused.what.contains("is 16") && refused.remedy.contains("Set it to 64"), "{refused}");
    }
}
