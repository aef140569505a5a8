//! A `fanfare` process of the test's own: started, killed, started again on the same ports and data.

use std::{
    fs::{self, File, OpenOptions},
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{RecvTimeoutError, Sender},
    thread::JoinHandle,
    time::Duration,
};

use tempfile::TempDir;
use tokio::sync::mpsc;

use super::{
    engines::{self, Engines},
    ports::free_port,
};

/// How long a server may take to say that it listens.
const START: Duration = Duration::from_secs(60);
/// How long a server may live: longer than any test needs, so that one which waits for what never comes fails with its server.
const LIFE: Duration = Duration::from_secs(600);
/// How long a server may take to end after SIGTERM, before the test is failed.
const STOP: Duration = Duration::from_secs(20);

/// The binary under test, with an environment that holds nothing of Fanfare's.
pub fn fanfare() -> Command {
    bare(&binary())
}

fn bare(binary: &Path) -> Command {
    // Whoever starts a server asks it things; clients of these tests need it for TLS, and some also without.
    fanfare::tls::install();
    let mut command = Command::new(binary);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("FANFARE_") {
            command.env_remove(name);
        }
    }
    command
}

/// Where cargo put the binary: beside the folder of the test binary.
pub fn binary() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    let path = test.parent().and_then(Path::parent).expect("tests lie in target/<profile>/deps").join("fanfare");
    assert!(path.exists(), "{} is missing; run `cargo build -p fanfare` first", path.display());
    path
}

/// The build that came before the one under test, which `tests/run.sh` makes from the commit in `tests/previous`. Where that commit is not at
/// hand, the build under test stands in for it.
pub fn previous_binary() -> PathBuf {
    let current = binary();
    let previous = current.with_file_name("fanfare-previous");
    if previous.exists() { previous } else { current }
}

/// Sends a signal, as `TERM` or `STOP`, to a process of ours.
pub fn signal(pid: u32, name: &str) {
    let status = Command::new("sh").args(["-c", &format!("kill -{name} {pid}")]).status().expect("sh runs");
    assert!(status.success(), "SIG{name} could not be sent to {pid}");
}

/// How a server is started: `Options::default().env("FANFARE_SIGNUP", "closed").arg("--demo")`.
#[derive(Debug, Clone, Default)]
pub struct Options {
    role: Option<&'static str>,
    env: Vec<(String, String)>,
    args: Vec<String>,
    config: Option<String>,
    binary: Option<PathBuf>,
}

impl Options {
    /// A process of one role, as `api`, over engines that the variables name, in place of `serve`.
    pub fn role(role: &'static str) -> Self {
        Self { role: Some(role), ..Self::default() }
    }

    /// The same for a process of that role.
    pub fn in_role(mut self, role: &'static str) -> Self {
        self.role = Some(role);
        self
    }

    /// Leaves a variable out that was set.
    pub fn env_remove(mut self, name: &str) -> Self {
        self.env.retain(|(set, _)| set != name);
        self
    }

    /// Sets a variable; the last value of a name stands, also over the harness's own.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds an argument after the command.
    pub fn arg(mut self, arg: &str) -> Self {
        self.args.push(arg.to_owned());
        self
    }

    /// Sets which build is started.
    pub fn binary(mut self, binary: PathBuf) -> Self {
        self.binary = Some(binary);
        self
    }

    /// Sets the text of the server's `fanfare.toml`.
    pub fn config(mut self, toml: &str) -> Self {
        self.config = Some(toml.to_owned());
        self
    }
}

/// A server process; killed, by its pid, when dropped.
#[derive(Debug)]
pub struct Server {
    dir: TempDir,
    options: Options,
    engines: Option<Engines>,
    child: Option<Child>,
    copying: Option<JoinHandle<()>>,
    url: String,
    ops_url: String,
}

impl Server {
    /// Starts a server in a folder of its own, on free ports, and waits until it says that it is ready. It has engines of its own: those
    /// inside the process, or the production engines where the tests run on these.
    pub async fn start(options: Options) -> Self {
        Self::start_in(tempfile::tempdir().expect("a temporary folder can be made"), options).await
    }

