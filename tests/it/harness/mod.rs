//! What the tests stand on.

pub mod authority;
pub mod browser;
pub mod engines;
pub mod haproxy;
pub mod metrics;
pub mod nginx;
pub mod nodes;
pub mod ports;
pub mod postgres;
pub mod processes;
pub mod proxy;
pub mod pusher_sockets;
pub mod rabbitmq;
pub mod raw;
pub mod redis;
pub mod server;
pub mod signers;
pub mod sockets;
pub mod streams;
pub mod tenants;
pub mod tokens;
pub mod waiting;
pub mod webhooks;
