//! Clients of the transports over HTTP: a reader of server-sent events, and one that polls.

use std::{collections::VecDeque, time::Duration};

use reqwest::{Method, Response, StatusCode};
use serde_json::Value;
use tokio::time::{error::Elapsed, timeout};

use super::{
    server::Server,
    sockets::PATIENCE,
    tenants::{Answer, Tenant},
    waiting::until,
};

/// An event as its stream had it.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamEvent {
    /// Its type.
    pub event: String,
    /// Its own id, if it had one.
    pub id: Option<String>,
    /// What it carries.
    pub data: Value,
}

/// A stream of events, read as a browser reads it.
pub struct EventStream {
    response: Response,
    text: Vec<u8>,
    lines: VecDeque<String>,
    /// What has come of an event that is not whole: its type, its id and its data.
    begun: (String, Option<String>, String),
    /// The id of the last event that had one and came whole: what a browser would send as `Last-Event-ID`.
    pub last_id: String,
    /// Every wait that was told, in milliseconds.
    pub retries: Vec<u64>,
    /// How many comments there were.
    pub comments: usize,
}

impl Tenant {
    /// Asks for a stream of events; the query begins with `channel=`.
    pub async fn stream(&self, token: &str, query: &str, last_id: Option<&str>) -> EventStream {
        let request = self.request(Method::GET, &format!("/v1/sse?{query}")).bearer_auth(token);
        let request = last_id.into_iter().fold(request, |request, id| request.header("last-event-id", id));
        let response = request.send().await.expect("the server answers");
        assert_eq!(response.status(), StatusCode::OK, "{:?}", response.text().await);
        EventStream::new(response)
    }

    /// Asks for a stream that is refused.
    pub async fn refused_stream(&self, token: &str, query: &str) -> Answer {
        Answer::of(self.request(Method::GET, &format!("/v1/sse?{query}")).bearer_auth(token)).await
    }

    /// Polls.
    pub async fn poll(&self, token: &str, query: &str) -> Answer {
        Answer::of(self.request(Method::GET, &format!("/v1/poll?{query}")).bearer_auth(token)).await
    }

    /// Polls with success: the messages and the cursor.
    pub async fn polled(&self, token: &str, query: &str) -> (Vec<Value>, String) {
        let page = self.poll(token, query).await.expect(StatusCode::OK);
        let cursor = page["cursor"].as_str().expect("a cursor").to_owned();
        (page["messages"].as_array().expect("messages").clone(), cursor)
    }
}

impl EventStream {
    /// A stream that was answered.
    pub fn new(response: Response) -> Self {
        let (text, lines, begun, last_id) = Default::default();
        Self { response, text, lines, begun, last_id, retries: Vec::new(), comments: 0 }
    }

    /// A header of the answer.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name).and_then(|value| value.to_str().ok())
    }

    /// The next event; `None` at the end of the stream.
    pub async fn next(&mut self) -> Option<StreamEvent> {
        self.next_within(PATIENCE).await.unwrap_or_else(|_| panic!("nothing came for {PATIENCE:?}"))
    }

    /// The same, unless nothing at all comes for so long. Whoever gives up waiting loses nothing.
    pub async fn next_within(&mut self, silence: Duration) -> Result<Option<StreamEvent>, Elapsed> {
        while let Some(line) = self.line(silence).await? {
            let (event, id, data) = &mut self.begun;
            match line.split_once(": ").unwrap_or((&line, "")) {
                ("", "") if event.is_empty() => {}
                ("", "") => {
                    let (event, id, data) = std::mem::take(&mut self.begun);
                    let data = serde_json::from_str(&data).unwrap_or_else(|_| panic!("no JSON on one line: {data}"));
                    id.iter().for_each(|id| id.clone_into(&mut self.last_id));
                    return Ok(Some(StreamEvent { event, id, data }));
                }
                (":", "") => self.comments += 1,
                ("event", text) => text.clone_into(event),
                ("id", text) => *id = Some(text.to_owned()),
                ("data", text) => data.push_str(text),
                ("retry", text) => self.retries.push(text.parse().expect("a wait is a number")),
                other => panic!("no line of server-sent events: {other:?}"),
            }
        }
        Ok(None)
    }

    /// The next event, which must be of that type.
    pub async fn next_of(&mut self, event: &str) -> StreamEvent {
        let next = self.next().await.unwrap_or_else(|| panic!("the stream ended before `{event}`"));
        assert_eq!(next.event, event, "{next:?}");
        assert_eq!(next.data["op"], event, "{next:?}");
        next
    }

    /// Reads on until a comment has come, without an event before it.
    pub async fn until_comment(&mut self) {
        let before = self.comments;
        while self.comments == before {
            let line = self.line(PATIENCE).await.expect("a comment comes");
            match line.expect("the stream goes on").as_str() {
                ":" => self.comments += 1,
                "" => {}
                other => panic!("no comment: {other}"),
            }
        }
    }

    /// The next messages of one channel, which must be these serials in order.
    pub async fn serials(&mut self, serials: std::ops::RangeInclusive<u64>) {
        for serial in serials {
            assert_eq!(self.next_of("message").await.data["serial"], serial);
        }
    }

    /// Everything up to the end.
    pub async fn ended(&mut self) -> Vec<StreamEvent> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event);
        }
        events
    }

    async fn line(&mut self, silence: Duration) -> Result<Option<String>, Elapsed> {
        while self.lines.is_empty() {
            // A stream that is cut off ends like one that is over.
            let Ok(Some(chunk)) = timeout(silence, self.response.chunk()).await? else { return Ok(None) };
            self.text.extend_from_slice(&chunk);
            while let Some(end) = self.text.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.text.drain(..=end).collect();
                self.lines.push_back(String::from_utf8(line).expect("events are text").trim_end().to_owned());
            }
        }
        Ok(self.lines.pop_front())
    }
}

/// Waits until so many polls in all have been let in, and something is subscribed: where nothing else is, the last of them waits.
pub async fn polls_are_in(server: &Server, count: u64) {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client can be built");
    let url = format!("{}/metrics", server.ops_url());
    until("the polls are let in", async || {
        let text = Answer::of(client.get(&url)).await.text;
        let row = r#"fanfare_connections_opened_total{transport="poll"} "#;
        let begun = text.lines().find_map(|line| line.strip_prefix(row))?;
        let is_subscribed =
            text.lines().any(|line| line.starts_with("fanfare_subscriptions ") && !line.ends_with(" 0"));
        (begun.parse::<u64>().expect("a count") >= count && is_subscribed).then_some(())
    })
    .await;
}

/// The serials of objects.
pub fn serials(messages: &[Value]) -> Vec<u64> {
    messages.iter().filter_map(|message| message["serial"].as_u64()).collect()
}
