//! What a scenario needs of a tenant: signing up, publishing, and following a channel.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::{SinkExt, StreamExt};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async, tungstenite::Message};

/// What went wrong, in words.
pub type Problem = String;

/// A tenant of this run's own.
#[derive(Clone)]
pub struct Tenant {
    url: String,
    credential: String,
    http: Client,
}

/// A socket that follows one channel.
pub struct Follower(WebSocketStream<MaybeTlsStream<TcpStream>>);

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
        let keys = format!("{url}/v1/apps/{}/keys", text(&app["id"])?);
        let key = created(http.post(keys).bearer_auth(&session).json(&json!({"name": name}))).await?;
        let credential = format!("{}.{}", text(&key["id"])?, text(&key["secret"])?);
        Ok(Self { url: url.to_owned(), credential, http })
    }

    /// Publishes one message; the status of the answer.
    pub async fn publish(&self, channel: &str, data: &Value) -> Result<StatusCode, Problem> {
        let address = format!("{}/v1/channels/{channel}/messages", self.url);
        self.post(&address, &json!({"data": data})).await
    }

    /// Publishes a batch to one channel; the status of the answer.
    pub async fn publish_batch(&self, channel: &str, data: &Value, count: usize) -> Result<StatusCode, Problem> {
        let items = vec![json!({"channel": channel, "data": data}); count];
        self.post(&format!("{}/v1/messages", self.url), &json!({"messages": items})).await
    }

    async fn post(&self, address: &str, body: &Value) -> Result<StatusCode, Problem> {
        let answer = self.http.post(address).bearer_auth(&self.credential).json(body).send().await.map_err(said)?;
        let status = answer.status();
        // Read, so that the connection is used again.
        answer.bytes().await.map_err(said)?;
        Ok(status)
    }

    /// Connects a client and subscribes it to a channel.
    pub async fn follow(&self, channel: &str) -> Result<Follower, Problem> {
        let asked = json!({"client": "bench", "cap": {"*": ["subscribe"]}, "ttl_s": 3_600});
        let tokens = format!("{}/v1/tokens", self.url);
        let minted = created(self.http.post(tokens).bearer_auth(&self.credential).json(&asked)).await?;
        let address = format!("{}/v1/connect", self.url.replacen("http", "ws", 1));
        let (mut socket, _) = connect_async(address).await.map_err(said)?;
        let requests = [
            json!({"id": 1, "op": "connect", "token": minted["token"]}),
            json!({"id": 2, "op": "subscribe", "channel": channel}),
        ];
        for request in requests {
            socket.send(Message::text(request.to_string())).await.map_err(said)?;
            let answer = next_json(&mut socket).await?;
            if answer["id"] != request["id"] || answer["ok"].is_null() {
                return Err(format!("the server answered {answer}"));
            }
        }
        Ok(Follower(socket))
    }
}

impl Follower {
    /// The data of the next message.
    pub async fn next(&mut self) -> Result<Value, Problem> {
        loop {
            let mut event = next_json(&mut self.0).await?;
            match event["op"].as_str() {
                Some("message") => return Ok(event["data"].take()),
                Some("ping") => {
                    let pong = json!({"op": "pong"}).to_string();
                    self.0.send(Message::text(pong)).await.map_err(said)?;
                }
                _ => {}
            }
        }
    }
}

async fn next_json(socket: &mut WebSocketStream<MaybeTlsStream<TcpStream>>) -> Result<Value, Problem> {
    loop {
        match socket.next().await {
            Some(Ok(Message::Text(text))) => return serde_json::from_str(&text).map_err(said),
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
