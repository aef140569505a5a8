//! Server programs that the tests start: ended with the tests, even with tests that are killed.

use std::{
    collections::HashMap,
    ffi::OsString,
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::Arc,
};

use super::{server::signal, waiting::until};

/// What is run, and how one knows that it is ready.
#[derive(Debug, Clone, Default)]
pub struct Program {
    /// The program, then its arguments.
    pub command: Vec<OsString>,
    /// Variables that it gets besides those of the tests.
    pub env: Vec<(&'static str, OsString)>,
    /// The user and the group that it runs as, where they are not the tests' own.
    pub owner: Option<(u32, u32)>,
    /// What a line says that it prints once it serves.
    pub ready: &'static str,
    /// The signal that asks it to end in good order.
    pub ends_by: &'static str,
    /// The signal that ends it for good, when its folder goes too.
    pub dies_by: &'static str,
    /// The folder that it lives in, removed after its end; empty if it has none.
    pub folder: PathBuf,
    /// Files that a killed one leaves, and that would keep it from starting.
    pub leftovers: Vec<PathBuf>,
}

/// A program that runs. Dropped, it ends and its folder goes.
#[derive(Debug)]
pub struct Engine {
    program: Arc<Program>,
    watcher: Child,
    pid: u32,
}

/// Ends the program when its standard input closes, which happens even if the tests are killed. A word on it before keeps the folder.
/// The program is a session of its own, so that a script's children end with it; the watcher lets go of the pipe that it writes to, so that
/// its end is seen.
const WATCH: &str = r#"
setsid sh -c 'echo "$$"; exec "$@" 2>&1' sh "$@" & program=$!
exec >/dev/null
read -r word
kill -CONT "-$program"
kill "-$DIES_BY" "-$program"
wait "$program"
[ "$word" = keep ] || rm -rf "$FOLDER"
"#;

impl Engine {
    /// Starts a program and returns when it is ready; blocks the thread until then.
    pub fn start(program: Program) -> Self {
        let program = Arc::new(program);
        let (watcher, pid) = launch(&program);
        Self { program, watcher, pid }
    }

    /// Kills the program and all its children at once.
    pub async fn kill9(&mut self) {
        let family = self.stopped_family().await;
        signal_all(&family, "KILL");
        self.gone(&family).await;
    }

    /// Asks the program to end in good order, and waits for it.
    pub async fn terminate(&mut self) {
        signal(self.pid, self.program.ends_by);
        self.gone(&family(self.pid)).await;
    }

    /// Stops the program and all its children, so that connections stay and nothing answers.
    pub fn stop(&self) {
        signal_all(&family(self.pid), "STOP");
    }

    /// Lets a stopped program go on.
    pub fn cont(&self) {
        signal_all(&family(self.pid), "CONT");
    }

    /// Starts the program again, after it was ended, as it was started before.
    pub async fn restart(&mut self) {
        self.gone(&[self.pid]).await;
        self.dismiss("keep\n");
        for file in &self.program.leftovers {
            // It is there only after a kill.
            let _ = fs::remove_file(file);
        }
        let program = Arc::clone(&self.program);
        let launched = tokio::task::spawn_blocking(move || launch(&program)).await;
        (self.watcher, self.pid) = launched.expect("the program starts again");
    }

    /// The program and its children, all of them stopped: nothing that runs is left to start one more, which would outlive them and keep the
    /// program's port.
    async fn stopped_family(&self) -> Vec<u32> {
        until("the processes stop", async || {
            let family = family(self.pid);
            let running: Vec<_> = family.iter().copied().filter(|pid| runs(*pid)).collect();
            if !running.is_empty() {
                signal_all(&running, "STOP");
            }
            running.is_empty().then_some(family)
        })
        .await
    }

    async fn gone(&self, family: &[u32]) {
        until("the processes end", async || family.iter().all(|pid| !is_alive(*pid)).then_some(())).await;
    }

    fn dismiss(&mut self, word: &str) {
        let mut input = self.watcher.stdin.take().expect("it is taken once");
        input.write_all(word.as_bytes()).expect("the watcher listens");
        drop(input);
        self.watcher.wait().expect("the watcher is our child");
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        drop(self.watcher.stdin.take());
        let _ = self.watcher.wait();
    }
}

fn launch(program: &Program) -> (Child, u32) {
    let mut command = Command::new("sh");
    if let Some((uid, gid)) = program.owner {
        command.uid(uid).gid(gid);
    }
    if program.folder.is_dir() {
        command.current_dir(&program.folder);
    }
    let mut watcher = command
        // A signal to the group of the tests, as that of Ctrl-C, is not to end the watcher before it has done its work.
        .process_group(0)
        .args(["-c", WATCH, "sh"])
        .args(&program.command)
        .env("DIES_BY", program.dies_by)
        .env("FOLDER", &program.folder)
        .envs(program.env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        // What the watcher itself would say, of processes that are gone already.
        .stderr(Stdio::null())
        .spawn()
        .expect("there is a shell");
    let output = BufReader::new(watcher.stdout.take().expect("standard output is a pipe"));
    let mut lines = output.lines().map_while(Result::ok);
    let pid = lines.next().and_then(|line| line.parse().ok()).expect("the watcher tells the id");
    let mut said = Vec::new();
    let is_ready = lines.by_ref().any(|line| {
        let is_it = line.contains(program.ready);
        said.push(line);
        is_it
    });
    assert!(is_ready, "{:?} ended before it was ready:\n{}", program.command, said.join("\n"));
    std::thread::spawn(move || lines.for_each(drop));
    (watcher, pid)
}

/// A process and everything that it started, by the parents that the kernel tells.
fn family(pid: u32) -> Vec<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for entry in fs::read_dir("/proc").expect("there is /proc").flatten() {
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        if let Some((_, parent)) = state_and_parent(id) {
            children.entry(parent).or_default().push(id);
        }
    }
    let mut found = vec![pid];
    let mut next = 0;
    while next < found.len() {
        found.extend(children.get(&found[next]).into_iter().flatten());
        next += 1;
    }
    found
}

/// Whether it is neither stopped nor ended.
fn runs(pid: u32) -> bool {
    state_and_parent(pid).is_some_and(|(state, _)| !matches!(state, 'T' | 'Z' | 'X'))
}

/// Whether it has not ended.
pub fn is_alive(pid: u32) -> bool {
    state_and_parent(pid).is_some_and(|(state, _)| state != 'Z')
}

/// From `/proc/<pid>/stat`: what follows the program's name, which stands in brackets.
fn state_and_parent(pid: u32) -> Option<(char, u32)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

/// Some may have ended between the look and the signal.
fn signal_all(pids: &[u32], name: &str) {
    let pids: Vec<_> = pids.iter().map(u32::to_string).collect();
    let script = format!("kill -{name} {}", pids.join(" "));
    Command::new("sh").args(["-c", &script]).stderr(Stdio::null()).status().expect("there is a shell");
}
