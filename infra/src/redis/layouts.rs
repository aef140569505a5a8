//! Which master serves which slots, and the links to them.

use std::{fmt, sync::Arc};

use futures::future::try_join_all;
use tokio::runtime::Handle;

use super::{
    RedisFault,
    links::{Life, Link},
    slots::{SLOTS, slot_of},
    urls::{Node, Target},
};
use crate::names::Names;

/// A master and the slots that it serves, as ranges that include both ends.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Shard {
    pub node: Node,
    pub slots: Vec<(u16, u16)>,
}

impl Shard {
    /// A server that serves everything.
    pub fn whole(node: Node) -> Self {
        Self { node, slots: vec![(0, SLOTS - 1)] }
    }

    /// Whether a key or a channel is served here.
    pub fn serves(&self, key: &str) -> bool {
        let slot = slot_of(key);
        self.slots.iter().any(|(first, last)| (*first..=*last).contains(&slot))
    }

    /// A channel for beats whose slot is served here, the same for everyone who sees the cluster alike.
    pub fn beats(&self, names: &Names) -> String {
        let mut all = (0..u32::from(SLOTS) * 64).map(|number| names.beats(number));
        all.find(|name| self.serves(name)).unwrap_or_else(|| names.beats(0))
    }
}

/// The masters, by what they serve.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Topology {
    pub shards: Vec<Shard>,
    /// Whether this is a cluster, where each channel of pub/sub belongs to the shard of its slot.
    pub is_cluster: bool,
}

impl Topology {
    pub fn single(node: Node) -> Self {
        Self { shards: vec![Shard::whole(node)], is_cluster: false }
    }

    /// The number of the shard that serves a key or a channel.
    pub fn shard_of(&self, key: &str) -> Result<usize, RedisFault> {
        if let ([_], false) = (self.shards.as_slice(), self.is_cluster) {
            return Ok(0);
        }
        let found = self.shards.iter().position(|shard| shard.serves(key));
        found.ok_or_else(|| RedisFault::Away("no master serves the slot".to_owned()))
    }
}

/// What is known of the masters, with a link to each.
pub(super) struct Layout {
    pub topology: Topology,
    links: Vec<Arc<Link>>,
    beats: Vec<String>,
}

impl Layout {
    /// Keeps the links of masters that stay.
    pub fn new(topology: Topology, last: Option<&Layout>, runtime: &Handle, target: &Target, names: &Names) -> Self {
        let kept = |node: &Node| {
            let last = last?;
            last.topology.shards.iter().position(|shard| shard.node == *node).map(|at| last.links[at].clone())
        };
        let opened =
            |node: &Node| Arc::new(Link::open(runtime, node.clone(), target.server(node), target.only_masters()));
        let link = |shard: &Shard| kept(&shard.node).unwrap_or_else(|| opened(&shard.node));
        let links = topology.shards.iter().map(link).collect();
        let beats = topology.shards.iter().map(|shard| shard.beats(names)).collect();
        Self { topology, links, beats }
    }

    /// The channel for a shard's beats.
    pub fn beats(&self, shard: usize) -> &str {
        &self.beats[shard]
    }

    /// Which connection there is to each master now; anything may have been lost between two answers that differ.
    pub async fn lives(&self) -> Result<Vec<(Node, Life)>, RedisFault> {
        let lives = self.topology.shards.iter().zip(&self.links);
        try_join_all(lives.map(async |(shard, link)| Ok((shard.node.clone(), link.life().await?)))).await
    }

    /// The link to a shard's master.
    pub fn link(&self, shard: usize) -> &Link {
        &self.links[shard]
    }
}

impl fmt::Debug for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Layout").field(&self.topology).finish()
    }
}
