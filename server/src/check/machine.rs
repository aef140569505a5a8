//! What the machine gives: ports, open files, a clock.

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    time::{Duration, SystemTime},
};

use fanfare_domain::Timestamp;

use crate::{
    listening,
    problem::Problem,
    tls::{self, Files},
};

/// Fewer open files than this are too few sockets for a server.
const FEWEST_FILES: u64 = 4_096;
/// 1 January 2025: a clock before this was never set.
const EARLIEST: Timestamp = Timestamp(1_735_689_600_000);
const DAY_S: u64 = 24 * 3_600;
/// How far the clock may be behind what was written by it.
const BEHIND: Duration = Duration::from_secs(60);

/// Whether that address can be listened on.
pub(super) fn port(address: SocketAddr, setting: &str, variable: &str) -> Result<String, Problem> {
    listening::listen(address, setting, variable).map(|_| format!("{address} is free"))
}

/// Whether the certificate can be served, and for how long.
pub(super) fn certificate(files: &Files) -> Result<String, Problem> {
    let pair = tls::load(files)?;
    match pair.left().as_secs() / DAY_S {
        _ if pair.left().is_zero() => {
            Err(Problem::new(format!("{} has ended", files.cert.display()), "Put a new certificate in its place."))
        }
        days => Ok(format!("certificate {}, good for {days} days", pair.fingerprint)),
    }
}

/// Whether there can be as many sockets as a server has.
pub(super) fn open_files() -> Result<String, Problem> {
    let (_, hard) = rlimit::Resource::NOFILE
        .get()
        .map_err(|error| Problem::new(format!("the limit cannot be read: {error}"), "Look at `ulimit -Hn`."))?;
    if hard < FEWEST_FILES {
        return Err(Problem::new(
            format!("the hard limit is {hard}, and every socket takes one"),
            format!(
                "Raise it to {FEWEST_FILES} or more: `ulimit -Hn`, LimitNOFILE= in a systemd unit, or --ulimit nofile= of a container."
            ),
        ));
    }
    Ok(format!("up to {hard}; `serve` raises its own limit to that"))
}

/// Whether the clock was set at all, and has not been set back since the database was last written.
pub(super) fn clock(data_dir: &Path, now: Timestamp) -> Result<String, Problem> {
    let remedy = "Set the clock, and keep it set with NTP: tokens, retention and rotated keys go by it.";
    if now < EARLIEST {
        return Err(Problem::new("the system's clock is before 2025", remedy));
    }
    let written = fs::read_dir(data_dir)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.metadata().ok()?.modified().ok())
        .max();
    let written = written
        .and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok())
        .map(|since| Timestamp(since.as_millis() as u64));
    match written {
        Some(written) if written > now.after(BEHIND) => {
            let behind = written.since(now).as_secs();
            Err(Problem::new(
                format!("the data folder was written {behind} s from now: the clock was set back"),
                remedy,
            ))
        }
        _ => Ok("set, and not behind the data".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use fanfare_domain::{Clock, clock::SystemClock};

    use super::*;

    #[test]
    fn a_clock_that_was_never_set_or_was_set_back_is_told() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("fanfare.db"), "x").unwrap();
        assert!(clock(dir.path(), SystemClock.now()).is_ok());
        assert!(clock(dir.path(), Timestamp(0)).unwrap_err().what.contains("before 2025"));
        let hour_ago = SystemClock.now().before(Duration::from_secs(3_600));
        assert!(clock(dir.path(), hour_ago).unwrap_err().what.contains("set back"));
    }
}
