//! The production engines: Postgres, RabbitMQ, Redis, and several processes, each of which opens what its role needs.

use std::{sync::Arc, time::Instant};

use fanfare_domain::{
    Clock,
    accounts::Accounts,
    bus::Bus,
    clock::SystemClock,
    directory::Directory,
    history::MessageLog,
    ids::{TenantId, WorkerId},
    occupancy::Occupancy,
    presence::Presence,
    publishing::Intake,
    webhooks::Backlog,
};
use fanfare_infra::{
    names::Names,
    rabbitmq::{Rabbit, RabbitBacklog, RabbitConfig},
    redis::{
        Fingerprints, Redis, RedisBus, RedisPresence, RedisUrlError, SharedLimits, SharedOccupancy, SharedTrace,
        WindowedLog,
    },
    sql::{Installation, SqlStore, SqlTold},
};
use fanfare_worker::{Health, OwnPorts};
use secrecy::ExposeSecret;
use tokio::sync::watch;
use tracing::{info, warn};

use super::{Engines, Node, Served, Task, Telling, postgres};
use crate::{
    beats,
    config::{Config, engines as urls},
    control::{self, Told},
    deliveries,
    delivery::Delivery,
    migrate,
    problem::Problem,
    readiness::{Dependency, Readiness, Wrong, checks::Check, pulses::Pulse},
    role::Role,
    webhooks::Desk,
};

/// What webhooks are to be told that the broker hands out ahead; a few more than a worker takes.
const IN_HAND: u16 = 4_200;

/// What is opened for every role.
struct Opened {
    store: SqlStore,
    rabbit: Arc<Rabbit>,
    intake: Arc<dyn Intake>,
    redis: Redis,
    bus: Arc<dyn Bus>,
    queues: RabbitConfig,
}

/// Opens what the role needs and puts it together. Postgres is waited for; RabbitMQ and Redis are connected to meanwhile.
pub async fn compose(
    config: &Config,
    urls: &urls::Engines,
    role: Role,
    stopped: &watch::Receiver<bool>,
) -> Result<Node, Problem> {
    let plans = Arc::new(config.plans()?);
    let opened = open(config, urls, role).await?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let log = opened.store.message_log();
    let node = WorkerId::generate();
    let directory = super::directory(&opened.store, plans.clone());
    let notes: Arc<dyn Backlog> = RabbitBacklog::notes(&opened.queues);
    let (presence, occupancy): (Arc<dyn Presence>, Arc<dyn Occupancy>) = (
        RedisPresence::new(opened.redis.clone(), node.as_str()),
        SharedOccupancy::new(opened.redis.clone(), node.as_str()),
    );
    let telling = role.has_worker().then(|| {
        let tellings: Arc<dyn Backlog> = RabbitBacklog::tellings(&opened.queues, IN_HAND);
        Telling {
            store: opened.store.clone(),
            notes: notes.clone(),
            tellings: tellings.clone(),
            told: Arc::new(SqlTold::apart(opened.store.clone(), tellings)),
            directory: directory.clone(),
            occupancy: occupancy.clone(),
            presence: presence.clone(),
        }
    });
    let served = (role.has_api() || role.has_gateway()).then(|| {
        let engines = engines(&opened, &log, &node, (presence, occupancy), (directory.clone(), Desk::new(notes)));
        super::serve(config, plans, engines)
    });
    let bus = opened.bus.clone();
    let told = served.as_ref().map_or(Told { directory, enforcement: None }, Served::told);
    let mut tasks: Vec<Task> = vec![Box::pin(control::obey(bus.clone(), Some(told.clone()), stopped.clone()))];
    let mut dependencies = watch_engines(&opened, role, stopped, &mut tasks);
    if let Some(enforcement) = told.enforcement {
        dependencies.push(super::watch_revocations(&enforcement));
        tasks.push(Box::pin(enforcement.run(stopped.clone())));
    }
    if let Some(telling) = telling {
        tasks.extend(super::tell_webhooks(config, telling, stopped));
    }
    let mut delivery = None;
    if role.has_worker() {
        let health = Arc::new(Health::default());
        let ports = own_ports(&opened, log.clone(), node, health.clone());
        delivery = Some(Delivery::until_told(|told| fanfare_worker::own(ports, told)));
        tasks.push(Box::pin(fanfare_worker::sweep(log, clock.clone(), stopped.clone())));
        tasks.push(Box::pin(beats::send(bus.clone(), stopped.clone())));
        tasks.push(Box::pin(beats::send_revisions(Arc::new(opened.store.clone()), bus, stopped.clone())));
        let check = Check::Told(Box::new(move || health.report().map_err(Wrong::Owned)));
        dependencies.push(Dependency { name: "worker", optional: false, check });
    }
    if let Some(served) = served.as_ref().filter(|_| role.has_gateway()) {
        tasks.push(Box::pin(served.gateway.clone().count_occupancy(stopped.clone())));
        tasks.push(Box::pin(served.desk.clone().put_down(stopped.clone())));
    }
    let recorder = served.as_ref().map(|served| served.recorder.clone());
    if let Some(recorder) = recorder.clone() {
        tasks.push(Box::pin(deliveries::tell(recorder, stopped.clone())));
    }
    let desk = served.as_ref().filter(|_| role.has_gateway()).map(|served| served.desk.clone());
    let (services, gateway) = served.map(|Served { services, gateway, .. }| (services, gateway)).unzip();
    Ok(Node {
        home: config.data_dir.clone(),
        data_dir: None,
        store: opened.store,
        clock,
        services: services.filter(|_| role.has_api()),
        gateway: gateway.filter(|_| role.has_gateway()),
        recorder,
        desk,
        delivery,
        tasks,
        readiness: Readiness::new(dependencies),
    })
}

