//! What a scenario needs of a tenant: signing up, publishing, and following a channel.

use std::{
    net::SocketAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, Utf8Bytes},
};

/// What went wrong, in words.
pub type Problem = String;

/// A tenant of this run's own.
#[derive(Clone)]
pub struct Tenant {
    url: String,
    /// The session that signed up.
    session: String,
    /// The address of the app in the control plane.
    app: String,
    credential: String,
    http: Client,
}

/// A client's socket.
pub struct Follower {
    socket: WebSocketStream<TcpStream>,
    asked: u32,
}

fn said(problem: impl std::fmt::Display) -> Problem {
    problem.to_string()
}

impl Tenant {
    /// Signs up and makes an app with a key.
    ///
    /// # Errors
    /// The server is away, or lets nobody sign up.
    pub async fn sign_up(url: &str, name: &str) -> Result<Self, Problem> {
        let http = Client::builder().no_proxy().build().map_err(said)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(said)?.as_nanos();
        let account =
            json!({"email": format!("{name}-{now}@example.com"), "password": format!("bench {now}"), "tenant": name});
        let signed = created(http.post(format!("{url}/v1/signup")).json(&account)).await?;
        let (session, tenant) = (text(&signed["session"])?, text(&signed["tenant"]["id"])?);
        let apps = format!("{url}/v1/tenants/{tenant}/apps");
        let app = created(http.post(apps).bearer_auth(&session).json(&json!({"name": name}))).await?;
        let app = format!("{url}/v1/apps/{}", text(&app["id"])?);
        let key = created(http.post(format!("{app}/keys")).bearer_auth(&session).json(&json!({"name": name}))).await?;
        let credential = format!("{}.{}", text(&key["id"])?, text(&key["secret"])?);
        Ok(Self { url: url.to_owned(), session, app, credential, http })
    }

    /// The app's API key, `fk_….fs_…`.
    pub fn credential(&self) -> &str {
        &self.credential
    }

    /// Switches Pusher on; the app's number in Pusher's API.
    pub async fn switch_on_pusher(&self) -> Result<String, Problem> {
        let request = self.http.patch(&self.app).json(&json!({"pusher": true}));
        let app: Value = self.as_owner(request).await?;
        text(&app["pusher_app_id"])
    }

    /// Has no message kept, whatever it is published with.
    pub async fn keep_nothing(&self) -> Result<(), Problem> {
        let rule = json!({"public": false, "client_publish": true, "presence": true, "history": null});
        self.as_owner(self.http.put(format!("{}/rules/_default", self.app)).json(&rule)).await.map(drop)
    }

    async fn as_owner(&self, request: RequestBuilder) -> Result<Value, Problem> {
        let answer = request.bearer_auth(&self.session).send().await.map_err(said)?;
        let status = answer.status();
        let body: Value = answer.json().await.map_err(said)?;
        if status.is_success() { Ok(body) } else { Err(format!("the server answered {status}: {body}")) }
    }

    /// A tenant whose key is known already.
    #[cfg(test)]
    pub fn known(url: &str, credential: &str) -> Self {
        // Fails only where one is there already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (url, credential) = (url.to_owned(), credential.to_owned());
        Self { url, session: String::new(), app: String::new(), credential, http: Client::new() }
    }

    /// Publishes one message; the status of the answer.
    pub async fn publish(&self, channel: &str, data: &Value) -> Result<StatusCode, Problem> {
        let address = format!("{}/v1/channels/{channel}/messages", self.url);
        self.post(&address, &json!({"data": data})).await
    }

    /// Publishes a batch, ready in its body, which costs the client little; the status of the answer.
    pub async fn publish_batch(&self, body: Bytes) -> Result<StatusCode, Problem> {
        let request = self.http.post(format!("{}/v1/messages", self.url)).header("content-type", "application/json");
        self.answered(request.body(body)).await
    }

    async fn post(&self, address: &str, body: &Value) -> Result<StatusCode, Problem> {
        self.answered(self.http.post(address).json(body)).await
    }

    async fn answered(&self, request: RequestBuilder) -> Result<StatusCode, Problem> {
        let answer = request.bearer_auth(&self.credential).send().await.map_err(said)?;
        let status = answer.status();
        // Read, so that the connection is used again.
        answer.bytes().await.map_err(said)?;
        Ok(status)
    }

