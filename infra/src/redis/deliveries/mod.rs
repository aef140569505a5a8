//! The trace of deliveries that all nodes share.
//!
//! A client's courses in a channel lie in one hash, by their ids; a sorted set of the app tells which were told longest ago, so that those go first.
//! Everything of an app is of one slot, so that one script keeps its bounds. That a node is alive is a key that it makes again with every lot. When a
//! connection to Redis was made anew, everything may be forgotten: the node tells all of its open courses again, and the trace reaches back to then.

use std::{collections::HashMap, sync::LazyLock};

use async_trait::async_trait;
use fanfare_domain::{
    Timestamp,
    deliveries::{
        COURSES_OF_APP, COURSES_OF_CLIENT, Course, DeliveryTrace, KEPT, Kept, LAG, Lot, Memory, NODE_LASTS,
        PUBLISHES_OF_APP, Place, Publish, Untraceable,
    },
    ids::{AppId, MessageId},
};
use redis::{Cmd, Value};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tokio::sync::Mutex;

use super::{Call, Redis, RedisFault, Script, links::Life, urls};
use crate::names::Names;

mod reading;

static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("keep.lua")));

/// The trace in Redis, as one node tells it. While Redis is away nothing is told or read, and nothing else is held up.
pub struct SharedTrace {
    redis: Redis,
    /// The node's name, which no other node may ever have had.
    node: String,
    /// The connections by which it was told last.
    lives: Mutex<Option<Vec<(urls::Node, Life)>>>,
}

/// A course as it lies in Redis.
#[derive(Serialize, Deserialize)]
struct Record<C> {
    node: String,
    course: C,
}

impl SharedTrace {
    /// The trace as a node tells it.
    #[expect(clippy::new_ret_no_self, reason = "callers want the port")]
    pub fn new(redis: Redis, node: &str) -> Arc<dyn DeliveryTrace> {
        Arc::new(Self { redis, node: node.to_owned(), lives: Mutex::default() })
    }

    async fn tell(&self, lot: &Lot, now: Timestamp) -> Result<Memory, RedisFault> {
        // Known before anything is told: a connection that is made anew meanwhile is noticed the next time.
        let lives = self.redis.layout().await?.lives().await?;
        self.redis.run_script(&SCRIPT, self.calls(lot, now)).await?;
        let mut commands = publishes(self.redis.names(), &lot.publishes, now);
        for (app, at) in &lot.gaps {
            let key = self.redis.names().trace_reach(app);
            let mut command = redis::cmd("HSET");
            // A field of its own: other nodes may have let go what is older or younger.
            command.arg(&key).arg(format!("gap {}", self.node)).arg(at.0);
            commands.push((key, command));
        }
        let alive = self.redis.names().telling_node(&self.node);
        let mut command = redis::cmd("SET");
        command.arg(&alive).arg(1).arg("PX").arg(NODE_LASTS.as_millis() as u64);
        commands.push((alive, command));
        if let Some(caught_up) = lot.caught_up {
            let mut command = redis::cmd("HSET");
            command.arg(self.redis.names().telling_nodes()).arg(&self.node).arg(format!("{} {}", caught_up.0, now.0));
            commands.push((self.redis.names().telling_nodes(), command));
        }
        self.redis.run(commands).await?;
        let last = self.lives.lock().await.replace(lives.clone());
        Ok(if last.is_some_and(|last| last != lives) { Memory::Doubtful } else { Memory::Whole })
    }

    /// One call for each client in each channel.
    fn calls(&self, lot: &Lot, now: Timestamp) -> Vec<Call> {
        let mut clients: HashMap<&Place, Vec<&Course>> = HashMap::new();
        for (place, course) in &lot.courses {
            clients.entry(place).or_default().push(course);
        }
        let call = |(place, courses): (&Place, Vec<&Course>)| {
            let (app, name) = (&place.app, name(place));
            let names = self.redis.names();
            let keys = vec![names.courses(app, &name), names.course_order(app), names.trace_reach(app)];
            let call = Call { keys, ..Call::default() }
                .number(now.0)
                .number(KEPT.as_millis() as u64)
                .number(COURSES_OF_CLIENT as u64)
                .number(COURSES_OF_APP as u64)
                .arg(names.courses(app, ""))
                .arg(name);
            courses.into_iter().fold(call, |call, course| {
                let record = Record { node: self.node.clone(), course };
                let record = serde_json::to_vec(&record).expect("a course can be written");
                call.arg(course.id.as_str()).number(course.told_at.0).arg(record)
            })
        };
        clients.into_iter().map(call).collect()
    }
}

