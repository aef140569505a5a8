//! A tenant of the test's own: signed up over HTTP, with an app and an API key.

use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};

use super::{
    server::{Options, Server},
    sockets::Socket,
    waiting::until,
};

/// An answer over HTTP, read whole.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: reqwest::header::HeaderMap,
    /// The body; `null` if it is empty or no JSON.
    pub body: Value,
    /// The body as it came.
    pub text: String,
}

impl Answer {
    /// Sends a request and reads its answer.
    pub async fn of(request: RequestBuilder) -> Self {
        let response = request.send().await.expect("the server answers");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.expect("an answer is text");
        Self { status, headers, body: serde_json::from_str(&text).unwrap_or(Value::Null), text }
    }

    /// The body, once the status is as expected.
    #[track_caller]
    pub fn expect(self, status: StatusCode) -> Value {
        assert_eq!(self.status, status.as_u16(), "{}", self.text);
        self.body
    }

    /// Holds the answer to a status and an error code.
    #[track_caller]
    pub fn expect_problem(self, status: u16, code: &str) -> Value {
        assert_eq!((self.status, self.body["code"].as_str()), (status, Some(code)), "{}", self.text);
        assert_eq!(self.headers["content-type"], "application/problem+json");
        for field in ["type", "title", "detail", "remedy", "request_id"] {
            assert!(self.body[field].is_string(), "`{field}` is missing: {}", self.text);
        }
        assert_eq!(self.body["status"], status);
        self.body
    }
}

/// Somebody who signed up, with one app and one API key.
#[derive(Debug, Clone)]
pub struct Tenant {
    /// Where the server is.
    pub url: String,
    /// The session token, `ses_…`.
    pub session: String,
    /// The tenant's id.
    pub tenant: String,
    /// The email address.
    pub email: String,
    /// The app's id.
    pub app: String,
    /// The key's id.
    pub key: String,
    /// The key's secret.
    pub secret: String,
    client: Client,
}

/// The password of every test user.
pub const PASSWORD: &str = "correct horse battery";

/// Tells addresses of one test process apart.
fn unique() -> u64 {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
    NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}

/// A server with a tenant on it.
pub async fn start() -> (Server, Tenant) {
    let server = Server::start(Options::default()).await;
    let tenant = Tenant::sign_up(&server).await;
    (server, tenant)
}

impl Tenant {
    /// Signs up, makes an app and mints a key with every right.
    pub async fn sign_up(server: &Server) -> Self {
        Self::sign_up_with(server, Client::builder().no_proxy().build().expect("a client can be built")).await
    }

    /// The same, by another HTTP client.
    pub async fn sign_up_with(server: &Server, client: Client) -> Self {
        Self::sign_up_at(server.url(), client).await
    }

    /// The same, at another address of a server.
    pub async fn sign_up_at(url: &str, client: Client) -> Self {
        let email = format!("user{}@example.com", unique());
        let url = url.to_owned();
        let body = json!({"email": email, "password": PASSWORD, "tenant": "Acme"});
        let signed = Answer::of(client.post(format!("{url}/v1/signup")).json(&body)).await.expect(StatusCode::CREATED);
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let mut tenant = Self {
            url,
            session: text(&signed["session"]),
            tenant: text(&signed["tenant"]["id"]),
            email,
            app: String::new(),
            key: String::new(),
            secret: String::new(),
            client,
        };
        let app =
            tenant.control(Method::POST, &format!("/v1/tenants/{}/apps", tenant.tenant), json!({"name": "prod"})).await;
        tenant.app = text(&app.expect(StatusCode::CREATED)["id"]);
        let key =
            tenant.control(Method::POST, &format!("/v1/apps/{}/keys", tenant.app), json!({"name": "backend"})).await;
        let key = key.expect(StatusCode::CREATED);
        (tenant.key, tenant.secret) = (text(&key["id"]), text(&key["secret"]));
        tenant
    }

    /// The same tenant, asking another process.
    pub fn at(&self, url: &str) -> Self {
        Self { url: url.to_owned(), ..self.clone() }
    }

    /// The key as clients write it: `fk_….fs_…`.
    pub fn credential(&self) -> String {
        format!("{}.{}", self.key, self.secret)
    }

