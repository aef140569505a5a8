//! Bad input: everything wrong that can be sent has its documented code, and the server goes on.

mod bodies;
mod credentials;
mod fields;
mod frames;
mod handling;
mod paths;
mod requests;
mod tokens;
