//! Redis: fan-out between nodes, heads, hot windows, fingerprints, shared limits, occupancy and presence. Nothing is kept there that is not
//! found again.
//!
//! One server, a master that sentinels watch, and a cluster are all seen as masters that share the slots: a command goes to the master of
//! its key. A finder keeps that view fresh, and a link keeps one command connection to each master; both work in the background and never
//! hold up a caller for longer than two seconds.

use std::{fmt, sync::Arc, time::Duration};

use redis::{ConnectionInfo, Pipeline, RedisError, ServerErrorKind, Value};
use tokio::{
    runtime::Handle,
    sync::{Notify, watch},
};

use finding::Finder;
use layouts::Layout;
use links::{PATIENCE, Task};
use urls::{Node, Target};

use crate::names::Names;

mod bus;
mod deliveries;
mod finding;
mod fingerprints;
mod forgetting;
mod heads;
mod layouts;
mod limits;
mod links;
mod occupancy;
mod presence;
mod scripts;
mod slots;
mod urls;
mod windows;

pub use bus::RedisBus;
pub use deliveries::SharedTrace;
pub use fingerprints::Fingerprints;
pub use limits::SharedLimits;
pub use occupancy::SharedOccupancy;
pub use presence::{PresenceTimes, RedisPresence};
pub use scripts::{Call, Script};
#[cfg(test)]
pub(crate) use slots::slot_of;
pub use urls::RedisUrlError;
pub use windows::WindowedLog;

/// Why Redis did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RedisFault {
    /// It cannot be reached, or does not answer in time. What it was asked may have been done.
    #[error("Redis is away: {0}")]
    Away(String),
    /// It answered with an error.
    #[error("Redis refused: {0}")]
    Refused(String),
}

impl RedisFault {
    fn away(error: &RedisError) -> Self {
        Self::Away(error.to_string())
    }
}

/// Redis, wherever its masters are now. Clones share their connections, which are closed with the last of them.
#[derive(Clone)]
pub struct Redis(Arc<Shared>);

struct Shared {
    runtime: Handle,
    target: Target,
    names: Names,
    view: watch::Receiver<View>,
    lost: Arc<Notify>,
    _finder: Task,
}

/// What the finder knows.
#[derive(Clone)]
enum View {
    /// It has not looked yet.
    Unknown,
    /// It has looked and found nobody.
    Nobody(String),
    Known(Arc<Layout>),
}

