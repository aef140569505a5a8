//! Connections: an enum of the engines, and the macro by which one body serves both.

use std::{fs::OpenOptions, io, os::unix::fs::OpenOptionsExt, path::Path, time::Duration};

use diesel::{ConnectionError, SqliteConnection, result::Error};
use diesel_async::{
    AnsiTransactionManager, AsyncConnection, AsyncPgConnection, SimpleAsyncConnection, TransactionManager,
    pooled_connection::{
        AsyncDieselConnectionManager, ManagerConfig, RecyclingMethod,
        deadpool::{Object, Pool, PoolError},
    },
    sync_connection_wrapper::SyncConnectionWrapper,
};
use fanfare_domain::StoreError;
use futures::FutureExt;
use tokio::{runtime::Handle, time::timeout};

/// SQLite behind the asynchronous interface.
pub(super) type Sqlite = SyncConnectionWrapper<SqliteConnection>;

const READERS: usize = 4;
const POSTGRES_CONNECTIONS: usize = 16;
/// Whoever waits longer for a connection is told that the database is away.
const CONNECTION_WAIT: Duration = Duration::from_secs(5);

/// Every connection's settings. `synchronous = full` makes a commit in WAL mode reach the disk before it returns.
const SQLITE_SETTINGS: &str = "pragma busy_timeout = 5000; pragma journal_mode = wal; pragma synchronous = full;
    pragma foreign_keys = on; pragma cache_size = -32000; pragma temp_store = memory;
    pragma wal_autocheckpoint = 4000; pragma journal_size_limit = 67108864;";

/// Expands one body for the connection of either engine; the body's value is a `QueryResult`.
macro_rules! on_dialect {
    ($conn:expr, |$c:ident| $body:expr) => {
        match $conn {
            $crate::sql::db::Conn::Sqlite($c) => $body,
            $crate::sql::db::Conn::Postgres($c) => $body,
        }
        .map_err($crate::sql::db::failure)
    };
}
pub(super) use on_dialect;

/// What the caller can do about a failure of the engine.
pub(super) fn failure(error: Error) -> StoreError {
    match error {
        Error::DatabaseError(diesel::result::DatabaseErrorKind::UniqueViolation, _) => StoreError::Conflict,
        Error::DeserializationError(problem) => StoreError::Corrupt(problem.to_string()),
        other => StoreError::unavailable(other),
    }
}

/// A database of either engine. Cheap to clone.
#[derive(Clone)]
pub(super) struct Db {
    engine: Engine,
    runtime: Handle,
}

#[derive(Clone)]
enum Engine {
    Sqlite { writer: Pool<Sqlite>, readers: Pool<Sqlite> },
    Postgres(Pool<AsyncPgConnection>),
}

/// A connection of either engine.
pub(super) enum Conn {
    Sqlite(Object<Sqlite>),
    Postgres(Box<Object<AsyncPgConnection>>),
}

impl Db {
    /// A SQLite file, made if it is not there. One connection writes, a few read.
    pub async fn open_sqlite(path: &Path) -> Result<Self, StoreError> {
        let url = path.to_str().ok_or_else(|| StoreError::unavailable("the path of the database is not UTF-8"))?;
        make_private(path).map_err(StoreError::unavailable)?;
        let writer = sqlite_pool(url, SQLITE_SETTINGS.to_owned(), 1)?;
        let readers = sqlite_pool(url, format!("{SQLITE_SETTINGS} pragma query_only = on;"), READERS)?;
        let db = Self { engine: Engine::Sqlite { writer, readers }, runtime: Handle::current() };
        db.work(|db| async move { db.write().await.map(drop) }).await?;
        Ok(db)
    }

    /// A Postgres database that is there already.
    pub async fn connect_postgres(url: &str) -> Result<Self, StoreError> {
        let mut config = ManagerConfig::default();
        config.recycling_method = RecyclingMethod::Fast;
        let manager = AsyncDieselConnectionManager::<AsyncPgConnection>::new_with_config(url, config);
        let pool = Pool::builder(manager).max_size(POSTGRES_CONNECTIONS).build().map_err(StoreError::unavailable)?;
        let db = Self { engine: Engine::Postgres(pool), runtime: Handle::current() };
        db.work(|db| async move { db.write().await.map(drop) }).await?;
        Ok(db)
    }

