//! A client of Pusher's protocol that says what it received, and an app's backend that signs for it.

use std::collections::VecDeque;

use fanfare_domain::pusher::signature;
use futures::{SinkExt, StreamExt};
use reqwest::{Method, StatusCode};
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest, http::HeaderValue},
};

use super::{
    server::{Options, Server},
    sockets::{PATIENCE, Received},
    tenants::Tenant,
};

/// A server with a tenant whose app speaks Pusher.
pub async fn start() -> (Server, Tenant) {
    start_with(Options::default()).await
}

/// The same, started otherwise.
pub async fn start_with(options: Options) -> (Server, Tenant) {
    let server = Server::start(options).await;
    let tenant = Tenant::sign_up(&server).await;
    switch(&tenant, json!({"pusher": true})).await;
    (server, tenant)
}

/// Changes the app; the app as it is then.
pub async fn switch(tenant: &Tenant, change: Value) -> Value {
    tenant.control(Method::PATCH, &format!("/v1/apps/{}", tenant.app), change).await.expect(StatusCode::OK)
}

/// `KEY:SIGNATURE` of some text by the tenant's key.
pub fn auth(tenant: &Tenant, text: &str) -> String {
    format!("{}:{}", tenant.key, signature(&SecretString::from(tenant.secret.as_str()), text.as_bytes()))
}

/// A Pusher client. Pings are answered as they are read.
pub struct PusherSocket {
    stream: WebSocketStream<TcpStream>,
    unread: VecDeque<Value>,
    /// Its id; empty until the connection is established.
    pub socket_id: String,
    /// What the server told as the connection was established.
    pub established: Value,
}

impl PusherSocket {
    /// A handshake at a path, with nothing read yet.
    pub async fn open_at(url: &str, path: &str, origin: Option<&str>) -> Self {
        let authority = url.split_once("://").map_or(url, |(_, rest)| rest);
        let tcp = TcpStream::connect(authority).await.expect("the server listens");
        tcp.set_nodelay(true).expect("a TCP stream can be tuned");
        let mut request = format!("ws://{authority}{path}").into_client_request().expect("the address is one");
        if let Some(origin) = origin {
            let value = HeaderValue::from_str(origin).expect("an origin fits into a header");
            request.headers_mut().insert("origin", value);
        }
        let (stream, _) = client_async(request, tcp).await.expect("the handshake is answered");
        Self { stream, unread: VecDeque::new(), socket_id: String::new(), established: Value::Null }
    }

    /// A connection that is established.
    pub async fn connect(url: &str, key: &str) -> Self {
        let path = format!("/app/{key}?protocol=7&client=test&version=1.0&flash=false");
        Self::open_at(url, &path, None).await.established().await
    }

    /// Waits until the connection is established.
    pub async fn established(mut self) -> Self {
        let first = self.event().await;
        assert_eq!(first["event"], "pusher:connection_established", "{first}");
        self.established = data(&first);
        self.socket_id = self.established["socket_id"].as_str().expect("a text").to_owned();
        self
    }

    /// Sends a text frame as it is.
    pub async fn send_text(&mut self, text: impl Into<String>) {
        self.stream.send(Message::text(text.into())).await.expect("the frame is sent");
    }

    /// Sends a binary frame.
    pub async fn send_binary(&mut self, bytes: &[u8]) {
        self.stream.send(Message::binary(bytes.to_vec())).await.expect("the frame is sent");
    }

    /// Sends an event of the protocol.
    pub async fn say(&mut self, event: &str, data: Value) {
        self.send_text(json!({"event": event, "data": data}).to_string()).await;
    }

    /// Sends a client event.
    pub async fn trigger(&mut self, channel: &str, event: &str, data: Value) {
        self.send_text(json!({"event": event, "channel": channel, "data": data}).to_string()).await;
    }

    /// Asks for a channel that needs no signature, and gives what the server says of it.
    pub async fn subscribe(&mut self, channel: &str) -> Value {
        self.ask(channel, json!({"channel": channel, "auth": ""})).await
    }

    /// Asks for a channel as the tenant's backend signed it.
    pub async fn subscribe_signed(&mut self, tenant: &Tenant, channel: &str, channel_data: Option<&str>) -> Value {
        let text = match channel_data {
            Some(data) => format!("{}:{channel}:{data}", self.socket_id),
            None => format!("{}:{channel}", self.socket_id),
        };
        let mut wanted = json!({"channel": channel, "auth": auth(tenant, &text)});
        if let Some(data) = channel_data {
            wanted["channel_data"] = data.into();
        }
        self.ask(channel, wanted).await
    }

