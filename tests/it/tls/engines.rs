//! Engines over TLS: by whom their certificates may be signed, in whose name they are, and how one hears why one is refused.

use std::{fs, path::Path};

use serde_json::json;

use crate::harness::{
    authority::Authority,
    engines::{self, MASTER_KEY},
    postgres, rabbitmq, redis,
    server::{Options, Server, fanfare},
    tenants::Tenant,
    waiting::until,
};

/// The password of the URLs that are refused before it is asked for.
const PASSWORD: &str = "hush";

/// Engines whose certificates are in the name of `localhost` alone.
struct Engines {
    postgres: postgres::Private,
    redis: (redis::Redis, u16),
    rabbitmq: (rabbitmq::Private, u16),
}

impl Engines {
    async fn start(authority: &Authority) -> Self {
        let certificate = || authority.sign_for(&["localhost"], 2100);
        let (postgres, redis, rabbitmq) = tokio::join!(
            postgres::Private::start_with(certificate()),
            redis::server_with(certificate()),
            rabbitmq::Private::start_with(certificate())
        );
        Self { postgres, redis, rabbitmq }
    }

    /// Their URLs over TLS by that name of the host, with the file of the authorities where there is one.
    fn variables(&self, host: &str, authorities: Option<&Path>) -> Vec<(&'static str, String)> {
        let option = |name: &str| authorities.map(|file| format!("{name}={}", file.display())).unwrap_or_default();
        let database = self.postgres.tcp_url().replace("postgres@127.0.0.1", &format!("postgres:{PASSWORD}@{host}"));
        let database = format!("{database}?sslmode=verify-full&{}", option("sslrootcert"));
        let redis = format!("rediss://{host}:{}?{}", self.redis.1, option("ssl_ca_certs"));
        let amqp = format!("amqps://guest:guest@{host}:{}/%2f?{}", self.rabbitmq.1, option("cacertfile"));
        let bare = |url: String| url.trim_end_matches(['?', '&']).to_owned();
        engines::variables(&bare(database), &bare(redis), &bare(amqp), "2")
    }
}

/// What `fanfare check` prints, with these variables.
async fn checked(variables: &[(&'static str, String)], system: Option<&Path>) -> String {
    let mut command = fanfare();
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    command.arg("check").current_dir(&folder).envs(variables.iter().map(|(name, value)| (name, value)));
    command.env("FANFARE_LISTEN", "127.0.0.1:0").env("FANFARE_OPS_LISTEN", "127.0.0.1:0");
    if let Some(system) = system {
        command.env("SSL_CERT_FILE", system);
    }
    let ran = tokio::task::spawn_blocking(move || command.output()).await.expect("it does not panic");
    let ran = ran.expect("the binary can be started");
    let said = [ran.stdout, ran.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(!said.contains(PASSWORD), "{said}");
    said
}

/// The one line of a text that begins so.
fn line<'a>(text: &'a str, begin: &str) -> &'a str {
    let mut lines = text.lines().filter(|line| line.starts_with(begin));
    let line = lines.next().unwrap_or_else(|| panic!("no line begins with `{begin}`:\n{text}"));
    assert!(lines.next().is_none(), "more than one line begins with `{begin}`:\n{text}");
    line
}

#[actix_web::test]
async fn engines_are_believed_by_the_authority_that_the_operator_names_and_by_no_other() {
    let (authority, stranger) = (Authority::new(), Authority::named("Somebody else"));
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = |name: &str, authority: &Authority| {
        let path = folder.path().join(name);
        fs::write(&path, authority.pem()).expect("files can be made in a temporary folder");
        path
    };
    let (ours, theirs) = (file("ours.pem", &authority), file("theirs.pem", &stranger));
    let engines = Engines::start(&authority).await;

    // Named in the URLs, it carries everything that a server does.
    let named = engines.variables("localhost", Some(&ours));
    let options = Options::role("serve");
    let server = Server::start(named.iter().fold(options, |options, (name, value)| options.env(name, value))).await;
    let tenant = Tenant::sign_up(&server).await;
    let mut socket = tenant.join("ann").await;
    socket.subscribe("chat:1").await;
    tenant.publish("chat:1", json!("in private")).await;
    assert_eq!(socket.messages(1).await[0]["data"], "in private");
    let sound = checked(&named, None).await;
    for engine in ["database", "queues", "redis"] {
        line(&sound, &format!("ok       {engine}: "));
    }

    // So does the system's, which the environment may name.
    let unnamed = engines.variables("localhost", None);
    let sound = checked(&unnamed, Some(&ours)).await;
    for engine in ["database", "queues", "redis"] {
        line(&sound, &format!("ok       {engine}: "));
    }

    let strangers = engines.variables("localhost", Some(&theirs));
    let other_name = engines.variables("127.0.0.1", Some(&ours));
    // What a URL names counts alone.
    let refusals = [
        (&strangers, &ours, "UnknownIssuer"),
        (&unnamed, &theirs, "UnknownIssuer"),
        (&other_name, &ours, "not valid for name"),
    ];
    for (variables, system, reason) in refusals {
        // Queues are looked at only where the database tells how many there are.
        let mut mixed = named.clone();
        mixed[1..3].clone_from_slice(&variables[1..3]);
        let said = [checked(variables, Some(system)).await, checked(&mixed, Some(system)).await];
        for (said, engine) in [(&said[0], "database"), (&said[1], "queues"), (&said[1], "redis")] {
            let refused = line(said, &format!("problem  {engine}: "));
            assert!(refused.contains(reason), "{refused}");
        }
    }
    the_log_says_why(&named, &strangers).await;
}

/// A node that runs says once of each engine why it is refused.
async fn the_log_says_why(named: &[(&'static str, String)], strangers: &[(&'static str, String)]) {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let log = folder.path().join("stderr.log");
    let mut command = fanfare();
    command.arg("api").current_dir(&folder).envs(named.iter().map(|(name, value)| (name, value)));
    command.envs(strangers[1..3].iter().map(|(name, value)| (name, value)));
    command.env("FANFARE_LISTEN", "127.0.0.1:0").env("FANFARE_OPS_LISTEN", "127.0.0.1:0");
    let output = fs::File::create(&log).expect("files can be made in a temporary folder");
    let mut node = command.stderr(output).spawn().expect("the binary can be started");
    let said = async |engine: &str| {
        until("the log says why", async || {
            let log = fs::read_to_string(&log).expect("it is there");
            let mut lines = log.lines().filter(|line| line.contains(engine)).map(str::to_owned);
            lines.find(|line| line.contains("UnknownIssuer"))
        })
        .await
    };
    let lines = [said("RabbitMQ is away").await, said("Redis is away").await];
    node.kill().and_then(|()| node.wait()).expect("our own child can be ended");
    let log = fs::read_to_string(&log).expect("it is there");
    for secret in ["guest:guest", PASSWORD, MASTER_KEY] {
        assert!(!log.contains(secret), "{log}");
    }
    println!("{}", lines.join("\n"));
}
