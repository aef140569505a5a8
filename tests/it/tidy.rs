//! The order of the crates: which may know which, read from manifests and `use` lines.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Each crate with the crates of ours that it may know.
const EDGES: [(&str, &[&str]); 9] = [
    ("protocol", &[]),
    ("domain", &["protocol"]),
    ("infra", &["protocol", "domain"]),
    ("api", &["protocol", "domain"]),
    ("gateway", &["protocol", "domain"]),
    ("worker", &["protocol", "domain"]),
    ("server", &["protocol", "domain", "infra", "api", "gateway", "worker"]),
    ("bench", &["protocol", "domain", "gateway"]),
    ("tests", &["protocol", "domain", "infra", "api", "gateway", "worker", "server"]),
];

/// What the inner crates may not use: they do no I/O and know no engine and no HTTP server.
const FOREIGN: [(&str, &[&str]); 2] = [
    ("protocol", &["actix", "actix-web", "tokio", "diesel", "redis", "lapin", "tracing"]),
    ("domain", &["actix", "actix-web", "actix-ws", "diesel", "diesel-async", "redis", "lapin", "reqwest"]),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

fn crate_name(folder: &str) -> String {
    if folder == "server" { "fanfare".to_owned() } else { format!("fanfare-{folder}") }
}

fn dependencies(folder: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(root().join(folder).join("Cargo.toml")).expect("every crate has a manifest");
    let manifest: toml::Table = text.parse().expect("a manifest is TOML");
    let sections = ["dependencies", "dev-dependencies", "build-dependencies"];
    sections
        .iter()
        .filter_map(|section| manifest.get(*section)?.as_table())
        .flat_map(|table| table.keys().cloned())
        .collect()
}

/// The Rust files below a folder.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

#[test]
fn crates_know_only_the_crates_below_them() {
    for (folder, allowed) in EDGES {
        let allowed: BTreeSet<_> = allowed.iter().map(|other| crate_name(other)).collect();
        let ours = EDGES.map(|(other, _)| crate_name(other));
        let found: BTreeSet<_> = dependencies(folder).into_iter().filter(|name| ours.contains(name)).collect();
        let new: Vec<_> = found.difference(&allowed).collect();
        assert!(new.is_empty(), "{folder}/Cargo.toml has a new edge to {new:?}");
        for file in sources(&root().join(folder)) {
            let text = fs::read_to_string(&file).expect("a source is text");
            for other in ours.iter().filter(|other| !allowed.contains(*other) && **other != crate_name(folder)) {
                let path = format!("{}::", other.replace('-', "_"));
                let uses = text.lines().any(|line| names(line, &path));
                assert!(!uses, "{} uses {other}", file.display());
            }
        }
    }
}

/// Whether a line of code names a path; what stands in quotes is no code.
fn names(line: &str, path: &str) -> bool {
    let before_it_is = |at: usize| line[..at].chars().next_back();
    line.match_indices(path).any(|(at, _)| !before_it_is(at).is_some_and(|c| c.is_alphanumeric() || "_:\"".contains(c)))
}

#[test]
fn the_inner_crates_know_no_engine_and_no_server() {
    for (folder, foreign) in FOREIGN {
        let found = dependencies(folder);
        let bad: Vec<_> = foreign.iter().filter(|name| found.contains(**name)).collect();
        assert!(bad.is_empty(), "{folder} depends on {bad:?}");
    }
}

#[test]
fn only_the_server_names_the_engines() {
    for (folder, _) in EDGES.iter().filter(|(folder, _)| !["server", "infra", "tests"].contains(folder)) {
        assert!(!dependencies(folder).contains("fanfare-infra"), "{folder} names the engines");
    }
}

/// Names that are written elsewhere would not begin with the installation's prefix. Tests may show how the default ones look.
#[test]
fn names_in_redis_and_rabbitmq_are_composed_in_one_place() {
    let infra = root().join("infra/src");
    for engine in ["redis", "rabbitmq"] {
        for file in sources(&infra.join(engine)) {
            let text = fs::read_to_string(&file).expect("a source is text");
            let code = text.split("#[cfg(test)]").next().expect("a split has a first part");
            for banned in ["\"ff:", "\"fanfare.", "\"fanfare:"] {
                assert!(!code.contains(banned), "{}: `{banned}` is for `infra/src/names/` to compose", file.display());
            }
        }
    }
}

#[test]
fn tests_wait_for_events_and_are_never_left_out() {
    for file in sources(&root().join("tests/it")).into_iter().filter(|file| !file.ends_with("tidy.rs")) {
        let text = fs::read_to_string(&file).expect("a source is text");
        // What the database is asked to take long over, so that it ends it, is no wait of the test's.
        let text = text.replace("pg_sleep(", "");
        for banned in ["sleep(", "#[ignore", "thread::sleep"] {
            assert!(!text.contains(banned), "{} has `{banned}`", file.display());
        }
    }
}

#[test]
fn every_file_is_about_one_thing() {
    for (folder, _) in EDGES {
        for file in sources(&root().join(folder)) {
            let lines = fs::read_to_string(&file).expect("a source is text").lines().count();
            assert!(lines <= 400, "{} has {lines} lines; look for the second subject in it", file.display());
        }
    }
}
