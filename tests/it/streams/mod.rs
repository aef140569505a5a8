//! The transports over HTTP: server-sent events and long-poll.

mod backlog;
mod browsers;
mod cross_origin;
mod cursors;
mod expiries;
mod polls;
mod positions;
mod refusals;
mod slow;
mod sse;
