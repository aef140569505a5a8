//! Composition: the embedded engines behind the ports, and the services over them, all in one process.

use std::{path::Path, sync::Arc};

use fanfare_api::{Ports, Services};
use fanfare_domain::{
    Clock, StoreError, accounts::Accounts, apps::Apps, bus::Bus, clock::SystemClock, directory::Directory,
    grants::Authenticator, history::MessageLog, keys::Keys, limits::AppLimits, publishing::Publisher, rules::Rules,
};
use fanfare_gateway::{Gateway, GatewayPorts};
use fanfare_infra::{
    data_dir::DataDir,
    memory::{CachedDirectory, GovernorLimits, MemoryBus, MemoryQueue},
    sealing::{MasterKey, Sealer},
    sql::{MasterKeyError, SqlStore},
};
use secrecy::SecretString;

use crate::{appends::Appends, config::Config, problem::Problem};

/// Everything that one process runs, before it listens.
pub struct Node {
    /// Kept, since the folder is locked for as long as this lives.
    pub data_dir: DataDir,
    /// The SQL stores.
    pub store: SqlStore,
    /// The store as the log of messages.
    pub log: Arc<dyn MessageLog>,
    /// Whether the log stores what it is given.
    pub appends: Appends,
    /// Publishes on their way to the log.
    pub queue: MemoryQueue,
    /// Messages on their way to the gateway.
    pub bus: Arc<dyn Bus>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The API.
    pub services: Services,
    /// The sockets.
    pub gateway: Gateway,
}

/// Opens the data folder and the database in it, migrated and under the right master key.
pub async fn open(config: &Config) -> Result<(DataDir, SqlStore), Problem> {
    let data_dir = lock(&config.data_dir)?;
    let sealer = sealer(config, &data_dir)?;
    let store =
        SqlStore::open_sqlite(&data_dir.database(), sealer).await.map_err(|error| unusable(&data_dir, &error))?;
    store.migrate().await.map_err(|error| unusable(&data_dir, &error))?;
    store.check_master_key().await.map_err(|error| wrong_master_key(&error))?;
    Ok((data_dir, store))
}

/// Opens everything and puts it together.
pub async fn compose(config: &Config) -> Result<Node, Problem> {
    let plans = Arc::new(config.plans()?);
    let (data_dir, store) = open(config).await?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let bus: Arc<dyn Bus> = Arc::new(MemoryBus::default());
    let queue = MemoryQueue::default();
    let appends = Appends::default();
    let log = appends.watch(store.message_log());
    let limits: Arc<dyn AppLimits> = Arc::new(GovernorLimits::default());
    let accounts: Arc<dyn Accounts> = Arc::new(store.clone());
    let apps: Arc<dyn Apps> = Arc::new(store.clone());
    let keys: Arc<dyn Keys> = Arc::new(store.clone());
    let rules: Arc<dyn Rules> = Arc::new(store.clone());
    let directory: Arc<dyn Directory> =
        Arc::new(CachedDirectory::new(keys.clone(), apps.clone(), rules.clone(), accounts.clone(), plans.clone()));
    let authenticator = Authenticator::new(directory.clone(), clock.clone());
    let publisher =
        Publisher { intake: Arc::new(queue.clone()), bus: bus.clone(), limits: limits.clone(), clock: clock.clone() };
    let gateway_ports = GatewayPorts {
        authenticator: authenticator.clone(),
        publisher: publisher.clone(),
        log: log.clone(),
        bus: bus.clone(),
        limits: limits.clone(),
        directory: directory.clone(),
        clock: clock.clone(),
    };
    let ports = Ports {
        accounts,
        apps,
        keys,
        rules,
        log: log.clone(),
        directory,
        bus: bus.clone(),
        limits,
        publisher,
        authenticator,
        plans,
        clock: clock.clone(),
    };
    let services = Services::new(ports, config.api.clone());
    let gateway = Gateway::new(config.gateway(), gateway_ports);
    Ok(Node { data_dir, store, log, appends, queue, bus, clock, services, gateway })
}

/// Locks the data folder, making it where it is not there.
pub fn lock(path: &Path) -> Result<DataDir, Problem> {
    DataDir::open(path).map_err(|error| {
        Problem::new(
            error.to_string(),
            "Give another folder with `data_dir` (FANFARE_DATA_DIR), or make this one free and writable.",
        )
    })
}

/// The sealer under the configured master key, or under the data folder's own, which is made only where there is no database yet.
pub fn sealer(config: &Config, data_dir: &DataDir) -> Result<Sealer, Problem> {
    let key = data_dir.master_key();
    if config.master_key.is_none() && data_dir.database().exists() && !key.exists() {
        return Err(Problem::new(
            format!("{} is gone, and the database was made with a master key", key.display()),
            "Restore it from a backup, or give the key as `master_key` (FANFARE_MASTER_KEY). Nothing else can read what it encrypted.",
        ));
    }
    let read = |text: &SecretString| MasterKey::from_hex(text);
    let current = match &config.master_key {
        Some(text) => read(text),
        None => MasterKey::load_or_create(&key),
    };
    let old = config.master_key_old.as_ref().map(read).transpose();
    match (current, old) {
        (Ok(current), Ok(old)) => Ok(Sealer::new(&current, old.as_ref())),
        (Err(error), _) | (_, Err(error)) => Err(Problem::new(
            format!("there is no usable master key: {error}"),
            "Mend the file, or give the key as `master_key` (FANFARE_MASTER_KEY). A lost key cannot be replaced: restore it from a backup.",
        )),
    }
}

/// A database that cannot be opened or brought up to date.
pub fn unusable(data_dir: &DataDir, error: &StoreError) -> Problem {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    Problem::new(
        format!("the database {} cannot be used: {error}{cause}", data_dir.database().display()),
        "Check the disk's free space and the file's owner; restore it from a backup if it is damaged.",
    )
}

/// A master key that the database was not made with.
pub fn wrong_master_key(error: &MasterKeyError) -> Problem {
    Problem::new(
        error.to_string(),
        "The key is in `master.key` of the data folder, or in FANFARE_MASTER_KEY; nothing is served under another one.",
    )
}
