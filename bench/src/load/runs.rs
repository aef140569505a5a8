//! `fanfare-bench run`: a scenario against a Fanfare that runs already.

use std::{fs, path::PathBuf};

use clap::Args;

use super::{
    measurements::{Measured, measure},
    processes::Role,
    scenarios::{Protocol, Scenario},
    tables::table,
    targets::{self, App},
    tokens::Key,
};
use crate::clients::Problem;

#[derive(Debug, Args)]
pub struct RunArgs {
    /// The name of a file in bench/scenarios, or the path of one
    scenario: String,
    /// What is to be other than in the file, as `connections=100`
    #[arg(long = "set")]
    set: Vec<String>,
    /// What subscribers speak, in place of what the scenario says
    #[arg(long)]
    clients: Option<Protocol>,
    /// A process of the server, as `1234` or `gateway=1234`; what it starts counts with it. Once for each process
    #[arg(long = "pid")]
    roles: Vec<Role>,
    /// Where subscribers connect, if not to `--url`; once for each gateway
    #[arg(long = "gateway-url")]
    gateways: Vec<String>,
    /// An API key, `fk_….fs_…`; without one, somebody signs up
    #[arg(long)]
    key: Option<String>,
    /// A file to write what was measured to, as JSON
    #[arg(long)]
    json: Option<PathBuf>,
}

/// Runs it, and prints a table.
///
/// # Errors
/// The scenario or the server cannot be used.
pub async fn run(url: &str, args: &RunArgs) -> Result<(), Problem> {
    let scenario = Scenario::find(&args.scenario, &args.set)?;
    let api = [url.to_owned()];
    let gateways = if args.gateways.is_empty() { &api[..] } else { &args.gateways };
    let mut rows = Vec::new();
    for protocol in args.clients.map_or_else(|| scenario.clients.clone(), |protocol| vec![protocol]) {
        let app = match &args.key {
            Some(key) if protocol != Protocol::Pusher => App { key: Key::parse(key)?, pusher: None },
            Some(_) => return Err("with Pusher somebody signs up: leave out the key".to_owned()),
            None => App::sign_up(url, protocol, scenario.durable).await?,
        };
        let target = targets::fanfare("fanfare", app, &scenario, protocol, [gateways, &api], args.roles.clone())?;
        rows.push(tokio::task::block_in_place(|| measure(&scenario, &target))?);
    }
    println!("{}", table(&rows));
    tell_problems(&rows);
    args.json.as_ref().map_or(Ok(()), |path| write_json(path, &rows))
}

/// Says why connections were ended that should not have been.
pub fn tell_problems(rows: &[Measured]) {
    for row in rows.iter().filter(|row| row.ended > 0) {
        let why = row.problem.as_deref().unwrap_or_default();
        eprintln!("{}, {}: {} connections ended: {why}", row.scenario, row.target, row.ended);
    }
}

/// Writes what was measured to a file.
///
/// # Errors
/// It cannot be written.
pub fn write_json(path: &PathBuf, rows: &[Measured]) -> Result<(), Problem> {
    let said = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let text = serde_json::to_string_pretty(rows).map_err(|error| said(&error))?;
    fs::write(path, text + "\n").map_err(|error| said(&error))
}