/// A channel and a client in one text: a channel holds no space.
fn name(place: &Place) -> String {
    format!("{} {}", place.channel, place.client)
}

/// A publish as it lies in Redis.
fn member(publish: &Publish) -> String {
    format!("{} {}{}", publish.channel, publish.message, if publish.is_ephemeral { " ephemeral" } else { "" })
}

fn publishes(names: &Names, publishes: &[Publish], now: Timestamp) -> Vec<(String, Cmd)> {
    let mut apps: HashMap<&AppId, Vec<(u64, String)>> = HashMap::new();
    for publish in publishes {
        apps.entry(&publish.app).or_default().push((now.0, member(publish)));
    }
    let mut commands = Vec::with_capacity(apps.len() * 3);
    for (app, members) in apps {
        let key = names.traced_publishes(app);
        let most = PUBLISHES_OF_APP as isize;
        for command in [
            Cmd::zadd_multiple(&key, &members),
            Cmd::zremrangebyrank(&key, 0, -most - 1),
            Cmd::pexpire(&key, KEPT.as_millis() as i64),
        ] {
            commands.push((key.clone(), command));
        }
    }
    commands
}

fn untraceable(fault: RedisFault) -> Untraceable {
    Untraceable(fault.to_string())
}

#[async_trait]
impl DeliveryTrace for SharedTrace {
    async fn begin(&self, app: &AppId, now: Timestamp) -> Result<(), Untraceable> {
        self.forget(app).await?;
        let key = self.redis.names().trace_reach(app);
        let mut command = redis::cmd("HSET");
        command.arg(&key).arg("since").arg(now.0);
        let expiry = Cmd::pexpire(&key, KEPT.as_millis() as i64 * 30);
        self.redis.run(vec![(key.clone(), command), (key, expiry)]).await.map(drop).map_err(untraceable)
    }

    async fn forget(&self, app: &AppId) -> Result<(), Untraceable> {
        let names = self.redis.names();
        let order = names.course_order(app);
        let mut all = redis::cmd("ZRANGE");
        all.arg(&order).arg(0).arg(-1);
        let answer = self.redis.run(vec![(order.clone(), all)]).await.map_err(untraceable)?;
        let members: Vec<String> =
            answer.into_iter().next().and_then(|answer| redis::from_redis_value(answer).ok()).unwrap_or_default();
        let rests = members.iter().filter_map(|member| member.split_once(' ').map(|(_, rest)| rest));
        let mut gone: Vec<_> = rests.map(|rest| names.courses(app, rest)).collect();
        gone.sort_unstable();
        gone.dedup();
        gone.extend([order, names.trace_reach(app), names.traced_publishes(app)]);
        let removal = |key: String| {
            let command = Cmd::del(&key);
            (key, command)
        };
        self.redis.run(gone.into_iter().map(removal).collect()).await.map(drop).map_err(untraceable)
    }

    async fn retire(&self) -> Result<(), Untraceable> {
        let mut command = redis::cmd("HDEL");
        command.arg(self.redis.names().telling_nodes()).arg(&self.node);
        let command = (self.redis.names().telling_nodes(), command);
        self.redis.run(vec![command]).await.map(drop).map_err(untraceable)
    }

    async fn write(&self, lot: &Lot, now: Timestamp) -> Result<Memory, Untraceable> {
        self.tell(lot, now).await.map_err(untraceable)
    }

    async fn read(&self, place: &Place, message: &MessageId, now: Timestamp) -> Result<Kept, Untraceable> {
        self.find(place, message, now).await.map_err(untraceable)
    }
}
