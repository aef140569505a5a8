//! `fanfare tail` against a running server that is also killed, stopped and started again.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, ChildStdout, ExitStatus, Stdio},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::run;
use crate::harness::{
    server::{Options, Server, fanfare, signal},
    tenants::Tenant,
};

/// How long anything may take that a test waits for.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running `fanfare tail`; killed, by its pid, when dropped.
struct Tail {
    child: Child,
    messages: mpsc::UnboundedReceiver<String>,
    told: mpsc::UnboundedReceiver<String>,
}

impl Tail {
    fn start(tenant: &Tenant, args: &[&str]) -> Self {
        let (mut tail, stdout) = Self::start_unread(tenant, args);
        tail.messages = lines(stdout);
        tail
    }

    /// A tail whose standard output the test reads, or does not.
    fn start_unread(tenant: &Tenant, args: &[&str]) -> (Self, ChildStdout) {
        let mut child = fanfare()
            .arg("tail")
            .args(args)
            .env("FANFARE_URL", &tenant.url)
            .env("FANFARE_KEY", tenant.credential())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary can be started");
        let stdout = child.stdout.take().expect("standard output is piped");
        let told = lines(child.stderr.take().expect("standard error is piped"));
        (Self { child, messages: mpsc::unbounded_channel().1, told }, stdout)
    }

    /// The next message.
    async fn message(&mut self) -> Value {
        let line = tokio::time::timeout(PATIENCE, self.messages.recv()).await.expect("a message comes");
        serde_json::from_str(&line.expect("the tail goes on")).expect("a line is JSON")
    }

    /// Waits for a line on standard error that contains this.
    async fn told(&mut self, part: &str) -> String {
        loop {
            let line = tokio::time::timeout(PATIENCE, self.told.recv()).await;
            let line = line
                .unwrap_or_else(|_| panic!("`{part}` is not told"))
                .unwrap_or_else(|| panic!("it ended without `{part}`"));
            if line.contains(part) {
                return line;
            }
        }
    }