/// The ports of what is served.
fn engines(
    opened: &Opened,
    log: &Arc<dyn MessageLog>,
    node: &WorkerId,
    (presence, occupancy): (Arc<dyn Presence>, Arc<dyn Occupancy>),
    (directory, desk): (Arc<dyn Directory>, Desk),
) -> Engines {
    Engines {
        store: opened.store.clone(),
        log: log.clone(),
        gateway_log: WindowedLog::new(log.clone(), opened.redis.clone()),
        bus: opened.bus.clone(),
        intake: opened.intake.clone(),
        limits: SharedLimits::new(opened.redis.clone(), node.as_str()),
        presence,
        occupancy,
        trace: SharedTrace::new(opened.redis.clone(), node.as_str()),
        directory,
        desk,
    }
}

async fn open(config: &Config, urls: &urls::Engines, role: Role) -> Result<Opened, Problem> {
    // What is wrong with it is told at once, also while Postgres is away.
    Redis::check_url(urls.redis_url.expose_secret()).map_err(|error| bad_redis_url(&error))?;
    let store = postgres::wait_for(config, urls).await?;
    let Installation { partitions, names } = match role {
        Role::All => bring_up(&store, config, urls).await?,
        Role::Api | Role::Gateway | Role::Worker => postgres::require_migrated(&store, config).await?,
    };
    let redis = redis(urls, &names)?;
    let url = urls.amqp_url.clone();
    let queues = RabbitConfig { url, names, partitions };
    let rabbit = Rabbit::connect(queues.clone());
    let intake = Fingerprints::new(rabbit.clone(), redis.clone());
    let bus = RedisBus::new(redis.clone());
    Ok(Opened { store, rabbit, intake, redis, bus, queues })
}

/// Redis at its URL, connected to in the background.
pub fn redis(urls: &urls::Engines, names: &Names) -> Result<Redis, Problem> {
    Redis::connect(urls.redis_url.expose_secret(), names.clone()).map_err(|error| bad_redis_url(&error))
}

fn bad_redis_url(error: &RedisUrlError) -> Problem {
    Problem::new(
        format!("`redis_url` (FANFARE_REDIS_URL) cannot be used: {error}"),
        "docs/configuration.md shows how the URLs of a server, of Sentinels and of a cluster are written.",
    )
}

/// `serve` does what `fanfare migrate` does. RabbitMQ is waited for, but only where it was never prepared before.
async fn bring_up(store: &SqlStore, config: &Config, urls: &urls::Engines) -> Result<Installation, Problem> {
    info!("{}", migrate::tables(store).await?);
    let fixed = postgres::fixed(store, config).await?;
    if let Some(warning) = migrate::strangers(config, urls, fixed.as_ref()).await {
        warn!("{warning}");
    }
    let begun = Instant::now();
    loop {
        match (migrate::queues(store, config, urls, fixed.as_ref()).await, &fixed) {
            (Ok(installation), _) => return Ok(installation),
            (Err(problem), Some(fixed)) => {
                warn!("{}. {}", problem.what, problem.remedy);
                return Ok(fixed.clone());
            }
            (Err(problem), None) if begun.elapsed() > postgres::PATIENCE => return Err(problem),
            (Err(problem), None) => info!("Waiting for RabbitMQ: {}", problem.what),
        }
        tokio::time::sleep(postgres::PAUSE).await;
    }
}

fn own_ports(opened: &Opened, log: Arc<dyn MessageLog>, worker: WorkerId, health: Arc<Health>) -> OwnPorts {
    OwnPorts {
        partitions: Arc::new(opened.store.clone()),
        queues: opened.rabbit.clone(),
        log,
        bus: opened.bus.clone(),
        worker,
        health,
    }
}

/// What is tried and looked at, and which of it the role cannot do without.
fn watch_engines(
    opened: &Opened,
    role: Role,
    stopped: &watch::Receiver<bool>,
    tasks: &mut Vec<Task>,
) -> Vec<Dependency> {
    let (database, queue) = (Arc::new(Pulse::default()), Arc::new(Pulse::default()));
    let store = opened.store.clone();
    let read = move || {
        let store = store.clone();
        async move { store.tenant(&TenantId::generate()).await.map(drop) }
    };
    tasks.push(Box::pin(database.clone().keep(read, stopped.clone())));
    let mut dependencies = vec![
        Dependency { name: "database", optional: true, check: Check::Pulse(database) },
        Dependency { name: "bus", optional: !role.has_gateway(), check: Check::Beats(opened.bus.clone()) },
    ];
    if role.has_api() || role.has_gateway() {
        let intake = opened.intake.clone();
        let probe = move || {
            let intake = intake.clone();
            async move { intake.probe().await }
        };
        tasks.push(Box::pin(queue.clone().keep(probe, stopped.clone())));
        dependencies.push(Dependency { name: "queue", optional: !role.has_api(), check: Check::Pulse(queue) });
    }
    dependencies
}
