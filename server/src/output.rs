//! Standard output: what a command was asked for, and nothing else.

use std::io::{ErrorKind, Write};

use crate::problem::Problem;

/// Whether the reader wants more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// It reads.
    There,
    /// It closed the pipe: it has seen enough, which is no failure.
    Gone,
}

/// Prints a text as it is, at once.
pub fn print(text: &str) -> Result<Reader, Problem> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(Reader::There),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(Reader::Gone),
        Err(error) => {
            Err(Problem::new(format!("standard output cannot be written: {error}"), "Make room where it goes."))
        }
    }
}
