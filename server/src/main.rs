//! The `fanfare` binary.

use std::process::ExitCode;

use tikv_jemallocator::Jemalloc;

/// What a handshake needs for a moment lies apart from what its connection keeps, by size: with the system's allocator every third handshake left a hole
/// of 6.5 KB that nothing fitted into (`docs/performance.md`).
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    fanfare::cli::run()
}
