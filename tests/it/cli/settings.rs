//! Configuration as `serve` takes it: what it does not know, it refuses.

use std::{fs, process::Command};

use super::run;
use crate::harness::server::{Options, Server, fanfare};

/// A server that would start in a folder of its own, if it were not refused.
fn serve(dir: &tempfile::TempDir) -> Command {
    let mut command = fanfare();
    command.arg("serve").current_dir(dir.path());
    command.env("FANFARE_LISTEN", "127.0.0.1:0").env("FANFARE_OPS_LISTEN", "127.0.0.1:0");
    command
}

#[test]
fn unknown_keys_of_the_file_are_refused_with_the_nearest_known_one() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("fanfare.toml"), "plan_defalt = \"unlimited\"\n\n[api]\nsignups = \"closed\"\n").unwrap();
    let parts = ["`plan_defalt`", "mean `plan_default`", "`api.signups`", "mean `api.signup`"];
    run(&mut serve(&dir)).failed_saying(&parts);
    assert!(!dir.path().join("fanfare-data").exists(), "a server that is refused leaves nothing behind");
}

#[tokio::test]
async fn unknown_variables_are_passed_over_and_said_with_the_nearest_known_one() {
    let options =
        Options::default().env("FANFARE_DATADIR", "x").env("FANFARE_SHINE", "30s").env("FANFARE_REDIS_URL", "");
    let server = Server::start(options).await;
    let said = server.stderr();
    for part in ["FANFARE_DATADIR", "mean `FANFARE_DATA_DIR`", "FANFARE_SHINE"] {
        assert!(said.contains(part), "{said}");
    }
    let dir = tempfile::tempdir().unwrap();
    let mut check = fanfare();
    check.arg("check").current_dir(dir.path()).env("FANFARE_DATADIR", "x");
    let checked = run(&mut check);
    assert!(
        checked.stdout.contains("problem  variables: this version has no variable FANFARE_DATADIR"),
        "{}",
        checked.stdout
    );
}

#[test]
fn half_set_engines_are_refused_with_what_is_missing_and_no_secret() {
    let dir = tempfile::tempdir().unwrap();
    let urls = [
        ("FANFARE_DATABASE_URL", "postgres://user:hush@host/name"),
        ("FANFARE_REDIS_URL", "redis://:hush@host"),
        ("FANFARE_AMQP_URL", "amqp://user:hush@host/name"),
    ];
    for (set, url) in urls {
        let said = run(serve(&dir).env(set, url).env("FANFARE_MASTER_KEY", "ab".repeat(32)));
        assert!(!said.stderr.contains("hush"), "{}", said.stderr);
        let missing: Vec<_> = urls.iter().map(|(name, _)| *name).filter(|name| *name != set).collect();
        said.failed_saying(&[&missing[..], &[&format!("{set} is set"), "Set all three"]].concat());
    }
    for (missing, _) in urls {
        let set = urls.into_iter().filter(|(name, _)| *name != missing);
        let said = run(serve(&dir).envs(set.clone()).env("FANFARE_MASTER_KEY", "ab".repeat(32)));
        assert!(!said.stderr.contains("hush"), "{}", said.stderr);
        let names: Vec<_> = set.map(|(name, _)| name).collect();
        said.failed_saying(&[&names[..], &[missing, "Set all three"]].concat());
    }
    let said = run(serve(&dir).envs(urls));
    assert!(!said.stderr.contains("hush"), "{}", said.stderr);
    said.failed_saying(&["`master_key` (FANFARE_MASTER_KEY) is not", "openssl rand -hex 32"]);
    assert!(!dir.path().join("fanfare-data").exists(), "a server that is refused leaves nothing behind");
}

#[test]
fn a_role_needs_the_production_engines() {
    let dir = tempfile::tempdir().unwrap();
    for role in ["api", "gateway", "worker"] {
        let said = run(fanfare().arg(role).current_dir(dir.path()));
        said.failed_saying(&[&format!("`fanfare {role}`"), "FANFARE_DATABASE_URL", "fanfare serve"]);
    }
    assert!(!dir.path().join("fanfare-data").exists(), "a process that is refused leaves nothing behind");
}

#[test]
fn the_file_may_be_named_by_option_and_by_variable() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("own.toml"), "nonsense = 1").unwrap();
    run(serve(&dir).args(["--config", "own.toml"])).failed_saying(&["`nonsense`"]);
    run(serve(&dir).env("FANFARE_CONFIG", "own.toml")).failed_saying(&["`nonsense`"]);
    run(serve(&dir).args(["--config", "none.toml"])).failed_saying(&["none.toml cannot be read", "--config"]);
}
