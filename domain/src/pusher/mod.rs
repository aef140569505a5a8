//! Pusher's protocol on Fanfare's channels: what an app lets its clients do, how they are signed, and the machine of one connection.

mod admission;
pub mod sessions;
mod signatures;
mod socket_ids;
mod switches;

pub use admission::{authorize, require_pusher};
pub use signatures::{BadSignature, Signed, signature, verify};
pub use socket_ids::{connection_of, socket_id};
pub use switches::{PusherSwitches, SwitchesPatch, app_id};
