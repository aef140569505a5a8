//! The reference pages that are made from tables in the code; tests compare the committed files with these.

use std::fmt::Write;

use fanfare_domain::{metrics::Metric, plans::Limits};
use fanfare_protocol::ErrorCode;

use crate::config::settings::{Kind, SETTINGS};

const MADE: &str = "<!-- Made from the code by `make docs`; change the table there, not this page. -->\n";

const ERRORS: &str = r#"
Whatever refuses, over HTTP or on a socket, names one of the codes below. Codes are stable: programs may rely on them, while titles, details
and remedies are for people and may change.

**Over HTTP** a refusal is `application/problem+json` (RFC 9457): `type` (the code's row on this page), `title`, `status`, `code`, `detail`
(what happened this time), `remedy`, `request_id`, and for wrong fields `errors: [{"pointer", "detail"}]`. With 429 and 503 comes `Retry-After`.

```json
{"type":"/errors#bad_key","title":"The API key is not valid","status":401,"code":"bad_key","detail":"The API key is not valid",
 "remedy":"Check the key and its secret; it may have been revoked, rotated or expired.","request_id":"…"}
```

**On a socket** a refused request is answered `{"id":7,"error":{"code","message","remedy"?,"retry_after_ms"?}}`. Where an error ends the connection, the
server says `{"op":"error","error":{…}}` and closes with the code's close code. The range of a close code says what to do:

| close codes | what a client does |
|---|---|
| 4000–4099 | does not come back as it is: something must be changed first |
| 4100–4199 | comes back after a pause: `random(0, min(20 s, 0.5 s · 2^n))`, with a fresh token if it can get one |
| 4200–4299 | comes back at once, or after the `after_ms` of the `reconnect` that it was told before |

Besides these the server may send the close codes of RFC 6455: **1000** (the answer to a client's close), **1001** (the server goes away),
**1002** (a frame breaks the WebSocket protocol), **1007** (text that is not UTF-8) and **1009** (a message that is too large to be read). A client that is cut without a
close comes back after a pause.

**Trying again** is "no" where the same request fails again until something is changed, "after a pause" where waiting can help (as long as `Retry-After` or
`retry_after_ms` says, where it is given), and "at once" where nothing is wrong with the request.

"#;

/// `docs/errors.md`.
pub fn errors() -> String {
    let mut page = format!("# Errors\n\n{MADE}{ERRORS}");
    page.push_str("| code | HTTP | close | try again | meaning | what to do |\n|---|---|---|---|---|---|\n");
    for code in ErrorCode::ALL {
        let row = code.row();
        let close = row.close.map_or("–".to_owned(), |close| close.to_string());
        line(
            &mut page,
            &[
                &format!("<a id=\"{0}\"></a>`{0}`", row.name),
                &row.status.to_string(),
                &close,
                row.retry.name(),
                row.title,
                row.remedy,
            ],
        );
    }
    page
}

/// `docs/metrics.md`.
pub fn metrics() -> String {
    let mut page = format!("# Metrics\n\n{MADE}\n");
    page.push_str(
        "`GET /metrics` on the operations listener (`ops_listen`, by default `http://127.0.0.1:9090/metrics`) answers in the text format of Prometheus. \
         No metric names a tenant, an app or a channel. Histograms are in seconds.\n\n",
    );
    page.push_str("| metric | kind | label | what it measures |\n|---|---|---|---|\n");
    for metric in Metric::ALL {
        let label = metric.label().map_or("–".to_owned(), |label| format!("`{label}`"));
        line(&mut page, &[&format!("`{}`", metric.name()), metric.kind().name(), &label, metric.help()]);
    }
    page
}

const CONFIGURATION: &str = r#"
`fanfare serve` runs without any configuration. What is set comes from a file in TOML and from environment variables; a variable overrides
the file. The file is the one that `--config PATH` or `FANFARE_CONFIG` names, else `./fanfare.toml` if there is one. A setting in the file that
is not listed here is refused at start, by name, so that a slip of the pen is not a default in disguise; a `FANFARE_…` variable that is not is passed over, with
a warning, since an environment is shared with other programs and versions. `fanfare check` says what is wrong, and what to mend.

```toml
listen = "127.0.0.1:8080"
data_dir = "/var/lib/fanfare"
plan_default = "team"

[plans.team]
connections = 50000

[api]
signup = "closed"
```

Names with a dot belong to a section: `api.signup` is `signup` in `[api]`.

"#;

const PLANS: &str = r#"
## Plans

A plan is a named set of limits for a tenant and each of its apps. `default` and `unlimited` are built in; `[plans.NAME]` in the file adds a plan, or replaces one.
A limit that a plan leaves out is that of `default`.

"#;

const ENGINES: &str = r#"
## Engines and roles

With nothing set, the **embedded** engines are used: SQLite in the data folder, queue and bus inside the process. `fanfare serve` is then the whole
installation, and one process at a time uses the folder.

With `database_url`, `redis_url`, `amqp_url` and `master_key` set, the **production** engines are used: Postgres, Redis and RabbitMQ. A configuration with only some
of them is refused. Give the same four to every process:

| command | does | is ready (`/readyz` answers 200) while |
|---|---|---|
| `fanfare migrate` | makes tables, queues and the fixed number of partitions | – |
| `fanfare api` | serves the HTTP API and the pages | the queue confirms: a probe is sent through it each second, and one of the last 4 s came back |
| `fanfare gateway` | serves clients' sockets at `/v1/connect` | the beats that every worker sends each second arrive through Redis: one in the last 3 s |
| `fanfare worker` | takes messages from the queue to Postgres and Redis | its partitions move and its commits succeed |
| `fanfare serve` | all of this in one process, `migrate` included | all of this holds |

Of `api`, `gateway` and `worker` there may be any number. They refuse to start on a database that `fanfare migrate` has not brought up to their version; one that
a newer version has migrated is used, with a warning, so that versions can be replaced one process after another: `fanfare migrate` first, then the processes.

`/readyz` names every dependency with its state in `checks`. One that is `"optional": true` is told, and does not make the process unready: the API accepts publishes while
Postgres is away, since they wait in the queue. A process prints `Fanfare is ready: URL` when it is ready for the first time, and until then logs what it waits for; it answers
before that, so a probe of `/healthz` finds it alive. Postgres is waited for at most 60 s at the start, before anything listens; RabbitMQ and Redis as long as they take.

"#;

const OTHERS: &str = r#"
## Variables of the command line

| variable | read by | what it is |
|---|---|---|
| `FANFARE_CA` | `publish`, `tail` | a file with the certificates to trust, in PEM, in place of the system's, as `--ca` |
| `FANFARE_CONFIG` | `serve`, `api`, `gateway`, `worker`, `migrate`, `restored`, `check`, `dead-letters` | the file with the settings, as `--config` |
| `FANFARE_KEY` | `token`, `publish`, `tail` | the API key, `fk_….fs_…`, as `--key` |
| `FANFARE_URL` | `publish`, `tail` | the server, as `--url`, with `http://` or `https://`; `http://127.0.0.1:8080` where it is not set |
"#;

/// `docs/configuration.md`.
pub fn configuration() -> String {
    let mut page = format!("# Configuration\n\n{MADE}{CONFIGURATION}");
    page.push_str(
        "## Settings\n\n| name in the file | variable | takes | default | what it does |\n|---|---|---|---|---|\n",
    );
    for setting in SETTINGS {
        let default = setting.default.map_or("not set".to_owned(), |default| format!("`{default}`"));
        let takes = if setting.kind == Kind::Secret { "a secret" } else { setting.kind.wanted() };
        line(
            &mut page,
            &[&format!("`{}`", setting.name), &format!("`{}`", setting.variable), takes, &default, setting.doc],
        );
    }
    page.push_str(ENGINES.trim_end());
    page.push('\n');
    page.push_str(PLANS);
    page.push_str("| limit | `default` | `unlimited` | what it limits |\n|---|---|---|---|\n");
    let limits = |limits: &Limits| toml::Table::try_from(limits).expect("limits are numbers with names");
    let (default, unlimited) = (limits(&Limits::default()), limits(&Limits::unlimited()));
    for (name, doc) in LIMITS {
        line(&mut page, &[&format!("`{name}`"), &default[*name].to_string(), &unlimited[*name].to_string(), doc]);
    }
    page.push_str(OTHERS);
    page
}

/// The limits of a plan, in the order of the documentation.
pub const LIMITS: &[(&str, &str)] = &[
    ("connections", "Open connections of an app."),
    ("publishes_per_s", "Messages an app may publish each second, averaged over a second."),
    ("history_reads_per_s", "Pages of history an app may read each second, over REST and sockets together."),
    ("message_bytes", "The largest `data` of a message, in bytes."),
    ("channels_per_connection", "Channels that one connection may subscribe to."),
    ("requests_per_s", "Requests that one connection may send each second."),
    ("outbox_bytes", "Bytes that wait for one connection before it is closed as a slow consumer."),
    (
        "app_outbox_bytes",
        "Bytes that wait for all connections of an app on one node. Past half of it, connections with more than their share are closed as slow consumers; past all of it, any that something waits for already.",
    ),
    ("presence_members", "Members of a channel's presence."),
    ("retention_s", "The longest retention that a rule may ask for, in seconds."),
    ("apps", "Apps of a tenant."),
    ("keys", "API keys of an app."),
    ("rules", "Rules of an app; one may always be replaced."),
];

fn line(page: &mut String, cells: &[&str]) {
    let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
    writeln!(page, "| {} |", cells.join(" | ")).expect("a string takes what is written");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_of_a_plan_is_documented() {
        let known = toml::Table::try_from(Limits::default()).unwrap();
        let mut documented: Vec<_> = LIMITS.iter().map(|(name, _)| *name).collect();
        documented.sort_unstable();
        assert_eq!(documented, known.keys().map(String::as_str).collect::<Vec<_>>());
    }
}