    /// A request without credentials.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url))
    }

    /// A request to the control plane, by session; `null` sends no body.
    pub async fn control(&self, method: Method, path: &str, body: Value) -> Answer {
        let request = self.request(method, path).bearer_auth(&self.session);
        Answer::of(if body.is_null() { request } else { request.json(&body) }).await
    }

    /// A request to the data plane, by API key; `null` sends no body.
    pub async fn data(&self, method: Method, path: &str, body: Value) -> Answer {
        let request = self.request(method, path).bearer_auth(self.credential());
        Answer::of(if body.is_null() { request } else { request.json(&body) }).await
    }

    /// Publishes and waits until it is persisted; gives its serial.
    pub async fn publish(&self, channel: &str, data: Value) -> u64 {
        let path = format!("/v1/channels/{channel}/messages?ack=persisted");
        let answer = self.data(Method::POST, &path, json!({"data": data})).await.expect(StatusCode::CREATED);
        answer["serial"].as_u64().expect("a persisted message has a serial")
    }

    /// Waits until a channel's history reaches a serial, for as long as it grows: what is only accepted may not be there yet.
    pub async fn reaches(&self, channel: &str, serial: u64) {
        let path = format!("/v1/channels/{channel}/messages?limit=1");
        let newest = async || {
            let page = self.data(Method::GET, &path, Value::Null).await.expect(StatusCode::OK);
            page["items"][0]["serial"].as_u64().unwrap_or(0)
        };
        let mut reached = newest().await;
        while reached < serial {
            let what = format!("{channel} goes on from {reached} towards {serial}");
            reached = until(&what, async || Some(newest().await).filter(|now| *now > reached)).await;
        }
    }

    /// The whole history of a channel, ascending.
    pub async fn history(&self, channel: &str) -> Vec<Value> {
        let (mut items, mut after) = (Vec::new(), 0);
        loop {
            let path = format!("/v1/channels/{channel}/messages?after={after}&limit=1000");
            let page = self.data(Method::GET, &path, Value::Null).await.expect(StatusCode::OK);
            items.extend(page["items"].as_array().expect("items").iter().cloned());
            if page["more"] != true {
                return items;
            }
            after = items.last().and_then(|item| item["serial"].as_u64()).expect("a page with more has items");
        }
    }

    /// A client token for `client` with a capability.
    pub async fn token(&self, client: &str, capability: Value) -> String {
        let body = json!({"client": client, "cap": capability, "ttl_s": 3600});
        let answer = self.data(Method::POST, "/v1/tokens", body).await.expect(StatusCode::CREATED);
        answer["token"].as_str().expect("a token").to_owned()
    }

    /// A token with every right of a client.
    pub async fn full_token(&self, client: &str) -> String {
        self.token(client, json!({"*": ["subscribe", "publish", "presence", "history"]})).await
    }

    /// The same tenant with another API key of the same app.
    pub async fn with_key(&self, key: Value) -> Self {
        let minted = self.control(Method::POST, &format!("/v1/apps/{}/keys", self.app), key).await;
        let minted = minted.expect(StatusCode::CREATED);
        let text = |field: &str| minted[field].as_str().expect("a text").to_owned();
        Self { key: text("id"), secret: text("secret"), ..self.clone() }
    }

    /// Sets a namespace's rule.
    pub async fn rule(&self, namespace: &str, rule: Value) {
        let path = format!("/v1/apps/{}/rules/{namespace}", self.app);
        self.control(Method::PUT, &path, rule).await.expect(StatusCode::OK);
    }

    /// A connected socket of `client`, with every right.
    pub async fn join(&self, client: &str) -> Socket {
        let token = self.full_token(client).await;
        Socket::connect(&self.url, &token).await
    }

    /// Proves that a client that behaves well is served: it connects, subscribes, publishes and receives.
    pub async fn is_served(&self) {
        let mut socket = self.join("well-behaved").await;
        socket.subscribe("proof").await;
        let asked = json!({"op": "publish", "channel": "proof", "data": "served", "ack": "persisted"});
        socket.ask(asked).await;
        assert_eq!(socket.event_of("message").await["data"], "served");
    }
}
