//! A link: one server's command connection, made again in the background for as long as it is wanted.

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use redis::{AsyncConnectionConfig, Client, ConnectionInfo, Pipeline, RedisError, Value, aio::MultiplexedConnection};
use tokio::{
    runtime::Handle,
    sync::{Notify, watch},
    task::JoinHandle,
};
use tracing::{info, warn};

use super::{RedisFault, text, urls::Node};

/// What takes longer has failed: connecting, and every command.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
/// How often an idle connection is asked for a sign of life.
pub(super) const PING_EVERY: Duration = Duration::from_secs(1);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Work in the background that ends with its owner.
#[derive(Debug)]
pub(super) struct Task(JoinHandle<()>);

impl Task {
    pub fn spawn(runtime: &Handle, work: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(runtime.spawn(work))
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The pauses between attempts, each twice as long as the one before.
#[derive(Debug)]
pub(super) struct Pauses(Duration);

impl Pauses {
    pub fn new() -> Self {
        Self(FIRST_PAUSE)
    }

    pub fn reset(&mut self) {
        self.0 = FIRST_PAUSE;
    }

    pub async fn pause(&mut self) {
        tokio::time::sleep(self.0).await;
        self.0 = (self.0 * 2).min(LONGEST_PAUSE);
    }
}

/// One connection of those that a link has had, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Life {
    /// The first is 1.
    pub number: u64,
    pub since: Instant,
}

#[derive(Clone)]
enum State {
    /// The first attempt is under way.
    Trying,
    Up(MultiplexedConnection, Life),
    Away(Arc<str>),
}

/// Dropping it closes the connection.
pub(super) struct Link {
    state: watch::Receiver<State>,
    doubts: Arc<Notify>,
    _keeper: Task,
}

impl Link {
    /// Returns at once and connects in the background. `only_master`: a server that is no master is left alone.
    pub fn open(runtime: &Handle, node: Node, info: ConnectionInfo, only_master: bool) -> Self {
        let (sender, state) = watch::channel(State::Trying);
        let doubts = Arc::new(Notify::new());
        let keeper = Task::spawn(runtime, keep(node, info, only_master, sender, doubts.clone()));
        Self { state, doubts, _keeper: keeper }
    }

    /// The answers to all commands; what the server refused is among them as an error. Fails at once while the server is away.
    pub async fn run(&self, commands: &Pipeline) -> Result<Vec<Value>, RedisFault> {
        let (mut connection, _) = self.connection().await?;
        connection.send_packed_commands(commands, 0, commands.len()).await.map_err(|error| {
            self.doubt();
            RedisFault::away(&error)
        })
    }

    /// Which connection there is now; what the server knew may have been lost before it.
    pub async fn life(&self) -> Result<Life, RedisFault> {
        self.connection().await.map(|(_, life)| life)
    }

    /// Has the connection looked at now rather than later.
    pub fn doubt(&self) {
        self.doubts.notify_one();
    }

    async fn connection(&self) -> Result<(MultiplexedConnection, Life), RedisFault> {
        let mut state = self.state.clone();
        let tried = state.wait_for(|state| !matches!(state, State::Trying));
        match tokio::time::timeout(PATIENCE, tried).await.ok().and_then(Result::ok).as_deref() {
            Some(State::Up(connection, life)) => Ok((connection.clone(), *life)),
            Some(State::Away(why)) => Err(RedisFault::Away(why.to_string())),
            Some(State::Trying) | None => Err(RedisFault::Away("it does not answer".to_owned())),
        }
    }
}

/// Connects, watches over the connection and connects again, for ever.
async fn keep(node: Node, info: ConnectionInfo, only_master: bool, state: watch::Sender<State>, doubts: Arc<Notify>) {
    let mut pauses = Pauses::new();
    let (mut is_known_to_be_away, mut lives) = (false, 0);
    loop {
        let config = AsyncConnectionConfig::new();
        let lost = match connect(&info, config, only_master).await {
            Ok(connection) => {
                pauses.reset();
                if std::mem::take(&mut is_known_to_be_away) {
                    info!(redis.node = %node, "Redis is back");
                }
                lives += 1;
                state.send_replace(State::Up(connection.clone(), Life { number: lives, since: Instant::now() }));
                watch_over(connection, &doubts).await
            }
            Err(error) => error,
        };
        if !std::mem::replace(&mut is_known_to_be_away, true) {
            warn!(redis.node = %node, error = %lost, "Redis is away");
        }
        state.send_replace(State::Away(lost.to_string().into()));
        pauses.pause().await;
    }
}

/// A connection on which every answer is bounded in time.
pub(super) async fn connect(
    info: &ConnectionInfo,
    config: AsyncConnectionConfig,
    only_master: bool,
) -> Result<MultiplexedConnection, RedisError> {
    let config = config.set_connection_timeout(Some(PATIENCE)).set_response_timeout(Some(PATIENCE));
    let client = Client::open(info.clone())?;
    let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
    if only_master {
        let role: Vec<Value> = redis::cmd("ROLE").query_async(&mut connection).await?;
        if role.first().and_then(text).as_deref() != Some("master") {
            return Err(RedisError::from((redis::ErrorKind::InvalidClientConfig, "it is no master")));
        }
    }
    Ok(connection)
}

/// Returns why the connection is to be given up: a server that does not even answer a ping as it should is away.
async fn watch_over(mut connection: MultiplexedConnection, doubts: &Notify) -> RedisError {
    loop {
        let _ = tokio::time::timeout(PING_EVERY, doubts.notified()).await;
        if let Err(error) = redis::cmd("PING").exec_async(&mut connection).await {
            return error;
        }
    }
}
