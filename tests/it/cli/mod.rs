//! The command line: help, configuration, checks, and the client commands against a running server.

use std::process::{Command, Output};

use crate::harness::server::fanfare;

mod checking;
mod dead_letters;
mod engines;
mod following;
mod publishing;
mod roles;
mod serving;
mod settings;

/// How a command ended, and what it said.
#[derive(Debug)]
struct Said {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

/// Runs a command to its end.
fn run(command: &mut Command) -> Said {
    let Output { status, stdout, stderr } = command.output().expect("the binary can be started");
    let text = |bytes| String::from_utf8(bytes).expect("the output is UTF-8");
    Said { code: status.code(), stdout: text(stdout), stderr: text(stderr) }
}

impl Said {
    /// The command did what it was asked to; gives its standard output.
    #[track_caller]
    fn succeeded(self) -> String {
        assert_eq!(self.code, Some(0), "{}{}", self.stdout, self.stderr);
        self.stdout
    }

    /// The command failed, and said all of this.
    #[track_caller]
    fn failed_saying(self, parts: &[&str]) {
        assert_eq!(self.code, Some(1), "{}{}", self.stdout, self.stderr);
        for part in parts {
            assert!(self.stderr.contains(part), "`{part}` is not in:\n{}", self.stderr);
        }
    }
}

#[test]
fn help_teaches_every_command_by_example() {
    let whole = run(fanfare().arg("--help")).succeeded();
    let served = ["serve", "api", "gateway", "worker", "migrate", "restored", "check", "dead-letters"];
    for command in served.into_iter().chain(["openapi", "token", "publish", "tail"]) {
        assert!(whole.contains(&format!("  {command} ")), "{command} is not in:\n{whole}");
        let help = run(fanfare().args([command, "--help"])).succeeded();
        assert!(help.contains("Example") && help.contains(&format!("fanfare {command}")), "{help}");
    }
}

#[test]
fn help_never_shows_the_key_of_the_environment() {
    for command in ["token", "publish", "tail"] {
        let help = run(fanfare().args([command, "--help"]).env("FANFARE_KEY", "fk_a.fs_hush")).succeeded();
        assert!(help.contains("FANFARE_KEY") && !help.contains("fs_hush"), "{help}");
    }
}

#[test]
fn the_openapi_document_is_printed() {
    let document: serde_json::Value = serde_json::from_str(&run(fanfare().arg("openapi")).succeeded()).unwrap();
    assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")), "{}", document["openapi"]);
    assert!(document["paths"]["/v1/channels/{channel}/messages"].is_object());
}
