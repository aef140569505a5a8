//! The ports of the domain, implemented: SQL stores, in-process engines, sealing, the data folder, telemetry.

mod authorities;
pub mod data_dir;
pub mod envelopes;
pub mod key_sets;
pub mod memory;
pub mod names;
pub mod outbound;
pub mod rabbitmq;
pub mod redis;
pub mod sealing;
pub mod sql;
pub mod telemetry;
