//! The one table of settings: name, variable, default and reference text of each.

/// How a value is written, in the file and in a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// A whole number.
    Number,
    /// A part of a whole.
    Share,
    /// `true` or `false`.
    Flag,
    /// A text that is a length of time.
    Duration,
    /// A text that is never shown.
    Secret,
    /// Where an engine is; never shown, since it may hold a password. An empty variable is one that is not set.
    Url,
}

impl Kind {
    /// What a wrong value is told it should be.
    pub fn wanted(self) -> &'static str {
        match self {
            Kind::Text | Kind::Secret => "a text",
            Kind::Url => "a URL",
            Kind::Duration => "a length of time, as `25s`",
            Kind::Number => "a whole number",
            Kind::Share => "a number from 0 to 1",
            Kind::Flag => "true or false",
        }
    }
}

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// The name in the file; `gateway.x` is `x` in the section `[gateway]`.
    pub name: &'static str,
    /// The environment variable that overrides the file.
    pub variable: &'static str,
    /// How a value is written.
    pub kind: Kind,
    /// The value where nothing is set; `None` where that has a meaning of its own, which the text tells.
    pub default: Option<&'static str>,
    /// The reference text.
    pub doc: &'static str,
}

const fn row(
    name: &'static str,
    variable: &'static str,
    kind: Kind,
    default: Option<&'static str>,
    doc: &'static str,
) -> Setting {
    Setting { name, variable, kind, default, doc }
}

