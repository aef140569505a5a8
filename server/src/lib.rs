//! The `fanfare` binary as a library: configuration, composition of the parts of each role into one process, and the command line.

pub mod beats;
pub mod check;
pub mod cli;
pub mod client;
pub mod compose;
pub mod config;
pub mod control;
pub mod dead_letters;
pub mod delivery;
pub mod demo;
pub mod docs;
pub mod idling;
pub mod lingering;
pub mod listening;
pub mod migrate;
pub mod ops;
pub mod output;
pub mod problem;
pub mod process;
pub mod public;
pub mod readiness;
pub mod restored;
pub mod role;
pub mod serve;
