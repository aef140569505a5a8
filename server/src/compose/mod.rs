//! Composition: engines behind the ports, and the services over them, as the process's role needs them.

use std::{path::PathBuf, sync::Arc};

use fanfare_api::{Ports, Services};
use fanfare_domain::{
    Clock,
    accounts::Accounts,
    apps::Apps,
    bus::Bus,
    clock::SystemClock,
    deliveries::{DeliveryTrace, Recorder},
    directory::Directory,
    grants::Authenticator,
    history::MessageLog,
    keys::Keys,
    limits::AppLimits,
    occupancy::{Census, Occupancy, PresentMembers},
    outbound::OutboundPolicy,
    plans::Plans,
    presence::Presence,
    publishing::{Intake, Publisher},
    revocations::{Enforcement, Revocations},
    rules::Rules,
    signers::Signers,
    webhooks::{Backlog, Told as ToldWebhooks, Webhooks},
};
use fanfare_gateway::{Gateway, GatewayPorts};
use fanfare_infra::{
    data_dir::DataDir,
    key_sets::FetchedKeySets,
    memory::CachedDirectory,
    outbound::Outbound,
    sql::{MasterKeyError, SqlStore},
};
use fanfare_worker::{SendPorts, TellPorts};
use futures::future::BoxFuture;
use tokio::sync::watch;

use crate::{
    config::Config,
    control::Told,
    delivery::Delivery,
    problem::Problem,
    readiness::{Dependency, Readiness, checks::Check},
    role::Role,
    webhooks::Desk,
};

pub mod embedded;
pub mod postgres;
pub mod production;

/// What goes on beside the rest, until the process ends.
pub type Task = BoxFuture<'static, ()>;

/// Everything that one process runs, before it listens.
pub struct Node {
    /// Where the process may keep files of its own.
    pub home: PathBuf,
    /// Kept, since the folder is locked for as long as this lives.
    pub data_dir: Option<Arc<DataDir>>,
    /// The SQL stores.
    pub store: SqlStore,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The API, if the role has it.
    pub services: Option<Services>,
    /// The sockets, if the role has them.
    pub gateway: Option<Gateway>,
    /// Takes note of what becomes of messages, if the role serves anything.
    pub recorder: Option<Recorder>,
    /// Puts down what is noted for webhooks, if the role has sockets.
    pub desk: Option<Desk>,
    /// From the queue to the log to the bus, if the role has it.
    pub delivery: Option<Delivery>,
    /// What goes on beside.
    pub tasks: Vec<Task>,
    /// Whether all of it works.
    pub readiness: Arc<Readiness>,
}

/// Opens everything that the role needs and puts it together; tasks end when `stopped` says so.
pub async fn compose(config: &Config, role: Role, stopped: &watch::Receiver<bool>) -> Result<Node, Problem> {
    match &config.engines {
        Some(engines) => production::compose(config, engines, role, stopped).await,
        None if role == Role::All => embedded::compose(config, stopped).await,
        None => Err(Problem::new(
            format!("`fanfare {}` needs the production engines, and none are set", role.command()),
            "Set FANFARE_DATABASE_URL, FANFARE_REDIS_URL, FANFARE_AMQP_URL and FANFARE_MASTER_KEY, the same for every process; or run `fanfare serve`, which does everything in one process.",
        )),
    }
}

/// The engines behind the ports of what is served.
struct Engines {
    store: SqlStore,
    /// The log as the API reads it.
    log: Arc<dyn MessageLog>,
    /// The log as the gateway reads it.
    gateway_log: Arc<dyn MessageLog>,
    bus: Arc<dyn Bus>,
    intake: Arc<dyn Intake>,
    limits: Arc<dyn AppLimits>,
    presence: Arc<dyn Presence>,
    occupancy: Arc<dyn Occupancy>,
    trace: Arc<dyn DeliveryTrace>,
    directory: Arc<dyn Directory>,
    desk: Desk,
}

/// What is served, whole; a role takes its part of it.
struct Served {
    directory: Arc<dyn Directory>,
    recorder: Recorder,
    enforcement: Arc<Enforcement>,
    services: Services,
    gateway: Gateway,
    desk: Desk,
}

/// Keys and apps, cached over the database.
fn directory(store: &SqlStore, plans: Arc<Plans>) -> Arc<dyn Directory> {
    let store = Arc::new(store.clone());
    Arc::new(CachedDirectory::new(
        store.clone(),
        store.clone(),
        store.clone(),
        store.clone(),
        store.clone(),
        store,
        plans,
    ))
}

