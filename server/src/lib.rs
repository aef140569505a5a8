//! The `fanfare` binary as a library: configuration, composition of all parts into one process, and the command line.

pub mod appends;
pub mod check;
pub mod cli;
pub mod client;
pub mod compose;
pub mod config;
pub mod demo;
pub mod docs;
pub mod idling;
pub mod lingering;
pub mod listening;
pub mod ops;
pub mod output;
pub mod problem;
pub mod public;
pub mod readiness;
pub mod serve;
