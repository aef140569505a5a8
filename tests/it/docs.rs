//! The committed reference pages are those that the code makes.

use std::path::Path;

use fanfare::{cli, docs};

#[track_caller]
fn assert_committed(path: &str, made: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    let committed = std::fs::read_to_string(&file).unwrap_or_default();
    let differs = committed.lines().zip(made.lines()).position(|(left, right)| left != right);
    assert!(committed == made, "{path} is stale, from line {}; run `make docs`", differs.map_or(0, |line| line + 1));
}

#[test]
fn the_error_table_is_up_to_date() {
    assert_committed("docs/errors.md", &docs::errors());
}

#[test]
fn the_table_of_metrics_is_up_to_date() {
    assert_committed("docs/metrics.md", &docs::metrics());
}

#[test]
fn the_table_of_settings_is_up_to_date() {
    assert_committed("docs/configuration.md", &docs::configuration());
}

#[test]
fn the_openapi_document_is_up_to_date() {
    assert_committed("openapi/openapi.json", &cli::openapi());
}
