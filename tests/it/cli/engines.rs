//! The commands on the production engines: what they make, what they refuse, and what they find.

use std::process::Command;

use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};
use serde_json::json;

use super::run;
use crate::harness::{
    engines::Engines,
    server::{Options, Server, fanfare},
    sockets::PATIENCE,
    tenants::Tenant,
    waiting::until,
};

/// A folder to run commands in, and what they are told of the engines.
pub(super) struct Installation {
    pub engines: Engines,
    folder: tempfile::TempDir,
}

impl Installation {
    pub async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        Self { engines: Engines::own().await, folder }
    }

    pub fn variable(&self, wanted: &str) -> String {
        let variables = self.engines.env();
        variables.into_iter().find(|(name, _)| *name == wanted).expect("it is set").1
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = fanfare();
        command.args(args).envs(self.engines.env()).current_dir(self.folder.path());
        command.env("FANFARE_LISTEN", "127.0.0.1:0").env("FANFARE_OPS_LISTEN", "127.0.0.1:0");
        command
    }

    /// A process that does everything, on these engines.
    pub async fn serve(&self, options: Options) -> Server {
        let variables = self.engines.env();
        Server::start(variables.iter().fold(options, |options, (name, value)| options.env(name, value))).await
    }

    pub async fn execute(&self, sql: &str) {
        self.session().await.batch_execute(sql).await.expect("the statement is good");
    }

    async fn session(&self) -> AsyncPgConnection {
        let url = self.variable("FANFARE_DATABASE_URL");
        AsyncPgConnection::establish(&url).await.expect("the database answers")
    }
}

#[tokio::test]
async fn migrate_says_what_it_did_and_finds_it_done_the_next_time() {
    let engines = Installation::new().await;
    let first = run(&mut engines.command(&["migrate"])).succeeded();
    for part in
        ["Postgres: ", "before: none", "Master key: ", "queues of 4 partitions", "Partitions: 4; they are fixed now"]
    {
        assert!(first.contains(part), "{part} is not in:\n{first}");
    }
    let second = run(&mut engines.command(&["migrate"])).succeeded();
    for part in ["already", "Partitions: 4; they were fixed before"] {
        assert!(second.contains(part), "{part} is not in:\n{second}");
    }
    // What is fixed holds also where nothing is said of it, and another number is refused.
    let unsaid = run(engines.command(&["migrate"]).env_remove("FANFARE_PARTITIONS")).succeeded();
    assert!(unsaid.contains("Partitions: 4;"), "{unsaid}");
    for command in ["migrate", "serve", "api", "gateway", "worker"] {
        let refused = run(engines.command(&[command]).env("FANFARE_PARTITIONS", "8"));
        refused.failed_saying(&["FANFARE_PARTITIONS) is 8", "made with 4", "Set it to 4"]);
    }
}

