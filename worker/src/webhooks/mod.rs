//! Webhooks: what happened is compared with what was told, and the difference is told until it is taken.

mod sending;
mod sweeping;
mod telling;
#[cfg(test)]
mod tests;

pub use sending::{MOST_IN_HAND, SendPorts, send_webhooks};
pub use telling::{TellPorts, tell_webhooks};