    /// The same in that folder, where `stderr.log` can be read before the server is ready.
    pub async fn start_in(dir: TempDir, options: Options) -> Self {
        let engines = if options.role.is_none() && engines::are_wanted() { Some(Engines::own().await) } else { None };
        let (url, ops_url) = (String::new(), String::new());
        let mut server = Self { dir, options, engines, child: None, copying: None, url, ops_url };
        server.launch(&free_address(), &free_address()).await;
        server
    }

    /// Another command on this server's engines, in its folder.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = fanfare();
        command.args(args).current_dir(self.dir()).env("FANFARE_DATA_DIR", self.data_dir());
        command.envs(self.engines.as_ref().map(Engines::env).unwrap_or_default());
        command.envs(self.options.env.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Where the API and the gateway listen, as `http://127.0.0.1:4711`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where `/healthz`, `/readyz` and `/metrics` are.
    pub fn ops_url(&self) -> &str {
        &self.ops_url
    }

    /// The process's id.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the server runs").id()
    }

    /// The folder that everything of this server is in.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The server's data folder.
    pub fn data_dir(&self) -> PathBuf {
        self.dir().join("data")
    }

    /// What the server has printed so far, in all its lives.
    pub fn stdout(&self) -> String {
        fs::read_to_string(self.stdout_path()).expect("standard output is kept")
    }

    /// What the server has logged so far, in all its lives.
    pub fn stderr(&self) -> String {
        fs::read_to_string(self.stderr_path()).expect("standard error is kept")
    }

    /// Kills the process at once, as the kernel or a power switch would.
    pub async fn kill9(&mut self) {
        let mut child = self.child.take().expect("the server runs");
        child.kill().expect("our own child can be killed");
        wait(child, self.copying.take()).await;
    }

    /// Stops the process: its connections stay, and it answers nothing.
    pub fn stop(&self) {
        signal(self.pid(), "STOP");
    }

    /// Lets a stopped process go on.
    pub fn cont(&self) {
        signal(self.pid(), "CONT");
    }

    /// Asks the process to end, as `systemctl stop` does, and waits for it.
    pub async fn terminate(&mut self) -> ExitStatus {
        signal(self.pid(), "TERM");
        self.exited().await
    }

    /// Waits for the process to end by itself.
    pub async fn exited(&mut self) -> ExitStatus {
        let child = self.child.take().expect("the server runs");
        let pid = child.id();
        match tokio::time::timeout(STOP, wait(child, self.copying.take())).await {
            Ok(status) => status,
            Err(_) => {
                signal(pid, "KILL");
                panic!("the server did not end within {STOP:?}:\n{}", self.stderr());
            }
        }
    }

    /// Starts the process again, after it was ended, on the same ports and the same data.
    pub async fn restart(&mut self) {
        assert!(self.child.is_none(), "end the server first, by `kill9` or `terminate`");
        let (listen, ops) = (authority(&self.url), authority(&self.ops_url));
        self.launch(&listen, &ops).await;
    }

    /// Sets a variable for the next start.
    pub fn set_env(&mut self, name: &str, value: &str) {
        self.options.env.push((name.to_owned(), value.to_owned()));
    }

    /// Ends the process as a deployment does, and starts the build under test in its place.
    pub async fn upgrade(&mut self) {
        self.terminate().await;
        self.options.binary = None;
        self.restart().await;
    }

