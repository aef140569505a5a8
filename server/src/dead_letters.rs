//! `fanfare dead-letters`: what workers set aside since it can never be stored, listed, shown and put back into its queue.

use std::{
    fmt::Write,
    time::{Duration, SystemTime},
};

use clap::{Args, Subcommand};
use fanfare_domain::Timestamp;
use fanfare_infra::rabbitmq::dead_letters::{self, DeadLetter, DeadLettersError, Replayed, Which};
use secrecy::ExposeSecret;

use crate::{compose::postgres, config::Config, output, problem::Problem};

/// What is to be done with dead letters.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// List them, the oldest first: id, time, partition, reason
    List {
        /// At most so many
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
    /// Show one, with the messages in it
    Show {
        /// Its id
        id: String,
    },
    /// Put them back into their partitions' queues, to be tried again
    Replay(ReplayArgs),
}

/// Which ones are put back.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct ReplayArgs {
    /// The one with this id
    id: Option<String>,
    /// Those with this reason
    #[arg(long)]
    reason: Option<String>,
    /// All of them
    #[arg(long)]
    all: bool,
}

/// Does it, on the configured RabbitMQ.
pub async fn run(config: &Config, action: Action) -> Result<(), Problem> {
    let engines = config.engines.as_ref().ok_or_else(|| {
        Problem::new(
            "the embedded engines have no dead letters",
            "Set FANFARE_DATABASE_URL, FANFARE_REDIS_URL, FANFARE_AMQP_URL and FANFARE_MASTER_KEY as for the processes whose dead letters are meant.",
        )
    })?;
    let store = postgres::connect(config, engines).await?;
    let names = &postgres::require_migrated(&store, config).await?.names;
    let url = engines.amqp_url.expose_secret();
    let text = match action {
        Action::List { limit } => list(&dead_letters::list(url, names, limit).await.map_err(failed)?),
        Action::Show { id } => {
            show(&dead_letters::show(url, names, &id).await.map_err(failed)?.ok_or_else(|| unknown(&id))?)
        }
        Action::Replay(args) => {
            let which = args.which();
            let replayed = dead_letters::replay(url, names, &which).await.map_err(failed)?;
            match &which {
                Which::Id(id) if replayed == Replayed::default() => return Err(unknown(id)),
                _ => told(replayed),
            }
        }
    };
    output::print(&text).map(drop)
}

impl ReplayArgs {
    fn which(self) -> Which {
        match (self.id, self.reason) {
            (Some(id), _) => Which::Id(id),
            (None, Some(reason)) => Which::Reason(reason),
            (None, None) => Which::All,
        }
    }
}

fn list(letters: &[DeadLetter]) -> String {
    if letters.is_empty() {
        return "There are no dead letters\n".to_owned();
    }
    let mut text = String::new();
    for letter in letters {
        let detail = letter.detail.as_ref().map(|detail| format!(": {detail}")).unwrap_or_default();
        line(
            &mut text,
            &format!("{}  {}  {}  {}{detail}", letter.id, time(letter.time), partition(letter), letter.reason),
        );
    }
    text
}

fn show(letter: &DeadLetter) -> String {
    let mut text = String::new();
    line(&mut text, &format!("id         {}", letter.id));
    line(&mut text, &format!("set aside  {}", time(letter.time)));
    line(&mut text, &format!("where      {}", partition(letter)));
    line(&mut text, &format!("reason     {}", letter.reason));
    if let Some(detail) = &letter.detail {
        line(&mut text, &format!("detail     {detail}"));
    }
    match letter.messages() {
        Ok(messages) => {
            for accepted in &messages {
                let message = &accepted.message;
                line(&mut text, &format!("message    {} of {} in {}", message.id, accepted.channel, accepted.app));
                line(&mut text, &format!("accepted   {}", time(message.time)));
                line(&mut text, &format!("data       {}", message.data));
            }
        }
        Err(unread) => {
            line(&mut text, &format!("unread     {unread}"));
            line(&mut text, &format!("body       {}", letter.body.escape_ascii()));
        }
    }
    text
}

fn told(Replayed { replayed, stay }: Replayed) -> String {
    let stay = if stay == 0 { String::new() } else { format!("; {stay} stay, since nobody knows their partition") };
    let what = if replayed == 1 { "dead letter is in its queue" } else { "dead letters are in their queues" };
    format!("{replayed} {what} again{stay}\n")
}

fn partition(letter: &DeadLetter) -> String {
    letter.partition.map_or("no partition".to_owned(), |partition| format!("partition {partition}"))
}

fn time(time: Timestamp) -> String {
    humantime::format_rfc3339_millis(SystemTime::UNIX_EPOCH + Duration::from_millis(time.0)).to_string()
}

fn line(text: &mut String, line: &str) {
    writeln!(text, "{line}").expect("a string takes what is written");
}

fn unknown(id: &str) -> Problem {
    Problem::new(
        format!("there is no dead letter `{id}`"),
        "`fanfare dead-letters list` shows those there are; one that was replayed and set aside again has another id.",
    )
}

fn failed(error: DeadLettersError) -> Problem {
    let remedy = match &error {
        DeadLettersError::Unavailable(_) => {
            "Check that RabbitMQ runs, that `amqp_url` (FANFARE_AMQP_URL) is right, and that `fanfare migrate` was run."
        }
        DeadLettersError::Busy => "Nothing was changed; run the command again.",
        DeadLettersError::NotTaken { .. } => "The queue is full or gone. Look at it, and replay again.",
    };
    Problem::new(error.to_string(), remedy)
}
