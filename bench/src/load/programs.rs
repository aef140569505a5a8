//! Programs that are started for a measurement, and ended after it.

use std::{
    fs::{self, File},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::clients::Problem;

/// How long a program may take to say that it is ready, and to end.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A program that runs; it is ended when this is dropped.
pub struct Program {
    name: String,
    child: Child,
    /// What it says.
    log: PathBuf,
}

impl Program {
    /// Starts it, with what it says in a log of its name in a folder.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(name: &str, command: &mut Command, folder: &Path) -> Result<Self, Problem> {
        let said = |error: std::io::Error| format!("{name} cannot be started: {error}");
        let log = folder.join(format!("{name}.log"));
        let out = File::create(&log).map_err(said)?;
        let error = out.try_clone().map_err(said)?;
        let child = command.stdin(Stdio::null()).stdout(out).stderr(error).spawn().map_err(said)?;
        Ok(Self { name: name.to_owned(), child, log })
    }

    /// The id of its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it says a line that begins so; the rest of that line.
    ///
    /// # Errors
    /// It ends before that, or takes too long.
    pub fn until_said(&mut self, begin: &str) -> Result<String, Problem> {
        let begun = Instant::now();
        loop {
            let log = fs::read_to_string(&self.log).unwrap_or_default();
            let whole = log.rsplit_once('\n').map_or("", |(whole, _)| whole);
            if let Some(rest) = whole.lines().find_map(|line| line.strip_prefix(begin)) {
                return Ok(rest.to_owned());
            }
            let has_ended = !matches!(self.child.try_wait(), Ok(None));
            if has_ended || begun.elapsed() > PATIENCE {
                return Err(format!("{} is not ready:\n{log}", self.name));
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    /// Waits until somebody listens there.
    ///
    /// # Errors
    /// It ends before that, or takes too long.
    pub fn until_listening(&mut self, address: std::net::SocketAddr) -> Result<(), Problem> {
        let begun = Instant::now();
        while std::net::TcpStream::connect(address).is_err() {
            let has_ended = !matches!(self.child.try_wait(), Ok(None));
            if has_ended || begun.elapsed() > PATIENCE {
                let log = fs::read_to_string(&self.log).unwrap_or_default();
                return Err(format!("{} does not listen at {address}:\n{log}", self.name));
            }
            thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }
}

impl Drop for Program {
    /// Asks it to end, and insists if it does not.
    fn drop(&mut self) {
        let asked = Command::new("kill").arg(self.pid().to_string()).status();
        let begun = Instant::now();
        while asked.is_ok() && begun.elapsed() < PATIENCE {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(LOOK_EVERY);
        }
        // It may have ended just now.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port of this machine alone that nobody has.
///
/// # Errors
/// There is none.
pub fn free_port() -> Result<u16, Problem> {
    let bound = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    bound.map(|address| address.port()).map_err(|error| error.to_string())
}

/// A program that was built with this one.
///
/// # Errors
/// It is not there.
pub fn beside(name: &str) -> Result<PathBuf, Problem> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let path = own.with_file_name(name);
    if path.exists() { Ok(path) } else { Err(format!("{} is not there: build the workspace", path.display())) }
}