    /// Joins a presence channel as a user; its members as the server tells them.
    pub async fn join(&mut self, tenant: &Tenant, channel: &str, user: &str) -> Value {
        let channel_data = json!({"user_id": user, "user_info": {"name": user}}).to_string();
        let said = self.subscribe_signed(tenant, channel, Some(&channel_data)).await;
        assert_eq!(said["event"], "pusher_internal:subscription_succeeded", "{said}");
        data(&said)["presence"].clone()
    }

    async fn ask(&mut self, channel: &str, wanted: Value) -> Value {
        self.say("pusher:subscribe", wanted).await;
        self.event_where(|said| {
            said["channel"] == channel
                && ["pusher_internal:subscription_succeeded", "pusher:subscription_error"]
                    .iter()
                    .any(|event| said["event"] == *event)
        })
        .await
    }

    /// Signs in as a user that the tenant's backend signed; what the server says.
    pub async fn sign_in(&mut self, tenant: &Tenant, user_data: &str) -> Value {
        let auth = auth(tenant, &format!("{}::user::{user_data}", self.socket_id));
        self.say("pusher:signin", json!({"auth": auth, "user_data": user_data})).await;
        self.event_where(|said| said["event"] == "pusher:signin_success" || said["event"] == "pusher:error").await
    }

    /// What comes next.
    pub async fn event(&mut self) -> Value {
        if let Some(unread) = self.unread.pop_front() {
            return unread;
        }
        match self.receive().await {
            Received::Json(event) => event,
            end => panic!("an event was expected: {end:?}"),
        }
    }

    /// The next event of a name; what comes before it stays unread.
    pub async fn event_of(&mut self, name: &str) -> Value {
        self.event_where(|said| said["event"] == name).await
    }

    /// The next event that is as wanted; what comes before it stays unread.
    pub async fn event_where(&mut self, is_wanted: impl Fn(&Value) -> bool) -> Value {
        if let Some(at) = self.unread.iter().position(&is_wanted) {
            return self.unread.remove(at).expect("it is there");
        }
        loop {
            match self.receive().await {
                Received::Json(event) if is_wanted(&event) => return event,
                Received::Json(event) => self.unread.push_back(event),
                end => panic!("an event was expected: {end:?}; unread: {:?}", self.unread),
            }
        }
    }

    /// Everything up to the answer to a ping that is sent now: what the server says of itself before that has been said.
    pub async fn until_now(&mut self) -> Vec<Value> {
        self.say("pusher:ping", json!({})).await;
        let mut events = Vec::from(std::mem::take(&mut self.unread));
        loop {
            match self.receive().await {
                Received::Json(event) if event["event"] == "pusher:pong" => return events,
                Received::Json(event) => events.push(event),
                end => panic!("an answer was expected: {end:?}"),
            }
        }
    }

    /// The code and the reason that the connection is closed with.
    pub async fn closed(&mut self) -> (u16, String) {
        loop {
            match self.receive().await {
                Received::Json(_) => {}
                Received::Close(code, reason) => return (code, reason),
                Received::Lost => panic!("the connection was lost without a close"),
            }
        }
    }

    /// What comes next from the wire.
    pub async fn receive(&mut self) -> Received {
        let received = tokio::time::timeout(PATIENCE, async {
            loop {
                match self.stream.next().await {
                    Some(Ok(Message::Text(text))) => {
                        let event: Value = serde_json::from_str(&text).expect("every frame is JSON");
                        if event["event"] == "pusher:ping" {
                            self.say("pusher:pong", json!({})).await;
                        }
                        return Received::Json(event);
                    }
                    Some(Ok(Message::Close(Some(close)))) => {
                        return Received::Close(close.code.into(), close.reason.to_string());
                    }
                    Some(Ok(Message::Close(None))) | None | Some(Err(_)) => return Received::Lost,
                    Some(Ok(_)) => {}
                }
            }
        });
        received.await.unwrap_or_else(|_| panic!("nothing came for {PATIENCE:?}; unread: {:?}", self.unread))
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

/// What an event's string of data holds.
pub fn data(event: &Value) -> Value {
    let text = event["data"].as_str().unwrap_or_else(|| panic!("`data` is no string: {event}"));
    serde_json::from_str(text).unwrap_or_else(|_| panic!("`data` holds no JSON: {event}"))
}