impl Redis {
    /// Reads the URL and returns at once; connects, and connects again whenever that is needed, in the background. Keys and channels have
    /// these names. Called inside a runtime, which then carries all connections.
    pub fn connect(url: &str, names: Names) -> Result<Self, RedisUrlError> {
        let target = Target::parse(url)?;
        if target.is_tls() {
            // Fails only where a provider is there already.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let runtime = Handle::current();
        let (sender, view) = watch::channel(View::Unknown);
        let lost = Arc::new(Notify::new());
        let finder = Finder::new(runtime.clone(), target.clone(), names.clone());
        let finder = Task::spawn(&runtime, finder.run(sender, lost.clone()));
        Ok(Self(Arc::new(Shared { runtime, target, names, view, lost, _finder: finder })))
    }

    /// Whether a URL can be read; nothing is connected to.
    pub fn check_url(url: &str) -> Result<(), RedisUrlError> {
        Target::parse(url).map(drop)
    }

    /// What is called how.
    pub(crate) fn names(&self) -> &Names {
        &self.0.names
    }

    /// Runs a script on keys of one slot, loading it where it is not known.
    pub async fn script(&self, script: &Script, call: Call) -> Result<Value, RedisFault> {
        let layout = self.layout().await?;
        let Some(key) = call.keys.first() else { return Err(RedisFault::Refused("a script needs a key".to_owned())) };
        let link = layout.link(layout.topology.shard_of(key)?);
        let mut answers = scripts::run(link, script, &[call]).await?;
        self.check(&answers);
        refused(answers.pop().unwrap_or(Value::Nil))
    }

    /// Runs calls of a script, each on keys of one slot; one pipeline a master, all at once. In order for each key.
    async fn run_script(&self, script: &Script, calls: Vec<Call>) -> Result<(), RedisFault> {
        let layout = self.layout().await?;
        let mut batches: Vec<Vec<Call>> = vec![Vec::new(); layout.topology.shards.len()];
        for call in calls {
            let Some(key) = call.keys.first() else { continue };
            batches[layout.topology.shard_of(key)?].push(call);
        }
        let wanted = batches.iter().enumerate().filter(|(_, calls)| !calls.is_empty());
        let runs = wanted.map(async |(shard, calls)| {
            let answers = scripts::run(layout.link(shard), script, calls).await?;
            self.check(&answers);
            answers.into_iter().try_for_each(|answer| refused(answer).map(drop))
        });
        futures::future::try_join_all(runs).await.map(drop)
    }

    /// Where the masters are. Fails at once while nobody is found.
    async fn layout(&self) -> Result<Arc<Layout>, RedisFault> {
        let mut view = self.0.view.clone();
        let known = view.wait_for(|view| !matches!(view, View::Unknown));
        match tokio::time::timeout(PATIENCE, known).await.ok().and_then(Result::ok).as_deref() {
            Some(View::Known(layout)) => Ok(layout.clone()),
            Some(View::Nobody(why)) => Err(RedisFault::Away(why.clone())),
            Some(View::Unknown) | None => Err(RedisFault::Away("no master was found yet".to_owned())),
        }
    }

    /// Whether every master has been there for so long, or since this process connected first.
    async fn is_settled(&self, patience: Duration) -> Result<bool, RedisFault> {
        let lives = self.layout().await?.lives().await?;
        Ok(lives.iter().all(|(_, life)| life.number == 1 || life.since.elapsed() > patience))
    }

    /// Runs commands, each on its key, and gives the answers in their order; one pipeline a master, all at once.
    async fn run(&self, commands: Vec<(String, redis::Cmd)>) -> Result<Vec<Value>, RedisFault> {
        let layout = self.layout().await?;
        let mut batches: Vec<(Pipeline, Vec<usize>)> = vec![Default::default(); layout.topology.shards.len()];
        for (at, (key, command)) in commands.into_iter().enumerate() {
            let (pipeline, places) = &mut batches[layout.topology.shard_of(&key)?];
            pipeline.add_command(command);
            places.push(at);
        }
        let wanted = batches.iter().enumerate().filter(|(_, (pipeline, _))| !pipeline.is_empty());
        let runs = wanted.map(async |(shard, (pipeline, places))| {
            let answers = layout.link(shard).run(pipeline).await?;
            self.check(&answers);
            Ok::<_, RedisFault>(places.iter().copied().zip(answers))
        });
        let mut answers: Vec<_> = futures::future::try_join_all(runs).await?.into_iter().flatten().collect();
        answers.sort_unstable_by_key(|(at, _)| *at);
        answers.into_iter().map(|(_, answer)| refused(answer)).collect()
    }

    /// The runtime that carries all connections.
    fn runtime(&self) -> &Handle {
        &self.0.runtime
    }

    fn view(&self) -> watch::Receiver<View> {
        self.0.view.clone()
    }

    /// How to connect to a master, and whether it must say that it is one.
    fn way_to(&self, node: &Node) -> (ConnectionInfo, bool) {
        (self.0.target.server(node), self.0.target.only_masters())
    }

    /// Has the finder look at once where the masters are.
    fn look_again(&self) {
        self.0.lost.notify_one();
    }

    /// Has the finder look at once where an answer says that a master is another one now.
    fn check(&self, answers: &[Value]) {
        let is_elsewhere = |answer: &Value| match answer {
            Value::ServerError(error) => matches!(
                error.kind(),
                Some(ServerErrorKind::Moved | ServerErrorKind::ReadOnly | ServerErrorKind::ClusterDown)
            ),
            _ => false,
        };
        if answers.iter().any(is_elsewhere) {
            self.look_again();
        }
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Redis").field(&self.0.target).finish()
    }
}

/// An answer, or what the server refused.
fn refused(answer: Value) -> Result<Value, RedisFault> {
    match answer {
        Value::ServerError(error) => Err(RedisFault::Refused(error.to_string())),
        answer => Ok(answer),
    }
}

/// Waits at most so long.
async fn within<T>(patience: Duration, work: impl Future<Output = Result<T, RedisFault>>) -> Result<T, RedisFault> {
    let late = |_| RedisFault::Away("it does not answer in time".to_owned());
    tokio::time::timeout(patience, work).await.map_err(late)?
}

/// An answer that is text.
fn text(answer: &Value) -> Option<String> {
    redis::from_redis_value_ref(answer).ok()
}
