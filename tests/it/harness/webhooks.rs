//! A place on this machine that webhooks are told at: it keeps what it was told, and answers as it is wanted to.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use hmac::{Hmac, KeyInit, Mac};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::Instant,
};

use super::{tenants::Tenant, waiting::within};

/// A request that it was told by.
#[derive(Debug, Clone)]
pub struct Received {
    /// When.
    pub at: Instant,
    /// The path.
    pub path: String,
    /// Header names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
    /// What it was answered with; `None` if nothing.
    pub status: Option<u16>,
}

impl Received {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The events in it.
    pub fn events(&self) -> Vec<Value> {
        let body: Value = serde_json::from_str(&self.body).expect("a body is JSON");
        body["events"].as_array().expect("events are a list").clone()
    }

    /// Holds it to being the tenant's, whole and fresh.
    #[track_caller]
    pub fn verify(&self, tenant: &Tenant) {
        assert_eq!(self.header("content-type"), Some("application/json"));
        assert_eq!(self.header("x-pusher-key"), Some(tenant.key.as_str()));
        let mut mac = Hmac::<Sha256>::new_from_slice(tenant.secret.as_bytes()).expect("HMAC takes any key");
        mac.update(self.body.as_bytes());
        let signature: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(self.header("x-pusher-signature"), Some(signature.as_str()));
        let body: Value = serde_json::from_str(&self.body).expect("a body is JSON");
        let sent = body["time_ms"].as_u64().expect("a time") as f64 / 1_000.0;
        assert!((super::tokens::now_s() - sent).abs() < 60.0, "{}", self.body);
    }
}

#[derive(Debug, Default)]
struct Kept {
    received: Vec<Received>,
    /// What the next ones are answered with; 0 for nothing at all. Then all are answered with 200.
    answers: VecDeque<u16>,
    always: Option<u16>,
}

/// A receiver of webhooks.
#[derive(Debug)]
pub struct Receiver {
    url: String,
    kept: Arc<Mutex<Kept>>,
    serving: JoinHandle<()>,
}

impl Receiver {
    /// Starts it on a free port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let kept: Arc<Mutex<Kept>> = Arc::default();
        let shared = kept.clone();
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, shared.clone()));
            }
        });
        Self { url, kept, serving }
    }

    /// A URL of it.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// Answers the next requests so, 0 being no answer at all, and all others with 200.
    pub fn answer(&self, statuses: &[u16]) {
        self.kept().answers.extend(statuses);
    }

    /// Answers everything so, until told otherwise.
    pub fn always(&self, status: Option<u16>) {
        self.kept().always = status;
    }

    /// Everything that it was told by so far.
    pub fn received(&self) -> Vec<Received> {
        self.kept().received.clone()
    }

    /// The events that were taken, of that path.
    pub fn taken(&self, path: &str) -> Vec<Value> {
        let is_taken = |received: &&Received| received.path == path && received.status == Some(200);
        self.received().iter().filter(is_taken).flat_map(Received::events).collect()
    }

    /// Waits for so many taken events of that path.
    pub async fn events(&self, path: &str, count: usize) -> Vec<Value> {
        within(
            Duration::from_secs(40),
            &format!("{count} events at {path}; there are {:?}", self.taken(path)),
            async || {
                let taken = self.taken(path);
                (taken.len() >= count).then_some(taken)
            },
        )
        .await
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(stream: TcpStream, kept: Arc<Mutex<Kept>>) -> Option<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line).await.ok()?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length").and_then(|(_, value)| value.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).await.ok()?;
    let status = {
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        let status = kept.answers.pop_front().or(kept.always).unwrap_or(200);
        let (at, body) = (Instant::now(), String::from_utf8_lossy(&body).into_owned());
        let answered = (status != 0).then_some(status);
        kept.received.push(Received { at, path, headers, body, status: answered });
        status
    };
    if status == 0 {
        std::future::pending::<()>().await;
    }
    let answer = format!("HTTP/1.1 {status} Said\r\nLocation: /elsewhere\r\nContent-Length: 2\r\n\r\nok");
    stream.write_all(answer.as_bytes()).await.ok()
}

impl Tenant {
    /// Asks for a webhook of the tenant's app.
    pub async fn add_webhook(&self, url: &str, events: &[&str]) -> super::tenants::Answer {
        let body = json!({"url": url, "format": "pusher", "events": events});
        self.control(Method::POST, &format!("/v1/apps/{}/webhooks", self.app), body).await
    }

    /// Adds a webhook; its id.
    pub async fn webhook(&self, url: &str, events: &[&str]) -> String {
        let added = self.add_webhook(url, events).await.expect(StatusCode::CREATED);
        added["id"].as_str().expect("an id").to_owned()
    }
}
