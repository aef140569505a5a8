//! The worker: appends what was accepted to the log, puts it on the bus, and sweeps what nobody can need any more.

mod deliver;
mod health;
mod own;
mod spans;
mod sweep;
mod tend;
#[cfg(test)]
mod tests;

pub use deliver::{Ended, deliver};
pub use health::Health;
pub use own::{OwnPorts, own};
pub use sweep::sweep;
