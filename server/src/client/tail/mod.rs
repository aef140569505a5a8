//! `fanfare tail`: follows channels over one WebSocket, comes back when it is cut, and prints one JSON line a message.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use fanfare_domain::{
    Clock,
    capabilities::{Capability, MAX_PATTERNS, Right},
    clock::SystemClock,
    ids::KeyId,
};
use fanfare_protocol::{ChannelName, Epoch, Position, Serial, requests::Start};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
    time::Instant,
};

use super::{credentials::ApiKey, endpoint::Endpoint};
use crate::problem::Problem;

mod backoff;
mod ending;
mod follow;
mod frames;
mod session;

use backoff::Backoff;
use ending::Ended;
use follow::Follow;
use session::Session;

/// How long a token lives that `tail` mints for itself; it mints the next one before.
const TOKEN_LIFE: Duration = Duration::from_secs(3_600);

/// What to follow, and from where.
#[derive(Debug, Args)]
pub struct TailArgs {
    /// The channels
    #[arg(required = true)]
    channels: Vec<String>,
    /// Go on after a position, as it is printed on standard error; one channel only
    #[arg(long, value_name = "EPOCH:SERIAL", conflicts_with = "rewind")]
    since: Option<String>,
    /// Begin that many messages back
    #[arg(long, value_name = "MESSAGES")]
    rewind: Option<u64>,
    /// The server
    #[arg(long, env = "FANFARE_URL", default_value = "http://127.0.0.1:8080")]
    url: String,
    /// A file with the certificates to trust, in PEM, in place of the system's
    #[arg(long, env = "FANFARE_CA", value_name = "PATH")]
    ca: Option<PathBuf>,
    /// The API key, fk_….fs_…, of which a client token is made; or a key's id alone, for public channels
    #[arg(long, env = "FANFARE_KEY", hide_env_values = true)]
    key: Option<String>,
    /// A client token, in place of a key
    #[arg(long)]
    token: Option<String>,
}

/// How `tail` says who it is.
enum Credential {
    /// A key, of which a fresh token is made for each connection.
    Key(ApiKey, Capability),
    /// A token that somebody else made.
    Token(String),
    /// A key's id, for public channels.
    Public(KeyId),
}

impl Credential {
    /// The name and value of the field of `connect`.
    fn field(&self) -> (&'static str, String) {
        match self {
            Credential::Key(key, capability) => {
                ("token", key.mint(None, capability.clone(), TOKEN_LIFE, SystemClock.now()))
            }
            Credential::Token(token) => ("token", token.clone()),
            Credential::Public(id) => ("key", id.as_str().to_owned()),
        }
    }

    /// A token to go on with, if one can be made.
    fn fresh_token(&self) -> Option<String> {
        matches!(self, Credential::Key(..)).then(|| self.field().1)
    }
}

/// Follows until the reader goes away, a signal comes, or the server says not to come back.
pub async fn run(args: &TailArgs) -> Result<(), Problem> {
    let endpoint = Endpoint::new(&args.url, args.ca.as_deref())?;
    let channels = channels(&args.channels)?;
    let first = start(args)?;
    let credential = credential(args, &channels)?;
    let mut follows: Vec<Follow> = channels.into_iter().map(|channel| Follow::new(channel, first.clone())).collect();
    let mut stop = stop_signal()?;
    let mut backoff = Backoff::default();
    loop {
        let begun = Instant::now();
        let ended = Session::run(&endpoint, &credential, &mut follows, &mut stop).await?;
        backoff.lived(begun.elapsed());
        let pause = match ended {
            Ended::Stopped => break,
            Ended::Cut { at_once: Some(when), told } => {
                eprintln!("tail: disconnected: {told}");
                when.saturating_duration_since(Instant::now())
            }
            Ended::Cut { at_once: None, told } => {
                let pause = backoff.pause(rand::random::<f64>());
                eprintln!("tail: disconnected: {told}; trying again in {} ms", pause.as_millis());
                pause
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = stop.wait_for(|stop| *stop) => break,
        }
    }
    for follow in &follows {
        if let Some(place) = follow.place() {
            eprintln!("tail: {}: to go on from here: --since {place}", follow.channel);
        }
    }
    Ok(())
}

fn channels(names: &[String]) -> Result<Vec<ChannelName>, Problem> {
    let mut channels: Vec<ChannelName> = Vec::new();
    for name in names {
        let channel = ChannelName::parse(name).map_err(|bad| {
            Problem::new(format!("`{name}`: {bad}"), "Use 1 to 200 bytes of A–Z a–z 0–9 _ - = @ , . ; :")
        })?;
        if !channels.contains(&channel) {
            channels.push(channel);
        }
    }
    Ok(channels)
}

fn start(args: &TailArgs) -> Result<Start, Problem> {
    if let Some(messages) = args.rewind {
        return Ok(Start::RewindMessages(messages));
    }
    let Some(since) = &args.since else { return Ok(Start::Live) };
    if args.channels.len() > 1 {
        return Err(Problem::new(
            "a position belongs to one channel",
            "Give --since with one channel, or follow the others with a command of their own.",
        ));
    }
    since
        .rsplit_once(':')
        .and_then(|(epoch, serial)| Some(Position { epoch: Epoch::new(epoch), serial: Serial(serial.parse().ok()?) }))
        .map(Start::Since)
        .ok_or_else(|| {
            Problem::new(
                format!("`{since}` is not a position"),
                "Write --since as EPOCH:SERIAL; `tail` prints it when it ends.",
            )
        })
}

fn credential(args: &TailArgs, channels: &[ChannelName]) -> Result<Credential, Problem> {
    if let Some(token) = &args.token {
        return Ok(Credential::Token(token.clone()));
    }
    if let Some(id) = args.key.as_deref().and_then(|key| KeyId::parse(key.trim()).ok()) {
        return Ok(Credential::Public(id));
    }
    let key = ApiKey::required(args.key.as_deref())?;
    let rights = [Right::Subscribe, Right::History].into_iter().collect();
    let patterns = if channels.len() > MAX_PATTERNS {
        [("*".to_owned(), rights)].into()
    } else {
        channels.iter().map(|channel| (channel.as_str().to_owned(), rights)).collect()
    };
    Ok(Credential::Key(key, Capability::new(patterns).expect("channel names are patterns, and few")))
}

/// Turns true when the process is asked to end.
fn stop_signal() -> Result<watch::Receiver<bool>, Problem> {
    let failed = |error: std::io::Error| {
        Problem::new(format!("signals cannot be waited for: {error}"), "Free some file descriptors.")
    };
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let (send, stop) = watch::channel(false);
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        send.send_replace(true);
        send.closed().await;
    });
    Ok(stop)
}
