//! A private Postgres: its own folder and socket, nothing on the network, gone with the tests.

use std::{
    io::{BufRead, BufReader},
    os::unix::{fs::chown, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicU32, Ordering},
    },
};

use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};
use tempfile::TempDir;

/// An empty database of its own.
pub struct Database {
    pub url: String,
    _server: Arc<Server>,
}

struct Server {
    folder: TempDir,
    databases: AtomicU32,
    watcher: Child,
}

/// Makes a database on the server that the running tests share.
pub async fn database() -> Database {
    let server = Server::shared();
    let name = format!("test_{}", server.databases.fetch_add(1, Ordering::Relaxed));
    let mut admin = AsyncPgConnection::establish(&server.url("postgres")).await.expect("the server answers");
    admin.batch_execute(&format!("create database {name}")).await.expect("a database can be made");
    Database { url: server.url(&name), _server: server }
}

impl Server {
    /// Started by the first test that needs it, ended with the last one.
    fn shared() -> Arc<Server> {
        static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        shared.upgrade().unwrap_or_else(|| {
            let server = Arc::new(Server::start());
            *shared = Arc::downgrade(&server);
            server
        })
    }

    fn start() -> Server {
        let programs = programs();
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let owner = owner();
        if let Some((uid, gid)) = owner {
            chown(folder.path(), Some(uid), Some(gid)).expect("root may give the folder away");
        }
        let data = folder.path().join("data");
        let made = run_as(Command::new(programs.join("initdb")), owner)
            .current_dir(folder.path())
            .args([
                "--auth=trust",
                "--username=postgres",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "--no-sync",
                "--pgdata",
            ])
            .arg(&data)
            .output()
            .expect("Debian's `postgresql` is installed");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let watcher = start_watched(&programs.join("postgres"), &data, folder.path(), owner);
        Server { folder, databases: AtomicU32::new(0), watcher }
    }

    fn url(&self, database: &str) -> String {
        format!("host={} user=postgres dbname={database}", self.folder.path().display())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.watcher.stdin.take());
        self.watcher.wait().expect("the server's watcher is our child");
    }
}

/// The watcher stops the server when its standard input closes, which happens even if the tests are killed.
fn start_watched(postgres: &Path, data: &Path, folder: &Path, owner: Option<(u32, u32)>) -> Child {
    const WATCH: &str = r#""$@" & server=$!; read -r _; kill -INT "$server"; wait "$server""#;
    let mut watcher = run_as(Command::new("sh"), owner)
        .current_dir(folder)
        .args(["-c", WATCH, "sh"])
        .arg(postgres)
        .arg("-D")
        .arg(data)
        .arg("-k")
        .arg(folder)
        .args(["-c", "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=400"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("there is a shell");
    let mut log = BufReader::new(watcher.stderr.take().expect("standard error is a pipe")).lines();
    let ready = log.by_ref().any(|line| line.expect("the log is text").contains("ready to accept connections"));
    assert!(ready, "the server ended before it was ready");
    std::thread::spawn(move || log.for_each(drop));
    watcher
}

/// The newest installed version's programs.
fn programs() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").expect("Debian's `postgresql` is installed");
    let version = |path: &PathBuf| path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok());
    versions
        .map(|entry| entry.expect("the folder can be read").path())
        .max_by_key(version)
        .expect("a version of `postgresql`")
        .join("bin")
}

/// Postgres refuses to run as root; then it runs as the user that its package made.
fn owner() -> Option<(u32, u32)> {
    let id = |arguments: &[&str]| {
        let output = Command::new("id").args(arguments).output().expect("there is `id`");
        String::from_utf8_lossy(&output.stdout).trim().parse::<u32>().expect("`id` prints a number")
    };
    (id(&["-u"]) == 0).then(|| (id(&["-u", "postgres"]), id(&["-g", "postgres"])))
}

fn run_as(mut command: Command, owner: Option<(u32, u32)>) -> Command {
    if let Some((uid, gid)) = owner {
        command.uid(uid).gid(gid);
    }
    command
}
