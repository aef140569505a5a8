//! Requests for streams and polls that may fail at any time, which is no failure of the test.

use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response};
use serde_json::Value;
use tokio::time::timeout;

use super::{
    links::{Lost, SILENCE},
    stage::Stage,
};
use crate::harness::streams::EventStream;

/// A stream that is silent for longer is taken for dead: a gateway sends a comment every 15 s.
const STREAM_SILENCE: Duration = Duration::from_secs(25);

/// A stream of server-sent events.
pub struct Stream(EventStream);

impl Stream {
    /// Opens a stream at a gateway; the query begins with `channel=`.
    pub async fn open(stage: &Stage, gateway: &str, query: &str, last_id: Option<&str>) -> Result<Self, Lost> {
        let request = request(stage, gateway, &format!("/v1/sse?{query}"));
        let request = last_id.into_iter().fold(request, |request, id| request.header("last-event-id", id));
        Ok(Self(EventStream::new(answered(request, SILENCE).await?)))
    }

    /// The next event. A browser's `EventSource` stays when it hears of a `reconnect`, and comes back when the stream has ended.
    pub async fn event(&mut self) -> Result<Value, Lost> {
        loop {
            let next = self.0.next_within(STREAM_SILENCE).await.map_err(|_| Lost::Away)?;
            let event = next.ok_or(Lost::Away)?;
            if event.data["op"] != event.event.as_str() {
                return Err(Lost::Refused(format!("an event has another type than what it carries: {event:?}")));
            }
            match (event.event.as_str(), event.data["error"]["code"].as_str()) {
                ("reconnect", _) => {}
                ("error", Some("draining" | "unavailable" | "no_pong" | "slow_consumer")) => return Err(Lost::Away),
                ("error", _) => return Err(Lost::Refused(format!("a stream ended with {event:?}"))),
                _ => return Ok(event.data),
            }
        }
    }

    /// What a browser would bring back.
    pub fn last_id(&self) -> &str {
        &self.0.last_id
    }
}

/// Polls at a gateway; the messages and the cursor.
pub async fn poll(stage: &Stage, gateway: &str, query: &str, wait: Duration) -> Result<(Vec<Value>, String), Lost> {
    let request = request(stage, gateway, &format!("/v1/poll?{query}&wait_ms={}", wait.as_millis()));
    let response = answered(request, wait + SILENCE).await?;
    let text = timeout(SILENCE, response.text()).await.map_err(|_| Lost::Away)?.map_err(|_| Lost::Away)?;
    let refused = || Lost::Refused(format!("a poll was answered {text}"));
    let mut page: Value = serde_json::from_str(&text).map_err(|_| refused())?;
    let cursor = page["cursor"].as_str().ok_or_else(refused)?.to_owned();
    match page["messages"].take() {
        Value::Array(messages) => Ok((messages, cursor)),
        _ => Err(refused()),
    }
}

fn request(stage: &Stage, gateway: &str, path: &str) -> RequestBuilder {
    stage.tenant.at(gateway).request(Method::GET, path).bearer_auth(&stage.token)
}

async fn answered(request: RequestBuilder, patience: Duration) -> Result<Response, Lost> {
    let response = timeout(patience, request.send()).await.map_err(|_| Lost::Away)?.map_err(|_| Lost::Away)?;
    match response.status().as_u16() {
        200 => Ok(response),
        408 | 503 => Err(Lost::Away),
        status => {
            let text = timeout(SILENCE, response.text()).await;
            Err(Lost::Refused(format!("a stream or a poll was answered {status}: {text:?}")))
        }
    }
}
