//! A server's refusal over HTTP, said to the person who asked.

use serde::Deserialize;

use crate::problem::Problem;

/// What is read of a `problem+json`.
#[derive(Deserialize)]
struct Refused {
    code: String,
    detail: String,
    #[serde(default)]
    remedy: String,
}

/// The problem that an answer of that status tells.
pub fn problem(status: u16, body: &[u8]) -> Problem {
    match serde_json::from_slice::<Refused>(body) {
        Ok(Refused { code, detail, remedy }) => Problem::new(format!("{code}: {detail}"), remedy),
        Err(_) => Problem::new(
            format!("the server answered {status}"),
            "Check that --url (or FANFARE_URL) is a Fanfare server.",
        ),
    }
}
