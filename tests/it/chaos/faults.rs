//! Faults: what is done to whom, dealt from a shuffled deck, so that each comes as often as the others.

use std::fmt;

use rand::{RngExt, rngs::StdRng, seq::SliceRandom};

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// SIGTERM, and started again.
    Terminate,
    /// SIGKILL, and started again.
    Kill,
    /// SIGSTOP, and after a while SIGCONT.
    Stop,
    /// A link to an engine is closed and refuses, for a while.
    Cut,
    /// A link to an engine swallows everything, for a while.
    Stall,
}

/// To whom it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// One of the API nodes.
    Api,
    /// One of the gateways.
    Gateway,
    /// One of the workers.
    Worker,
    /// Redis, which forgets everything when it ends.
    Redis,
    /// RabbitMQ.
    RabbitMq,
    /// Postgres.
    Postgres,
}

/// A fault that is to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// What.
    pub kind: Kind,
    /// To whom; for links, the engine at its far end.
    pub target: Target,
    /// Which of the nodes.
    pub node: usize,
}

const NODES: [Target; 3] = [Target::Api, Target::Gateway, Target::Worker];
const ENGINES: [Target; 3] = [Target::Redis, Target::RabbitMq, Target::Postgres];

/// Every fault once, in the seed's order; then again in another order.
pub struct Deck {
    random: StdRng,
    cards: Vec<Fault>,
}

impl Deck {
    /// A deck of that seed.
    pub fn new(random: StdRng) -> Self {
        Self { random, cards: Vec::new() }
    }

    /// The faults of the next round: one, or two of different targets at once.
    pub fn deal(&mut self) -> Vec<Fault> {
        let first = self.next();
        let mut round = vec![first];
        if self.random.random_ratio(1, 3) {
            let second = self.next();
            // Two faults of one target cannot be made at once.
            if second.target == first.target || second.is_link() && first.is_link() {
                self.cards.push(second);
            } else {
                round.push(second);
            }
        }
        round
    }

    fn next(&mut self) -> Fault {
        if self.cards.is_empty() {
            self.cards = all().collect();
            self.cards.shuffle(&mut self.random);
        }
        let card = self.cards.pop().expect("the deck was filled");
        let nodes = if card.is_link() { 6 } else { 2 };
        Fault { node: self.random.random_range(0..nodes), ..card }
    }
}

fn all() -> impl Iterator<Item = Fault> {
    let both = NODES.into_iter().chain(ENGINES);
    let ends = both.flat_map(|target| [Kind::Terminate, Kind::Kill, Kind::Stop].map(|kind| (kind, target)));
    let links = ENGINES.into_iter().flat_map(|target| [Kind::Cut, Kind::Stall].map(|kind| (kind, target)));
    ends.chain(links).map(|(kind, target)| Fault { kind, target, node: 0 })
}

impl Fault {
    /// Whether it is done to a link.
    pub fn is_link(&self) -> bool {
        matches!(self.kind, Kind::Cut | Kind::Stall)
    }

    /// The gateway that it is done to, or that it keeps from Redis. Links are counted over two API nodes, two gateways and two workers.
    pub fn gateway(&self) -> Option<usize> {
        match (self.is_link(), self.target, self.node) {
            (false, Target::Gateway, node) => Some(node),
            (true, Target::Redis, node @ (2 | 3)) => Some(node - 2),
            _ => None,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let target = match self.target {
            Target::Api => "api",
            Target::Gateway => "gateway",
            Target::Worker => "worker",
            Target::Redis => "Redis",
            Target::RabbitMq => "RabbitMQ",
            Target::Postgres => "Postgres",
        };
        match self.kind {
            Kind::Terminate => write!(f, "{target} ended by SIGTERM, started again"),
            Kind::Kill => write!(f, "{target} killed by SIGKILL, started again"),
            Kind::Stop => write!(f, "{target} stopped by SIGSTOP for a while"),
            Kind::Cut => write!(f, "a node's link to {target} cut for a while"),
            Kind::Stall => write!(f, "a node's link to {target} silent for a while"),
        }
    }
}
