//! The tests' own engines hold what the tests that use them suppose.

#![expect(clippy::unwrap_used, reason = "helpers are test code, though no test attribute stands on them")]

mod postgres;
mod processes;
mod proxies;
mod rabbitmq;
mod redis;
