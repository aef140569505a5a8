//! What the tests stand on.

pub mod browser;
pub mod postgres;
pub mod raw;
pub mod server;
pub mod sockets;
pub mod tenants;
pub mod tokens;
