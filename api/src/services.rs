//! What the handlers work with: the ports, the configuration, and this node's own limits.

use std::{future::Future, sync::Arc, time::Duration};

use actix_web::{HttpRequest, rt, web::Data};
use fanfare_domain::{
    Clock, Refusal, Timestamp,
    accounts::Accounts,
    apps::Apps,
    bus::{Broadcast, Bus},
    deliveries::DeliveryTrace,
    directory::Directory,
    grants::Authenticator,
    history::MessageLog,
    ids::TenantId,
    keys::Keys,
    limits::AppLimits,
    occupancy::Census,
    outbound::OutboundPolicy,
    plans::{Limits, Plans},
    presence::Presence,
    publishing::Publisher,
    revocations::{Beat, Enforcement, Revocations},
    rules::Rules,
    signers::Signers,
    webhooks::Webhooks,
};
use fanfare_protocol::ErrorCode;
use tokio::time::timeout;
use tracing::{Instrument, Span, error, warn};

use crate::{config::ApiConfig, limits::Gates, passwords::PasswordPool};

/// How long the bus may take to tell of a revocation before it is answered.
const TELLING: Duration = Duration::from_secs(1);

/// The engines, as the API sees them.
#[derive(Clone)]
pub struct Ports {
    /// Tenants, users and login sessions.
    pub accounts: Arc<dyn Accounts>,
    /// Apps.
    pub apps: Arc<dyn Apps>,
    /// API keys.
    pub keys: Arc<dyn Keys>,
    /// Rules.
    pub rules: Arc<dyn Rules>,
    /// Signers.
    pub signers: Arc<dyn Signers>,
    /// Webhooks.
    pub webhooks: Arc<dyn Webhooks>,
    /// What may be called of what tenants name.
    pub outbound: OutboundPolicy,
    /// History.
    pub log: Arc<dyn MessageLog>,
    /// Keys and apps as the hot paths read them.
    pub directory: Arc<dyn Directory>,
    /// What is cut off, as it is stored.
    pub revocations: Arc<dyn Revocations>,
    /// What is cut off, as this node knows it.
    pub enforcement: Arc<Enforcement>,
    /// Where changes are told to live connections.
    pub bus: Arc<dyn Bus>,
    /// What apps may still do now.
    pub limits: Arc<dyn AppLimits>,
    /// Who is in the channels.
    pub presence: Arc<dyn Presence>,
    /// How occupied channels are.
    pub census: Census,
    /// What became of messages, where apps keep a trace.
    pub trace: Arc<dyn DeliveryTrace>,
    /// Publishes.
    pub publisher: Publisher,
    /// Turns credentials into grants.
    pub authenticator: Authenticator,
    /// The plans there are.
    pub plans: Arc<Plans>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// What every handler is given. Clones share everything, the limits too.
#[derive(Clone)]
pub struct Services {
    pub(crate) ports: Ports,
    pub(crate) config: Arc<ApiConfig>,
    pub(crate) gates: Arc<Gates>,
    pub(crate) passwords: Arc<PasswordPool>,
}

impl Services {
    /// What the plan of a tenant allows.
    pub(crate) async fn limits_of(&self, tenant: &TenantId) -> Result<Limits, Refusal> {
        let tenant = self.ports.accounts.tenant(tenant).await?;
        let tenant = tenant.ok_or_else(|| Refusal::plain(ErrorCode::NotFound))?;
        Ok(self.ports.plans.limits(&tenant.plan).clone())
    }

    /// Services over these ports. Made once per process, and cloned for each worker thread; it hashes a password, which takes a moment.
    pub fn new(ports: Ports, config: ApiConfig) -> Self {
        let gates = Arc::new(Gates::new(&config));
        Self { ports, config: Arc::new(config), gates, passwords: Arc::new(PasswordPool::new()) }
    }

    /// The services of the app that a request came to.
    pub(crate) fn of(request: &HttpRequest) -> Data<Services> {
        request.app_data::<Data<Services>>().cloned().expect("`routes` gives its scope the services")
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.ports.clock.now()
    }

    /// Has this node and all others obey what was just revoked. Nothing is lost if that fails: every node finds it by itself within a second.
    pub(crate) async fn enforce(&self) {
        match self.ports.enforcement.read_again().await {
            Some(beat) => self.tell_number(beat).await,
            None => warn!("A revocation is stored; this node could not read it at once"),
        }
    }

    /// Tells all nodes of the latest number.
    pub(crate) async fn tell_number(&self, beat: Beat) {
        match timeout(TELLING, self.ports.bus.send(vec![Broadcast::Revision(beat)])).await {
            Ok(Ok(_)) => {}
            Ok(Err(failure)) => {
                warn!(error = %failure, "A revocation is stored; the nodes are not told, and find it by themselves")
            }
            Err(_) => {
                warn!("A revocation is stored; the bus takes long to tell the nodes, and they find it by themselves")
            }
        }
    }

    /// Tells nodes of the release before, which know no numbers, what is gone.
    pub(crate) async fn tell_predecessors(&self, gone: Broadcast) {
        // It is revoked all the same; such a node finds it gone when it reads it afresh.
        let _ = timeout(TELLING, self.ports.bus.send(vec![gone])).await;
    }

    /// Tells live connections, on every node, of a change that is stored already.
    pub(crate) async fn tell(&self, change: Broadcast) -> Result<(), Refusal> {
        self.ports.bus.send(vec![change]).await.map(drop).map_err(|failure| {
            error!(error = %failure, "A change is stored, but live connections could not be told");
            Refusal::new(
                ErrorCode::Unavailable,
                "the change is stored, but live connections may learn of it only after 30 s",
            )
        })
    }
}

/// Runs a change to its end, even if the caller goes away half-way: a revocation that is stored must also be told.
pub(crate) async fn to_its_end<T: 'static>(
    change: impl Future<Output = Result<T, Refusal>> + 'static,
) -> Result<T, Refusal> {
    match rt::spawn(change.instrument(Span::current())).await {
        Ok(result) => result,
        Err(failure) => {
            error!(error = %failure, "A change did not run to its end");
            Err(Refusal::plain(ErrorCode::Internal))
        }
    }
}
