//! Occupancy that all nodes share: every node tells Redis its own counts, and whoever reads sums those of the nodes that are alive.
//!
//! A count lies in its channel's hash under the node and its *generation*. A node says every two seconds that it is alive, in one command
//! for all that it counts; who is not heard of is counted no more. When a node cannot know what Redis holds of it (a command was not
//! answered, a connection was made anew, or the node itself stopped for too long), it begins a new generation: it tells everything under
//! the new number, which is counted in place of the last one only once all of it is told. What is left of other generations is nobody's and
//! is removed by whoever comes across it.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use fanfare_domain::{
    ids::AppId,
    occupancy::{Book, Listed, Occupancy, Place, Uncounted, Wanted},
};
use fanfare_protocol::ChannelName;
use redis::Value;
use tokio::{runtime::Handle, sync::Notify};

use super::{Redis, RedisFault, Script, links::Task};

mod reading;
mod sweeping;
mod telling;

/// Counts of subscriptions in Redis. While Redis is away they cannot be read, and nothing else is held up. Dropped, it no longer says that
/// its node is alive, as if the node had died.
pub struct SharedOccupancy {
    node: Arc<Node>,
    _telling: Task,
}

struct Node {
    name: String,
    redis: Redis,
    alive: Script,
    book: Mutex<Book>,
    /// Something in the book is to be told.
    changed: Notify,
    has_ended: AtomicBool,
    ended: Notify,
}

impl SharedOccupancy {
    /// The counts of this node, whose name no other node may ever have had. Called inside a runtime.
    #[expect(clippy::new_ret_no_self, reason = "callers want the port")]
    pub fn new(redis: Redis, node: &str) -> Arc<dyn Occupancy> {
        let runtime = Handle::current();
        let node = Arc::new(Node {
            name: node.to_owned(),
            redis,
            alive: Script::new(include_str!("alive.lua")),
            book: Mutex::default(),
            changed: Notify::new(),
            has_ended: AtomicBool::new(false),
            ended: Notify::new(),
        });
        Arc::new(Self { node: node.clone(), _telling: Task::spawn(&runtime, telling::tell(node)) })
    }
}

impl Node {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Occupancy for SharedOccupancy {
    fn enter(&self, app: &AppId, channel: &ChannelName) {
        if self.node.book().enter(app, channel) {
            self.node.changed.notify_one();
        }
    }

    fn leave(&self, app: &AppId, channel: &ChannelName) {
        if self.node.book().leave(app, channel) {
            self.node.changed.notify_one();
        }
    }

    async fn subscribers(&self, places: &[Place]) -> Result<Vec<u64>, Uncounted> {
        self.node.count(places).await.map_err(uncounted)
    }

    async fn list(&self, app: &AppId, wanted: &Wanted) -> Result<Listed, Uncounted> {
        self.node.list(app, wanted).await.map_err(uncounted)
    }

    async fn withdraw(&self) {
        self.node.has_ended.store(true, Ordering::SeqCst);
        self.node.ended.notify_one();
        let mut command = redis::cmd("HDEL");
        let key = self.node.redis.names().counting_nodes();
        command.arg(&key).arg(&self.node.name);
        // Where Redis does not hear it, the node is counted no more when its time is over.
        let _ = self.node.run(vec![(key, command)]).await;
    }
}

impl Node {
    async fn run(&self, commands: Vec<(String, redis::Cmd)>) -> Result<Vec<Value>, RedisFault> {
        self.redis.run(commands).await
    }
}

fn uncounted(fault: RedisFault) -> Uncounted {
    Uncounted(fault.to_string())
}

/// What a field of a channel's hash is called.
fn field(node: &str, generation: u64) -> String {
    format!("{node} {generation}")
}
