//! The SQL stores: one body of every query for SQLite and Postgres.

use std::{path::Path, sync::Arc};

use diesel::{QueryableByName, sql_types::Text};
use fanfare_domain::{StoreError, Timestamp, history::MessageLog};

use crate::sealing::Sealer;
use db::{Conn, Db};
use failures::failure;
use messages::Gathering;

mod accounts;
mod apps;
mod backlogs;
mod connections;
mod db;
mod failures;
mod installations;
mod keys;
mod master_keys;
mod messages;
mod migrating;
mod partitions;
mod prepared;
mod probes;
mod restores;
mod revocations;
mod rules;
mod schema;
mod signers;
mod told;
mod webhooks;

pub use backlogs::SqlBacklog;
pub use installations::Installation;
pub use master_keys::MasterKeyError;
pub use migrating::Schema;
pub use told::SqlTold;

/// Tenants, users, apps, keys, rules and messages in a SQL database. Cheap to clone.
#[derive(Clone)]
pub struct SqlStore {
    db: Db,
    sealer: Sealer,
    appends: Arc<Gathering>,
}

/// How the connection that writes to SQLite is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqliteSettings {
    /// `2` is `full`: a commit is on disk when it returns.
    pub synchronous: i64,
    /// `wal`: readers do not wait for the writer.
    pub journal_mode: String,
}

impl SqlStore {
    /// Opens a SQLite file, and makes it if it is not there. Call [`SqlStore::migrate`] before anything else.
    pub async fn open_sqlite(path: &Path, sealer: Sealer) -> Result<Self, StoreError> {
        Ok(Self { db: Db::open_sqlite(path).await?, sealer, appends: Arc::default() })
    }

    /// Connects to a Postgres database, with so many connections at most, and up to eight more for what must not wait behind them: a worker's leases,
    /// and what must be known at every moment. Call [`SqlStore::migrate`] before anything else.
    /// `sslmode=require` and `verify-full` in the URL encrypt, and check the server's certificate; else all goes in the clear.
    pub async fn connect_postgres(url: &str, connections: usize, sealer: Sealer) -> Result<Self, StoreError> {
        Ok(Self { db: Db::connect_postgres(url, connections).await?, sealer, appends: Arc::default() })
    }

    /// What seals the secrets in it.
    pub fn sealer(&self) -> &Sealer {
        &self.sealer
    }

    /// The store as the log of messages.
    pub fn message_log(&self) -> Arc<dyn MessageLog> {
        Arc::new(self.clone())
    }

    /// How the connection that writes is set; `None` for Postgres.
    pub async fn sqlite_settings(&self) -> Result<Option<SqliteSettings>, StoreError> {
        #[derive(QueryableByName)]
        struct Found {
            #[diesel(sql_type = Text)]
            value: String,
        }
        self.db
            .work(|db| async move {
                let Conn::Sqlite(mut conn) = db.write().await? else { return Ok(None) };
                let mut read = async |sql: &'static str| {
                    diesel_async::RunQueryDsl::get_result::<Found>(diesel::sql_query(sql), &mut conn)
                        .await
                        .map_err(failure)
                };
                let synchronous =
                    read("select cast(synchronous as text) as value from pragma_synchronous").await?.value;
                let journal_mode = read("select journal_mode as value from pragma_journal_mode").await?.value;
                let synchronous = synchronous.parse().map_err(|_| StoreError::Corrupt("pragma synchronous".into()))?;
                Ok(Some(SqliteSettings { synchronous, journal_mode }))
            })
            .await
    }
}

/// A time as it is stored.
fn stored(time: Timestamp) -> i64 {
    i64::try_from(time.0).unwrap_or(i64::MAX)
}

/// A stored time.
fn timestamp(stored: i64) -> Timestamp {
    Timestamp(u64::try_from(stored).unwrap_or(0))
}

/// What is stored under `what` cannot be read back.
fn corrupt(what: &str, problem: impl std::fmt::Display) -> StoreError {
    StoreError::Corrupt(format!("{what}: {problem}"))
}
