//! Programs of `tests/pusher/`, which run Pusher's stock clients and libraries.

use std::{path::PathBuf, process::Stdio, time::Duration};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

use super::tenants::Tenant;

/// How long a program may take to say something.
const PATIENCE: Duration = Duration::from_secs(90);

/// Where the programs and what they need are.
pub fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("pusher")
}

/// A program that runs. Ended, by its pid, when dropped.
pub struct Program {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
}

/// Python with what its programs need, beside the binary under test.
pub fn python() -> PathBuf {
    let target = super::server::binary();
    let target = target.ancestors().nth(2).expect("the binary lies in a profile's folder of the target folder");
    target.join("pusher-python/bin/python")
}

/// What `program` is told of an app: `switched` is the app as its switches were changed, `nodes` are addresses of gateways.
pub fn start(program: &str, tenant: &Tenant, switched: &Value, nodes: &[&str], more: &[(&str, String)]) -> Program {
    let authority = |url: &str| url.split_once("://").map_or(url, |(_, rest)| rest).to_owned();
    let modules = folder().join("node_modules");
    assert!(modules.is_dir(), "`npm ci` in {} brings what the stock clients need", folder().display());
    let nodes = nodes.iter().map(|url| authority(url)).collect::<Vec<_>>().join(",");
    let interpreter = if program.ends_with(".py") { python() } else { PathBuf::from("node") };
    let mut child = Command::new(interpreter)
        .arg(program)
        .current_dir(folder())
        .env("FANFARE_NODES", nodes)
        .env("FANFARE_API", authority(&tenant.url))
        .env("FANFARE_APP_ID", switched["pusher_app_id"].as_str().expect("an app that speaks Pusher has a number"))
        .env("FANFARE_APP_KEY", &tenant.key)
        .env("FANFARE_APP_SECRET", &tenant.secret)
        .envs(more.iter().map(|(name, value)| (*name, value)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("node and Python are installed");
    let stdin = child.stdin.take();
    let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    Program { child, stdin, lines }
}

impl Program {
    /// What it says next; `None` when it has ended.
    pub async fn line(&mut self) -> Option<String> {
        timeout(PATIENCE, self.lines.next_line()).await.expect("it says something in time").expect("it can be read")
    }

    /// Tells it something.
    pub async fn say(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("it still listens");
        stdin.write_all(format!("{line}\n").as_bytes()).await.expect("it listens");
    }

    /// Everything that it says to its end, which must be a good one.
    pub async fn succeeded(mut self) -> Vec<String> {
        drop(self.stdin.take());
        let mut said = Vec::new();
        while let Some(line) = self.line().await {
            said.push(line);
        }
        let mut errors = String::new();
        let mut stderr = self.child.stderr.take().expect("it is piped");
        stderr.read_to_string(&mut errors).await.expect("it can be read");
        let status = self.child.wait().await.expect("it ends");
        assert!(status.success(), "{status}\n{}\n{errors}", said.join("\n"));
        said
    }
}
