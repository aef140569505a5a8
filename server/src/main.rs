//! The `fanfare` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    fanfare::cli::run()
}
