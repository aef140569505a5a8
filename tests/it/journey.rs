//! The newcomer's way: the README's lines, word by word, and the lines that the first run prints.

use std::{path::Path, process::Stdio, time::Duration};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};

use crate::harness::server::{Options, Server, binary};

const PATIENCE: Duration = Duration::from_secs(30);

/// The `sh` blocks of the README, in order.
fn readme_blocks() -> Vec<String> {
    let readme =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md")).expect("there is a README");
    readme.split("```sh\n").skip(1).map(|rest| rest.split("```").next().expect("a block ends").to_owned()).collect()
}

/// A shell that lines are pasted into.
struct Shell {
    _child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    /// What was printed and nobody waited for yet.
    unread: Vec<Value>,
}

impl Shell {
    fn open(server: &Server) -> Self {
        let mut child = Command::new("bash")
            .arg("-s")
            .current_dir(server.dir())
            .env("FANFARE", binary())
            .env("FANFARE_URL", server.url())
            .env(
                "PATH",
                format!(
                    "{}:{}",
                    binary().parent().expect("a folder").display(),
                    std::env::var("PATH").unwrap_or_default()
                ),
            )
            .env_remove("http_proxy")
            .env_remove("HTTP_PROXY")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("bash runs");
        let input = child.stdin.take().expect("its input is piped");
        let output = BufReader::new(child.stdout.take().expect("its output is piped")).lines();
        Self { _child: child, input, output, unread: Vec::new() }
    }

    async fn paste(&mut self, lines: &str) {
        self.input.write_all(format!("{lines}\necho\n").as_bytes()).await.expect("the shell takes lines");
    }

    /// Waits for printed JSON that fits. What `curl` prints has no line of its own, so a line may hold several values.
    async fn wait_for(&mut self, fits: impl Fn(&Value) -> bool) -> Value {
        let found = tokio::time::timeout(PATIENCE, async {
            loop {
                if let Some(at) = self.unread.iter().position(&fits) {
                    return self.unread.remove(at);
                }
                let line = self.output.next_line().await.expect("its output is text").expect("the shell goes on");
                self.unread
                    .extend(serde_json::Deserializer::from_str(&line).into_iter::<Value>().map_while(Result::ok));
            }
        });
        let found = found.await;
        found.unwrap_or_else(|_| panic!("what is expected was not printed, but {:?}", self.unread))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lines_of_the_readme_work_as_they_stand() {
    let server = Server::start(Options::default()).await;
    let mut shell = Shell::open(&server);
    let mut messages = 0;
    for block in readme_blocks() {
        shell.paste(&block).await;
        if block.contains("Idempotency-Key") {
            let answer = shell.wait_for(|line| line.get("message").is_some()).await;
            assert_eq!(answer["serial"], 1, "the same key gives the same place");
        }
        if block.contains("Idempotency-Key") && !block.contains("?after=0") {
            let line = shell.wait_for(|line| line["data"]["text"] == "hi").await;
            assert_eq!(line["serial"], 1);
            messages += 1;
        }
        if block.contains("?after=0") {
            let page = shell.wait_for(|line| line.get("items").is_some()).await;
            assert_eq!(page["items"].as_array().expect("items").len(), 1);
        }
        if block.contains("/rules/demo") {
            assert_eq!(shell.wait_for(|line| line.get("public").is_some()).await["public"], true);
        }
    }
    assert_eq!(messages, 1, "the README publishes and follows a message");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lines_that_the_first_run_prints_work_as_they_stand() {
    let mut server = Server::start(Options::default().arg("--demo")).await;
    let printed = demo_lines(&server).await;
    let (curl, tail) = (line_with(&printed, "curl"), line_with(&printed, " tail "));
    let mut shell = Shell::open(&server);
    shell.paste(&format!("{tail} --rewind 10 &")).await;
    shell.paste(&curl).await;
    shell.wait_for(|line| line.get("serial").is_some() && line.get("data").is_some()).await;
    shell.paste("kill $!; wait; echo '{\"stopped\":true}'").await;
    shell.wait_for(|line| line["stopped"] == true).await;
    server.terminate().await;
    server.restart().await;
    let again = demo_lines(&server).await;
    assert_eq!(line_with(&again, "curl"), curl, "a later run prints the same lines");
}

/// What the server printed, once the address of the demo page is there.
async fn demo_lines(server: &Server) -> String {
    let printed = tokio::time::timeout(PATIENCE, async {
        loop {
            let printed = server.stdout();
            if printed.matches("/demo#key=").count() >= printed.matches("Fanfare is ready").count() {
                return printed;
            }
            tokio::task::yield_now().await;
        }
    });
    printed.await.expect("the demo's lines are printed")
}

fn line_with(printed: &str, what: &str) -> String {
    let line = printed.lines().rev().find(|line| line.contains(what));
    line.unwrap_or_else(|| panic!("no line with `{what}` in:\n{printed}")).trim().to_owned()
}