    /// Waits for the process to end; gives the messages that were printed until then.
    async fn ended(mut self) -> (ExitStatus, Vec<String>) {
        let mut rest = Vec::new();
        while let Some(line) = tokio::time::timeout(PATIENCE, self.messages.recv()).await.expect("the tail ends") {
            rest.push(line);
        }
        (self.child.wait().expect("our own child can be waited for"), rest)
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        // Both fail only if the process is gone already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(output: impl Read + Send + 'static) -> mpsc::UnboundedReceiver<String> {
    let (send, lines) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if send.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

#[actix_web::test]
async fn a_tail_prints_each_message_of_its_channels_as_a_line_of_json() {
    let server = Server::start(Options::default()).await;
    let tenant = Tenant::sign_up(&server).await;
    let mut tail = Tail::start(&tenant, &["chat:1", "news"]);
    // Which of them is answered first is not said.
    let mut followed = [tail.told(": following").await, tail.told(": following").await];
    followed.sort();
    assert!(followed[0].contains("chat:1: following") && followed[1].contains("news: following"), "{followed:?}");
    tenant.publish("chat:1", json!({"text": "hi"})).await;
    tenant.publish("elsewhere", json!(0)).await;
    let first = tail.message().await;
    assert_eq!(
        (&first["channel"], &first["serial"], &first["data"]),
        (&json!("chat:1"), &json!(1), &json!({"text": "hi"}))
    );
    tenant.publish("news", json!([1.50, null])).await;
    assert_eq!(tail.message().await["data"], json!([1.50, null]));
}

#[actix_web::test]
async fn a_tail_survives_a_killed_server_and_prints_every_message_once() {
    let mut server = Server::start(Options::default()).await;
    let tenant = Tenant::sign_up(&server).await;
    let mut tail = Tail::start(&tenant, &["chat:1"]);
    tail.told("following").await;
    tenant.publish("chat:1", json!("before")).await;
    assert_eq!(tail.message().await["data"], "before");

    server.kill9().await;
    tail.told("disconnected").await;
    server.restart().await;
    tenant.publish("chat:1", json!("between")).await;
    tail.told("following").await;
    tenant.publish("chat:1", json!("after")).await;
    assert_eq!(tail.message().await["data"], "between");
    assert_eq!(tail.message().await["data"], "after");

    signal(tail.child.id(), "INT");
    tail.told("--since").await;
    let (status, rest) = tail.ended().await;
    assert!(status.success() && rest.is_empty(), "{status}: {rest:?}");
}

#[actix_web::test]
async fn a_server_that_stops_in_order_asks_its_tails_to_come_back() {
    let mut server = Server::start(Options::default()).await;
    let tenant = Tenant::sign_up(&server).await;
    let mut tail = Tail::start(&tenant, &["chat:1"]);
    tail.told("following").await;
    assert!(server.terminate().await.success());
    tail.told("asks to reconnect").await;
    server.restart().await;
    tail.told("following").await;
    tenant.publish("chat:1", json!("again")).await;
    assert_eq!(tail.message().await["serial"], 1);
}

#[actix_web::test]
async fn a_tail_begins_where_it_is_told_to() {
    let server = Server::start(Options::default()).await;
    let tenant = Tenant::sign_up(&server).await;
    for n in 1..=5 {
        tenant.publish("chat:1", json!(n)).await;
    }
    let mut rewound = Tail::start(&tenant, &["chat:1", "--rewind", "2"]);
    assert_eq!(rewound.message().await["serial"], 4);
    assert_eq!(rewound.message().await["serial"], 5);
    signal(rewound.child.id(), "TERM");
    let told = rewound.told("--since").await;
    let place = told.rsplit(' ').next().expect("the place stands last").to_owned();
    assert!(place.ends_with(":5"), "{told}");
    tenant.publish("chat:1", json!(6)).await;
    let mut resumed = Tail::start(&tenant, &["chat:1", "--since", &place]);
    assert_eq!(resumed.message().await["serial"], 6);
    let mut void = Tail::start(&tenant, &["chat:1", "--since", "another:3"]);
    void.told("void").await;
}

#[actix_web::test]
async fn a_tail_is_told_of_a_backup_that_was_put_back() {
    let mut server = Server::start(Options::default()).await;
    let tenant = Tenant::sign_up(&server).await;
    tenant.publish("chat:1", json!("before")).await;
    let mut tail = Tail::start(&tenant, &["chat:1", "--rewind", "1"]);
    assert_eq!(tail.message().await["serial"], 1);
    assert!(server.terminate().await.success());
    tail.told("asks to reconnect").await;
    let said = run(&mut server.command(&["restored"])).succeeded();
    assert!(said.contains("1 app has a new epoch"), "{said}");
    server.restart().await;
    tail.told("void").await;
    assert_eq!(tenant.publish("chat:1", json!("after")).await, 2, "what was there stays");
    assert_eq!(tail.message().await["data"], "after");
}

#[actix_web::test]
async fn a_tail_ends_with_the_remedy_when_coming_back_is_of_no_use() {
    let server = Server::start(Options::default()).await;
    let tenant = Tenant::sign_up(&server).await;
    let tail = |key: &str, args: &[&str]| {
        run(fanfare().arg("tail").args(args).env("FANFARE_URL", server.url()).env("FANFARE_KEY", key))
    };
    let unknown = format!("{}.fs_{}", tenant.key, "x".repeat(43));
    tail(&unknown, &["chat:1"]).failed_saying(&["bad_token", "Mint a new token"]);
    let only_publish = tenant.with_key(json!({"name": "p", "cap": {"*": ["publish"]}})).await;
    tail(&only_publish.credential(), &["chat:1"]).failed_saying(&["forbidden", "`subscribe`"]);
    tail(&tenant.key, &["private:1"]).failed_saying(&["forbidden"]);
    tail(&tenant.credential(), &["a", "b", "--since", "x:1"]).failed_saying(&["one channel"]);
    tail(&tenant.credential(), &["a", "--since", "x"]).failed_saying(&["EPOCH:SERIAL"]);
}

#[actix_web::test]
async fn a_keys_id_is_enough_for_a_public_channel() {
    let server = Server::start(Options::default()).await;
    let tenant = Tenant::sign_up(&server).await;
    tenant.rule("open", json!({"public": true})).await;
    let mut tail = Tail::start(&tenant, &["open:1", "--key", &tenant.key]);
    tail.told("following").await;
    tenant.publish("open:1", json!("for all")).await;
    assert_eq!(tail.message().await["data"], "for all");
}

#[actix_web::test]
async fn a_tail_ends_cleanly_when_its_reader_goes_away() {
    let server = Server::start(Options::default()).await;
    let tenant = Tenant::sign_up(&server).await;
    let (mut tail, stdout) = Tail::start_unread(&tenant, &["chat:1"]);
    tail.told("following").await;
    drop(stdout);
    tenant.publish("chat:1", json!("unread")).await;
    let (status, _) = tail.ended().await;
    assert!(status.success(), "{status}");
}
