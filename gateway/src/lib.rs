//! The gateway: clients' sockets, one actor each, and the fan-out of messages to them.

use std::{
    any::Any,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use actix_web::web::ServiceConfig;
use fanfare_domain::{
    Clock, Timestamp, bus::Bus, connections::ConnectionConfig, cursors::Cursors, directory::Directory, drains::Spread,
    grants::Authenticator, history::MessageLog, limits::AppLimits, occupancy::Census, presence::Presence,
    publishing::Publisher, pusher::sessions::PusherConfig, revocations::Enforcement, webhooks::Notes,
};
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};

mod accept;
mod cross_origin;
mod echo;
mod faults;
mod hub;
mod occupancy;
mod polls;
mod pusher;
mod sockets;
mod sse;
mod streams;
mod wire;

pub use faults::{Fault, Faults};
#[doc(hidden)]
pub use hub::FanOut;
use hub::{Hub, Pages};
use occupancy::Watching;
use wire::Accounts;
pub use wire::{Handover, Stream, Upgraded};

/// What the gateway needs of the rest.
#[derive(Clone)]
pub struct GatewayPorts {
    /// Turns credentials into grants.
    pub authenticator: Authenticator,
    /// Publishes what clients publish.
    pub publisher: Publisher,
    /// History, for resumes and pages.
    pub log: Arc<dyn MessageLog>,
    /// Where messages come from.
    pub bus: Arc<dyn Bus>,
    /// Quotas of connections.
    pub limits: Arc<dyn AppLimits>,
    /// Who is in the channels.
    pub presence: Arc<dyn Presence>,
    /// How occupied channels are.
    pub census: Census,
    /// Apps and their rules.
    pub directory: Arc<dyn Directory>,
    /// Signs the cursors of streams.
    pub cursors: Cursors,
    /// What is revoked.
    pub enforcement: Arc<Enforcement>,
    /// Takes note of what webhooks tell.
    pub notes: Arc<dyn Notes>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// How the gateway behaves.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GatewayConfig {
    /// Heartbeats and the time that `connect` may take.
    pub connection: ConnectionConfig,
    /// Heartbeats of Pusher's clients.
    pub pusher: PusherConfig,
    /// The time over which connections leave a gateway that was asked to end.
    #[serde(with = "humantime_serde")]
    pub drain_window: Duration,
    /// Opens `GET /test/echo`, which echoes every message; for test suites of WebSocket servers.
    #[serde(skip)]
    pub test_endpoints: bool,
    /// Whether faults can be made on purpose; for test suites of clients.
    #[serde(skip)]
    pub faults: bool,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            connection: ConnectionConfig::default(),
            pusher: PusherConfig::default(),
            drain_window: Duration::from_secs(30),
            test_endpoints: false,
            faults: false,
        }
    }
}

/// The gateway of one process; each of its threads has a hub of its own.
#[derive(Clone)]
pub struct Gateway {
    shared: Arc<Shared>,
}

/// What the threads of a gateway share.
struct Shared {
    faults: Option<Faults>,
    config: GatewayConfig,
    ports: GatewayPorts,
    watching: Watching,
    sockets: AtomicUsize,
    /// Those that have connected.
    connections: AtomicUsize,
    unconnected: AtomicUsize,
    accounts: Accounts,
    pages: Arc<Pages>,
    socket_closed: Notify,
    draining: AtomicBool,
    drain: watch::Sender<Option<Arc<Drain>>>,
}

/// A drain that has begun: who leaves when.
struct Drain {
    begun: Timestamp,
    spread: Spread,
    /// How many have asked.
    asked: AtomicUsize,
}

impl Drain {
    /// How long the next connection is still served. All threads ask the same drain.
    fn next(&self, now: Timestamp) -> Duration {
        let slot = self.spread.slot(self.asked.fetch_add(1, Ordering::SeqCst));
        self.begun.after(slot).since(now)
    }
}

/// Sockets that may wait for their `connect` at a time: nobody vouches for them yet.
const MAX_UNCONNECTED: usize = 5_000;
/// What the kernel may hold of what is sent to one peer, half of what it takes for itself: a peer that reads slowly is to show here.
const SEND_BUFFER_BYTES: usize = 64 * 1024;
/// How long the kernel keeps a connection whose peer takes nothing.
const UNSENT_TIMEOUT: Duration = Duration::from_secs(30);