    /// Publishes a message without history; it must be taken.
    pub async fn publish_ephemeral(&self, channel: &str, data: &Value) -> Result<(), Problem> {
        let address = format!("{}/v1/channels/{channel}/messages", self.url);
        taken(self.post(&address, &json!({"data": data, "ephemeral": true})).await?)
    }

    /// Publishes a batch to one channel, as often as it takes under the tenant's rate.
    pub async fn publish_in_full(&self, channel: &str, all: &[Value]) -> Result<(), Problem> {
        let items: Vec<_> = all.iter().map(|data| json!({"channel": channel, "data": data})).collect();
        let body = json!({"messages": items});
        loop {
            match self.post(&format!("{}/v1/messages", self.url), &body).await? {
                StatusCode::TOO_MANY_REQUESTS => tokio::time::sleep(Duration::from_millis(100)).await,
                status => return taken(status),
            }
        }
    }

    /// A token with which clients follow and read any channel.
    pub async fn token(&self) -> Result<String, Problem> {
        let asked = json!({"client": "bench", "cap": {"*": ["subscribe", "history"]}, "ttl_s": 3_600});
        let tokens = format!("{}/v1/tokens", self.url);
        let minted = created(self.http.post(tokens).bearer_auth(&self.credential).json(&asked)).await?;
        text(&minted["token"])
    }

    /// Connects a client and subscribes it to a channel.
    pub async fn follow(&self, channel: &str) -> Result<Follower, Problem> {
        let mut follower = self.connect(&self.token().await?).await?;
        follower.subscribe(channel).await?;
        Ok(follower)
    }

    /// A client's request for what is at a path.
    pub fn get(&self, path: &str, token: &str) -> RequestBuilder {
        self.http.get(format!("{}{path}", self.url)).bearer_auth(token)
    }

    /// Connects a client.
    pub async fn connect(&self, token: &str) -> Result<Follower, Problem> {
        let tcp = TcpStream::connect(self.authority()).await.map_err(said)?;
        tcp.set_nodelay(true).map_err(said)?;
        self.connect_over(tcp, token).await
    }

    /// The same and subscribes it, over a connection whose receiving end holds next to nothing.
    pub async fn follow_narrowly(&self, token: &str, channel: &str) -> Result<Follower, Problem> {
        let socket = TcpSocket::new_v4().map_err(said)?;
        socket.set_recv_buffer_size(4 * 1024).map_err(said)?;
        let address = lookup_host(self.authority()).await.map_err(said)?.find(SocketAddr::is_ipv4);
        let tcp = socket.connect(address.ok_or("the server has no IPv4 address")?).await.map_err(said)?;
        let mut follower = self.connect_over(tcp, token).await?;
        follower.subscribe(channel).await?;
        Ok(follower)
    }

    /// The server's host and port.
    pub fn authority(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    async fn connect_over(&self, tcp: TcpStream, token: &str) -> Result<Follower, Problem> {
        let address = format!("ws://{}/v1/connect", self.authority());
        let (socket, _) = client_async(address, tcp).await.map_err(said)?;
        let mut follower = Follower { socket, asked: 0 };
        follower.ask(json!({"op": "connect", "token": token})).await?;
        Ok(follower)
    }
}

impl Follower {
    async fn ask(&mut self, mut request: Value) -> Result<Value, Problem> {
        self.asked += 1;
        request["id"] = json!(self.asked);
        self.socket.send(Message::text(request.to_string())).await.map_err(said)?;
        loop {
            let mut answer = next_json(&mut self.socket).await?;
            if answer["op"] == "ping" {
                self.pong().await?;
            } else if answer["id"] != request["id"] || answer["ok"].is_null() {
                return Err(format!("the server answered {answer}"));
            } else {
                return Ok(answer["ok"].take());
            }
        }
    }

    /// Follows a channel from its head.
    pub async fn subscribe(&mut self, channel: &str) -> Result<Value, Problem> {
        self.ask(json!({"op": "subscribe", "channel": channel})).await
    }

