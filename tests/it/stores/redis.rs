//! What only the bus, the windows and the fingerprints on Redis promise.

use std::sync::Arc;

use fanfare_domain::bus::Bus;
use fanfare_infra::{
    names::Names,
    redis::{Redis, RedisBus},
};

use super::bus::Sides;

mod away;
mod cluster;
mod counts;
mod fingerprints;
mod forgetting;
mod heads;
mod interruptions;
mod presence;
mod sentinel;
mod windows;

/// The bus of a process of its own.
pub fn bus(url: &str) -> Arc<dyn Bus> {
    RedisBus::new(Redis::connect(url, Names::default()).unwrap())
}

/// Two processes on one Redis.
pub fn sides(url: &str) -> Sides {
    Sides { sender: bus(url), receiver: bus(url) }
}
