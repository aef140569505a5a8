//! Connections: an enum of the engines, and the macro by which one body serves both.

use std::{
    fs::OpenOptions,
    io,
    ops::{Deref, DerefMut},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use diesel::{ConnectionError, SqliteConnection};
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

use super::{connections::Target, failures::failure};

/// SQLite behind the asynchronous interface.
pub(super) type Sqlite = SyncConnectionWrapper<SqliteConnection>;

const READERS: usize = 4;
/// Connections that a process keeps apart for its leases, so that they do not end while all others are busy.
const LEASE_CONNECTIONS: usize = 2;
/// The same for what it must know at every moment: a few, since some may wait for a server that does not answer. Usually one is open.
const WATCH_CONNECTIONS: usize = 6;
const WATCH_READERS: usize = 2;
/// Whoever waits longer for a connection is told that the database is away.
const CONNECTION_WAIT: Duration = Duration::from_secs(5);
/// A piece of work on Postgres that takes longer is given up, and its connection with it: the server was stopped, or is cut off. It is more than
/// a statement may take there.
const WORK_TIME: Duration = Duration::from_secs(12);
/// The same for a look at what must be known at every moment, once there is a connection.
const WATCH_TIME: Duration = Duration::from_secs(2);

/// Every connection's settings. `synchronous = full` makes a commit in WAL mode reach the disk before it returns.
const SQLITE_SETTINGS: &str = "pragma busy_timeout = 5000; pragma journal_mode = wal; pragma synchronous = full;
    pragma foreign_keys = on; pragma cache_size = -32000; pragma temp_store = memory;
    pragma wal_autocheckpoint = 4000; pragma journal_size_limit = 67108864;";

/// What reading connections have besides: each would fill a cache of its own with the past that it reads, of which the kernel has a copy for all of them.
const SQLITE_READING: &str = "pragma query_only = on; pragma cache_size = -2000;";

/// Expands one body for the connection of either engine; the body's value is a `QueryResult`.
macro_rules! on_dialect {
    ($conn:expr, |$c:ident| $body:expr) => {
        match $conn {
            $crate::sql::db::Conn::Sqlite($c) => $body,
            $crate::sql::db::Conn::Postgres($c) => $body,
        }
        .map_err($crate::sql::failures::failure)
    };
}
pub(super) use on_dialect;

/// A database of either engine. Cheap to clone.
#[derive(Clone)]
pub(super) struct Db {
    engine: Engine,
    runtime: Handle,
    /// Set when the piece of work that has this clone is given up.
    given_up: Arc<AtomicBool>,
}

#[derive(Clone)]
enum Engine {
    Sqlite {
        writer: Pool<Sqlite>,
        readers: Pool<Sqlite>,
        watchers: Pool<Sqlite>,
        /// The number of the last revocation that was committed through it: the file is this process's alone.
        revoked: Arc<AtomicU64>,
    },
    Postgres {
        target: Arc<Target>,
        pool: Pool<AsyncPgConnection>,
        leases: Pool<AsyncPgConnection>,
        watchers: Pool<AsyncPgConnection>,
    },
}

/// A connection of either engine.
pub(super) enum Conn {
    Sqlite(Object<Sqlite>),
    Postgres(Pooled),
}

/// A connection to Postgres that goes back to its pool, unless the work on it was given up: then it is closed.
pub(super) struct Pooled {
    object: Option<Box<Object<AsyncPgConnection>>>,
    given_up: Arc<AtomicBool>,
}

impl Pooled {
    /// It is closed once it is not used any more.
    pub fn give_up(&self) {
        self.given_up.store(true, Ordering::Relaxed);
    }
}

impl Deref for Pooled {
    type Target = AsyncPgConnection;

    fn deref(&self) -> &AsyncPgConnection {
        self.object.as_ref().expect("it is taken out only when this is dropped")
    }
}

impl DerefMut for Pooled {
    fn deref_mut(&mut self) -> &mut AsyncPgConnection {
        self.object.as_mut().expect("it is taken out only when this is dropped")
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        if self.given_up.load(Ordering::Relaxed) {
            drop(self.object.take().map(|object| Object::take(*object)));
        }
    }
}

impl Db {
    /// A SQLite file, made if it is not there. One connection writes, a few read.
    pub async fn open_sqlite(path: &Path) -> Result<Self, StoreError> {
        let url = path.to_str().ok_or_else(|| StoreError::unavailable("the path of the database is not UTF-8"))?;
        make_private(path).map_err(StoreError::unavailable)?;
        let writer = sqlite_pool(url, SQLITE_SETTINGS.to_owned(), 1)?;
        let reading = format!("{SQLITE_SETTINGS} {SQLITE_READING}");
        let readers = sqlite_pool(url, reading.clone(), READERS)?;
        let watchers = sqlite_pool(url, reading, WATCH_READERS)?;
        let db = Self::new(Engine::Sqlite { writer, readers, watchers, revoked: Arc::default() });
        db.work(|db| async move { db.write().await.map(drop) }).await?;
        Ok(db)
    }

    /// A Postgres database that is there already, with so many connections at most.
    pub async fn connect_postgres(url: &str, connections: usize) -> Result<Self, StoreError> {
        let target = Arc::new(Target::read(url)?);
        let pool = postgres_pool(&target, connections)?;
        let leases = postgres_pool(&target, LEASE_CONNECTIONS)?;
        let watchers = postgres_pool(&target, WATCH_CONNECTIONS)?;
        let db = Self::new(Engine::Postgres { target, pool, leases, watchers });
        db.work(|db| async move { db.write().await.map(drop) }).await?;
        Ok(db)
    }

    fn new(engine: Engine) -> Self {
        Self { engine, runtime: Handle::current(), given_up: Arc::default() }
    }

    /// The runtime that carries all connections.
    pub fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// How Postgres is reached; `None` for SQLite.
    pub fn target(&self) -> Option<Arc<Target>> {
        match &self.engine {
            Engine::Sqlite { .. } => None,
            Engine::Postgres { target, .. } => Some(target.clone()),
        }
    }

    /// The number of the last revocation that was committed through it, if nobody else commits any.
    pub fn revoked(&self) -> Option<&AtomicU64> {
        match &self.engine {
            Engine::Sqlite { revoked, .. } => Some(revoked),
            Engine::Postgres { .. } => None,
        }
    }

    /// Does a piece of work to its end, even if the caller stops waiting: a connection whose query or transaction
    /// was left half done could not be used again. On Postgres the end is near: a server that does not answer is not waited for.
    pub async fn work<T, W>(&self, work: impl FnOnce(Db) -> W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let given_up = Arc::new(AtomicBool::new(false));
        let work = work(Db { given_up: given_up.clone(), ..self.clone() });
        let is_bounded = matches!(self.engine, Engine::Postgres { .. });
        let task = self.runtime.spawn(async move {
            if !is_bounded {
                return work.await;
            }
            let mut work = Box::pin(work);
            timeout(WORK_TIME, &mut work).await.unwrap_or_else(|late| {
                given_up.store(true, Ordering::Relaxed);
                drop(work);
                Err(StoreError::unavailable(late))
            })
        });
        task.await.unwrap_or_else(|lost| Err(StoreError::unavailable(lost)))
    }

    /// Looks at what must be known at once, over a connection that nothing else uses. That is waited for like any other, since it may have to be made on a
    /// slow machine, even if the caller stops waiting; a look that takes longer is given up.
    pub async fn look<T, W>(&self, look: impl FnOnce(Conn) -> W + Send + 'static) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        self.work(|db| async move {
            let mut look = Box::pin(look(db.watch().await?));
            if matches!(db.engine, Engine::Sqlite { .. }) {
                return look.await;
            }
            timeout(WATCH_TIME, &mut look).await.unwrap_or_else(|late| {
                db.given_up.store(true, Ordering::Relaxed);
                drop(look);
                Err(StoreError::unavailable(late))
            })
        })
        .await
    }

    /// A connection for reading. Only inside [`Db::work`].
    pub async fn read(&self) -> Result<Conn, StoreError> {
        match &self.engine {
            Engine::Sqlite { readers, .. } => in_time(readers.get()).await.map(Conn::Sqlite),
            Engine::Postgres { pool, .. } => self.pooled(pool).await,
        }
    }

    /// A connection for writing. Only inside [`Db::work`].
    pub async fn write(&self) -> Result<Conn, StoreError> {
        match &self.engine {
            Engine::Sqlite { writer, .. } => in_time(writer.get()).await.map(Conn::Sqlite),
            Engine::Postgres { pool, .. } => self.pooled(pool).await,
        }
    }

    /// A connection for what keeps this process the owner of what it owns. Only inside [`Db::work`].
    pub async fn lease(&self) -> Result<Conn, StoreError> {
        match &self.engine {
            Engine::Sqlite { .. } => self.write().await,
            Engine::Postgres { leases, .. } => self.pooled(leases).await,
        }
    }

    async fn watch(&self) -> Result<Conn, StoreError> {
        match &self.engine {
            Engine::Sqlite { watchers, .. } => in_time(watchers.get()).await.map(Conn::Sqlite),
            Engine::Postgres { watchers, .. } => self.pooled(watchers).await,
        }
    }

    async fn pooled(&self, pool: &Pool<AsyncPgConnection>) -> Result<Conn, StoreError> {
        let object = Some(Box::new(in_time(pool.get()).await?));
        Ok(Conn::Postgres(Pooled { object, given_up: self.given_up.clone() }))
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
            Conn::Postgres(c) => AnsiTransactionManager::begin_transaction_sql(&mut **c, "begin").await,
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
            Conn::Postgres(c) => AnsiTransactionManager::begin_transaction_sql(&mut **c, POSTGRES).await,
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

/// Each connection is asked for a sign of life before it is used: whatever happened to the server since, those that it closed are replaced.
fn postgres_pool(target: &Arc<Target>, size: usize) -> Result<Pool<AsyncPgConnection>, StoreError> {
    let target = target.clone();
    let mut config = ManagerConfig::<AsyncPgConnection>::default();
    config.recycling_method = RecyclingMethod::Verified;
    config.custom_setup = Box::new(move |_| {
        let target = target.clone();
        async move { target.connect().await }.boxed()
    });
    let manager = AsyncDieselConnectionManager::new_with_config("", config);
    Pool::builder(manager).max_size(size).build().map_err(StoreError::unavailable)
}
