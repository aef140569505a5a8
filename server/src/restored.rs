//! `fanfare restored`: what has to be done after a backup of the database was put back.

use fanfare_domain::StoreError;
use fanfare_infra::names::Names;

use crate::{
    compose::{embedded, postgres, production},
    config::{Config, engines::Engines},
    output,
    problem::Problem,
};

/// Gives every app a new epoch, since clients hold positions that the backup does not know.
pub async fn run(config: &Config) -> Result<(), Problem> {
    let apps = match &config.engines {
        Some(engines) => {
            let store = postgres::connect(config, engines).await?;
            let installation = postgres::require_migrated(&store, config).await?;
            let apps = store.begin_epochs().await.map_err(|error| postgres::unusable(&error))?;
            forget_channels(engines, &installation.names).await?;
            apps
        }
        None => {
            let (data_dir, store) = embedded::open(config).await?;
            let unusable = |error: StoreError| embedded::unusable(&data_dir, &error);
            store.begin_epochs().await.map_err(unusable)?
        }
    };
    let what = if apps == 1 { "1 app has" } else { &format!("{apps} apps have") };
    output::print(&format!("{what} a new epoch: who resumes is told what it will not see\n")).map(drop)
}

/// What Redis still knows of channels is of the state before.
async fn forget_channels(engines: &Engines, names: &Names) -> Result<(), Problem> {
    let forgotten = production::redis(engines, names)?.forget_channels().await;
    forgotten.map(drop).map_err(|error| {
        Problem::new(
            format!("every app has a new epoch, but what Redis keeps of channels could not be removed: {error}"),
            "Make Redis reachable and run `fanfare restored` again, before the workers start.",
        )
    })
}
