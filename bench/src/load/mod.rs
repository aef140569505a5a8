//! The load generator: scenarios in files, thousands of subscribers in one loop, publishers on threads, and what it cost the servers.

mod connections;
mod crowds;
mod dialects;
mod events;
mod frames;
mod heads;
mod latencies;
mod looks;
mod measurements;
mod peers;
mod processes;
mod programs;
mod publishers;
mod requests;
pub mod runs;
mod scenarios;
mod sequences;
mod stamps;
pub mod suites;
mod tables;
mod targets;
mod tokens;
