//! The tests' own engines hold what the tests that use them suppose.

mod postgres;
mod proxies;
mod rabbitmq;
mod redis;
