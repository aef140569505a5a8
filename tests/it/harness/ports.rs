//! Ports of 127.0.0.1 that stay a server's own while it is down.

use std::{
    net::TcpListener,
    sync::{
        LazyLock,
        atomic::{AtomicU16, Ordering},
    },
};

/// Below those that the kernel gives to outgoing connections (32,768 and up), so that nobody takes one between a kill and a restart.
const FIRST: u16 = 10_000;
/// Ports of one test process: several times what a run of all tests takes, since none is handed out a second time.
const BLOCK: u16 = 5_500;
const BLOCKS: u16 = 4;

/// The block of ports that this process has to itself, for as long as it listens on the first of them. A listener is the one lock that every
/// test process sees, whoever runs it and wherever its temporary files are.
struct Own {
    first: u16,
    next: AtomicU16,
    _lock: TcpListener,
}

impl Own {
    fn claim() -> Self {
        for block in 0..BLOCKS {
            let first = FIRST + block * BLOCK;
            if let Ok(lock) = TcpListener::bind(("127.0.0.1", first)) {
                return Self { first, next: AtomicU16::new(1), _lock: lock };
            }
        }
        panic!("{BLOCKS} test processes run already");
    }
}

/// A free port that this process never handed out before, and that no other test process hands out: whose server was killed gets it back.
pub fn free_port() -> u16 {
    static OWN: LazyLock<Own> = LazyLock::new(Own::claim);
    loop {
        let nth = OWN.next.fetch_add(1, Ordering::Relaxed);
        assert!(nth < BLOCK, "this process has handed out all its {BLOCK} ports");
        if TcpListener::bind(("127.0.0.1", OWN.first + nth)).is_ok() {
            return OWN.first + nth;
        }
    }
}
