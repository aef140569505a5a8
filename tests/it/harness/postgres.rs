//! Private servers of Postgres: a folder and a port of their own on 127.0.0.1, gone with the tests.

use std::{
    fs::{self, Permissions},
    os::unix::{
        fs::{PermissionsExt, chown},
        process::CommandExt,
    },
    path::PathBuf,
    process::Command,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};

use super::{
    ports::free_port,
    processes::{Engine, Program},
    waiting::in_background,
};

/// An empty database of its own, on the server that the running tests share; gone when it is dropped.
#[derive(Debug)]
pub struct Database {
    /// How to reach it by the server's socket in the file system.
    pub url: String,
    /// How to reach it over TCP.
    pub tcp_url: String,
    name: String,
    server: &'static Server,
}

/// Makes a database.
pub async fn database() -> Database {
    static SHARED: OnceLock<Server> = OnceLock::new();
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // What a test's database loses when its machine loses power is of no interest.
    let server = SHARED.get_or_init(|| Server::start(&["-c", "fsync=off", "-c", "max_connections=1000"]));
    let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
    server.administer(&format!("create database {name}")).await;
    Database { url: server.url(&name), tcp_url: server.tcp_url(&name), name, server }
}

impl Database {
    /// Another database that holds the same. Nobody may be connected to this one.
    pub async fn copy(&self) -> Self {
        let name = format!("{}_copy", self.name);
        self.server.administer(&format!("create database {name} template {}", self.name)).await;
        Self { url: self.server.url(&name), tcp_url: self.server.tcp_url(&name), name, server: self.server }
    }

    /// Executes statements.
    pub async fn execute(&self, statements: &str) {
        let mut session = AsyncPgConnection::establish(&self.url).await.expect("the server answers");
        session.batch_execute(statements).await.expect("the statements are good");
    }
}

impl Database {
    /// The one number that a query gives, as a column `number`.
    pub async fn number(&self, query: &str) -> i64 {
        let mut session = AsyncPgConnection::establish(&self.url).await.expect("the server answers");
        let row: Number = diesel::sql_query(query).get_result(&mut session).await.expect("the query gives a row");
        row.number
    }
}

#[derive(diesel::QueryableByName)]
struct Number {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    number: i64,
}

impl Drop for Database {
    fn drop(&mut self) {
        let (server, drop) = (self.server, format!("drop database {} with (force)", self.name));
        in_background(async move { server.administer(&drop).await });
    }
}

/// A server of the test's own, which it may kill, stop and start again on the same port and data.
#[derive(Debug)]
pub struct Private {
    server: Server,
}

impl Private {
    /// Starts a server that writes what it commits through to the disk.
    pub async fn start() -> Self {
        let started = tokio::task::spawn_blocking(|| Server::start(&["-c", "max_connections=400"])).await;
        Self { server: started.expect("the server starts") }
    }

    /// The same, which counts statements by their text, in `pg_stat_statements`.
    pub async fn counting() -> Self {
        let settings = ["-c", "shared_preload_libraries=pg_stat_statements", "-c", "max_connections=50"];
        let started = tokio::task::spawn_blocking(move || Server::start(&settings)).await;
        Self { server: started.expect("the server starts") }
    }

    /// The same, which also speaks TLS, with that certificate and key in PEM.
    pub async fn start_with(certificate: (String, String)) -> Self {
        let launch = move || Server::launch(&["-c", "max_connections=100", "-c", "ssl=on"], Some(certificate));
        Self { server: tokio::task::spawn_blocking(launch).await.expect("the server starts") }
    }

    /// How to reach its database `postgres` over TCP.
    pub fn tcp_url(&self) -> String {
        self.server.tcp_url("postgres")
    }

    /// The process.
    pub fn engine(&mut self) -> &mut Engine {
        &mut self.server.engine
    }
}

#[derive(Debug)]
struct Server {
    engine: Engine,
    folder: PathBuf,
    port: u16,
}

impl Server {
    fn start(settings: &[&str]) -> Self {
        Self::launch(settings, None)
    }

    fn launch(settings: &[&str], certificate: Option<(String, String)>) -> Self {
        let programs = programs();
        let folder = tempfile::tempdir().expect("a temporary folder can be made").keep();
        let owner = owner();
        if let Some((uid, gid)) = owner {
            chown(&folder, Some(uid), Some(gid)).expect("root may give the folder away");
        }
        let data = folder.join("data");
        let mut initdb = Command::new(programs.join("initdb"));
        if let Some((uid, gid)) = owner {
            initdb.uid(uid).gid(gid);
        }
        let made = initdb
            .current_dir(&folder)
            .args(["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"])
            .arg("--pgdata")
            .arg(&data)
            .output()
            .expect("Debian's `postgresql` is installed");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        if let Some((certificate, key)) = certificate {
            for (name, text) in [("server.crt", certificate), ("server.key", key)] {
                let path = data.join(name);
                fs::write(&path, text).expect("files can be made in a temporary folder");
                fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("it is our file");
                if let Some((uid, gid)) = owner {
                    chown(&path, Some(uid), Some(gid)).expect("root may give the file away");
                }
            }
        }
        let port = free_port();
        let mut command = vec![programs.join("postgres").into(), "-D".into(), data.clone().into()];
        command.extend(["-k".into(), folder.clone().into(), "-p".into(), port.to_string().into()]);
        command.extend(["-c", "listen_addresses=127.0.0.1"].iter().chain(settings).map(Into::into));
        let engine = Engine::start(Program {
            command,
            owner,
            ready: "ready to accept connections",
            ends_by: "INT",
            dies_by: "QUIT",
            folder: folder.clone(),
            leftovers: vec![data.join("postmaster.pid")],
            ..Program::default()
        });
        Self { engine, folder, port }
    }

    async fn administer(&self, statement: &str) {
        let mut admin = AsyncPgConnection::establish(&self.url("postgres")).await.expect("the server answers");
        admin.batch_execute(statement).await.expect("the administrator may do anything");
    }

    fn url(&self, database: &str) -> String {
        format!("host={} port={} user=postgres dbname={database}", self.folder.display(), self.port)
    }

    fn tcp_url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }
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
