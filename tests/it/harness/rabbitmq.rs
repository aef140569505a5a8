//! Private brokers of RabbitMQ: a folder, a node name and ports of their own on 127.0.0.1, gone with the tests.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use reqwest::{Client, Method};
use serde_json::{Value, json};

use super::{
    ports::free_port,
    processes::{Engine, Program},
    waiting::in_background,
};

/// A virtual host of its own, on the broker that the running tests share; gone when it is dropped.
#[derive(Debug)]
pub struct Vhost {
    /// How to reach it.
    pub url: String,
    /// Its name.
    pub name: String,
    broker: &'static Broker,
}

/// Makes a virtual host.
pub async fn broker() -> Vhost {
    static SHARED: OnceLock<Broker> = OnceLock::new();
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let broker = SHARED.get_or_init(|| Broker::start(Some(free_port())));
    let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
    broker.manage(Method::PUT, &format!("vhosts/{name}"), &json!({})).await;
    Vhost { url: broker.url(&name), name, broker }
}

impl Vhost {
    /// How to reach it as a user who may touch queues that begin so, and publish to them, and nothing else.
    pub async fn url_for(&self, beginning: &str) -> String {
        let (user, own) = (format!("{}_{beginning}", self.name), format!("^{}", beginning.replace('.', "[.]")));
        let write = format!("({own}|^amq[.]default$)");
        self.broker.manage(Method::PUT, &format!("users/{user}"), &json!({"password": "secret", "tags": ""})).await;
        let permissions = json!({"configure": own, "write": write, "read": own});
        self.broker.manage(Method::PUT, &format!("permissions/{}/{user}", self.name), &permissions).await;
        self.url.replace("guest:guest@", &format!("{user}:secret@"))
    }

    /// The version of the broker, as `4.0.5`.
    pub async fn version(&self) -> String {
        let overview = self.broker.manage(Method::GET, "overview", &Value::Null).await;
        let overview: Value = serde_json::from_str(&overview).expect("the broker answers JSON");
        overview["rabbitmq_version"].as_str().expect("a version").to_owned()
    }

    /// Its queues, as the broker describes them: each with its `name` and `arguments`.
    pub async fn queues(&self) -> Vec<Value> {
        let described = self.broker.manage(Method::GET, &format!("definitions/{}", self.name), &Value::Null).await;
        let described: Value = serde_json::from_str(&described).expect("the broker answers JSON");
        described["queues"].as_array().expect("a list of queues").clone()
    }
}

impl Drop for Vhost {
    fn drop(&mut self) {
        let (broker, name) = (self.broker, self.name.clone());
        in_background(async move { drop(broker.manage(Method::DELETE, &format!("vhosts/{name}"), &json!({})).await) });
    }
}

/// A broker of the test's own, which it may kill, stop and start again on the same ports and data.
#[derive(Debug)]
pub struct Private {
    broker: Broker,
}

impl Private {
    /// Starts a broker.
    pub async fn start() -> Self {
        let started = tokio::task::spawn_blocking(|| Broker::start(None)).await;
        Self { broker: started.expect("the broker starts") }
    }

    /// Starts a broker that also speaks TLS, with that certificate and key in PEM; gives the port where it does.
    pub async fn start_with(certificate: (String, String)) -> (Self, u16) {
        let port = free_port();
        let started = tokio::task::spawn_blocking(move || Broker::launch(None, Some((port, certificate)))).await;
        (Self { broker: started.expect("the broker starts") }, port)
    }

    /// How to reach its default virtual host.
    pub fn url(&self) -> String {
        self.broker.url("%2f")
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.broker.port
    }

    /// The process.
    pub fn engine(&mut self) -> &mut Engine {
        &mut self.broker.engine
    }
}

/// A broker and the name server that it is known to. The latter is started first, since one that the broker starts would outlive it.
#[derive(Debug)]
struct Broker {
    engine: Engine,
    port: u16,
    management: Option<u16>,
    _names: Engine,
}

impl Broker {
    /// Starts a broker, with an HTTP interface for those that make virtual hosts.
    fn start(management: Option<u16>) -> Self {
        Self::launch(management, None)
    }