#[tokio::test]
async fn a_prefix_is_fixed_by_the_first_migrate_and_another_one_is_refused_by_every_command() {
    let engines = Installation::new().await;
    let first = run(engines.command(&["migrate"]).env("FANFARE_PREFIX", "acme.eu")).succeeded();
    assert!(first.contains("Prefix: `acme.eu`; it is fixed now, for good"), "{first}");
    let said = [&["FANFARE_PREFIX) is `other`", "made with `acme.eu`", "Set it to `acme.eu`"][..]].concat();
    for command in ["migrate", "serve", "api", "gateway", "worker", "restored"] {
        run(engines.command(&[command]).env("FANFARE_PREFIX", "other")).failed_saying(&said);
    }
    run(engines.command(&["dead-letters", "list"]).env("FANFARE_PREFIX", "other")).failed_saying(&said);
    let checked = run(engines.command(&["check"]).env("FANFARE_PREFIX", "other"));
    assert!(checked.stdout.contains("problem  settings: `prefix` (FANFARE_PREFIX) is `other`"), "{}", checked.stdout);
    let unfit = run(engines.command(&["migrate"]).env("FANFARE_PREFIX", "{acme}"));
    unfit.failed_saying(&["`prefix` is wrong: `{acme}` is not 1 to 32 letters", "Nothing was started"]);
    // Who says nothing of it takes what is fixed.
    let second = run(&mut engines.command(&["migrate"])).succeeded();
    assert!(second.contains("Prefix: `acme.eu`; it was fixed before"), "{second}");
    let sound = run(&mut engines.command(&["check"])).succeeded();
    assert!(sound.contains("ok       prefix: `acme.eu`, fixed for good"), "{sound}");
    let broker = lapin::Connection::connect(&engines.variable("FANFARE_AMQP_URL"), Default::default()).await.unwrap();
    let channel = broker.create_channel().await.unwrap();
    let (options, nothing) = (lapin::options::BasicPublishOptions::default(), Default::default());
    channel.confirm_select(Default::default()).await.unwrap();
    let put = channel.basic_publish("".into(), "acme.eu.dead".into(), options, b"x", nothing).await.unwrap();
    put.await.unwrap();
    let listed = run(&mut engines.command(&["dead-letters", "list"])).succeeded();
    assert!(listed.starts_with("#1 "), "{listed}");
}

#[tokio::test]
async fn a_new_database_that_finds_queues_by_its_prefix_is_told_that_they_may_be_anothers() {
    let engines = Installation::new().await;
    let warning = "`fanfare.p.0` was there before this database";
    let first = run(&mut engines.command(&["migrate"])).succeeded();
    assert!(!first.contains(warning), "{first}");
    engines.execute("delete from settings where name in ('partitions', 'prefix')").await;
    let prefixed = run(engines.command(&["migrate"]).env("FANFARE_PREFIX", "acme")).succeeded();
    assert!(!prefixed.contains("was there before"), "{prefixed}");
    engines.execute("delete from settings where name in ('partitions', 'prefix')").await;
    let same = run(&mut engines.command(&["migrate"])).succeeded();
    assert!(same.contains(warning) && same.contains("FANFARE_PREFIX"), "{same}");
}

#[tokio::test]
async fn a_database_that_was_not_migrated_is_refused_by_every_role_and_told_by_check() {
    let engines = Installation::new().await;
    for role in ["api", "gateway", "worker"] {
        run(&mut engines.command(&[role])).failed_saying(&["no tables", "Run `fanfare migrate`"]);
    }
    let said = run(&mut engines.command(&["check"]));
    let schema = said.stdout.lines().find(|line| line.starts_with("problem  schema")).expect("a line of the schema");
    assert!(schema.contains("fanfare migrate"), "{schema}");
    said.failed_saying(&["1 problem "]);
}

#[tokio::test]
async fn tables_of_another_version_are_refused_if_they_are_older_and_used_if_they_are_newer() {
    let engines = Installation::new().await;
    run(&mut engines.command(&["migrate"])).succeeded();
    let newest = "(select max(version) from __diesel_schema_migrations)";
    engines.execute(&format!("delete from __diesel_schema_migrations where version = {newest}")).await;
    for role in ["api", "gateway", "worker"] {
        run(&mut engines.command(&[role])).failed_saying(&["tables are of version", "Run `fanfare migrate`"]);
    }
    engines.execute("insert into __diesel_schema_migrations (version) values ('9999')").await;
    let said = run(&mut engines.command(&["check"])).succeeded();
    assert!(said.contains("the tables are of version 9999"), "{said}");
    // Nodes of the version before go on while others are replaced.
    let mut options = Options::role("api");
    for (name, value) in engines.engines.env() {
        options = options.env(name, &value);
    }
    let api = Server::start(options).await;
    assert!(api.stderr().contains("tables are of version 9999, which is newer"), "{}", api.stderr());
    Tenant::sign_up(&api).await;
}

/// The number of the advisory lock under which tables are made.
const MIGRATION_LOCK: i64 = 0x66_616e_6661_7265;

