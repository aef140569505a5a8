//! Keys of a tenant's own, and a place on this machine that serves them as a JWKS.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use super::{
    tenants::Tenant,
    tokens::{every_right, now_s},
};

/// A key pair of the tests.
#[derive(Debug, Clone, Copy)]
pub struct OwnKey {
    private: &'static str,
    /// The public key in PEM.
    pub public: &'static str,
    /// What it signs with.
    pub algorithm: Algorithm,
}

/// The issuer of the tests' signers.
pub const ISSUER: &str = "https://id.example.com/";
/// The audience of the tests' signers.
pub const AUDIENCE: &str = "chat";

macro_rules! key {
    ($name:literal, $algorithm:ident) => {
        OwnKey {
            private: include_str!(concat!("../../keys/", $name, ".pem")),
            public: include_str!(concat!("../../keys/", $name, ".pub.pem")),
            algorithm: Algorithm::$algorithm,
        }
    };
}

impl OwnKey {
    /// RSA of 2,048 bits.
    pub const RSA: OwnKey = key!("rsa", RS256);
    /// P-256.
    pub const P256: OwnKey = key!("p256", ES256);
    /// Ed25519.
    pub const ED25519: OwnKey = key!("ed25519", EdDSA);

    fn signing(&self) -> EncodingKey {
        let der = der(self.private);
        match self.algorithm {
            Algorithm::RS256 => EncodingKey::from_rsa_der(&der),
            Algorithm::ES256 => EncodingKey::from_ec_der(&der),
            _ => EncodingKey::from_ed_der(&der),
        }
    }

    /// Signs claims; the issuer, the audience and the life of the tests' signers are added where they are absent.
    pub fn sign(&self, kid: Option<&str>, claims: Value) -> String {
        let now = now_s();
        let mut all = json!({"iss": ISSUER, "aud": AUDIENCE, "cap": every_right(), "iat": now, "exp": now + 600.0});
        for (name, value) in claims.as_object().expect("claims are an object") {
            all[name] = value.clone();
        }
        let header = Header { kid: kid.map(str::to_owned), ..Header::new(self.algorithm) };
        jsonwebtoken::encode(&header, &all, &self.signing()).expect("the key signs any claims")
    }

    /// A token of a client, with every right.
    pub fn token(&self, kid: Option<&str>, client: &str) -> String {
        self.sign(kid, json!({"sub": client}))
    }

    /// The public key as a JWK.
    pub fn jwk(&self, kid: &str) -> Value {
        let key = der(self.public);
        let part = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        match self.algorithm {
            Algorithm::ES256 => {
                let (x, y) = key[key.len() - 64..].split_at(32);
                json!({"kty": "EC", "crv": "P-256", "x": part(x), "y": part(y), "kid": kid, "use": "sig"})
            }
            Algorithm::EdDSA => json!({"kty": "OKP", "crv": "Ed25519", "x": part(&key[key.len() - 32..]), "kid": kid}),
            // Before the modulus of 2,048 bits stand its wrappings, and after it those of the exponent.
            _ => json!({"kty": "RSA", "alg": "RS256", "n": part(&key[33..289]), "e": part(&key[291..]), "kid": kid}),
        }
    }
}

/// What is inside a PEM.
fn der(pem: &str) -> Vec<u8> {
    let inside: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    BASE64_STANDARD.decode(inside).expect("a PEM holds base64")
}

impl Tenant {
    /// Asks for a signer of the tenant's app; the issuer and the audience of the tests are added.
    pub async fn add_signer(&self, mut body: Value) -> super::tenants::Answer {
        for (name, usual) in [("name", "own"), ("issuer", ISSUER), ("audience", AUDIENCE)] {
            if body.get(name).is_none() {
                body[name] = json!(usual);
            }
        }
        self.control(Method::POST, &format!("/v1/apps/{}/signers", self.app), body).await
    }

    /// Adds a signer with a public key; its id.
    pub async fn signer(&self, name: &str, key: OwnKey) -> String {
        let added = self.add_signer(json!({"name": name, "pem": key.public})).await.expect(StatusCode::CREATED);
        added["id"].as_str().expect("an id").to_owned()
    }

    /// Adds a signer with a JWKS; its id.
    pub async fn signer_at(&self, url: &str) -> String {
        let added = self.add_signer(json!({"jwks_url": url})).await.expect(StatusCode::CREATED);
        added["id"].as_str().expect("an id").to_owned()
    }
}

/// Serves answers by path, and counts how often each was asked for.
#[derive(Debug)]
pub struct KeyServer {
    url: String,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Shared {
    answers: Mutex<HashMap<String, String>>,
    asked: Mutex<HashMap<String, usize>>,
    connections: AtomicUsize,
}

impl KeyServer {
    /// Starts it on a free port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let shared = Arc::<Shared>::default();
        let serving = tokio::spawn(serve(listener, Arc::clone(&shared)));
        Self { url, shared, serving }
    }

    /// The URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// Serves these keys there from now on.
    pub fn keys(&self, path: &str, keys: &[Value]) {
        self.answer(path, "200 OK", "", &json!({"keys": keys}).to_string());
    }

    /// Answers so there from now on.
    pub fn answer(&self, path: &str, status: &str, headers: &str, body: &str) {
        let text = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{headers}\r\n{body}", body.len());
        self.shared.answers.lock().expect("no test panicked here").insert(path.to_owned(), text);
    }

    /// How often a path was asked for.
    pub fn asked(&self, path: &str) -> usize {
        self.shared.asked.lock().expect("no test panicked here").get(path).copied().unwrap_or(0)
    }

    /// How many connections came in.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Ends it: whoever connects is refused.
    pub async fn end(self) {
        self.serving.abort();
        let _ = self.serving.await;
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        shared.connections.fetch_add(1, Ordering::SeqCst);
        tokio::spawn(answer(stream, Arc::clone(&shared)));
    }
}

/// Answers one request; a path without an answer is never answered.
async fn answer(mut stream: TcpStream, shared: Arc<Shared>) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read_buf(&mut request).await {
            Ok(1..) => {}
            _ => return,
        }
    }
    let text = String::from_utf8_lossy(&request).into_owned();
    let path = text.split(' ').nth(1).unwrap_or_default().to_owned();
    *shared.asked.lock().expect("no test panicked here").entry(path.clone()).or_default() += 1;
    let answer = shared.answers.lock().expect("no test panicked here").get(&path).cloned();
    match answer {
        // Who does not want all of it goes away.
        Some(answer) => drop(stream.write_all(answer.as_bytes()).await),
        None => drop(stream.read_buf(&mut request).await),
    }
}