    /// Does a piece of work to its end, even if the caller stops waiting: a connection whose query or transaction
    /// was left half done could not be used again.
    pub async fn work<T, W>(&self, work: impl FnOnce(Db) -> W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        self.runtime.spawn(work(self.clone())).await.unwrap_or_else(|lost| Err(StoreError::unavailable(lost)))
    }

    /// A connection for reading. Only inside [`Db::work`].
    pub async fn read(&self) -> Result<Conn, StoreError> {
        match &self.engine {
            Engine::Sqlite { readers, .. } => in_time(readers.get()).await.map(Conn::Sqlite),
            Engine::Postgres(pool) => in_time(pool.get()).await.map(Box::new).map(Conn::Postgres),
        }
    }

    /// A connection for writing. Only inside [`Db::work`].
    pub async fn write(&self) -> Result<Conn, StoreError> {
        match &self.engine {
            Engine::Sqlite { writer, .. } => in_time(writer.get()).await.map(Conn::Sqlite),
            Engine::Postgres(pool) => in_time(pool.get()).await.map(Box::new).map(Conn::Postgres),
        }
    }
}

impl Conn {
    /// Begins a transaction that writes.
    pub async fn begin(&mut self) -> Result<(), StoreError> {
        match self {
            Conn::Sqlite(c) => {
                c.spawn_blocking(|c| {
                    diesel::connection::AnsiTransactionManager::begin_transaction_sql(c, "begin immediate")
                })
                .await
            }
            Conn::Postgres(c) => AnsiTransactionManager::begin_transaction_sql(&mut ***c, "begin").await,
        }
        .map_err(failure)
    }

    /// Begins a transaction whose queries all see the same moment.
    pub async fn begin_snapshot(&mut self) -> Result<(), StoreError> {
        const POSTGRES: &str = "begin isolation level repeatable read read only";
        match self {
            Conn::Sqlite(c) => {
                c.spawn_blocking(|c| diesel::connection::AnsiTransactionManager::begin_transaction_sql(c, "begin"))
                    .await
            }
            Conn::Postgres(c) => AnsiTransactionManager::begin_transaction_sql(&mut ***c, POSTGRES).await,
        }
        .map_err(failure)
    }

    /// Commits what went well and undoes what did not.
    pub async fn finish<T, E: From<StoreError>>(&mut self, result: Result<T, E>) -> Result<T, E> {
        match &result {
            Ok(_) => on_dialect!(self, |c| commit(c).await)?,
            Err(_) => on_dialect!(self, |c| roll_back(c).await)?,
        }
        result
    }
}

async fn commit<C: AsyncConnection>(conn: &mut C) -> diesel::QueryResult<()> {
    C::TransactionManager::commit_transaction(conn).await
}

async fn roll_back<C: AsyncConnection>(conn: &mut C) -> diesel::QueryResult<()> {
    C::TransactionManager::rollback_transaction(conn).await
}

async fn in_time<T>(connection: impl Future<Output = Result<T, PoolError>>) -> Result<T, StoreError> {
    match timeout(CONNECTION_WAIT, connection).await {
        Ok(connection) => connection.map_err(StoreError::unavailable),
        Err(elapsed) => Err(StoreError::unavailable(elapsed)),
    }
}

/// The database, and with it its journal, is readable by its owner alone.
fn make_private(path: &Path) -> io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made.map(drop),
    }
}

fn sqlite_pool(url: &str, settings: String, size: usize) -> Result<Pool<Sqlite>, StoreError> {
    let mut config = ManagerConfig::<Sqlite>::default();
    config.recycling_method = RecyclingMethod::Fast;
    config.custom_setup = Box::new(move |url| {
        let (url, settings) = (url.to_owned(), settings.clone());
        async move {
            let mut conn = Sqlite::establish(&url).await?;
            conn.batch_execute(&settings).await.map_err(ConnectionError::CouldntSetupConfiguration)?;
            Ok(conn)
        }
        .boxed()
    });
    let manager = AsyncDieselConnectionManager::new_with_config(url, config);
    Pool::builder(manager).max_size(size).build().map_err(StoreError::unavailable)
}