impl Gateway {
    /// A gateway over these ports.
    pub fn new(config: GatewayConfig, ports: GatewayPorts) -> Self {
        let shared = Shared {
            faults: config.faults.then(Faults::default),
            config,
            ports,
            watching: Watching::default(),
            sockets: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            unconnected: AtomicUsize::new(0),
            accounts: Accounts::default(),
            pages: Arc::default(),
            socket_closed: Notify::new(),
            draining: AtomicBool::new(false),
            drain: watch::Sender::new(None),
        };
        Self { shared: Arc::new(shared) }
    }

    /// The gateway's routes with a new hub; made once on each thread that serves, for all that serves there.
    pub fn routes(&self) -> impl Fn(&mut ServiceConfig) + Clone + use<> {
        let hub = Hub::start(self.clone());
        let test_endpoints = self.shared.config.test_endpoints;
        move |services| {
            services
                .app_data(Rc::clone(&hub))
                .service(accept::resource())
                .service(sse::resource())
                .service(polls::resource());
            services.service(pusher::resource()).service(pusher::nowhere());
            if test_endpoints {
                services.service(echo::echo);
            }
        }
    }

    /// Refuses new sockets from now on, and tells all connections at once to come again, each at a time of its own in the window, until
    /// which it is served. Sockets that have not connected are closed at once. A second drain may be shorter, and never lengthens the first.
    pub fn drain(&self, window: Duration) {
        self.shared.draining.store(true, Ordering::SeqCst);
        let count = self.shared.connections.load(Ordering::SeqCst);
        tracing::info!(connections = count, "Draining: connections leave within {window:?}");
        let begun = self.shared.ports.clock.now();
        let drain = Drain { begun, spread: Spread::new(count, window), asked: AtomicUsize::new(0) };
        self.shared.drain.send_replace(Some(Arc::new(drain)));
    }

    /// Returns when no socket is open.
    pub async fn drained(&self) {
        loop {
            let notified = self.shared.socket_closed.notified();
            if self.sockets() == 0 {
                return;
            }
            notified.await;
        }
    }

    /// How many sockets are open.
    pub fn sockets(&self) -> usize {
        self.shared.sockets.load(Ordering::SeqCst)
    }

    /// Says that the node ends: who does not come back elsewhere leaves its channels soon. After [`Gateway::drained`].
    pub async fn retire(&self) {
        self.shared.ports.presence.retire().await;
    }

    /// The faults that can be made on purpose, if they can.
    pub fn faults(&self) -> Option<&Faults> {
        self.shared.faults.as_ref()
    }

    fn is_draining(&self) -> bool {
        self.shared.draining.load(Ordering::SeqCst)
    }

    fn ports(&self) -> &GatewayPorts {
        &self.shared.ports
    }

    fn accounts(&self) -> &Accounts {
        &self.shared.accounts
    }

    fn watching(&self) -> &Watching {
        &self.shared.watching
    }

    fn config(&self) -> &GatewayConfig {
        &self.shared.config
    }
}

/// A socket's entry in its gateway's count, taken out when dropped.
struct SocketCount(Gateway);

impl SocketCount {
    fn new(gateway: &Gateway) -> Self {
        gateway.shared.sockets.fetch_add(1, Ordering::SeqCst);
        fanfare_domain::metrics::Metric::Sockets.shift(1.0);
        Self(gateway.clone())
    }
}

impl Drop for SocketCount {
    fn drop(&mut self) {
        fanfare_domain::metrics::Metric::Sockets.shift(-1.0);
        if self.0.shared.sockets.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.shared.socket_closed.notify_waiters();
        }
    }
}

/// A socket's entry among those that have not connected, taken out when dropped.
struct Unconnected(Gateway);

impl Unconnected {
    /// `None` if as many wait as may.
    fn new(gateway: &Gateway) -> Option<Self> {
        let entry = Self(gateway.clone());
        (gateway.shared.unconnected.fetch_add(1, Ordering::SeqCst) < MAX_UNCONNECTED).then_some(entry)
    }
}

impl Drop for Unconnected {
    fn drop(&mut self) {
        self.0.shared.unconnected.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Tunes an accepted TCP connection: no delay, little in the kernel, and an end to peers that take nothing. For `HttpServer::on_connect`.
pub fn tune(io: &dyn Any) {
    if let Some(stream) = io.downcast_ref::<actix_rt::net::TcpStream>() {
        let socket = socket2::SockRef::from(stream);
        let tuned = socket
            .set_tcp_nodelay(true)
            .and_then(|()| socket.set_send_buffer_size(SEND_BUFFER_BYTES))
            .and_then(|()| socket.set_tcp_user_timeout(Some(UNSENT_TIMEOUT)));
        if let Err(error) = tuned {
            tracing::debug!(%error, "A connection could not be tuned");
        }
    }
}