/// What webhooks are told from and with.
struct Telling {
    store: SqlStore,
    notes: Arc<dyn Backlog>,
    tellings: Arc<dyn Backlog>,
    told: Arc<dyn ToldWebhooks>,
    directory: Arc<dyn Directory>,
    occupancy: Arc<dyn Occupancy>,
    presence: Arc<dyn Presence>,
}

/// What tells webhooks: from notes to what is to be told, and from there to their addresses.
fn tell_webhooks(config: &Config, telling: Telling, stopped: &watch::Receiver<bool>) -> [Task; 2] {
    let Telling { store, notes, tellings, told, directory, occupancy, presence } = telling;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let store = Arc::new(store);
    let tell = TellPorts {
        notes,
        tellings: tellings.clone(),
        told,
        webhooks: store.clone(),
        directory: directory.clone(),
        occupancy,
        presence,
        clock: clock.clone(),
    };
    let send = SendPorts { tellings, directory, keys: store, poster: Arc::new(outbound(config)), clock };
    [
        Box::pin(fanfare_worker::tell_webhooks(tell, stopped.clone())),
        Box::pin(fanfare_worker::send_webhooks(send, stopped.clone())),
    ]
}

fn serve(config: &Config, plans: Arc<Plans>, engines: Engines) -> Served {
    let Engines { store, log, gateway_log, bus, intake, limits, presence, occupancy, trace, directory, desk } = engines;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let accounts: Arc<dyn Accounts> = Arc::new(store.clone());
    let apps: Arc<dyn Apps> = Arc::new(store.clone());
    let keys: Arc<dyn Keys> = Arc::new(store.clone());
    let cursors = store.sealer().cursors();
    let signers: Arc<dyn Signers> = Arc::new(store.clone());
    let rules: Arc<dyn Rules> = Arc::new(store.clone());
    let webhooks: Arc<dyn Webhooks> = Arc::new(store.clone());
    let revocations: Arc<dyn Revocations> = Arc::new(store);
    let outbound = outbound(config);
    let key_sets = Arc::new(FetchedKeySets::new(outbound.clone(), clock.clone()));
    let enforcement = Enforcement::new(revocations.clone(), directory.clone(), clock.clone());
    let authenticator = Authenticator::new(directory.clone(), key_sets, clock.clone(), enforcement.clone());
    let recorder = Recorder::new(trace.clone(), clock.clone());
    let publisher = Publisher {
        intake,
        bus: bus.clone(),
        limits: limits.clone(),
        enforcement: enforcement.clone(),
        clock: clock.clone(),
        recorder: recorder.clone(),
    };
    let census = Census { occupancy, members: Arc::new(PresentMembers(presence.clone())) };
    let gateway_ports = GatewayPorts {
        authenticator: authenticator.clone(),
        publisher: publisher.clone(),
        log: gateway_log,
        bus: bus.clone(),
        limits: limits.clone(),
        presence: presence.clone(),
        census: census.clone(),
        directory: directory.clone(),
        cursors,
        enforcement: enforcement.clone(),
        notes: desk.notebook.clone(),
        clock: clock.clone(),
    };
    let ports = Ports {
        accounts,
        apps,
        keys,
        rules,
        signers,
        webhooks,
        outbound: outbound.policy(),
        log,
        directory: directory.clone(),
        revocations,
        enforcement: enforcement.clone(),
        bus,
        limits,
        presence,
        census,
        trace,
        publisher,
        authenticator,
        plans,
        clock,
    };
    let services = Services::new(ports, config.api.clone());
    let gateway = Gateway::new(config.gateway(), gateway_ports);
    Served { directory, recorder, enforcement, services, gateway, desk }
}

impl Served {
    /// Who is told of control messages.
    fn told(&self) -> Told {
        Told { directory: self.directory.clone(), enforcement: Some(self.enforcement.clone()) }
    }
}

/// Whether this process knows what is revoked.
fn watch_revocations(enforcement: &Arc<Enforcement>) -> Dependency {
    Dependency { name: "revocations", optional: false, check: Check::Revocations(enforcement.clone()) }
}

/// What calls the URLs that tenants give.
fn outbound(config: &Config) -> Outbound {
    Outbound::new(if config.webhook_allow_private { OutboundPolicy::AllowPrivate } else { OutboundPolicy::Public })
}

/// A master key that the database was not made with.
pub fn wrong_master_key(error: &MasterKeyError) -> Problem {
    Problem::new(
        error.to_string(),
        "The key is in FANFARE_MASTER_KEY, or in `master.key` of the data folder; nothing is served under another one.",
    )
}
