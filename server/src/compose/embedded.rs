//! The embedded engines: SQLite in the data folder, queue and bus inside the process.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use fanfare_domain::{
    Clock, StoreError, bus::Bus, clock::SystemClock, history::MessageLog, occupancy::Occupancy, webhooks::Backlog,
};
use fanfare_infra::{
    data_dir::DataDir,
    memory::{GovernorLimits, MemoryBus, MemoryOccupancy, MemoryPresence, MemoryQueue, MemoryTrace},
    sealing::{MasterKey, Sealer},
    sql::{SqlBacklog, SqlStore, SqlTold},
};
use secrecy::SecretString;
use tokio::sync::watch;

use super::{Engines, Node, Served, Task, Telling};
use crate::{
    beats,
    config::Config,
    control, deliveries,
    delivery::Delivery,
    problem::Problem,
    readiness::{Dependency, Readiness, appends::Appends, checks::Check},
    webhooks::Desk,
};

/// Opens the data folder and the database in it, migrated and under the right master key.
pub async fn open(config: &Config) -> Result<(DataDir, SqlStore), Problem> {
    let data_dir = lock(&config.data_dir)?;
    let sealer = sealer(config, &data_dir)?;
    let store =
        SqlStore::open_sqlite(&data_dir.database(), sealer).await.map_err(|error| unusable(&data_dir, &error))?;
    store.migrate().await.map_err(|error| unusable(&data_dir, &error))?;
    store.check_master_key().await.map_err(|error| super::wrong_master_key(&error))?;
    Ok((data_dir, store))
}

/// Opens everything and puts it together.
pub async fn compose(config: &Config, stopped: &watch::Receiver<bool>) -> Result<Node, Problem> {
    let plans = Arc::new(config.plans()?);
    let (data_dir, store) = open(config).await?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let bus: Arc<dyn Bus> = Arc::new(MemoryBus::default());
    let queue = MemoryQueue::default();
    let appends = Appends::default();
    let log = appends.watch(store.message_log());
    let directory = super::directory(&store, plans.clone());
    let notes: Arc<dyn Backlog> = Arc::new(SqlBacklog::new(store.clone(), "notes"));
    let tellings = SqlBacklog::new(store.clone(), "webhooks");
    let presence = MemoryPresence::new(bus.clone(), clock.clone());
    let occupancy: Arc<dyn Occupancy> = Arc::new(MemoryOccupancy::default());
    let telling = Telling {
        store: store.clone(),
        notes: notes.clone(),
        tellings: Arc::new(tellings.clone()),
        told: Arc::new(SqlTold::beside(store.clone(), tellings)),
        directory: directory.clone(),
        occupancy: occupancy.clone(),
        presence: presence.clone(),
    };
    let engines = Engines {
        store: store.clone(),
        log: log.clone(),
        gateway_log: log.clone(),
        bus: bus.clone(),
        intake: Arc::new(queue.clone()),
        limits: Arc::new(GovernorLimits::default()),
        presence,
        occupancy,
        trace: Arc::new(MemoryTrace::new(clock.now())),
        directory,
        desk: Desk::new(notes),
    };
    let served = super::serve(config, plans, engines);
    let told = served.told();
    let runs = Arc::new(AtomicBool::new(false));
    let readiness = Readiness::new(vec![
        Dependency { name: "database", optional: false, check: Check::Database(store.clone()) },
        Dependency { name: "queue", optional: false, check: Check::Delivery { runs: runs.clone(), appends } },
        Dependency { name: "bus", optional: false, check: Check::Beats(bus.clone()) },
        super::watch_revocations(&served.enforcement),
    ]);
    let mut tasks: Vec<Task> = vec![
        Box::pin(fanfare_worker::sweep(log.clone(), clock.clone(), stopped.clone())),
        Box::pin(beats::send(bus.clone(), stopped.clone())),
        Box::pin(served.gateway.clone().count_occupancy(stopped.clone())),
        Box::pin(deliveries::tell(served.recorder.clone(), stopped.clone())),
        Box::pin(served.enforcement.clone().run(stopped.clone())),
        Box::pin(control::obey(bus.clone(), Some(told), stopped.clone())),
    ];
    tasks.push(Box::pin(served.desk.clone().put_down(stopped.clone())));
    tasks.extend(super::tell_webhooks(config, telling, stopped));
    let Served { services, gateway, recorder, desk, .. } = served;
    let delivery = Delivery::from_queue(queue.clone(), deliver(queue, log, bus, runs));
    Ok(Node {
        home: data_dir.path().to_owned(),
        data_dir: Some(Arc::new(data_dir)),
        store,
        clock,
        services: Some(services),
        gateway: Some(gateway),
        recorder: Some(recorder),
        desk: Some(desk),
        delivery: Some(delivery),
        tasks,
        readiness,
    })
}

async fn deliver(queue: MemoryQueue, log: Arc<dyn MessageLog>, bus: Arc<dyn Bus>, runs: Arc<AtomicBool>) {
    runs.store(true, Ordering::SeqCst);
    fanfare_worker::deliver(Arc::new(queue), None, log, bus).await;
    runs.store(false, Ordering::SeqCst);
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
