//! The embedded engines: data folder, master key, database.

use fanfare_domain::{
    accounts::{Accounts, Email},
    apps::Apps,
    history::MessageLog,
    ids::{AppId, KeyId, TenantId},
    keys::Keys,
    rules::Rules,
};
use fanfare_infra::{data_dir::DataDir, sealing::Sealer, sql::SqlStore};
use fanfare_protocol::ChannelName;

use super::Finding;
use crate::{
    compose::{self, embedded},
    config::Config,
    problem::Problem,
};

/// The folder, the master key and the database, each only if what it stands on is sound.
pub(super) async fn look(config: &Config) -> Vec<Finding> {
    let shown = config.data_dir.display();
    if !config.data_dir.exists() {
        return vec![(
            "data folder",
            Ok(format!("{shown} is not there yet; `serve` makes it, with a database and a master key")),
        )];
    }
    let data_dir = match embedded::lock(&config.data_dir) {
        Ok(data_dir) => data_dir,
        Err(problem) => return vec![("data folder", Err(problem))],
    };
    let mut findings = vec![("data folder", Ok(format!("{shown} can be locked and written")))];
    if config.master_key.is_none() && !data_dir.master_key().exists() && !data_dir.database().exists() {
        findings.push(("master key", Ok("none yet; `serve` makes one".to_owned())));
        return findings;
    }
    match embedded::sealer(config, &data_dir) {
        Ok(sealer) if data_dir.database().exists() => {
            findings.push(("master key", Ok(format!("key `{}`", sealer.key_id()))));
            findings.push(("database", database(&data_dir, sealer).await));
        }
        Ok(sealer) => {
            findings.push(("master key", Ok(format!("key `{}`", sealer.key_id()))));
            findings.push(("database", Ok("none yet; `serve` makes one".to_owned())));
        }
        Err(problem) => findings.push(("master key", Err(problem))),
    }
    findings
}

/// Whether every table can be read with the columns of this version, and the key is the one that the database was made with.
async fn database(data_dir: &DataDir, sealer: Sealer) -> Result<String, Problem> {
    let shown = data_dir.database();
    let store = SqlStore::open_sqlite(&shown, sealer).await.map_err(|error| embedded::unusable(data_dir, &error))?;
    let schema = async {
        store.tenant(&TenantId::generate()).await?;
        store.user_by_email(&Email::parse("nobody@example.com").expect("it has the shape of an address")).await?;
        let app = AppId::generate();
        Apps::find(&store, &app).await?;
        store.find_by_id(&KeyId::generate()).await?;
        Rules::list(&store, &app).await?;
        store.head(&app, &ChannelName::parse("check").expect("`check` is a channel")).await
    };
    schema.await.map_err(|error| {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
        Problem::new(
            format!("the tables of {} are not those of this version: {error}{cause}", shown.display()),
            "`fanfare migrate` brings them up to date; so does `fanfare serve`.",
        )
    })?;
    store.check_master_key().await.map_err(|error| compose::wrong_master_key(&error))?;
    Ok(format!("{} opens, has the tables of this version, and was made with this master key", shown.display()))
}
