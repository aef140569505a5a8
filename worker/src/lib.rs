//! The worker: appends what was accepted to the log, puts it on the bus, and sweeps what nobody can need any more.

mod deliver;
mod sweep;

pub use deliver::{Ended, deliver};
pub use sweep::sweep;
