//! Measures Fanfare from outside, by its URLs and what /proc tells of its processes.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod clients;
mod comeback;
mod fairness;
mod flood;
mod http;
mod latency;
mod load;
mod processes;
mod publish;
mod quantiles;
mod requests;
mod resume;
mod servers;
mod stalled;
mod streams;

/// Load scenarios against a running server. Each prints a table in Markdown, for `docs/performance.md`.
#[derive(Debug, Parser)]
#[command(name = "fanfare-bench", version)]
struct Cli {
    /// Where the server is
    #[arg(long, env = "FANFARE_URL", default_value = "http://127.0.0.1:8080", global = true)]
    url: String,
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Debug, Subcommand)]
enum Scenario {
    /// How often the log is read for many clients that come back at once to the same position
    Comeback(comeback::ComebackArgs),
    /// How much a tenant that offers many times its rate delays another tenant's messages
    Flood(flood::FloodArgs),
    /// How long a durable message takes to its subscribers, beside what the production engines alone take for their part
    DurableLatency(latency::LatencyArgs),
    /// How much a channel with many subscribers delays a small channel's messages
    Fairness(fairness::FairnessArgs),
    /// How much can be published durably, and what a message costs the server and each engine
    Publish(publish::PublishArgs),
    /// What the server holds for clients that come back to a long backlog
    Resume(resume::ResumeArgs),
    /// Load from a file in bench/scenarios, against the server that runs
    Run(load::runs::RunArgs),
    /// What the server holds for clients that stop reading
    Stalled(stalled::StalledArgs),
    /// Load from files in bench/scenarios, against servers that are started for it, and the limit beside them
    Suite(load::suites::SuiteArgs),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    // Fails only where a provider is there already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    if let Err(error) = rlimit::increase_nofile_limit(u64::MAX) {
        eprintln!("fanfare-bench: the limit of open files stays as it is: {error}");
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("fanfare-bench: the runtime cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let done = runtime.block_on(async {
        match &cli.scenario {
            Scenario::Comeback(args) => comeback::run(&cli.url, args).await,
            Scenario::Flood(args) => flood::run(&cli.url, args).await,
            Scenario::DurableLatency(args) => latency::run(&cli.url, args).await,
            Scenario::Fairness(args) => fairness::run(&cli.url, args).await,
            Scenario::Publish(args) => publish::run(&cli.url, args).await,
            Scenario::Resume(args) => resume::run(&cli.url, args).await,
            Scenario::Run(args) => load::runs::run(&cli.url, args).await,
            Scenario::Stalled(args) => stalled::run(&cli.url, args).await,
            Scenario::Suite(args) => load::suites::run(args).await,
        }
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("fanfare-bench: {problem}");
            ExitCode::FAILURE
        }
    }
}