#[tokio::test]
async fn migrate_waits_while_another_one_is_at_work() {
    let engines = Installation::new().await;
    let mut other = engines.session().await;
    other.batch_execute(&format!("select pg_advisory_lock({MIGRATION_LOCK})")).await.unwrap();
    let mut command = engines.command(&["migrate"]);
    let migrating = tokio::task::spawn_blocking(move || run(&mut command));
    let waits = "do $$ begin
        if not exists (select from pg_locks where locktype = 'advisory' and not granted
            and database = (select oid from pg_database where datname = current_database()))
        then raise 'nobody waits'; end if; end $$";
    until("it waits", async || other.batch_execute(waits).await.ok()).await;
    assert!(!migrating.is_finished());
    other.batch_execute(&format!("select pg_advisory_unlock({MIGRATION_LOCK})")).await.unwrap();
    let said = tokio::time::timeout(PATIENCE, migrating).await.expect("it goes on").unwrap().succeeded();
    assert!(said.contains("before: none"), "{said}");
}

#[tokio::test]
async fn check_finds_everything_sound_once_it_is_migrated_and_names_what_is_not() {
    let engines = Installation::new().await;
    run(&mut engines.command(&["migrate"])).succeeded();
    let sound = run(&mut engines.command(&["check"])).succeeded();
    for name in ["database", "schema", "master key", "partitions", "prefix", "queues", "redis"] {
        assert!(sound.lines().any(|line| line.starts_with(&format!("ok       {name}: "))), "{name}:\n{sound}");
    }
    let other_key = run(engines.command(&["check"]).env("FANFARE_MASTER_KEY", "cd".repeat(32)));
    assert!(other_key.stdout.contains("problem  master key: "), "{}", other_key.stdout);
    let others = [
        ("FANFARE_AMQP_URL", "amqp://guest:hush@127.0.0.1:9/x", "problem  queues: "),
        ("FANFARE_REDIS_URL", "redis://:hush@127.0.0.1:9", "problem  redis: "),
        ("FANFARE_DATABASE_URL", "postgres://user:hush@127.0.0.1:9/x", "problem  database: "),
    ];
    for (variable, url, finding) in others {
        let said = run(engines.command(&["check"]).env(variable, url));
        assert!(said.stdout.contains(finding) && said.stdout.contains(variable), "{}", said.stdout);
        assert!(!said.stdout.contains("hush") && !said.stderr.contains("hush"), "{}{}", said.stdout, said.stderr);
    }
}

#[tokio::test]
async fn another_master_key_is_refused_by_every_role() {
    let engines = Installation::new().await;
    run(&mut engines.command(&["migrate"])).succeeded();
    for command in ["migrate", "serve", "api", "gateway", "worker"] {
        let said = run(engines.command(&[command]).env("FANFARE_MASTER_KEY", "cd".repeat(32)));
        said.failed_saying(&["not the one that this database was made with", "FANFARE_MASTER_KEY"]);
    }
}

#[actix_web::test]
async fn serve_migrates_by_itself_delivers_and_shows_a_demo_again() {
    let engines = Installation::new().await;
    let mut server = engines.serve(Options::default().arg("--demo")).await;
    let tenant = Tenant::sign_up(&server).await;
    let mut socket = tenant.join("ann").await;
    socket.subscribe("chat:1").await;
    tenant.publish("chat:1", json!("hello")).await;
    assert_eq!(socket.messages(1).await[0]["data"], "hello");
    assert!(server.terminate().await.success(), "{}", server.stderr());
    assert!(!server.data_dir().join("fanfare.db").exists(), "messages are in Postgres");
    server.restart().await;
    assert_eq!(tenant.history("chat:1").await.len(), 1);
    assert!(server.terminate().await.success(), "{}", server.stderr());
    let printed = server.stdout();
    assert_eq!(printed.matches("shown this once").count(), 1, "{printed}");
    assert_eq!(printed.matches("Bearer fk_").count(), 2, "{printed}");
}
