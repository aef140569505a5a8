//! The command line: what each command takes, and its help.

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::{
    check,
    client::{publish, tail, token},
    compose,
    config::Config,
    docs, output,
    problem::Problem,
    serve,
};

const EXAMPLES: &str = "\
Examples:
  fanfare serve --demo                       a server with something to try; prints lines to paste
  fanfare check                              looks at everything the server needs, says what to mend
  fanfare tail demo:hello                    follows a channel, one JSON line a message
  fanfare publish demo:hello '{\"text\":\"hi\"}'  publishes to it

The server is configured by ./fanfare.toml and FANFARE_… variables; docs/configuration.md lists them.
The client commands take their key from FANFARE_KEY and the server from FANFARE_URL.";

/// Real-time messaging: publish over REST, subscribe over WebSocket, and miss nothing in between.
#[derive(Debug, Parser)]
#[command(name = "fanfare", version, after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: ServeArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the API, the gateway and the pages, all in one process (the default)
    #[command(after_help = "\
Examples:
  fanfare serve
  fanfare serve --demo                       makes a tenant, an app and a key on the first run, and prints lines to paste
  FANFARE_LISTEN=127.0.0.1:9000 fanfare serve

It prints `Fanfare is ready: URL` once it listens, and ends within 5 s of SIGTERM or SIGINT, with everything it accepted on disk.")]
    Serve(ServeArgs),
    /// Bring the database up to this version, and end; `serve` does so by itself
    #[command(after_help = "Example:\n  fanfare migrate --config /etc/fanfare.toml")]
    Migrate(FileArgs),
    /// Print the OpenAPI document
    #[command(after_help = "Example:\n  fanfare openapi > openapi.json")]
    Openapi,
    /// Look at configuration, data folder, database, master key, limits, clock and ports, and say what to mend
    #[command(after_help = "\
Prints one line for each check and ends with 1 if any found a problem. Nothing is changed. Stop the server first: the data folder is its own while it runs.

Example:
  fanfare check --config /etc/fanfare.toml")]
    Check(FileArgs),
    /// Mint a client token here, from an API key, without asking a server
    #[command(after_help = "\
Examples:
  FANFARE_KEY=fk_….fs_… fanfare token
  fanfare token --client ann --cap 'chat:*=subscribe,publish' --cap 'news=subscribe' --ttl 15m

The server cuts a token down to what its key may do.")]
    Token(token::TokenArgs),
    /// Publish one message, and print the answer
    #[command(after_help = "\
Examples:
  fanfare publish chat:1 '{\"text\":\"hi\"}'
  fanfare publish chat:1 --text 'hi there' --name said --persisted
  fanfare publish orders '{\"id\":7}' --idempotency-key order-7      safe to repeat for 24 hours")]
    Publish(publish::PublishArgs),
    /// Follow channels: one JSON line a message, across reconnects, none twice and none missing
    #[command(after_help = "\
Examples:
  fanfare tail chat:1
  fanfare tail chat:1 news --rewind 10
  fanfare tail chat:1 --since 4Fq0aXk2Pz:17         goes on after serial 17 of that epoch
  fanfare tail demo:hello --key fk_…                a key's id is enough for a public channel
  fanfare tail chat:1 | jq .data

Messages go to standard output, everything else to standard error. It comes back by itself when it is cut, and resumes
where it was; it ends with 1, and the remedy, when the server says that coming back is of no use.")]
    Tail(tail::TailArgs),
    /// Print a reference page that is made from the code
    #[command(hide = true)]
    Docs {
        /// Which page
        page: Page,
    },
}

#[derive(Debug, Args)]
struct FileArgs {
    /// The file with the settings; ./fanfare.toml where there is one
    #[arg(long, env = "FANFARE_CONFIG", value_name = "PATH")]
    config: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct ServeArgs {
    #[command(flatten)]
    file: FileArgs,
    /// Make a demo tenant, app and key on the first run, and print lines to paste
    #[arg(long)]
    demo: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Page {
    Errors,
    Metrics,
    Configuration,
}

/// Runs the command that the process was started with.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    match execute(cli.command.unwrap_or(Command::Serve(cli.serve))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("fanfare: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn execute(command: Command) -> Result<(), Problem> {
    match command {
        Command::Serve(args) => serve::run(&configuration(&args.file)?, args.demo),
        Command::Migrate(args) => migrate(&configuration(&args)?),
        Command::Openapi => output::print(&openapi()).map(drop),
        Command::Check(args) => runtime()?.block_on(check::run(args.config.as_deref())),
        Command::Token(args) => token::run(&args),
        Command::Publish(args) => runtime()?.block_on(publish::run(&args)),
        Command::Tail(args) => runtime()?.block_on(tail::run(&args)),
        Command::Docs { page: Page::Errors } => output::print(&docs::errors()).map(drop),
        Command::Docs { page: Page::Metrics } => output::print(&docs::metrics()).map(drop),
        Command::Docs { page: Page::Configuration } => output::print(&docs::configuration()).map(drop),
    }
}

/// The OpenAPI document as it is committed.
pub fn openapi() -> String {
    let mut text = fanfare_api::openapi().to_pretty_json().expect("the document has string keys");
    text.push('\n');
    text
}

fn configuration(args: &FileArgs) -> Result<Config, Problem> {
    Config::load(args.config.as_deref())
        .map_err(|bad| Problem::new(format!("the configuration is wrong:\n{bad}"), "Nothing was started."))
}

fn migrate(config: &Config) -> Result<(), Problem> {
    let (data_dir, _) = runtime()?.block_on(compose::open(config))?;
    output::print(&format!("{} is up to date\n", data_dir.database().display())).map(drop)
}

fn runtime() -> Result<tokio::runtime::Runtime, Problem> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| {
        Problem::new(format!("the runtime cannot start: {error}"), "Raise the limits of threads and open files.")
    })
}
