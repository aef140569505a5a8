//! Private servers of Redis on free ports of 127.0.0.1: one, a cluster, or a master with its sentinels. None writes anything to disk.

use std::{path::PathBuf, process::Command};

use super::{
    ports::free_port,
    processes::{Engine, Program},
    waiting::until,
};

/// One server, which a test may kill, stop and start again; what it knew is forgotten then.
#[derive(Debug)]
pub struct Redis {
    engine: Engine,
    port: u16,
}

/// Starts a server.
pub async fn server() -> Redis {
    Redis::start(&[]).await
}

/// Starts a server that also speaks TLS, with that certificate and key in PEM; gives the port where it does.
pub async fn server_with((certificate, key): (String, String)) -> (Redis, u16) {
    let (folder, port) = (folder(), free_port());
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).expect("files can be made in a temporary folder");
        path.display().to_string()
    };
    let (certificate_file, key_file) = (write("cert.pem", &certificate), write("key.pem", &key));
    let files = ["--tls-cert-file", &certificate_file, "--tls-key-file", &key_file];
    let settings = ["--tls-port", &port.to_string(), "--tls-auth-clients", "no"];
    let redis = Redis::start(&[&files[..], &settings].concat()).await;
    // It has read them.
    std::fs::remove_dir_all(&folder).expect("it is our folder");
    (redis, port)
}

impl Redis {
    async fn start(settings: &[&str]) -> Self {
        let settings: Vec<_> = settings.iter().map(ToString::to_string).collect();
        tokio::task::spawn_blocking(move || Self::launch(&settings)).await.expect("the server starts")
    }

    fn launch(settings: &[String]) -> Self {
        let port = free_port();
        let folder = folder();
        let fixed = ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port"];
        let mut command = vec!["redis-server".into()];
        command.extend(fixed.iter().map(Into::into));
        command.push(port.to_string().into());
        command.extend(settings.iter().map(Into::into));
        Self { engine: Engine::start(program(command, folder, "Ready to accept connections")), port }
    }

    /// How to reach it, as `redis://127.0.0.1:6379`.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process.
    pub fn engine(&mut self) -> &mut Engine {
        &mut self.engine
    }

    /// Asks the server something and gives the answer as `redis-cli` prints it.
    pub async fn ask(&self, words: &[&str]) -> String {
        let port = self.port.to_string();
        let asked = tokio::process::Command::new("redis-cli").args(["-p", &port]).args(words).output().await;
        String::from_utf8_lossy(&asked.expect("Debian's `redis-tools` is installed").stdout).trim().to_owned()
    }
}

/// Three masters that share the slots.
#[derive(Debug)]
pub struct Cluster {
    /// The masters.
    pub masters: Vec<Redis>,
}

/// How many slots a cluster has.
const SLOTS: usize = 16_384;

/// Starts a cluster of three masters and waits until all agree that it is whole.
pub async fn cluster() -> Cluster {
    let mut masters = Vec::new();
    for n in 0..3 {
        let (bus, last) = (free_port().to_string(), (n + 1) * SLOTS / 3 - 1);
        let settings = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--cluster-port", &bus];
        let master = Redis::start(&settings).await;
        let (first, last) = ((n * SLOTS / 3).to_string(), last.to_string());
        assert_eq!(master.ask(&["cluster", "addslotsrange", &first, &last]).await, "OK");
        masters.push((master, bus));
    }
    for (other, bus) in &masters[1..] {
        let met = masters[0].0.ask(&["cluster", "meet", "127.0.0.1", &other.port.to_string(), bus]).await;
        assert_eq!(met, "OK");
    }
    for (master, _) in &masters {
        until("the cluster is whole", async || {
            let told = master.ask(&["cluster", "info"]).await;
            (told.contains("cluster_state:ok") && told.contains("cluster_known_nodes:3")).then_some(())
        })
        .await;
    }
    Cluster { masters: masters.into_iter().map(|(master, _)| master).collect() }
}

impl Cluster {
    /// How to reach it, as `redis+cluster://127.0.0.1:7000,127.0.0.1:7001,127.0.0.1:7002`.
    pub fn url(&self) -> String {
        let nodes: Vec<_> = self.masters.iter().map(|master| format!("127.0.0.1:{}", master.port)).collect();
        format!("redis+cluster://{}", nodes.join(","))
    }
}

/// A master and its replica, watched by three sentinels, which take a second to find that the master is gone.
#[derive(Debug)]
pub struct Sentinel {
    /// The first master.
    pub master: Redis,
    /// Its replica, which takes over.
    pub replica: Redis,
    sentinels: Vec<(Engine, u16)>,
}

/// What the sentinels call the master.
const NAME: &str = "fanfare";

/// Starts a master, a replica that has caught up, and sentinels that know each other.
pub async fn sentinel() -> Sentinel {
    let master = server().await;
    let replica = Redis::start(&["--replicaof", "127.0.0.1", &master.port.to_string()]).await;
    until("the replica has caught up", async || {
        replica.ask(&["info", "replication"]).await.contains("master_link_status:up").then_some(())
    })
    .await;
    let of = master.port;
    let started = tokio::task::spawn_blocking(move || (0..3).map(|_| watch(of)).collect::<Vec<_>>()).await;
    let sentinels = started.expect("the sentinels start");
    for (_, port) in &sentinels {
        let port = port.to_string();
        until("the sentinels know each other and the replica", async || {
            let asked = Command::new("redis-cli").args(["-p", &port, "sentinel", "master", NAME]).output();
            let told =
                String::from_utf8_lossy(&asked.expect("Debian's `redis-tools` is installed").stdout).into_owned();
            let lines: Vec<_> = told.lines().collect();
            let is = |field, value| lines.windows(2).any(|pair| pair == [field, value]);
            (is("num-slaves", "1") && is("num-other-sentinels", "2")).then_some(())
        })
        .await;
    }
    Sentinel { master, replica, sentinels }
}

impl Sentinel {
    /// How to reach the master by its name, as `redis+sentinel://127.0.0.1:26379/fanfare`.
    pub fn url(&self) -> String {
        let nodes: Vec<_> = self.sentinels.iter().map(|(_, port)| format!("127.0.0.1:{port}")).collect();
        format!("redis+sentinel://{}/{NAME}", nodes.join(","))
    }
}

fn watch(master: u16) -> (Engine, u16) {
    let (port, folder) = (free_port(), folder());
    let config = folder.join("sentinel.conf");
    let text = format!(
        "bind 127.0.0.1\nport {port}\nsentinel monitor {NAME} 127.0.0.1 {master} 2\n\
         sentinel down-after-milliseconds {NAME} 1000\nsentinel failover-timeout {NAME} 3000\n"
    );
    std::fs::write(&config, text).expect("files can be made in a temporary folder");
    let command = vec!["redis-server".into(), config.into(), "--sentinel".into()];
    (Engine::start(program(command, folder, "+monitor master")), port)
}

fn folder() -> PathBuf {
    tempfile::tempdir().expect("a temporary folder can be made").keep()
}

fn program(command: Vec<std::ffi::OsString>, folder: PathBuf, ready: &'static str) -> Program {
    Program { command, folder, ready, ends_by: "TERM", dies_by: "KILL", ..Program::default() }
}
