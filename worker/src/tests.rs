//! The worker over engines that do as they are told.

mod delivering;
mod fakes;
mod owning;
