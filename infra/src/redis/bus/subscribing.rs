//! Subscribing: a connection to each shard's master that is subscribed to what this process wants, made again whenever it is lost.

use std::{collections::HashMap, sync::Arc};

use redis::{
    AsyncConnectionConfig, ErrorKind, Pipeline, PushInfo, PushKind, RedisError, Value, aio::MultiplexedConnection,
};
use tokio::sync::Notify;
use tracing::{info, warn};

use super::hub::Hub;
use crate::redis::{
    View,
    layouts::Shard,
    links::{PING_EVERY, Pauses, Task, connect},
};

/// Keeps a subscriber for each shard that there is; one whose master or slots change is made anew.
pub(super) async fn supervise(hub: Arc<Hub>) {
    let mut view = hub.redis.view();
    let mut subscribers: HashMap<Shard, Task> = HashMap::new();
    loop {
        let seen = view.borrow_and_update().clone();
        match seen {
            View::Known(layout) => {
                let shards = &layout.topology.shards;
                hub.lock().stations.arrange(layout.topology.clone());
                subscribers.retain(|shard, _| shards.contains(shard));
                for shard in shards {
                    let spawn = || Task::spawn(hub.redis.runtime(), subscribe(hub.clone(), shard.clone()));
                    subscribers.entry(shard.clone()).or_insert_with(spawn);
                }
            }
            View::Nobody(_) => hub.settle(),
            View::Unknown => {}
        }
        if view.changed().await.is_err() {
            return;
        }
    }
}

/// Connects, serves and connects again, for ever.
async fn subscribe(hub: Arc<Hub>, shard: Shard) {
    let mut pauses = Pauses::new();
    let mut is_known_to_be_away = false;
    loop {
        let served = Subscriber::connect(&hub, &shard).await;
        let lost = match served {
            Ok(subscriber) => {
                let lost = subscriber.serve(&mut pauses, &mut is_known_to_be_away).await;
                lost.err()
            }
            Err(error) => Some(error),
        };
        hub.lock().stations.end(&shard);
        hub.tried(&shard);
        if !std::mem::replace(&mut is_known_to_be_away, true) {
            let error = lost.map_or_else(|| "the connection was closed".to_owned(), |error| error.to_string());
            warn!(redis.node = %shard.node, error, "The bus is interrupted");
        }
        hub.redis.look_again();
        pauses.pause().await;
    }
}

/// One connection.
struct Subscriber<'a> {
    hub: &'a Arc<Hub>,
    shard: &'a Shard,
    connection: MultiplexedConnection,
    is_cluster: bool,
    /// Notified when the server has closed the connection or taken a subscription away.
    lost: Arc<Notify>,
}

impl<'a> Subscriber<'a> {
    async fn connect(hub: &'a Arc<Hub>, shard: &'a Shard) -> Result<Self, RedisError> {
        let lost = Arc::new(Notify::new());
        let (ear, at, gone) = (hub.clone(), shard.clone(), lost.clone());
        let config = AsyncConnectionConfig::new().set_push_sender(move |push: PushInfo| {
            take(&ear, &at, push, &gone);
            Ok::<_, std::convert::Infallible>(())
        });
        let (info, only_master) = hub.redis.way_to(&shard.node);
        let connection = connect(&info, config, only_master).await?;
        let is_cluster = hub.lock().stations.is_cluster();
        Ok(Self { hub, shard, connection, is_cluster, lost })
    }

    /// Subscribes to everything, then says that something may have been missed, then follows what is wanted. Returns when it is lost.
    async fn serve(mut self, pauses: &mut Pauses, is_known_to_be_away: &mut bool) -> Result<(), RedisError> {
        let always = {
            let mut state = self.hub.lock();
            let state = &mut *state;
            state.stations.begin(self.shard, &state.channels)
        };
        self.command(self.words().0, &always).await?;
        self.catch_up().await?;
        self.hub.interrupt();
        self.hub.tried(self.shard);
        pauses.reset();
        if std::mem::take(is_known_to_be_away) {
            info!(redis.node = %self.shard.node, "The bus is back");
        }
        let wake = self.hub.lock().stations.wake(self.shard);
        let mut pings = tokio::time::interval(PING_EVERY);
        loop {
            tokio::select! {
                () = self.lost.notified() => return Ok(()),
                () = wake.notified() => self.catch_up().await?,
                _ = pings.tick() => redis::cmd("PING").exec_async(&mut self.connection).await?,
            }
        }
    }

    /// Does what is to be done until nothing is left.
    async fn catch_up(&mut self) -> Result<(), RedisError> {
        loop {
            let round = {
                let mut state = self.hub.lock();
                let state = &mut *state;
                state.stations.round(self.shard, &state.channels)
            };
            let Some(round) = round else { return Ok(()) };
            let (subscribe, unsubscribe) = self.words();
            self.command(unsubscribe, &round.unsubscribe).await?;
            self.command(subscribe, &round.subscribe).await?;
            self.hub.lock().stations.done(self.shard, round);
        }
    }

    fn words(&self) -> (&'static str, &'static str) {
        if self.is_cluster { ("SSUBSCRIBE", "SUNSUBSCRIBE") } else { ("SUBSCRIBE", "UNSUBSCRIBE") }
    }

    /// Returns when the server has confirmed every channel.
    async fn command(&mut self, word: &str, names: &[Arc<str>]) -> Result<(), RedisError> {
        if names.is_empty() {
            return Ok(());
        }
        let mut commands = Pipeline::with_capacity(names.len());
        for name in names {
            commands.cmd(word).arg(&**name);
        }
        let answers = self.connection.send_packed_commands(&commands, 0, names.len()).await?;
        for answer in answers {
            if !matches!(answer.extract_error()?, Value::Push { .. }) {
                return Err(RedisError::from((ErrorKind::UnexpectedReturnType, "a subscription was not confirmed")));
            }
        }
        Ok(())
    }
}

/// Takes what the server sends unasked.
fn take(hub: &Arc<Hub>, shard: &Shard, push: PushInfo, lost: &Notify) {
    match (push.kind, push.data.as_slice()) {
        (PushKind::Message | PushKind::SMessage, [Value::BulkString(name), Value::BulkString(envelope)]) => {
            if let Ok(name) = std::str::from_utf8(name) {
                hub.take(shard, name, envelope);
            }
        }
        (PushKind::Disconnection, _) => lost.notify_one(),
        // The slot has moved to another master: what was not left by us is not heard here any more.
        (PushKind::SUnsubscribe, [Value::BulkString(name), ..])
            if std::str::from_utf8(name).is_ok_and(|name| hub.lock().stations.is_subscribed(shard, name)) =>
        {
            lost.notify_one();
        }
        _ => {}
    }
}
