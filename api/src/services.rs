//! What the handlers work with: the ports, the configuration, and this node's own limits.

use std::{future::Future, sync::Arc};

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
    rules::Rules,
    signers::Signers,
};
use fanfare_protocol::ErrorCode;
use tracing::{Instrument, Span, error};

use crate::{config::ApiConfig, limits::Gates, passwords::PasswordPool};

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
    /// What may be called of what tenants name.
    pub outbound: OutboundPolicy,
    /// History.
    pub log: Arc<dyn MessageLog>,
    /// Keys and apps as the hot paths read them.
    pub directory: Arc<dyn Directory>,
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
