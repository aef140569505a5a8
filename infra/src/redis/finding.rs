//! The finder: asks sentinels or a cluster's nodes where the masters are, each second and whenever a command went astray.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures::future::join_all;
use redis::{AsyncConnectionConfig, ConnectionInfo, Pipeline, RedisError, Value, aio::MultiplexedConnection};
use tokio::{
    runtime::Handle,
    sync::{Notify, watch},
};
use tracing::{info, warn};

use super::{
    View,
    layouts::{Layout, Shard, Topology},
    links::connect,
    text,
    urls::{Node, Source, Target},
};
use crate::names::Names;

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// At least so long between two looks, however many commands go astray.
const REST: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(1);
/// So many nodes of a cluster are asked at a time.
const ASKED: usize = 5;

/// Looks for the masters.
pub(super) struct Finder {
    runtime: Handle,
    target: Target,
    names: Names,
    scouts: HashMap<Node, MultiplexedConnection>,
    turn: usize,
}

impl Finder {
    pub fn new(runtime: Handle, target: Target, names: Names) -> Self {
        Self { runtime, target, names, scouts: HashMap::new(), turn: 0 }
    }

    /// Looks for ever, and tells what has changed. What was found stands until something else is found.
    pub async fn run(mut self, view: watch::Sender<View>, lost: Arc<Notify>) {
        let mut known: Option<Arc<Layout>> = None;
        loop {
            match self.find(known.as_deref()).await {
                Ok(topology) if known.as_ref().is_none_or(|known| known.topology != topology) => {
                    let masters: Vec<_> = topology.shards.iter().map(|shard| shard.node.to_string()).collect();
                    info!(redis.masters = masters.join(", "), "The masters of Redis are known");
                    let layout = Layout::new(topology, known.as_deref(), &self.runtime, &self.target, &self.names);
                    view.send_replace(View::Known(known.insert(Arc::new(layout)).clone()));
                }
                Ok(_) => {}
                Err(why) if known.is_none() => {
                    warn!(error = why, "The masters of Redis are not known");
                    view.send_replace(View::Nobody(why));
                }
                Err(_) => {}
            }
            if matches!(self.target.source, Source::Single(_)) {
                return view.closed().await;
            }
            tokio::time::sleep(REST).await;
            let _ = tokio::time::timeout(LOOK_EVERY - REST, lost.notified()).await;
        }
    }

    async fn find(&mut self, known: Option<&Layout>) -> Result<Topology, String> {
        match self.target.source.clone() {
            Source::Single(node) => Ok(Topology::single(node)),
            Source::Sentinels { sentinels, master } => {
                let mut question = Pipeline::new();
                question.cmd("SENTINEL").arg("MASTER").arg(master.as_str());
                let answers = self.ask(sentinels, &question).await;
                // Of sentinels that do not agree, the one with the newest configuration is right.
                let told = answers.iter().filter_map(|(_, answers)| answers.first().and_then(told_master));
                let newest = told.max_by_key(|(epoch, _)| *epoch);
                newest.map(|(_, node)| Topology::single(node)).ok_or_else(|| "no sentinel knows the master".to_owned())
            }
            Source::Cluster(seeds) => {
                let mut question = Pipeline::new();
                question.cmd("CLUSTER").arg("INFO").cmd("CLUSTER").arg("SLOTS");
                let nodes = self.some(known, seeds);
                let answers = self.ask(nodes, &question).await;
                let told = answers.iter().filter_map(|(node, answers)| told_cluster(node, answers));
                let newest = told.max_by_key(|(standing, _)| *standing);
                newest.map(|(_, topology)| topology).ok_or_else(|| "no node knows the cluster".to_owned())
            }
        }
    }

    /// The masters that are known and the nodes of the URL; where they are many, others each time.
    fn some(&mut self, known: Option<&Layout>, seeds: Vec<Node>) -> Vec<Node> {
        let masters = known.into_iter().flat_map(|known| known.topology.shards.iter().map(|shard| shard.node.clone()));
        let mut nodes: Vec<_> = masters.chain(seeds).collect();
        nodes.sort_unstable();
        nodes.dedup();
        self.turn += 1;
        let first = self.turn * ASKED % nodes.len();
        nodes.rotate_left(first);
        nodes.truncate(ASKED);
        nodes
    }

