//! Ports of 127.0.0.1 that stay a server's own while it is down.

use std::{
    env,
    fs::File,
    net::TcpListener,
    sync::{
        LazyLock,
        atomic::{AtomicU16, Ordering},
    },
};

/// Below those that the kernel gives to outgoing connections (32,768 and up), so that nobody takes one between a kill and a restart.
const FIRST: u16 = 15_000;
/// Ports of one test process.
const BLOCK: u16 = 500;
const BLOCKS: u16 = 34;

/// The block of ports that this process has to itself, for as long as it holds the lock.
struct Own {
    first: u16,
    next: AtomicU16,
    _lock: File,
}

impl Own {
    fn claim() -> Self {
        for block in 0..BLOCKS {
            let path = env::temp_dir().join(format!("fanfare-test-ports-{block}.lock"));
            // One that another user's tests made cannot be opened, and is not ours either.
            let Ok(lock) = File::create(path) else { continue };
            if lock.try_lock().is_ok() {
                return Self { first: FIRST + block * BLOCK, next: AtomicU16::new(0), _lock: lock };
            }
        }
        panic!("{BLOCKS} test processes run already");
    }
}

/// A free port that this process has not handed out lately, and that no other test process hands out.
pub fn free_port() -> u16 {
    static OWN: LazyLock<Own> = LazyLock::new(Own::claim);
    for _ in 0..BLOCK {
        let port = OWN.first + OWN.next.fetch_add(1, Ordering::Relaxed) % BLOCK;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("there is no free port");
}
