//! Black-box tests: one binary, one module a subject, all against real processes and sockets.

mod cli;
mod docs;
mod harness;
