//! The in-process engines: bus, queue, limits, occupancy, and the cache of keys and apps.

mod bus;
mod deliveries;
mod directory;
mod limits;
mod occupancy;
mod presence;
mod queue;

pub use bus::MemoryBus;
pub use deliveries::MemoryTrace;
pub use directory::CachedDirectory;
pub use limits::GovernorLimits;
pub use occupancy::MemoryOccupancy;
pub use presence::MemoryPresence;
pub use queue::{MemoryQueue, QueueBounds};
