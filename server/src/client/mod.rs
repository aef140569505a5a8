//! The client commands: `token`, `publish` and `tail`, which talk to a server as any client does.

pub mod answers;
pub mod credentials;
pub mod endpoint;
pub mod publish;
pub mod tail;
pub mod token;
mod trust;