    fn launch(management: Option<u16>, tls: Option<(u16, (String, String))>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made").keep();
        let (port, names) = (free_port(), free_port());
        let listen = names.to_string();
        let mut command = vec![installed().join("erlang/bin/epmd").into_os_string()];
        command.extend(["-debug", "-address", "127.0.0.1", "-port", &listen].map(OsString::from));
        let _names = Engine::start(Program {
            command,
            ready: "epmd running",
            ends_by: "TERM",
            dies_by: "KILL",
            ..Program::default()
        });
        let (mut config, plugins) = (config(port, management), management.map_or("", |_| "rabbitmq_management"));
        if let Some((port, (certificate, key))) = tls {
            config += &format!("listeners.ssl.1 = 127.0.0.1:{port}\nssl_options.verify = verify_none\n");
            for (option, name, text) in [("certfile", "cert.pem", certificate), ("keyfile", "key.pem", key)] {
                let path = folder.join(name);
                write(&path, &text);
                config += &format!("ssl_options.{option} = {}\n", path.display());
            }
        }
        write(&folder.join("rabbitmq.conf"), &config);
        write(&folder.join("enabled_plugins"), &format!("[{plugins}].\n"));
        let engine = Engine::start(Program {
            command: vec![installed().join("rabbitmq/bin/rabbitmq-server").into()],
            env: environment(&folder, port, names),
            ready: "Starting broker... completed",
            ends_by: "TERM",
            dies_by: "KILL",
            folder,
            ..Program::default()
        });
        Self { engine, port, management, _names }
    }

    fn url(&self, vhost: &str) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}/{vhost}", self.port)
    }

    /// Makes, changes, removes or asks something; gives the answer's body.
    async fn manage(&self, method: Method, what: &str, body: &Value) -> String {
        let port = self.management.expect("the shared broker has an HTTP interface");
        fanfare::tls::install();
        let client = Client::builder().no_proxy().build().expect("a client can be built");
        let url = format!("http://127.0.0.1:{port}/api/{what}");
        let answer = client.request(method, url).basic_auth("guest", Some("guest")).json(body).send().await;
        let answer = answer.expect("the broker answers");
        let (status, text) = (answer.status(), answer.text().await.expect("an answer is text"));
        assert!(status.is_success(), "{status}: {text}");
        text
    }
}

/// Where RabbitMQ and its Erlang are: what the machine has installed, or what `tests/rabbitmq-4.sh` has unpacked into FANFARE_TEST_RABBITMQ.
fn installed() -> PathBuf {
    let root = env::var_os("FANFARE_TEST_RABBITMQ").unwrap_or_else(|| "/".into());
    Path::new(&root).join("usr/lib")
}

fn config(port: u16, management: Option<u16>) -> String {
    let mut config = format!("listeners.tcp.1 = 127.0.0.1:{port}\ndisk_free_limit.absolute = 50MB\n");
    if let Some(port) = management {
        config += &format!(
            "management.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {port}\n\
             management_agent.disable_metrics_collector = true\n"
        );
    }
    config
}

/// All that the start script would look for in places that brokers share.
fn environment(folder: &Path, port: u16, names: u16) -> Vec<(&'static str, OsString)> {
    let within = |name: &str| folder.join(name).into_os_string();
    let inherited = env::var_os("PATH").unwrap_or_default();
    let path = [installed().join("erlang/bin")].into_iter().chain(env::split_paths(&inherited));
    vec![
        ("PATH", env::join_paths(path).expect("no folder has a colon in its name")),
        ("HOME", folder.into()),
        ("RABBITMQ_NODENAME", format!("fanfare{port}@localhost").into()),
        ("RABBITMQ_MNESIA_BASE", within("mnesia")),
        ("RABBITMQ_LOG_BASE", within("log")),
        ("RABBITMQ_CONF_ENV_FILE", within("rabbitmq-env.conf")),
        ("RABBITMQ_CONFIG_FILE", within("rabbitmq.conf")),
        ("RABBITMQ_ADVANCED_CONFIG_FILE", within("advanced.config")),
        ("RABBITMQ_GENERATED_CONFIG_DIR", within("generated")),
        ("RABBITMQ_ENABLED_PLUGINS_FILE", within("enabled_plugins")),
        ("RABBITMQ_PLUGINS_EXPAND_DIR", within("plugins")),
        ("RABBITMQ_PID_FILE", within("pid")),
        ("RABBITMQ_DIST_PORT", free_port().to_string().into()),
        ("ERL_EPMD_PORT", names.to_string().into()),
        ("ERL_EPMD_ADDRESS", "127.0.0.1".into()),
        // Else the port for other nodes listens everywhere; idle schedulers are not to spin.
        ("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "-kernel inet_dist_use_interface {127,0,0,1} +sbwt none".into()),
    ]
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).expect("files can be made in a temporary folder");
}
