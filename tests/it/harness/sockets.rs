//! A client of the WebSocket protocol that says what it received.

use std::{collections::VecDeque, time::Duration};

use fanfare::tls::Stream;
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest, http::HeaderValue},
};

use super::authority::Authority;

/// How long a test waits for something that should come at once.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// What a socket received.
#[derive(Debug, Clone, PartialEq)]
pub enum Received {
    /// A text frame that holds JSON.
    Json(Value),
    /// A close frame: its code and reason.
    Close(u16, String),
    /// The end of the connection without a close frame.
    Lost,
}

/// A socket of the client protocol. Pings are answered as they are read.
pub struct Socket {
    stream: WebSocketStream<Stream>,
    unread: VecDeque<Value>,
    next_id: u32,
    recording: Option<Recording>,
    /// The answer to `connect`.
    pub connected: Value,
}

/// Every text frame of a socket, both ways, in order.
#[derive(Debug, Clone, Default)]
pub struct Recording {
    /// What the client sent.
    pub sent: Vec<String>,
    /// What the server sent.
    pub received: Vec<String>,
}

impl Socket {
    /// A socket that has not sent `connect`.
    pub async fn open(url: &str) -> Self {
        Self::open_with(url, None).await
    }

    /// The same, with a bearer token in the handshake.
    pub async fn open_with(url: &str, bearer: Option<&str>) -> Self {
        let tcp = TcpStream::connect(authority(url)).await.expect("the server listens");
        tcp.set_nodelay(true).expect("a TCP stream can be tuned");
        Self::over(tcp, url, bearer, None).await
    }

    /// A socket of a web page, as its browser opens it.
    pub async fn open_from(url: &str, origin: &str) -> Self {
        let tcp = TcpStream::connect(authority(url)).await.expect("the server listens");
        Self::over(tcp, url, None, Some(origin)).await
    }

    /// The same, with a receive buffer that holds next to nothing: what is not read soon waits at the server.
    pub async fn open_narrow(url: &str) -> Self {
        let tcp = tokio::net::TcpSocket::new_v4().expect("a socket can be made");
        tcp.set_recv_buffer_size(4 * 1024).expect("a buffer can be small");
        let tcp =
            tcp.connect(authority(url).parse().expect("the URL names an address")).await.expect("the server listens");
        Self::over(tcp, url, None, None).await
    }

    /// A socket over TLS that has connected with a token.
    pub async fn connect_tls(authority: &Authority, url: &str, token: &str) -> Self {
        let stream = authority.connect(url, &["http/1.1"]).await.expect("the TLS handshake succeeds");
        let mut socket = Self::on(Stream::Tls(Box::new(stream.into())), url, None, None).await;
        socket.connected = socket.ask(json!({"op": "connect", "token": token})).await;
        socket
    }

    async fn over(tcp: TcpStream, url: &str, bearer: Option<&str>, origin: Option<&str>) -> Self {
        Self::on(Stream::Plain(tcp), url, bearer, origin).await
    }

    async fn on(stream: Stream, url: &str, bearer: Option<&str>, origin: Option<&str>) -> Self {
        let address = format!("ws://{}/v1/connect", authority(url));
        let mut request = address.into_client_request().expect("the address is one");
        if let Some(token) = bearer {
            let value = HeaderValue::from_str(&format!("Bearer {token}")).expect("a token fits into a header");
            request.headers_mut().insert("authorization", value);
        }
        if let Some(origin) = origin {
            request
                .headers_mut()
                .insert("origin", HeaderValue::from_str(origin).expect("an origin fits into a header"));
        }
        let (stream, _) = client_async(request, stream).await.expect("the handshake is answered");
        Self { stream, unread: VecDeque::new(), next_id: 1, recording: None, connected: Value::Null }
    }

    /// Keeps every text frame from now on.
    pub fn record(&mut self) {
        self.recording = Some(Recording::default());
    }

    /// What was recorded.
    pub fn recording(&self) -> &Recording {
        self.recording.as_ref().expect("`record` was called")
    }