    /// Follows a channel after a serial of its present epoch.
    pub async fn resume(&mut self, channel: &str, serial: u64) -> Result<(), Problem> {
        let epoch = self.epoch(channel).await?;
        self.come_back(channel, &epoch, serial).await
    }

    /// A channel's present epoch.
    pub async fn epoch(&mut self, channel: &str) -> Result<String, Problem> {
        let head = self.subscribe(channel).await?;
        self.unsubscribe(channel).await?;
        text(&head["epoch"])
    }

    /// Follows a channel no longer.
    pub async fn unsubscribe(&mut self, channel: &str) -> Result<(), Problem> {
        self.ask(json!({"op": "unsubscribe", "channel": channel})).await.map(drop)
    }

    /// Follows a channel after a position.
    pub async fn come_back(&mut self, channel: &str, epoch: &str, serial: u64) -> Result<(), Problem> {
        let since = json!({"epoch": epoch, "serial": serial});
        let resumed = self.ask(json!({"op": "subscribe", "channel": channel, "since": since})).await?;
        if resumed["resumed"] == true { Ok(()) } else { Err(format!("the server answered {resumed}")) }
    }

    /// Takes whatever comes next and does not look at it; pings are answered.
    pub async fn skip(&mut self) -> Result<(), Problem> {
        match self.socket.next().await {
            Some(Ok(Message::Text(text))) if text.contains("\"op\":\"ping\"") => self.pong().await,
            Some(Ok(_)) => Ok(()),
            Some(Err(error)) => Err(error.to_string()),
            None => Err("the connection ended".to_owned()),
        }
    }

    /// The data of the next message.
    pub async fn next(&mut self) -> Result<Value, Problem> {
        loop {
            let mut event = next_json(&mut self.socket).await?;
            match event["op"].as_str() {
                Some("message") => return Ok(event["data"].take()),
                Some("ping") => self.pong().await?,
                _ => {}
            }
        }
    }

    /// The serial of the next message, of which nothing else is looked at.
    pub async fn next_serial(&mut self) -> Result<u64, Problem> {
        self.next_number("serial").await
    }

    /// The next number that a message has in a field of that name, at any depth.
    pub async fn next_number(&mut self, field: &str) -> Result<u64, Problem> {
        let field = format!("\"{field}\":");
        loop {
            let text = next_text(&mut self.socket).await?;
            if let Some((_, rest)) = text.split_once(&field) {
                let digits = rest.find(|c: char| !c.is_ascii_digit()).map_or(rest, |end| &rest[..end]);
                return digits.parse().map_err(said);
            }
            if text.contains("\"op\":\"ping\"") {
                self.pong().await?;
            }
        }
    }

    async fn pong(&mut self) -> Result<(), Problem> {
        let pong = json!({"op": "pong"}).to_string();
        self.socket.send(Message::text(pong)).await.map_err(said)
    }
}

fn taken(status: StatusCode) -> Result<(), Problem> {
    if status.is_success() { Ok(()) } else { Err(format!("a publish was answered {status}")) }
}

async fn next_json(socket: &mut WebSocketStream<TcpStream>) -> Result<Value, Problem> {
    serde_json::from_str(&next_text(socket).await?).map_err(said)
}

async fn next_text(socket: &mut WebSocketStream<TcpStream>) -> Result<Utf8Bytes, Problem> {
    loop {
        match socket.next().await {
            Some(Ok(Message::Text(text))) => return Ok(text),
            Some(Ok(Message::Close(frame))) => return Err(format!("the server closed: {frame:?}")),
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(error.to_string()),
            None => return Err("the connection ended".to_owned()),
        }
    }
}

async fn created(request: reqwest::RequestBuilder) -> Result<Value, Problem> {
    let answer = request.timeout(Duration::from_secs(30)).send().await.map_err(said)?;
    let status = answer.status();
    let body: Value = answer.json().await.map_err(said)?;
    if status == StatusCode::CREATED { Ok(body) } else { Err(format!("the server answered {status}: {body}")) }
}

fn text(value: &Value) -> Result<String, Problem> {
    value.as_str().map(str::to_owned).ok_or_else(|| "an answer lacks a field".to_owned())
}
