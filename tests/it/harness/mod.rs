//! What the tests stand on.

pub mod browser;
pub mod server;
pub mod sockets;
pub mod tenants;
pub mod tokens;