    async fn launch(&mut self, listen: &str, ops_listen: &str) {
        if let Some(toml) = &self.options.config {
            fs::write(self.dir().join("fanfare.toml"), toml).expect("files can be made in a temporary folder");
        }
        let stderr = append(&self.stderr_path());
        let engines = self.engines.as_ref().map(Engines::env).unwrap_or_default();
        let binary = self.options.binary.clone().unwrap_or_else(binary);
        let mut child = bare(&binary)
            .arg(self.options.role.unwrap_or("serve"))
            .args(&self.options.args)
            .current_dir(self.dir())
            .env("FANFARE_LISTEN", listen)
            .env("FANFARE_OPS_LISTEN", ops_listen)
            .env("FANFARE_DATA_DIR", self.data_dir())
            .env("FANFARE_PLAN_DEFAULT", "unlimited")
            // Whoever ends a server waits for it.
            .env("FANFARE_DRAIN_WINDOW", "0s")
            .envs(engines)
            .envs(self.options.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .expect("the binary can be started");
        let alive = bound_life(child.id());
        let output = child.stdout.take().expect("standard output is piped");
        let (copying, lines) = tee(output, append(&self.stdout_path()), alive);
        (self.child, self.copying) = (Some(child), Some(copying));
        match tokio::time::timeout(START, ready(lines)).await {
            Ok(Some((url, ops_url))) => (self.url, self.ops_url) = (url, ops_url),
            Ok(None) => panic!("the server ended before it listened:\n{}\n{}", self.stdout(), self.stderr()),
            Err(_) => panic!("the server was not ready within {START:?}:\n{}\n{}", self.stdout(), self.stderr()),
        }
    }

    fn stdout_path(&self) -> PathBuf {
        self.dir().join("stdout.log")
    }

    fn stderr_path(&self) -> PathBuf {
        self.dir().join("stderr.log")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Shown with the failed test: what the process said last.
            let log = self.stderr();
            let lines: Vec<_> = log.lines().collect();
            println!(
                "{:?} on {}:\n{}",
                self.options.role,
                self.url,
                lines[lines.len().saturating_sub(60)..].join("\n")
            );
        }
        if let Some(mut child) = self.child.take() {
            // Both fail only if the process is gone already, which is what is wanted.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn append(path: &Path) -> File {
    OpenOptions::new().create(true).append(true).open(path).expect("files can be made in a temporary folder")
}

/// Its own for as long as the test runs, so that the process comes back to it.
fn free_address() -> String {
    format!("127.0.0.1:{}", free_port())
}

fn authority(url: &str) -> String {
    url.split_once("://").map_or(url, |(_, rest)| rest).to_owned()
}

/// Waits for a process, and for the copy of its output, on a thread that may block, so that the test's other tasks go on.
async fn wait(mut child: Child, copying: Option<JoinHandle<()>>) -> ExitStatus {
    let waited = tokio::task::spawn_blocking(move || {
        let status = child.wait();
        copying.map(JoinHandle::join);
        status
    });
    waited.await.expect("waiting does not panic").expect("our own child can be waited for")
}

/// Copies a process's output to a file, for as long as it writes, and hands on each line.
fn tee(
    output: impl std::io::Read + Send + 'static,
    mut copy: File,
    alive: Sender<()>,
) -> (JoinHandle<()>, mpsc::UnboundedReceiver<String>) {
    let (send, lines) = mpsc::unbounded_channel();
    let copying = std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            writeln!(copy, "{line}").expect("the copy can be written");
            // Nobody listens any more once the server is ready.
            let _ = send.send(line);
        }
        drop(alive);
    });
    (copying, lines)
}

/// Kills a process that lives longer than any test needs; one that ended before has let go of what is given back.
fn bound_life(pid: u32) -> Sender<()> {
    let (alive, ended) = std::sync::mpsc::channel::<()>();
    let minutes = std::env::var("CHAOS_MINUTES").ok().and_then(|minutes| minutes.parse().ok()).unwrap_or(0);
    let life = LIFE + Duration::from_mins(minutes);
    std::thread::spawn(move || {
        if ended.recv_timeout(life) == Err(RecvTimeoutError::Timeout) {
            eprintln!("the server {pid} is killed: no test needs one for {life:?}");
            signal(pid, "KILL");
        }
    });
    alive
}

/// The two addresses that a server prints once it listens; `None` if it ends first.
async fn ready(mut lines: mpsc::UnboundedReceiver<String>) -> Option<(String, String)> {
    let (mut url, mut ops_url) = (None, None);
    while url.is_none() || ops_url.is_none() {
        let line = lines.recv().await?;
        if let Some(address) = line.strip_prefix("Fanfare is ready: ") {
            url = Some(address.trim().to_owned());
        } else if let Some(address) = line.strip_prefix("Operations: ") {
            ops_url = Some(address.trim().to_owned());
        }
    }
    url.zip(ops_url)
}
