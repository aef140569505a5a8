//! The command line: what each command takes, and its help.

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::{
    check,
    client::{publish, tail, token},
    config::Config,
    dead_letters, docs, migrate, output,
    problem::Problem,
    restored,
    role::Role,
    serve::{self, Extras},
    suspend, tls,
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
    /// Serve the API, the gateway and the pages and deliver, all in one process (the default)
    #[command(after_help = "\
Examples:
  fanfare serve
  fanfare serve --demo                       makes a tenant, an app and a key on the first run, and prints lines to paste
  fanfare serve --demo --dev-tls             the same over https and wss, with a certificate that signs itself
  fanfare serve --faults                     a server for the tests of your app: faults come with `POST /test/faults` on the operations listener
  FANFARE_LISTEN=127.0.0.1:9000 fanfare serve

It keeps everything in its data folder, or in Postgres, RabbitMQ and Redis where FANFARE_DATABASE_URL, FANFARE_AMQP_URL and
FANFARE_REDIS_URL are set, and migrates them by itself. It prints `Fanfare is ready: URL` once it is, and ends within 5 s of SIGTERM
or SIGINT, with everything it accepted stored.")]
    Serve(ServeArgs),
    /// Serve the HTTP API and the pages; one of the three parts of an installation of several processes
    #[command(after_help = "\
Examples:
  fanfare api --config /etc/fanfare.toml
  FANFARE_LISTEN=10.0.0.5:8080 fanfare api

It needs Postgres, RabbitMQ and Redis, and that `fanfare migrate` was run. It answers every address but those of `fanfare gateway`, and is ready
while the queue confirms what is published.")]
    Api(FileArgs),
    /// Serve clients' sockets; one of the three parts of an installation of several processes
    #[command(after_help = "\
Examples:
  fanfare gateway --config /etc/fanfare.toml
  FANFARE_LISTEN=10.0.0.6:8080 fanfare gateway

It needs Postgres, RabbitMQ and Redis, and that `fanfare migrate` was run. It answers /v1/connect (and /test/echo, where that is switched on), and is
ready while the beats of a worker arrive through Redis, so start a worker too.")]
    Gateway(FileArgs),
    /// Deliver from the queue to the database and the sockets; one of the three parts of an installation of several processes
    #[command(after_help = "\
Example:
  fanfare worker --config /etc/fanfare.toml

It needs Postgres, RabbitMQ and Redis, and that `fanfare migrate` was run. The workers that run share the partitions evenly; on SIGTERM one hands its own
to the others. It listens for operations only, so `Fanfare is ready:` gives that address.")]
    Worker(FileArgs),
    /// Bring the database up to this version, make the queues of the production engines, and end; `serve` does so by itself
    #[command(after_help = "\
Example:
  fanfare migrate --config /etc/fanfare.toml

Run it before the first start of `fanfare api`, `gateway` and `worker`, and before those of a new version; what runs of the version before goes on meanwhile.
It may be run at any time, by several at once, and does nothing where nothing is to be done.")]
    Migrate(FileArgs),
    /// List, show or replay the messages that workers set aside, since they can never be stored
    #[command(after_help = "\
Examples:
  fanfare dead-letters list
  fanfare dead-letters show dead_01j9zq3v5x8k2m4n6p7r9s1t3w
  fanfare dead-letters replay dead_01j9zq3v5x8k2m4n6p7r9s1t3w
  fanfare dead-letters replay --all

They are in RabbitMQ, beside the partitions' queues. What is replayed goes through the worker again: it is stored once, or set aside anew.")]
    DeadLetters {
        #[command(flatten)]
        file: FileArgs,
        #[command(subcommand)]
        action: dead_letters::Action,
    },
    /// Give every app a new epoch, after a backup of the database was put back
    #[command(after_help = "\
Stop the workers (or `fanfare serve`), put the backup back, run it once, and start them again. Clients hold positions that the backup does not know; by the
new epoch they are told that they lost something, where else serials would be given out a second time. What is in the backup stays readable.

Example:
  fanfare restored --config /etc/fanfare.toml")]
    Restored(FileArgs),
    /// Suspend a tenant: its connections are closed, its keys and tokens refused, until that is lifted
    #[command(after_help = "\
Examples:
  fanfare suspend ten_01j9zq3v5x8k2m4n6p7r9s1t3w
  fanfare suspend ten_01j9zq3v5x8k2m4n6p7r9s1t3w --lift

Every node obeys within a second. Its people can still sign in. A server with a data folder is stopped first: the folder is its own while it runs.")]
    Suspend {
        #[command(flatten)]
        file: FileArgs,
        /// The tenant's id
        tenant: String,
        /// Lets it go on
        #[arg(long)]
        lift: bool,
    },
    /// Print the OpenAPI document
    #[command(after_help = "Example:\n  fanfare openapi > openapi.json")]
    Openapi,
    /// Look at configuration, engines, master key, limits, clock and ports, and say what to mend
    #[command(after_help = "\
Prints one line for each check and ends with 1 if any found a problem. Nothing is changed. A server with a data folder is stopped first: the folder is its own while it runs.

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
  fanfare publish chat:1 '1' --url https://localhost:8443 --ca cert.pem
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
    /// Speak TLS with a certificate for development, which is made on the first run
    #[arg(long)]
    dev_tls: bool,
    /// Open POST /test/faults on the operations listener, for tests of your own; every listener must be on loopback
    #[arg(long)]
    faults: bool,
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
    tls::install();
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
        Command::Serve(args) => {
            let extras = Extras { demo: args.demo, dev_tls: args.dev_tls };
            let mut config = configuration(&args.file)?;
            config.gateway.faults = args.faults;
            serve::run(&config, Role::All, extras)
        }
        Command::Api(args) => serve::run(&configuration(&args)?, Role::Api, Extras::default()),
        Command::Gateway(args) => serve::run(&configuration(&args)?, Role::Gateway, Extras::default()),
        Command::Worker(args) => serve::run(&configuration(&args)?, Role::Worker, Extras::default()),
        Command::Migrate(args) => runtime()?.block_on(migrate::run(&configuration(&args)?)),
        Command::DeadLetters { file, action } => runtime()?.block_on(dead_letters::run(&configuration(&file)?, action)),
        Command::Restored(args) => runtime()?.block_on(restored::run(&configuration(&args)?)),
        Command::Suspend { file, tenant, lift } => {
            runtime()?.block_on(suspend::run(&configuration(&file)?, &tenant, lift))
        }
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

fn runtime() -> Result<tokio::runtime::Runtime, Problem> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| {
        Problem::new(format!("the runtime cannot start: {error}"), "Raise the limits of threads and open files.")
    })
}
