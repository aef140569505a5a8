//! `fanfare-bench suite`: scenarios against servers that are started for them, the limit among them, in one run.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use clap::Args;

use super::{
    measurements::{Measured, Target, measure},
    peers,
    processes::Role,
    programs::{Program, beside, free_port},
    runs::{tell_problems, write_json},
    scenarios::{Protocol, Scenario},
    tables::table,
    targets::{self, App},
};
use crate::clients::Problem;

#[derive(Debug, Args)]
pub struct SuiteArgs {
    /// Scenarios, by name; all that one machine can take if there are none
    #[arg(value_delimiter = ',')]
    scenarios: Vec<String>,
    /// What is to be other than in the files, as `seconds=5`
    #[arg(long = "set")]
    set: Vec<String>,
    /// How often each is measured, in turn; the table shows the round in the middle by CPU
    #[arg(long, default_value_t = 1)]
    rounds: usize,
    /// Measure Nchan beside it: Debian's `nginx` with `libnginx-mod-nchan`
    #[arg(long)]
    nchan: bool,
    /// Measure Sockudo beside it: where its program is
    #[arg(long)]
    sockudo: Option<PathBuf>,
    /// A file to write every round to, as JSON
    #[arg(long)]
    json: Option<PathBuf>,
}

/// What runs where no scenario is named.
const ALL: [&str; 5] = ["paced", "flat-out", "storm", "idle", "channels"];

/// Runs them, and prints a table for each.
///
/// # Errors
/// A program cannot be started, or a scenario cannot be run.
pub async fn run(args: &SuiteArgs) -> Result<(), Problem> {
    let named: Vec<&str> = args.scenarios.iter().map(String::as_str).collect();
    let mut all = Vec::new();
    for name in if named.is_empty() { &ALL[..] } else { &named } {
        let scenario = Scenario::find(name, &args.set)?;
        println!("\n## {}\n\n{}\n", scenario.name, scenario.about);
        let rounds = rounds(&scenario, args).await?;
        let middle: Vec<_> = rounds.iter().filter_map(|rounds| middle(rounds)).collect();
        println!("{}", table(&middle));
        tell_problems(&middle);
        all.extend(rounds.into_iter().flatten());
    }
    args.json.as_ref().map_or(Ok(()), |path| write_json(path, &all))
}

/// Every round of each server; servers take turns.
async fn rounds(scenario: &Scenario, args: &SuiteArgs) -> Result<Vec<Vec<Measured>>, Problem> {
    let servers = servers(scenario, args);
    let mut measured = vec![Vec::new(); servers.len()];
    for round in 1..=args.rounds {
        for (server, measured) in servers.iter().zip(&mut measured) {
            eprintln!("{}: {server:?}, round {round} of {}", scenario.name, args.rounds);
            match server.measure(scenario).await {
                Ok(round) => measured.push(round),
                // A peer's fault is not to hide what the others do.
                Err(problem) if server.is_peer() => println!("{server:?} could not be measured: {problem}\n"),
                Err(problem) => return Err(problem),
            }
        }
    }
    Ok(measured)
}

/// Whom a scenario is for: only Fanfare's and Pusher's protocols follow several channels on one connection.
fn servers(scenario: &Scenario, args: &SuiteArgs) -> Vec<Server> {
    let mut servers: Vec<_> = scenario.clients.iter().map(|protocol| Server::Fanfare(*protocol)).collect();
    if scenario.channels == 1 {
        servers.insert(0, Server::Limit);
        servers.extend(args.nchan.then_some(Server::Nchan));
    }
    servers.extend(args.sockudo.clone().map(Server::Sockudo));
    servers
}

/// The round in the middle by CPU; of an even number, the lower of the two.
fn middle(rounds: &[Measured]) -> Option<Measured> {
    let cpu = |measured: &Measured| {
        let delivery = measured.traffic.as_ref().and_then(|traffic| traffic.cpu_us_per_delivery);
        delivery.or(measured.cpu_us_per_connect).unwrap_or(0.0)
    };
    let mut sorted: Vec<_> = rounds.iter().collect();
    sorted.sort_by(|one, other| cpu(one).total_cmp(&cpu(other)));
    sorted.get(sorted.len().saturating_sub(1) / 2).map(|middle| (*middle).clone())
}

/// A server that is started for each round, so that nothing of one before is in its memory.
#[derive(Debug, Clone)]
enum Server {
    Limit,
    Fanfare(Protocol),
    Nchan,
    Sockudo(PathBuf),
}

impl Server {
    fn is_peer(&self) -> bool {
        matches!(self, Self::Nchan | Self::Sockudo(_))
    }

    async fn measure(&self, scenario: &Scenario) -> Result<Measured, Problem> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let folder = folder.path();
        // The program is ended as it is dropped, after the measurement.
        let (_program, target) = match self {
            Self::Limit => limit(folder)?,
            Self::Fanfare(protocol) => fanfare(scenario, *protocol, folder).await?,
            Self::Nchan => peers::nchan(folder)?,
            Self::Sockudo(program) => peers::sockudo(program, folder)?,
        };
        tokio::task::block_in_place(|| measure(&self.adapted(scenario), &target))
    }

    /// Sockudo ends a publisher's connection with each answer, so that nothing can be sent ahead on it: as many publishers have one request open each.
    fn adapted(&self, scenario: &Scenario) -> Scenario {
        let Scenario { publishers, pipelining, .. } = *scenario;
        match self {
            Self::Sockudo(_) => Scenario { publishers: publishers * pipelining, pipelining: 1, ..scenario.clone() },
            _ => scenario.clone(),
        }
    }
}

fn limit(folder: &Path) -> Result<(Program, Target), Problem> {
    let mut program = Program::start("limit", &mut Command::new(beside("fanfare-limit")?), folder)?;
    let mut address = |of: &str| program.until_said(of)?.parse().map_err(|_| format!("{of} no address"));
    let (subscribers, publishers) = (address("Subscribers: ")?, address("Publishers: ")?);
    let target = targets::limit(subscribers, publishers, program.pid());
    Ok((program, target))
}

async fn fanfare(scenario: &Scenario, protocol: Protocol, folder: &Path) -> Result<(Program, Target), Problem> {
    let (program, url) = serve(folder)?;
    let app = App::sign_up(&url, protocol, scenario.durable).await?;
    // Hashing a password takes much memory for a moment; connections are not to grow into that.
    drop(program);
    let (program, url) = serve(folder)?;
    let roles = vec![Role { name: "server".to_owned(), pid: program.pid() }];
    let urls = [url];
    let target = targets::fanfare("fanfare", app, scenario, protocol, [&urls, &urls], roles)?;
    Ok((program, target))
}

/// The whole product in one process: tokens are verified, limits hold, and metrics are counted. The plan is one that none of the scenarios passes.
fn serve(folder: &Path) -> Result<(Program, String), Problem> {
    let mut command = Command::new(beside("fanfare")?);
    command
        .arg("serve")
        .env("FANFARE_DATA_DIR", folder.join("data"))
        .env("FANFARE_LISTEN", format!("127.0.0.1:{}", free_port()?))
        .env("FANFARE_OPS_LISTEN", format!("127.0.0.1:{}", free_port()?))
        .env("FANFARE_DRAIN_WINDOW", "0s")
        .env("FANFARE_PLAN_DEFAULT", "unlimited")
        .current_dir(folder);
    let mut program = Program::start("fanfare", &mut command, folder)?;
    let url = program.until_said("Fanfare is ready: ")?;
    Ok((program, url.trim_end_matches('/').to_owned()))
}
