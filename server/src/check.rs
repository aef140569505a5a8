//! `fanfare check`: looks at everything that `serve` needs, changes nothing, and says what to mend.

use std::{
    fs,
    path::Path,
    time::{Duration, SystemTime},
};

use fanfare_domain::{
    Clock, Timestamp,
    accounts::{Accounts, Email},
    apps::Apps,
    clock::SystemClock,
    history::MessageLog,
    ids::{AppId, KeyId, TenantId},
    keys::Keys,
    rules::Rules,
};
use fanfare_infra::{data_dir::DataDir, sealing::Sealer, sql::SqlStore};
use fanfare_protocol::ChannelName;

use crate::{compose, config::Config, listening, output, problem::Problem};

/// Fewer open files than this are too few sockets for a server.
const FEWEST_FILES: u64 = 4_096;
/// 1 January 2025: a clock before this was never set.
const EARLIEST: Timestamp = Timestamp(1_735_689_600_000);
/// How far the clock may be behind what was written by it.
const BEHIND: Duration = Duration::from_secs(60);

/// One line: what was looked at, and what was found.
type Finding = (&'static str, Result<String, Problem>);

/// Prints a line for each check.
///
/// # Errors
/// How many found a problem.
pub async fn run(file: Option<&Path>) -> Result<(), Problem> {
    let mut findings = Vec::new();
    match Config::load(file) {
        Ok(config) => {
            findings.push(("configuration", Ok("every setting has a value that can be used".to_owned())));
            findings.extend(config.passed_over.iter().map(|variable| ("variables", Err(variable.clone()))));
            findings.extend(stores(&config).await);
            findings.push(("listen", port(config.listen, "listen", "FANFARE_LISTEN")));
            findings.push(("ops_listen", port(config.ops_listen, "ops_listen", "FANFARE_OPS_LISTEN")));
            findings.push(("clock", clock(&config.data_dir, SystemClock.now())));
        }
        Err(bad) => findings.extend(bad.0.into_iter().map(|problem| ("configuration", Err(problem)))),
    }
    findings.push(("open files", open_files()));
    for (name, finding) in &findings {
        let line = match finding {
            Ok(found) => format!("ok       {name}: {found}\n"),
            Err(problem) => format!("problem  {name}: {} → {}\n", problem.what, problem.remedy),
        };
        output::print(&line)?;
    }
    match findings.iter().filter(|(_, finding)| finding.is_err()).count() {
        0 => Ok(()),
        1 => Err(Problem::new("1 problem was found", "Mend it as its line says, and check again.")),
        count => {
            Err(Problem::new(format!("{count} problems were found"), "Mend them as their lines say, and check again."))
        }
    }
}

/// The folder, the master key and the database, each only if what it stands on is sound.
async fn stores(config: &Config) -> Vec<Finding> {
    let shown = config.data_dir.display();
    if !config.data_dir.exists() {
        return vec![(
            "data folder",
            Ok(format!("{shown} is not there yet; `serve` makes it, with a database and a master key")),
        )];
    }
    let data_dir = match compose::lock(&config.data_dir) {
        Ok(data_dir) => data_dir,
        Err(problem) => return vec![("data folder", Err(problem))],
    };
    let mut findings = vec![("data folder", Ok(format!("{shown} can be locked and written")))];
    if config.master_key.is_none() && !data_dir.master_key().exists() && !data_dir.database().exists() {
        findings.push(("master key", Ok("none yet; `serve` makes one".to_owned())));
        return findings;
    }
    match compose::sealer(config, &data_dir) {
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
    let store = SqlStore::open_sqlite(&shown, sealer).await.map_err(|error| compose::unusable(data_dir, &error))?;
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

fn port(address: std::net::SocketAddr, setting: &str, variable: &str) -> Result<String, Problem> {
    listening::listen(address, setting, variable).map(|_| format!("{address} is free"))
}

fn open_files() -> Result<String, Problem> {
    let (_, hard) = rlimit::Resource::NOFILE
        .get()
        .map_err(|error| Problem::new(format!("the limit cannot be read: {error}"), "Look at `ulimit -Hn`."))?;
    if hard < FEWEST_FILES {
        return Err(Problem::new(
            format!("the hard limit is {hard}, and every socket takes one"),
            format!(
                "Raise it to {FEWEST_FILES} or more: `ulimit -Hn`, LimitNOFILE= in a systemd unit, or --ulimit nofile= of a container."
            ),
        ));
    }
    Ok(format!("up to {hard}; `serve` raises its own limit to that"))
}

/// Whether the clock was set at all, and has not been set back since the database was last written.
fn clock(data_dir: &Path, now: Timestamp) -> Result<String, Problem> {
    let remedy = "Set the clock, and keep it set with NTP: tokens, retention and rotated keys go by it.";
    if now < EARLIEST {
        return Err(Problem::new("the system's clock is before 2025", remedy));
    }
    let written = fs::read_dir(data_dir)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.metadata().ok()?.modified().ok())
        .max();
    let written = written
        .and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok())
        .map(|since| Timestamp(since.as_millis() as u64));
    match written {
        Some(written) if written > now.after(BEHIND) => {
            let behind = written.since(now).as_secs();
            Err(Problem::new(
                format!("the data folder was written {behind} s from now: the clock was set back"),
                remedy,
            ))
        }
        _ => Ok("set, and not behind the data".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_never_set_or_was_set_back_is_told() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("fanfare.db"), "x").unwrap();
        assert!(clock(dir.path(), SystemClock.now()).is_ok());
        assert!(clock(dir.path(), Timestamp(0)).unwrap_err().what.contains("before 2025"));
        let hour_ago = SystemClock.now().before(Duration::from_secs(3_600));
        assert!(clock(dir.path(), hour_ago).unwrap_err().what.contains("set back"));
    }
}
