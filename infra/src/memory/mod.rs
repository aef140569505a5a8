//! The in-process engines: bus, queue, limits, and the cache of keys and apps.

mod bus;
mod directory;
mod limits;
mod presence;
mod queue;

pub use bus::MemoryBus;
pub use directory::CachedDirectory;
pub use limits::GovernorLimits;
pub use presence::MemoryPresence;
pub use queue::{MemoryQueue, QueueBounds};
