//! `fanfare publish`: one message over REST, and the server's answer.

use std::path::PathBuf;

use clap::Args;
use fanfare_protocol::ChannelName;
use reqwest::header;
use serde::Serialize;
use serde_json::value::RawValue;

use super::{answers, credentials::ApiKey, endpoint::Endpoint, trust};
use crate::{output, problem::Problem};

/// The message and where it goes.
#[derive(Debug, Args)]
pub struct PublishArgs {
    /// The channel, as chat:1
    channel: String,
    /// The data: any JSON value; with --text, any text
    #[arg(allow_hyphen_values = true)]
    data: String,
    /// The event's name
    #[arg(long)]
    name: Option<String>,
    /// Take DATA as plain text, and send it as a JSON string
    #[arg(long)]
    text: bool,
    /// Wait until the message is in history, and print its serial
    #[arg(long)]
    persisted: bool,
    /// Makes retries safe: the same key within 24 hours gives the first answer again
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// The server
    #[arg(long, env = "FANFARE_URL", default_value = "http://127.0.0.1:8080")]
    url: String,
    /// A file with the certificates to trust, in PEM, in place of the system's
    #[arg(long, env = "FANFARE_CA", value_name = "PATH")]
    ca: Option<PathBuf>,
    /// The API key, fk_….fs_…
    #[arg(long, env = "FANFARE_KEY", hide_env_values = true)]
    key: Option<String>,
}

#[derive(Serialize)]
struct Body<'a> {
    data: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
}

/// Publishes, and prints the answer's JSON.
pub async fn run(args: &PublishArgs) -> Result<(), Problem> {
    let endpoint = Endpoint::new(&args.url, args.ca.as_deref())?;
    let key = ApiKey::required(args.key.as_deref())?;
    let channel = ChannelName::parse(&args.channel)
        .map_err(|bad| Problem::new(bad.to_string(), "Use 1 to 200 bytes of A–Z a–z 0–9 _ - = @ , . ; :"))?;
    let data = data(&args.data, args.text)?;
    let body = serde_json::to_vec(&Body { data: &data, name: args.name.as_deref() }).expect("JSON in JSON is JSON");
    let mut request = endpoint
        .http()?
        .post(endpoint.messages(&channel))
        .query(&[("ack", if args.persisted { "persisted" } else { "accepted" })])
        .bearer_auth(key.bearer())
        .header(header::CONTENT_TYPE, "application/json")
        .body(body);
    if let Some(idempotency_key) = &args.idempotency_key {
        request = request.header("Idempotency-Key", idempotency_key);
    }
    let answer = request.send().await.map_err(|error| unreachable(&endpoint, &error))?;
    let status = answer.status();
    let text = answer.text().await.map_err(|error| unreachable(&endpoint, &error))?;
    if !status.is_success() {
        return Err(answers::problem(status.as_u16(), text.as_bytes()));
    }
    output::print(&format!("{}\n", text.trim())).map(drop)
}

fn data(text: &str, is_text: bool) -> Result<Box<RawValue>, Problem> {
    if is_text {
        return Ok(serde_json::value::to_raw_value(text).expect("a text is JSON"));
    }
    serde_json::from_str(text).map_err(|error| {
        Problem::new(
            format!("DATA is not JSON: {error}"),
            "Quote it for the shell, as in '{\"text\":\"hi\"}'; or give --text to send it as it is.",
        )
    })
}

fn unreachable(endpoint: &Endpoint, error: &reqwest::Error) -> Problem {
    let cause = std::iter::successors(std::error::Error::source(error), |error| error.source()).last();
    let cause = cause.map_or_else(|| error.to_string(), ToString::to_string);
    if let Some(refused) = trust::refused(&cause) {
        return refused;
    }
    Problem::new(
        format!("{endpoint} did not answer: {cause}"),
        "Start the server with `fanfare serve`, or name it with --url or FANFARE_URL.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_json_unless_it_is_said_to_be_text() {
        assert_eq!(data("{\"a\":1.0}", false).unwrap().get(), "{\"a\":1.0}");
        assert_eq!(data("hi \"there\"", true).unwrap().get(), "\"hi \\\"there\\\"\"");
        assert!(data("hi", false).unwrap_err().remedy.contains("--text"));
    }
}
