//! A socket of the client protocol that may be lost at any time, which is no failure of the test.

use std::{collections::VecDeque, time::Duration};

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};

/// How often a gateway pings here.
pub const PING: Duration = Duration::from_secs(2);
/// A socket that is silent for longer is taken for dead: a gateway pings in less.
pub const SILENCE: Duration = Duration::from_secs(6);

/// Why there is no socket any more.
#[derive(Debug)]
pub enum Lost {
    /// The other end is away, or asked to come again: that is what clients are made for.
    Away,
    /// The other end said what a client that did nothing wrong may never hear.
    Refused(String),
}

/// A connected socket.
pub struct Link {
    /// What `connect` was answered.
    pub connected: Value,
    stream: WebSocketStream<TcpStream>,
    unread: VecDeque<Value>,
    next_id: u32,
    /// How long it may be silent.
    patience: Duration,
}

impl Link {
    /// Connects with a token.
    pub async fn connect(url: &str, token: &str) -> Result<Self, Lost> {
        Self::connect_patiently(url, token, SILENCE).await
    }

    /// The same, where a gateway may be silent for so long.
    pub async fn connect_patiently(url: &str, token: &str, patience: Duration) -> Result<Self, Lost> {
        let authority = url.trim_start_matches("http://");
        let opened = timeout(patience, async {
            let tcp = TcpStream::connect(authority).await.map_err(|_| Lost::Away)?;
            let handshake = client_async(format!("ws://{authority}/v1/connect"), tcp).await;
            handshake.map(|(stream, _)| stream).map_err(|_| Lost::Away)
        });
        let stream = opened.await.map_err(|_| Lost::Away)??;
        let mut link = Self { connected: Value::Null, stream, unread: VecDeque::new(), next_id: 1, patience };
        link.connected = link.ask(json!({"op": "connect", "token": token})).await?;
        Ok(link)
    }

    /// Sends a request and gives its `ok`. Where a part of the service is away, so is the link.
    pub async fn ask(&mut self, request: Value) -> Result<Value, Lost> {
        let answer = self.answer(request.clone()).await?;
        match answer["error"]["code"].as_str() {
            None => Ok(answer["ok"].clone()),
            Some("unavailable" | "unconfirmed" | "backlog_full") => Err(Lost::Away),
            Some(_) => Err(Lost::Refused(format!("{request} was answered {answer}"))),
        }
    }

    /// Sends a request and gives its answer, whatever it is.
    pub async fn answer(&mut self, mut request: Value) -> Result<Value, Lost> {
        let id = self.next_id;
        self.next_id += 1;
        request["id"] = json!(id);
        self.send(&request).await?;
        loop {
            let said = self.receive().await?;
            if said["id"] == id {
                return Ok(said);
            }
            self.unread.push_back(said);
        }
    }

    /// The next event.
    pub async fn event(&mut self) -> Result<Value, Lost> {
        match self.unread.pop_front() {
            Some(event) => Ok(event),
            None => self.receive().await,
        }
    }

    async fn send(&mut self, frame: &Value) -> Result<(), Lost> {
        let sent = timeout(self.patience, self.stream.send(Message::text(frame.to_string()))).await;
        sent.map_err(|_| Lost::Away)?.map_err(|_| Lost::Away)
    }

    /// The next frame that is no ping.
    async fn receive(&mut self) -> Result<Value, Lost> {
        loop {
            let Ok(Some(Ok(message))) = timeout(self.patience, self.stream.next()).await else {
                return Err(Lost::Away);
            };
            match message {
                Message::Text(text) => {
                    let said: Value = serde_json::from_str(&text)
                        .map_err(|error| Lost::Refused(format!("a frame is no JSON: {error}")))?;
                    if said["op"] != "ping" {
                        return Ok(said);
                    }
                    self.send(&json!({"op": "pong"})).await?;
                }
                Message::Close(Some(close)) if (4000..4100).contains(&u16::from(close.code)) => {
                    return Err(Lost::Refused(format!("the socket was closed with {}: {}", close.code, close.reason)));
                }
                Message::Close(_) => return Err(Lost::Away),
                _ => {}
            }
        }
    }
}
