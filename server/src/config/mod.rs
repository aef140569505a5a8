//! Configuration: one checked struct, from `fanfare.toml` and `FANFARE_…` variables.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use fanfare_api::ApiConfig;
use fanfare_domain::{
    partitions::Partition,
    peers::{Networks, PlainHttp},
    plans::{Limits, Plans},
};
use fanfare_gateway::GatewayConfig;
use fanfare_infra::{
    names::Names,
    telemetry::{LogFormat, LogLevel},
};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer};

use crate::problem::Problem;
use engines::Engines;
use tls::Hsts;

pub mod engines;
mod otlp;
pub mod settings;
mod sources;
#[cfg(test)]
mod tests;
pub mod tls;

/// As many threads as can serve requests and sockets.
const MOST_WORKERS: u16 = 512;
/// As many connections to Postgres as a process may have.
const MOST_CONNECTIONS: u16 = 512;
/// As many partitions as there may be.
const MOST_PARTITIONS: Partition = 1_024;

/// What the process is told from outside; `settings::SETTINGS` has the reference text of each field.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the API, the gateway and the pages listen.
    pub listen: SocketAddr,
    /// Where health, readiness and metrics listen.
    pub ops_listen: SocketAddr,
    /// The certificate of `listen`, with those that lead to the root.
    #[serde(default)]
    tls_cert: Option<PathBuf>,
    #[serde(default)]
    tls_key: Option<PathBuf>,
    /// `Strict-Transport-Security` of answers over TLS.
    pub hsts: Hsts,
    /// Where plain HTTP is sent on to `listen`.
    #[serde(default)]
    pub redirect_listen: Option<SocketAddr>,
    #[serde(default)]
    trusted_proxies: Networks,
    plain_http: PlainHttp,
    /// The folder of the database and the master key.
    pub data_dir: PathBuf,
    #[serde(default, deserialize_with = "secret")]
    database_url: Option<SecretString>,
    /// Connections to Postgres, besides those for what must not wait.
    #[serde(deserialize_with = "connections")]
    pub database_connections: usize,
    #[serde(default, deserialize_with = "secret")]
    redis_url: Option<SecretString>,
    #[serde(default, deserialize_with = "secret")]
    amqp_url: Option<SecretString>,
    /// The production engines; `None` means the embedded ones.
    #[serde(skip)]
    pub engines: Option<Engines>,
    /// How many partitions there are to be, or are expected to be.
    #[serde(default, deserialize_with = "partitions")]
    pub partitions: Option<Partition>,
    /// What is to be called how in Redis and RabbitMQ, or is expected to be.
    #[serde(default, deserialize_with = "names")]
    pub prefix: Option<Names>,
    /// The key under which secrets are encrypted.
    #[serde(default, deserialize_with = "secret")]
    pub master_key: Option<SecretString>,
    /// The master key before the present one.
    #[serde(default, deserialize_with = "secret")]
    pub master_key_old: Option<SecretString>,
    /// The plan of a new tenant.
    pub plan_default: String,
    /// Plans that are added to the built-in ones, or replace them.
    #[serde(default)]
    pub plans: BTreeMap<String, Limits>,
    /// The least level that is logged.
    pub log: LogLevel,
    /// How a line of the log is written.
    pub log_format: LogFormat,
    #[serde(default, deserialize_with = "secret")]
    otlp_endpoint: Option<SecretString>,
    #[serde(deserialize_with = "otlp::share")]
    otlp_sample: f64,
    /// Whether this machine and private networks are called where tenants name them, also by http.
    pub webhook_allow_private: bool,
    /// Whether `/test/echo` is served.
    pub test_endpoints: bool,
    /// Threads that serve requests and sockets.
    #[serde(default, deserialize_with = "workers")]
    pub workers: Option<usize>,
    /// How sockets are read and written.
    pub wire: WireKind,
    /// The API's own settings.
    pub api: ApiConfig,
    /// The gateway's own settings.
    pub gateway: GatewayConfig,
    /// Variables by our name that are passed over, each with the nearest known one.
    #[serde(skip)]
    pub passed_over: Vec<Problem>,
}

/// The two ways to the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WireKind {
    /// The gateway takes the stream after the handshake; nothing of HTTP stays.
    Direct,
    /// The HTTP server goes on carrying the socket.
    Mounted,
}

/// Everything that is wrong with the configuration.
#[derive(Debug)]
pub struct BadConfig(pub Vec<Problem>);