    /// A socket that has connected with a token.
    pub async fn connect(url: &str, token: &str) -> Self {
        let mut socket = Self::open(url).await;
        socket.connected = socket.ask(json!({"op": "connect", "token": token})).await;
        socket
    }

    /// A socket that has connected with a key's id.
    pub async fn connect_public(url: &str, key: &str) -> Self {
        let mut socket = Self::open(url).await;
        socket.connected = socket.ask(json!({"op": "connect", "key": key})).await;
        socket
    }

    /// Sends a text frame as it is.
    pub async fn send_text(&mut self, text: impl Into<String>) {
        let text = text.into();
        if let Some(recording) = &mut self.recording {
            recording.sent.push(text.clone());
        }
        self.stream.send(Message::text(text)).await.expect("the socket takes a frame");
    }

    /// Sends a binary frame.
    pub async fn send_binary(&mut self, bytes: &[u8]) {
        self.stream.send(Message::binary(bytes.to_vec())).await.expect("the socket takes a frame");
    }

    /// Sends a request and gives its id.
    pub async fn send(&mut self, mut request: Value) -> u32 {
        let id = self.next_id;
        self.next_id += 1;
        request["id"] = json!(id);
        self.send_text(request.to_string()).await;
        id
    }

    /// Sends requests in one write and gives their ids.
    pub async fn send_together(&mut self, requests: Vec<Value>) -> Vec<u32> {
        let mut ids = Vec::with_capacity(requests.len());
        for mut request in requests {
            request["id"] = json!(self.next_id);
            ids.push(self.next_id);
            self.next_id += 1;
            self.stream.feed(Message::text(request.to_string())).await.expect("the socket takes a frame");
        }
        self.stream.flush().await.expect("the socket takes frames");
        ids
    }

    /// Sends a request and waits for its answer, whatever it is: the object that holds `ok` or `error`.
    pub async fn answer(&mut self, request: Value) -> Value {
        let id = self.send(request).await;
        self.answer_to(id).await
    }

    /// Waits for the answer to a request.
    pub async fn answer_to(&mut self, id: u32) -> Value {
        let is_it = |value: &Value| value["id"] == id;
        if let Some(at) = self.unread.iter().position(is_it) {
            return self.unread.remove(at).expect("it was found there");
        }
        loop {
            match self.receive_said().await {
                Received::Json(value) if is_it(&value) => return value,
                Received::Json(value) => self.unread.push_back(value),
                end => panic!("the socket ended before the answer to {id}: {end:?}; unread: {:?}", self.unread),
            }
        }
    }

    /// Sends a request that must succeed and gives its `ok`.
    pub async fn ask(&mut self, request: Value) -> Value {
        let answer = self.answer(request.clone()).await;
        assert!(answer.get("ok").is_some(), "{request} was answered {answer}");
        answer["ok"].clone()
    }

    /// Sends a request that must fail and gives its error's code.
    pub async fn refused(&mut self, request: Value) -> String {
        let answer = self.answer(request.clone()).await;
        answer["error"]["code"].as_str().unwrap_or_else(|| panic!("{request} was answered {answer}")).to_owned()
    }

    /// Subscribes to a channel from its head.
    pub async fn subscribe(&mut self, channel: &str) -> Value {
        self.ask(json!({"op": "subscribe", "channel": channel})).await
    }

    /// Subscribes to a channel after a position.
    pub async fn resume(&mut self, channel: &str, epoch: &str, serial: u64) -> Value {
        self.ask(json!({"op": "subscribe", "channel": channel, "since": {"epoch": epoch, "serial": serial}})).await
    }

    /// The next event: anything that is no answer. Pings are answered and not shown.
    pub async fn event(&mut self) -> Value {
        let is_event = |value: &Value| value.get("op").is_some() && value["op"] != "ping";
        if let Some(at) = self.unread.iter().position(is_event) {
            return self.unread.remove(at).expect("it was found there");
        }
        loop {
            match self.receive_said().await {
                Received::Json(value) if is_event(&value) => return value,
                Received::Json(value) => self.unread.push_back(value),
                end => panic!("the socket ended before an event: {end:?}"),
            }
        }
    }