/// Every setting, in the order of the documentation.
pub const SETTINGS: &[Setting] = &[
    row(
        "listen",
        "FANFARE_LISTEN",
        Kind::Text,
        Some("127.0.0.1:8080"),
        "The address and port of the API, the gateway and the pages. Port 0 takes a free one, and the ready line tells which.",
    ),
    row(
        "ops_listen",
        "FANFARE_OPS_LISTEN",
        Kind::Text,
        Some("127.0.0.1:9090"),
        "The address and port of `/healthz`, `/readyz` and `/metrics`; not for the public.",
    ),
    row(
        "tls_cert",
        "FANFARE_TLS_CERT",
        Kind::Text,
        None,
        "The file of the certificate with which `listen` speaks TLS (1.2 and up, HTTP/2 and HTTP/1.1), and after it those that lead to the root, in PEM. It comes with `tls_key`. Changed files are taken up within seconds, at once on SIGHUP, and no connection is dropped; a pair that is wrong is refused, and the one before goes on.",
    ),
    row(
        "tls_key",
        "FANFARE_TLS_KEY",
        Kind::Text,
        None,
        "The file of the certificate's private key, unencrypted, in PEM.",
    ),
    row(
        "hsts",
        "FANFARE_HSTS",
        Kind::Text,
        Some("max-age=31536000"),
        "`Strict-Transport-Security` of every answer where `listen` speaks TLS, so that browsers come over TLS only; `off` for none. `serve --dev-tls` sends none.",
    ),
    row(
        "redirect_listen",
        "FANFARE_REDIRECT_LISTEN",
        Kind::Text,
        None,
        "An address and port that speak plain HTTP and only send on (308) to the same address at the TLS port, as `0.0.0.0:80`.",
    ),
    row(
        "trusted_proxies",
        "FANFARE_TRUSTED_PROXIES",
        Kind::Text,
        None,
        "The addresses and networks of your reverse proxies, as `127.0.0.1, 10.0.0.0/8`. Theirs alone is believed: the caller is the rightmost address in `X-Forwarded-For` that is none of these, and came over what `X-Forwarded-Proto` says.",
    ),
    row(
        "plain_http",
        "FANFARE_PLAIN_HTTP",
        Kind::Text,
        Some("loopback"),
        "From where credentials are taken over plain HTTP. `loopback`: from this machine alone; others are refused as `tls_required`, unless a trusted proxy says that they came over TLS. `allow`: from everywhere; set it only where something that is not named in `trusted_proxies` ends TLS, or on a network that nobody else reads.",
    ),
    row(
        "data_dir",
        "FANFARE_DATA_DIR",
        Kind::Text,
        Some("./fanfare-data"),
        "The folder of the database and the master key, and of what `serve --demo` and `--dev-tls` make; with production engines, only of the latter. One process at a time may use it. A relative path starts at the working folder.",
    ),
    row(
        "database_url",
        "FANFARE_DATABASE_URL",
        Kind::Url,
        None,
        "The Postgres database, as `postgres://user:password@host/fanfare`; `?sslmode=verify-full` for TLS, and `&sslrootcert=FILE` where its certificate is of an authority of your own. It comes with `redis_url`, `amqp_url` and `master_key`: all of them, or none and the engines are inside the process.",
    ),
    row(
        "database_connections",
        "FANFARE_DATABASE_CONNECTIONS",
        Kind::Number,
        Some("16"),
        "Connections to Postgres that each process may open, 1 to 512, and up to 8 more for what must not wait behind them. Those of all processes must fit into the `max_connections` of Postgres.",
    ),
    row(
        "redis_url",
        "FANFARE_REDIS_URL",
        Kind::Url,
        None,
        "Redis, as `redis://host:6379`, `rediss://…` with TLS (`?ssl_ca_certs=FILE` for an authority of your own), `redis+sentinel://host:26379,other:26379/name` or `redis+cluster://host:7000,other:7001`; these two also as `rediss+…`.",
    ),
    row(
        "amqp_url",
        "FANFARE_AMQP_URL",
        Kind::Url,
        None,
        "RabbitMQ, as `amqp://user:password@host:5672/vhost`, or `amqps://…` with TLS (`?cacertfile=FILE` for an authority of your own).",
    ),
    row(
        "partitions",
        "FANFARE_PARTITIONS",
        Kind::Number,
        None,
        "Partitions of the queue in RabbitMQ, 1 to 1024; 64 where it is not set. The first `fanfare migrate` fixes it for good; whoever starts with another value is refused.",
    ),
    row(
        "prefix",
        "FANFARE_PREFIX",
        Kind::Text,
        None,
        "What every name in Redis and RabbitMQ begins with, so that several installations can share both: 1 to 32 letters, digits, `-`, `_` and `.`; `fanfare` where it is not set (shortened to `ff` in Redis). The first `fanfare migrate` fixes it for good: whoever starts without it takes it from the database, and with another value is refused.",
    ),
    row(
        "master_key",
        "FANFARE_MASTER_KEY",
        Kind::Secret,
        None,
        "64 hex digits, under which secrets are encrypted; needed with `database_url`, and the same for every process. Where it is not set, a key is made on the first run and kept in the data folder, readable by its owner only.",
    ),
    row(
        "master_key_old",
        "FANFARE_MASTER_KEY_OLD",
        Kind::Secret,
        None,
        "The master key before the present one: what it encrypted can still be read.",
    ),
    row(
        "plan_default",
        "FANFARE_PLAN_DEFAULT",
        Kind::Text,
        Some("default"),
        "The plan of a new tenant: `default`, `unlimited`, or one of `[plans.NAME]`.",
    ),
    row(
        "log",
        "FANFARE_LOG",
        Kind::Text,
        Some("info"),
        "The least level that is logged: `error`, `warn`, `info`, `debug` or `trace`. What comes from libraries is logged from `info` up at most.",
    ),
    row(
        "log_format",
        "FANFARE_LOG_FORMAT",
        Kind::Text,
        Some("text"),
        "`text` for people, `json` for machines: one object a line, on standard error.",
    ),
    row(
        "otlp_endpoint",
        "FANFARE_OTLP_ENDPOINT",
        Kind::Url,
        None,
        "The collector that traces are sent to over OTLP, as `http://127.0.0.1:4318`; they go to `/v1/traces` below it. Where it is not set, nothing is recorded.",
    ),
    row(
        "otlp_sample",
        "FANFARE_OTLP_SAMPLE",
        Kind::Share,
        Some("1"),
        "The share of the traces that is recorded, 0 to 1, also of those that callers ask for. Give every process the same.",
    ),
    row(
        "webhook_allow_private",
        "FANFARE_WEBHOOK_ALLOW_PRIVATE",
        Kind::Flag,
        Some("false"),
        "Whether URLs that tenants give (of webhooks, and of a signer's JWKS) may lead to this machine and to private networks, also by http. For development only: whoever may add one can then reach what only this server reaches.",
    ),
    row(
        "test_endpoints",
        "FANFARE_TEST_ENDPOINTS",
        Kind::Flag,
        Some("false"),
        "Whether `/test/echo` is served, for conformance suites. Leave it off in production.",
    ),
    row(
        "workers",
        "FANFARE_WORKERS",
        Kind::Number,
        None,
        "Threads that serve requests and sockets, 1 to 512; one for each core where it is not set.",
    ),
    row(
        "wire",
        "FANFARE_WIRE",
        Kind::Text,
        Some("direct"),
        "How sockets are read and written. `direct`: the gateway takes the connection over once its handshake is answered, so that nothing of HTTP stays in memory. `mounted`: the HTTP server goes on carrying it, which costs more memory for each; clients see no difference.",
    ),
    row(
        "api.signup",
        "FANFARE_SIGNUP",
        Kind::Text,
        Some("open"),
        "`open`: anyone who reaches the API may sign up. `closed`: nobody may; who has an account keeps it.",
    ),
    row(
        "api.signups_per_hour",
        "FANFARE_API_SIGNUPS_PER_HOUR",
        Kind::Number,
        Some("100"),
        "Sign-ups from one address in an hour. An IPv6 address counts with its whole /64 network, here and below.",
    ),
    row(
        "api.logins_per_minute",
        "FANFARE_API_LOGINS_PER_MINUTE",
        Kind::Number,
        Some("60"),
        "Log-ins from one address in a minute.",
    ),
    row(
        "api.password_tries_per_minute",
        "FANFARE_API_PASSWORD_TRIES_PER_MINUTE",
        Kind::Number,
        Some("10"),
        "Wrong passwords for one account from one address in a minute; from all addresses together, ten times as many.",
    ),
    row(
        "api.control_requests_per_minute",
        "FANFARE_API_CONTROL_REQUESTS_PER_MINUTE",
        Kind::Number,
        Some("3000"),
        "Requests to the control plane from one address in a minute.",
    ),
    row(
        "gateway.connection.ping_interval",
        "FANFARE_GATEWAY_CONNECTION_PING_INTERVAL",
        Kind::Duration,
        Some("25s"),
        "A connection that is silent for this long is pinged.",
    ),
    row(
        "gateway.connection.pong_timeout",
        "FANFARE_GATEWAY_CONNECTION_PONG_TIMEOUT",
        Kind::Duration,
        Some("10s"),
        "A pinged connection that stays silent for this long is closed as `no_pong`.",
    ),
    row(
        "gateway.connection.connect_timeout",
        "FANFARE_GATEWAY_CONNECTION_CONNECT_TIMEOUT",
        Kind::Duration,
        Some("10s"),
        "A socket that has not sent `connect` for this long is closed as `connect_timeout`; one whose credentials could not be checked for as long after that, as `unavailable`.",
    ),
    row(
        "gateway.pusher.activity_timeout",
        "FANFARE_GATEWAY_PUSHER_ACTIVITY_TIMEOUT",
        Kind::Duration,
        Some("2m"),
        "A Pusher connection that is silent for this long is pinged; clients are told it, and ask for a sign of life themselves after it.",
    ),
    row(
        "gateway.pusher.pong_timeout",
        "FANFARE_GATEWAY_PUSHER_PONG_TIMEOUT",
        Kind::Duration,
        Some("30s"),
        "A pinged Pusher connection that stays silent for this long is closed with 4201.",
    ),
    row(
        "gateway.pusher.authorization_timeout",
        "FANFARE_GATEWAY_PUSHER_AUTHORIZATION_TIMEOUT",
        Kind::Duration,
        Some("30s"),
        "Where an app wants authorized connections, one that neither signs in nor subscribes to a private or presence channel for this long is closed with 4009.",
    ),
    row(
        "gateway.drain_window",
        "FANFARE_DRAIN_WINDOW",
        Kind::Duration,
        Some("30s"),
        "On SIGTERM a gateway tells its clients to connect again, evenly spread over this time, in which it serves them; `0s` sends all away at once. What supervises the process must wait 15 s longer before it kills it.",
    ),
];

/// Variables that the command line reads for itself; they are no settings of the server.
pub const CLIENT_VARIABLES: &[&str] = &["FANFARE_CA", "FANFARE_CONFIG", "FANFARE_KEY", "FANFARE_URL"];

/// The setting of that variable.
pub fn by_variable(variable: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.variable == variable)
}

/// The setting of that name.
pub fn by_name(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name == name)
}
