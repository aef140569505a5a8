//! The worker: appends what was accepted to the log, puts it on the bus, sweeps what nobody can need any more, and tells webhooks what happened.

mod deliver;
mod health;
mod own;
mod spans;
mod sweep;
mod tend;
#[cfg(test)]
mod tests;
mod webhooks;

pub use deliver::{Ended, deliver};
pub use health::Health;
pub use own::{OwnPorts, own};
pub use sweep::sweep;
pub use webhooks::{MOST_IN_HAND, SendPorts, TellPorts, send_webhooks, tell_webhooks};
