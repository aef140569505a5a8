//! What Fanfare is, apart from any engine: models, state machines, and the ports that engines implement.
//!
//! One module a feature. Nothing here does I/O; time comes in as an argument or through [`clock::Clock`].

pub mod accounts;
pub mod apps;
pub mod bus;
pub mod capabilities;
pub mod clock;
pub mod connections;
pub mod cursors;
pub mod deliveries;
pub mod directory;
pub mod drains;
pub mod grants;
pub mod history;
pub mod ids;
pub mod keys;
pub mod limits;
pub mod messages;
pub mod metrics;
pub mod occupancy;
pub mod origins;
pub mod outbound;
pub mod partitions;
pub mod peers;
pub mod plans;
pub mod presence;
pub mod publishing;
pub mod pusher;
pub mod refusals;
pub mod revocations;
pub mod rules;
pub mod secrets;
pub mod signers;
pub mod stores;
pub mod tokens;
pub mod traces;
pub mod webhooks;

pub use clock::{Clock, Timestamp};
pub use refusals::Refusal;
pub use stores::StoreError;
