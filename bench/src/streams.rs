//! Clients of the transports over HTTP, which follow one channel after a cursor.

use reqwest::{RequestBuilder, Response};
use serde_json::Value;

use crate::clients::{Problem, Tenant};

/// A stream of server-sent events.
pub struct Stream {
    response: Response,
    text: Vec<u8>,
    /// Where the part of the text begins that was not looked at.
    read: usize,
}

impl Tenant {
    /// The cursor of a channel's head.
    pub async fn cursor(&self, token: &str, channel: &str) -> Result<String, Problem> {
        self.poll(token, channel, "").await.map(|(_, cursor)| cursor)
    }

    /// Polls; the messages' data and the next cursor.
    pub async fn poll(&self, token: &str, channel: &str, cursor: &str) -> Result<(Vec<Value>, String), Problem> {
        let answered = answered(self.get(&format!("/v1/poll?channel={channel}&cursor={cursor}"), token)).await?;
        let mut page: Value = answered.json().await.map_err(said)?;
        let cursor = page["cursor"].as_str().ok_or_else(|| format!("the server answered {page}"))?.to_owned();
        let messages = page["messages"].as_array_mut().map(std::mem::take).unwrap_or_default();
        Ok((messages.into_iter().map(|mut message| message["data"].take()).collect(), cursor))
    }

    /// Opens a stream.
    pub async fn stream(&self, token: &str, channel: &str, cursor: &str) -> Result<Stream, Problem> {
        let response = answered(self.get(&format!("/v1/sse?channel={channel}&cursor={cursor}"), token)).await?;
        Ok(Stream { response, text: Vec::new(), read: 0 })
    }
}

impl Stream {
    /// The data of the next message.
    pub async fn next(&mut self) -> Result<Value, Problem> {
        loop {
            let line = self.line().await?;
            let Some(data) = line.strip_prefix(b"data: ") else { continue };
            let mut event: Value = serde_json::from_slice(data).map_err(said)?;
            match event["op"].as_str() {
                Some("message") => return Ok(event["data"].take()),
                Some("error") => return Err(format!("the stream ended: {event}")),
                _ => {}
            }
        }
    }

    async fn line(&mut self) -> Result<Vec<u8>, Problem> {
        loop {
            if let Some(length) = self.text[self.read..].iter().position(|byte| *byte == b'\n') {
                let line = self.text[self.read..self.read + length].to_vec();
                self.read += length + 1;
                return Ok(line);
            }
            self.text.drain(..std::mem::take(&mut self.read));
            let chunk = self.response.chunk().await.map_err(said)?.ok_or("the stream ended")?;
            self.text.extend_from_slice(&chunk);
        }
    }
}

async fn answered(request: RequestBuilder) -> Result<Response, Problem> {
    let response = request.send().await.map_err(said)?;
    match response.status().as_u16() {
        200 => Ok(response),
        status => Err(format!("the server answered {status}: {}", response.text().await.unwrap_or_default())),
    }
}

fn said(problem: impl std::fmt::Display) -> Problem {
    problem.to_string()
}
