//! `fanfare restored`: what has to be done after a backup of the database was put back.

use fanfare_domain::StoreError;

use crate::{
    compose::{embedded, postgres},
    config::Config,
    output,
    problem::Problem,
};

/// Gives every app a new epoch, since clients hold positions that the backup does not know.
pub async fn run(config: &Config) -> Result<(), Problem> {
    let apps = match &config.engines {
        Some(engines) => {
            let store = postgres::connect(config, engines).await?;
            postgres::require_migrated(&store, config).await?;
            store.begin_epochs().await.map_err(|error| postgres::unusable(&error))?
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
