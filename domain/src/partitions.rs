//! Partitions: each channel belongs to one, and each one has one owner, so that a channel has one order.

use async_trait::async_trait;
use fanfare_protocol::ChannelName;
use sha2::{Digest, Sha256};

use crate::{
    StoreError,
    ids::{AppId, WorkerId},
};

/// The number of a partition, from 0.
pub type Partition = u16;

/// The partition of a channel, of so many: the first 64 bits of SHA-256 over the app's id, a zero byte and the channel's name, modulo the count.
pub fn partition_of(app: &AppId, channel: &ChannelName, count: Partition) -> Partition {
    let mut hash = Sha256::new();
    hash.update(app.as_str());
    hash.update([0]);
    hash.update(channel.as_str());
    let whole: [u8; 32] = hash.finalize().into();
    let first = u64::from_be_bytes(std::array::from_fn(|at| whole[at]));
    Partition::try_from(first % u64::from(count.max(1))).expect("a remainder is less than its divisor")
}

/// Proves, inside an append, that whoever appends still owns the partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fence {
    /// The partition.
    pub partition: Partition,
    /// How often it had changed hands when it was taken.
    pub generation: i64,
}

/// What a worker holds after a turn.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Holdings {
    /// The partitions that are its own until its lease ends, by number.
    pub owned: Vec<Fence>,
    /// As many as it should hold, with the partitions spread evenly over the workers that are alive.
    pub share: usize,
}

/// Who owns which partition: rows with an owner, a generation and a lease that ends by the database's clock.
#[async_trait]
pub trait Partitions: Send + Sync {
    /// Says that the worker is alive, renews the leases of what it owns, and takes partitions that nobody holds until it has its share.
    /// What it owns beyond its share it is to give back by [`Partitions::release`].
    async fn hold(&self, worker: &WorkerId) -> Result<Holdings, StoreError>;
    /// Gives a partition back at once; does nothing if it has another owner already.
    async fn release(&self, worker: &WorkerId, fence: Fence) -> Result<(), StoreError>;
    /// Gives everything back and takes no more part.
    async fn leave(&self, worker: &WorkerId) -> Result<(), StoreError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_has_one_partition_and_channels_are_spread() {
        let app = AppId::parse("app_01j9zq3v5x8k2m4n6p7r9s1t3w").unwrap();
        let of = |name: &str| partition_of(&app, &ChannelName::parse(name).unwrap(), 64);
        // Fixed for good: another answer would reorder what is in the queues.
        assert_eq!([of("chat:1"), of("chat:2"), of("news")], [FIXED[0], FIXED[1], FIXED[2]]);
        let used: std::collections::BTreeSet<_> = (0..2_000).map(|n| of(&format!("c:{n}"))).collect();
        assert_eq!(used.len(), 64);
    }

    const FIXED: [Partition; 3] = [0, 56, 9];
}