    /// Asks all of them at once; whoever does not answer properly is left out.
    async fn ask(&mut self, nodes: Vec<Node>, question: &Pipeline) -> Vec<(Node, Vec<Value>)> {
        let asked = nodes.into_iter().map(|node| {
            let scout = self.scouts.remove(&node);
            let infos = self.ways(&node);
            async move {
                let answered = tokio::time::timeout(PATIENCE, ask_one(scout, infos, question)).await.ok()?.ok()?;
                Some((node, answered))
            }
        });
        let answered: Vec<_> = join_all(asked.collect::<Vec<_>>()).await;
        let mut answers = Vec::new();
        for (node, (scout, values)) in answered.into_iter().flatten() {
            self.scouts.insert(node.clone(), scout);
            answers.push((node, values));
        }
        answers
    }

    /// How a node may be greeted. Sentinels often want no credentials, and refuse those that they do not want.
    fn ways(&self, node: &Node) -> Vec<ConnectionInfo> {
        match (&self.target.source, self.target.has_credentials()) {
            (Source::Sentinels { .. }, true) => [false, true].map(|with| self.target.sentinel(node, with)).into(),
            (Source::Sentinels { .. }, false) => vec![self.target.sentinel(node, false)],
            _ => vec![self.target.server(node)],
        }
    }
}

/// Asks over the connection that is there, or over a new one.
async fn ask_one(
    scout: Option<MultiplexedConnection>,
    ways: Vec<ConnectionInfo>,
    question: &Pipeline,
) -> Result<(MultiplexedConnection, Vec<Value>), RedisError> {
    if let Some(mut scout) = scout {
        let answers = answers(&mut scout, question).await?;
        return Ok((scout, answers));
    }
    let mut failure = None;
    for way in ways {
        let attempt = async {
            let mut scout = connect(&way, AsyncConnectionConfig::new(), false).await?;
            let answers = answers(&mut scout, question).await?;
            Ok::<_, RedisError>((scout, answers))
        };
        match attempt.await {
            Ok(answered) => return Ok(answered),
            Err(error) => failure = Some(error),
        }
    }
    Err(failure.unwrap_or_else(|| RedisError::from((redis::ErrorKind::InvalidClientConfig, "no way to connect"))))
}

async fn answers(scout: &mut MultiplexedConnection, question: &Pipeline) -> Result<Vec<Value>, RedisError> {
    let answers = scout.send_packed_commands(question, 0, question.len()).await?;
    answers.into_iter().map(Value::extract_error).collect()
}

/// The master that a sentinel tells, with how new its configuration is.
fn told_master(answer: &Value) -> Option<(u64, Node)> {
    let fields: HashMap<String, String> = redis::from_redis_value_ref(answer).ok()?;
    let port = fields.get("port")?.parse().ok()?;
    Some((fields.get("config-epoch")?.parse().ok()?, Node { host: fields.get("ip")?.clone(), port }))
}

/// The masters that a node tells, with whether it sees the cluster whole and how new its configuration is.
fn told_cluster(asked: &Node, answers: &[Value]) -> Option<((bool, u64), Topology)> {
    let [about, ranges] = answers else { return None };
    let about = text(about)?;
    let is_whole = about.lines().any(|line| line.trim() == "cluster_state:ok");
    let epoch = about.lines().find_map(|line| line.trim().strip_prefix("cluster_current_epoch:")?.parse().ok())?;
    let Value::Array(ranges) = ranges else { return None };
    let mut shards: Vec<Shard> = Vec::new();
    for range in ranges {
        let Value::Array(range) = range else { return None };
        let [Value::Int(first), Value::Int(last), Value::Array(master), ..] = range.as_slice() else { return None };
        let [host, Value::Int(port), ..] = master.as_slice() else { return None };
        // A node that does not know its own address is where it was asked.
        let host = text(host).filter(|host| !host.is_empty() && host != "?").unwrap_or_else(|| asked.host.clone());
        let node = Node { host, port: u16::try_from(*port).ok()? };
        let slots = (u16::try_from(*first).ok()?, u16::try_from(*last).ok()?);
        match shards.iter_mut().find(|shard| shard.node == node) {
            Some(shard) => shard.slots.push(slots),
            None => shards.push(Shard { node, slots: vec![slots] }),
        }
    }
    shards.iter_mut().for_each(|shard| shard.slots.sort_unstable());
    shards.sort_unstable_by(|one, other| one.slots.cmp(&other.slots));
    (!shards.is_empty()).then_some(((is_whole, epoch), Topology { shards, is_cluster: true }))
}