    /// The next event, which must have this `op`.
    pub async fn event_of(&mut self, op: &str) -> Value {
        let event = self.event().await;
        assert_eq!(event["op"], op, "{event}");
        event
    }

    /// The next `count` messages of a channel, which must be the next events.
    pub async fn messages(&mut self, count: usize) -> Vec<Value> {
        let mut messages = Vec::with_capacity(count);
        for _ in 0..count {
            messages.push(self.event_of("message").await);
        }
        messages
    }

    /// Reads to the end: the events before it, and the close.
    pub async fn closed(&mut self) -> (Vec<Value>, Received) {
        let mut events: Vec<_> = self.unread.drain(..).collect();
        loop {
            match self.receive().await {
                Received::Json(value) => events.push(value),
                end => return (events, end),
            }
        }
    }

    /// Reads to the end and gives the close code.
    pub async fn close_code(&mut self) -> u16 {
        match self.closed().await {
            (_, Received::Close(code, _)) => code,
            (events, end) => panic!("the socket ended with {end:?} after {events:?}"),
        }
    }

    /// What is unread, or else comes next.
    pub async fn next(&mut self) -> Received {
        match self.unread.pop_front() {
            Some(unread) => Received::Json(unread),
            None => self.receive().await,
        }
    }

    /// What comes next. Protocol pings are answered, WebSocket ones are not shown.
    pub async fn receive(&mut self) -> Received {
        let received = tokio::time::timeout(PATIENCE, self.receive_now()).await;
        received.unwrap_or_else(|_| panic!("nothing came for {PATIENCE:?}; unread: {:?}", self.unread))
    }

    /// What comes next besides protocol pings, which are left unread: a connection that only lives does not renew the patience.
    async fn receive_said(&mut self) -> Received {
        let said = tokio::time::timeout(PATIENCE, async {
            loop {
                match self.receive_now().await {
                    Received::Json(ping) if ping["op"] == "ping" => self.unread.push_back(ping),
                    said => return said,
                }
            }
        });
        said.await.unwrap_or_else(|_| panic!("nothing but pings came for {PATIENCE:?}; unread: {:?}", self.unread))
    }

    /// The next text frame as it came, for what a JSON value cannot hold. Nothing may be unread, and pings are not answered.
    pub async fn receive_text(&mut self) -> String {
        assert!(self.unread.is_empty(), "unread: {:?}", self.unread);
        match tokio::time::timeout(PATIENCE, self.stream.next()).await {
            Ok(Some(Ok(Message::Text(text)))) => text.to_string(),
            other => panic!("a text frame was expected: {other:?}"),
        }
    }

    async fn receive_now(&mut self) -> Received {
        loop {
            match self.stream.next().await {
                Some(Ok(Message::Text(text))) => {
                    if let Some(recording) = &mut self.recording {
                        recording.received.push(text.to_string());
                    }
                    let value: Value = serde_json::from_str(&text).expect("every frame is JSON");
                    if value["op"] == "ping" {
                        self.send_text(r#"{"op":"pong"}"#).await;
                    }
                    return Received::Json(value);
                }
                Some(Ok(Message::Close(Some(close)))) => {
                    return Received::Close(close.code.into(), close.reason.to_string());
                }
                Some(Ok(Message::Close(None))) | None | Some(Err(_)) => return Received::Lost,
                Some(Ok(_)) => {}
            }
        }
    }

    /// Answers the server's close and waits until the server has ended the connection.
    pub async fn ended(mut self) {
        let ended = async { while self.stream.next().await.is_some_and(|received| received.is_ok()) {} };
        tokio::time::timeout(PATIENCE, ended).await.expect("the server ends the connection");
    }

    /// Drops the TCP connection without a word.
    pub fn drop_connection(self) {
        drop(self);
    }

    /// Closes in good order.
    pub async fn close(mut self) {
        self.stream.close(None).await.expect("the close is taken");
    }
}

fn authority(url: &str) -> &str {
    url.split_once("://").map_or(url, |(_, rest)| rest)
}
