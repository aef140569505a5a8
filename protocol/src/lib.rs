//! What Fanfare says on the wire: names, positions, requests, events, error and close codes, and WebSocket frames.
//!
//! Nothing here is asynchronous, reads a clock or knows a server; clients and the load generator use it too.

pub mod errors;
pub mod events;
pub mod json;
pub mod names;
pub mod positions;
pub mod presence;
pub mod pusher;
pub mod requests;
pub mod websocket;

pub use errors::{ErrorCode, WireError};
pub use names::{BadName, ChannelName, ClientName, EventName, Namespace};
pub use positions::{Epoch, Position, Serial};