impl fmt::Display for BadConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(Problem::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for BadConfig {}

impl Config {
    /// Reads the file (`./fanfare.toml` where none is named and it exists) and the environment of this process.
    pub fn load(file: Option<&Path>) -> Result<Self, BadConfig> {
        Self::from_sources(file, &std::env::vars_os().collect::<Vec<_>>())
    }

    /// Reads the file and the environment given.
    pub fn from_sources(file: Option<&Path>, environment: &[(OsString, OsString)]) -> Result<Self, BadConfig> {
        let table = sources::read(file, environment).map_err(BadConfig)?;
        let mut config: Config =
            table.try_into().map_err(|error: toml::de::Error| BadConfig(vec![wrong_value(&error)]))?;
        config.passed_over = sources::unknown_variables(environment);
        let keys = [("master_key", &config.master_key), ("master_key_old", &config.master_key_old)];
        let mut problems: Vec<Problem> =
            keys.into_iter().filter_map(|(name, key)| wrong_key(name, key.as_ref()?)).collect();
        problems.extend(config.plans().err());
        problems.extend(config.wrong_endpoint());
        problems.extend(config.half_tls());
        match config.chosen_engines() {
            Ok(engines) => config.engines = engines,
            Err(found) => problems.extend(found),
        }
        if problems.is_empty() { Ok(config) } else { Err(BadConfig(problems)) }
    }

    fn chosen_engines(&self) -> Result<Option<Engines>, Vec<Problem>> {
        let urls = [&self.database_url, &self.redis_url, &self.amqp_url];
        Engines::choose(urls.map(Option::as_ref), self.master_key.is_some())
    }

    /// The plans there are.
    pub fn plans(&self) -> Result<Plans, Problem> {
        Plans::new(&self.plan_default, self.plans.clone()).map_err(|error| {
            Problem::new(
                error.to_string(),
                "Set `plan_default` (FANFARE_PLAN_DEFAULT) to one of them, or add `[plans.NAME]`.",
            )
        })
    }

    /// The gateway's settings, with what the whole server decides for it.
    pub fn gateway(&self) -> GatewayConfig {
        GatewayConfig { test_endpoints: self.test_endpoints, ..self.gateway.clone() }
    }

    /// Threads that serve requests and sockets.
    pub fn worker_threads(&self) -> usize {
        self.workers.unwrap_or_else(|| workers_for(std::thread::available_parallelism().map_or(1, usize::from)))
    }
}

/// What a value that is of its kind and still wrong is told; no secret can be among these.
fn wrong_value(error: &toml::de::Error) -> Problem {
    let text = error.to_string();
    let name = text.rsplit_once("in `").and_then(|(_, rest)| rest.split('`').next()).unwrap_or_default();
    let remedy =
        settings::by_name(name).map_or("docs/configuration.md says what each setting takes.", |setting| setting.doc);
    Problem::new(format!("`{name}` is wrong: {}", error.message()), remedy)
}

fn wrong_key(name: &str, key: &SecretString) -> Option<Problem> {
    let text = key.expose_secret();
    if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    Some(Problem::new(
        format!("`{name}` is not 64 hex digits"),
        "Make one with `openssl rand -hex 32`, and keep it safe: what it encrypts cannot be read without it.",
    ))
}

fn workers_for(cores: usize) -> usize {
    cores.min(MOST_WORKERS.into())
}

fn workers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<usize>, D::Error> {
    count(deserializer, MOST_WORKERS).map(|count| Some(count.into()))
}

fn connections<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    count(deserializer, MOST_CONNECTIONS).map(usize::from)
}

fn partitions<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Partition>, D::Error> {
    count(deserializer, MOST_PARTITIONS).map(Some)
}

/// A number from 1 to the most that there may be.
fn count<'de, D: Deserializer<'de>>(deserializer: D, most: u16) -> Result<u16, D::Error> {
    let count = i64::deserialize(deserializer)?;
    let fits = u16::try_from(count).ok().filter(|count| (1..=most).contains(count));
    fits.ok_or_else(|| serde::de::Error::custom(format!("{count} is not one of 1 to {most}")))
}

fn names<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Names>, D::Error> {
    String::deserialize(deserializer)?.parse().map(Some).map_err(serde::de::Error::custom)
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SecretString>, D::Error> {
    Ok(Some(SecretString::from(String::deserialize(deserializer)?)))
}
