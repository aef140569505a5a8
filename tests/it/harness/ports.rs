//! Ports of 127.0.0.1 that stay a server's own while it is down.

use std::{
    net::TcpListener,
    sync::{
        LazyLock,
        atomic::{AtomicU16, Ordering},
    },
};

/// Below those that the kernel gives to outgoing connections (32,768 and up), so that nobody takes one between a kill and a restart.
const FIRST: u16 = 15_000;
const COUNT: u16 = 17_000;

/// A free port that this process has not handed out lately. Every test process begins somewhere else.
pub fn free_port() -> u16 {
    static NEXT: LazyLock<AtomicU16> = LazyLock::new(|| AtomicU16::new(rand::random_range(0..COUNT)));
    for _ in 0..COUNT {
        let port = FIRST + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("there is no free port");
}
