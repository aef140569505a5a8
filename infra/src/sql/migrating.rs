//! The tables, brought up to this version's.

use diesel::{QueryableByName, backend::Backend, sql_query, sql_types::Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl, async_connection_wrapper::AsyncConnectionWrapper};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use fanfare_domain::{Clock, StoreError, clock::SystemClock};

use super::{
    SqlStore,
    db::{Conn, on_dialect},
    failures::failure,
    messages::lifetimes,
};

const SQLITE_MIGRATIONS: EmbeddedMigrations = embed_migrations!("../migrations/sqlite");
const POSTGRES_MIGRATIONS: EmbeddedMigrations = embed_migrations!("../migrations/postgres");

/// The number of the advisory lock under which Postgres is migrated.
const MIGRATION_LOCK: i64 = 0x66_616e_6661_7265;

/// Which version the tables are of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema {
    /// The newest migration that was applied; `None` where there are no tables yet.
    pub found: Option<String>,
    /// The newest migration that this version of Fanfare has. Versions sort as text.
    pub wanted: String,
}

#[derive(QueryableByName)]
struct Found {
    #[diesel(sql_type = Text)]
    value: String,
}

impl SqlStore {
    /// Brings the tables up to this version's; does nothing where they are. One process migrates, the others wait for it.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        let Some(target) = self.db.target() else {
            return self.db.work(|db| async move { migrate_sqlite(&mut db.write().await?).await }).await;
        };
        let conn = target.connect_unbounded().await.map_err(StoreError::unavailable)?;
        tokio::task::spawn_blocking(move || migrate_postgres(conn)).await.map_err(StoreError::unavailable)??;
        lifetimes::make_ahead(&self.db, SystemClock.now()).await
    }

    /// Which version the tables are of, and which they should be.
    pub async fn schema(&self) -> Result<Schema, StoreError> {
        let wanted = match self.db.target() {
            Some(_) => newest::<diesel::pg::Pg>(&POSTGRES_MIGRATIONS)?,
            None => newest::<diesel::sqlite::Sqlite>(&SQLITE_MIGRATIONS)?,
        };
        let found = self.db.work(|db| async move { applied(&mut db.read().await?).await }).await?;
        Ok(Schema { found, wanted })
    }
}

async fn migrate_sqlite(conn: &mut Conn) -> Result<(), StoreError> {
    let Conn::Sqlite(conn) = conn else { unreachable!("Postgres is migrated on a connection of its own") };
    conn.spawn_blocking(|conn| {
        conn.run_pending_migrations(SQLITE_MIGRATIONS).map_err(diesel::result::Error::QueryBuilderError)?;
        Ok(())
    })
    .await
    .map_err(failure)
}

fn migrate_postgres(conn: AsyncPgConnection) -> Result<(), StoreError> {
    let mut conn = AsyncConnectionWrapper::<AsyncPgConnection>::from(conn);
    let lock = sql_query("select pg_advisory_lock($1)").bind::<diesel::sql_types::BigInt, _>(MIGRATION_LOCK);
    diesel::RunQueryDsl::execute(lock, &mut conn).map_err(failure)?;
    conn.run_pending_migrations(POSTGRES_MIGRATIONS).map_err(StoreError::unavailable)?;
    Ok(())
}

fn newest<DB: Backend>(migrations: &EmbeddedMigrations) -> Result<String, StoreError> {
    let migrations =
        diesel::migration::MigrationSource::<DB>::migrations(migrations).map_err(StoreError::unavailable)?;
    let versions = migrations.iter().map(|migration| migration.name().version().to_string());
    Ok(versions.max().expect("there are migrations"))
}

/// The migrations keep a table of their own, which is made with the first of them.
async fn applied(conn: &mut Conn) -> Result<Option<String>, StoreError> {
    let tables = match conn {
        Conn::Sqlite(_) => "select name as value from sqlite_schema where name = '__diesel_schema_migrations'",
        Conn::Postgres(_) => {
            "select relname::text as value from pg_class where oid = to_regclass('__diesel_schema_migrations')"
        }
    };
    let tables = on_dialect!(&mut *conn, |c| sql_query(tables).load::<Found>(c).await)?;
    if tables.is_empty() {
        return Ok(None);
    }
    let newest = "select version as value from __diesel_schema_migrations order by version desc limit 1";
    let newest = on_dialect!(conn, |c| sql_query(newest).load::<Found>(c).await)?;
    Ok(newest.into_iter().next().map(|found| found.value))
}
