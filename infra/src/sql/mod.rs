//! The SQL stores: one body of every query for SQLite and Postgres.

use std::{path::Path, sync::Arc};

use diesel::{QueryableByName, sql_types::Text};
use diesel_async::{AsyncPgConnection, async_connection_wrapper::AsyncConnectionWrapper};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use fanfare_domain::{StoreError, Timestamp, history::MessageLog};

use crate::sealing::Sealer;
use db::{Conn, Db, failure};

mod accounts;
mod apps;
mod db;
mod keys;
mod master_keys;
mod messages;
mod probes;
mod rules;
mod schema;

pub use master_keys::MasterKeyError;

const SQLITE_MIGRATIONS: EmbeddedMigrations = embed_migrations!("../migrations/sqlite");
const POSTGRES_MIGRATIONS: EmbeddedMigrations = embed_migrations!("../migrations/postgres");

/// The number of the advisory lock under which Postgres is migrated.
const MIGRATION_LOCK: i64 = 0x66_616e_6661_7265;

/// Tenants, users, apps, keys, rules and messages in a SQL database. Cheap to clone.
#[derive(Clone)]
pub struct SqlStore {
    db: Db,
    sealer: Sealer,
    postgres_url: Option<Arc<str>>,
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
        Ok(Self { db: Db::open_sqlite(path).await?, sealer, postgres_url: None })
    }

    /// Connects to a Postgres database. Call [`SqlStore::migrate`] before anything else.
    pub async fn connect_postgres(url: &str, sealer: Sealer) -> Result<Self, StoreError> {
        Ok(Self { db: Db::connect_postgres(url).await?, sealer, postgres_url: Some(url.into()) })
    }

    /// The store as the log of messages.
    pub fn message_log(&self) -> Arc<dyn MessageLog> {
        Arc::new(self.clone())
    }

    /// Brings the tables up to this version's; does nothing where they are.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        let url = self.postgres_url.clone();
        self.db
            .work(|db| async move {
                match (db.write().await?, url) {
                    (Conn::Sqlite(mut conn), _) => conn
                        .spawn_blocking(|conn| {
                            conn.run_pending_migrations(SQLITE_MIGRATIONS)
                                .map_err(diesel::result::Error::QueryBuilderError)?;
                            Ok(())
                        })
                        .await
                        .map_err(failure),
                    (Conn::Postgres(_), Some(url)) => tokio::task::spawn_blocking(move || migrate_postgres(&url))
                        .await
                        .map_err(StoreError::unavailable)?,
                    (Conn::Postgres(_), None) => unreachable!("a store on Postgres knows its URL"),
                }
            })
            .await
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

/// One process migrates, the others wait for it.
fn migrate_postgres(url: &str) -> Result<(), StoreError> {
    use diesel::{Connection, RunQueryDsl};
    let mut conn = AsyncConnectionWrapper::<AsyncPgConnection>::establish(url).map_err(StoreError::unavailable)?;
    diesel::sql_query("select pg_advisory_lock($1)")
        .bind::<diesel::sql_types::BigInt, _>(MIGRATION_LOCK)
        .execute(&mut conn)
        .map_err(failure)?;
    conn.run_pending_migrations(POSTGRES_MIGRATIONS).map_err(StoreError::unavailable)?;
    Ok(())
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
