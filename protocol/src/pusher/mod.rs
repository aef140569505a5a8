//! The Pusher Channels protocol, version 7, as its stock clients speak it: names of channels, data, frames and close codes.
//!
//! What each of them is in terms of Fanfare stands in `docs/pusher.md`.

mod channels;
mod codes;
mod data;
mod events;
mod requests;

pub use channels::{Access, PusherChannel};
pub use codes::CloseCode;
pub use data::{data_of, text_of};
pub use events::{Said, message_text};
pub use requests::{Request, Unreadable};
