//! `fanfare suspend`: a tenant's apps refuse everyone until the suspension is lifted.

use fanfare_domain::{Clock, clock::SystemClock, ids::TenantId, revocations::Revocations};
use fanfare_infra::sql::SqlStore;

use crate::{
    compose::{embedded, postgres},
    config::Config,
    output,
    problem::Problem,
};

/// Suspends a tenant, or lifts its suspension. Nodes that run obey within a second.
pub async fn run(config: &Config, tenant: &str, lift: bool) -> Result<(), Problem> {
    let unknown = || {
        let remedy = "Its id begins with `ten_`; people see it in `GET /v1/me`.";
        Problem::new(format!("there is no tenant `{tenant}`"), remedy)
    };
    let id = TenantId::parse(tenant).map_err(|_| unknown())?;
    let suspend = async |store: &SqlStore| store.suspend(&id, !lift, SystemClock.now()).await;
    let is_there = match &config.engines {
        Some(engines) => {
            let store = postgres::connect(config, engines).await?;
            postgres::require_migrated(&store, config).await?;
            suspend(&store).await.map_err(|error| postgres::unusable(&error))?
        }
        None => {
            let (data_dir, store) = embedded::open(config).await?;
            suspend(&store).await.map_err(|error| embedded::unusable(&data_dir, &error))?
        }
    };
    if !is_there {
        return Err(unknown());
    }
    let what = if lift { "goes on" } else { "is suspended: its connections are closed, its keys and tokens refused" };
    output::print(&format!("{id} {what}\n")).map(drop)
}
