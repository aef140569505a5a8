//! Chaos: traffic and presence over two nodes of each role, by every transport, while nodes, engines and links are ended, killed, stopped and cut at random, from a seed.
//! In the end a checker proves from the logs of both ends that the promise was kept.

mod checker;
mod faults;
mod figures;
pub(crate) mod links;
mod presence;
mod publishers;
mod run;
mod stage;
mod streams;
mod subscribers;
mod targets;
