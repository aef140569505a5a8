//! A backend as Pusher's server libraries are one: an app that speaks Pusher, and requests that are signed by a key of it.

use std::fmt::Write;

use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sha2::Sha256;

use super::{
    tenants::{Answer, Tenant},
    tokens::now_s,
};

/// A backend that signs.
#[derive(Debug, Clone)]
pub struct Backend {
    /// Whose app it is, and the key.
    pub tenant: Tenant,
    /// The app's number.
    pub number: String,
}

/// Pairs of a query.
pub type Pairs = Vec<(String, String)>;

fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes any text");
        text
    })
}

/// A body's hash.
pub fn md5(body: &str) -> String {
    hex(Md5::digest(body.as_bytes()))
}

/// The socket id of a connection (`con_…`).
pub fn socket_id(connection: &Value) -> String {
    let connection = fanfare_domain::ids::ConnectionId::parse(connection.as_str().expect("an id")).expect("an id");
    fanfare_domain::pusher::socket_id(&connection).expect("a connection has a number")
}

impl Backend {
    /// Switches a tenant's app on.
    pub async fn of(tenant: Tenant) -> Self {
        let path = format!("/v1/apps/{}", tenant.app);
        let app = tenant.control(Method::PATCH, &path, json!({"pusher": true})).await.expect(StatusCode::OK);
        Self { number: app["pusher_app_id"].as_str().expect("a number").to_owned(), tenant }
    }

    /// The same backend with another key.
    pub fn with(&self, tenant: Tenant) -> Self {
        Self { tenant, ..self.clone() }
    }

    /// The pairs that every request has.
    pub fn base(&self, body: &str) -> Pairs {
        let mut pairs = vec![
            ("auth_key".to_owned(), self.tenant.key.clone()),
            ("auth_timestamp".to_owned(), format!("{}", now_s() as u64)),
            ("auth_version".to_owned(), "1.0".to_owned()),
        ];
        if !body.is_empty() {
            pairs.push(("body_md5".to_owned(), md5(body)));
        }
        pairs
    }

    /// Adds the signature.
    pub fn sign(&self, method: &Method, path: &str, mut pairs: Pairs) -> Pairs {
        let mut sorted: Vec<_> = pairs.iter().map(|(name, value)| (name.to_lowercase(), value)).collect();
        sorted.sort_by(|left, right| left.0.cmp(&right.0));
        let query = sorted.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&");
        let mut mac = Hmac::<Sha256>::new_from_slice(self.tenant.secret.as_bytes()).expect("HMAC takes any key");
        mac.update(format!("{method}\n{path}\n{query}").as_bytes());
        pairs.push(("auth_signature".to_owned(), hex(mac.finalize().into_bytes())));
        pairs
    }

    /// Sends a request with just these pairs.
    pub async fn send(&self, method: Method, path: &str, pairs: &Pairs, body: &str) -> Answer {
        let request = self.tenant.request(method, path).query(pairs);
        let request = if body.is_empty() { request } else { request.header("content-type", "application/json") };
        Answer::of(request.body(body.to_owned())).await
    }

    /// Signs and sends a request; the path is what comes after the app's number.
    pub async fn call(&self, method: Method, rest: &str, query: &[(&str, &str)], body: &str) -> Answer {
        let path = format!("/apps/{}{rest}", self.number);
        let mut pairs = self.base(body);
        pairs.extend(query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let pairs = self.sign(&method, &path, pairs);
        self.send(method, &path, &pairs, body).await
    }

    /// A signed POST.
    pub async fn post(&self, rest: &str, body: Value) -> Answer {
        self.call(Method::POST, rest, &[], &body.to_string()).await
    }

    /// A signed GET.
    pub async fn get(&self, rest: &str, query: &[(&str, &str)]) -> Answer {
        self.call(Method::GET, rest, query, "").await
    }

    /// Triggers an event on a channel.
    pub async fn trigger(&self, channel: &str, data: &str) {
        let event = json!({"name": "said", "channel": channel, "data": data});
        assert_eq!(self.post("/events", event).await.expect(StatusCode::OK), json!({}));
    }
}

impl Answer {
    /// Holds the answer to a status and to the form of Pusher's refusals.
    #[track_caller]
    pub fn expect_refused(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        assert_eq!(self.headers["content-type"], "application/json");
        let is_said = self.body["error"].as_str().is_some_and(|text| !text.is_empty());
        assert!(is_said && self.body["code"].is_string() && self.body["status"] == status, "{}", self.text);
        self.body
    }
}
