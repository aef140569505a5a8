//! Connections of Pusher's protocol, frame by frame.

mod cached;
mod client_events;
mod connecting;
mod counted;
mod mixed;
mod present;
mod subscribing;
mod users;
