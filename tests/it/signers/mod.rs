//! Tokens signed by keys of a tenant's own: public keys and JWKS, each good in its app and nowhere else.

mod adding;
mod guarding;
mod key_sets;
mod tokens;

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::harness::{
    server::{Options, Server},
    sockets::{Received, Socket},
    tenants::Tenant,
};

/// A server that calls this machine too, with a tenant on it.
async fn start_private() -> (Server, Tenant) {
    let server = Server::start(Options::default().env("FANFARE_WEBHOOK_ALLOW_PRIVATE", "true")).await;
    let tenant = Tenant::sign_up(&server).await;
    (server, tenant)
}

/// A socket that connects to an app with a token: `Ok`, or the code of the refusal.
async fn connect(tenant: &Tenant, token: &str, app: Option<&str>) -> Result<Socket, String> {
    let mut socket = Socket::open(&tenant.url).await;
    let mut request = json!({"op": "connect", "token": token});
    if let Some(app) = app {
        request["app"] = json!(app);
    }
    let answer = socket.answer(request).await;
    match answer.get("ok") {
        Some(ok) => {
            socket.connected = ok.clone();
            Ok(socket)
        }
        None => Err(answer["error"]["code"].as_str().expect("a code").to_owned()),
    }
}

/// The same to the tenant's own app.
async fn join(tenant: &Tenant, token: &str) -> Result<Socket, String> {
    connect(tenant, token, Some(&tenant.app)).await
}

/// Another app of the same tenant, with a key of its own.
async fn other_app(tenant: &Tenant) -> Tenant {
    let path = format!("/v1/tenants/{}/apps", tenant.tenant);
    let app = tenant.control(reqwest::Method::POST, &path, json!({"name": "other"})).await.expect(StatusCode::CREATED);
    let mut other = tenant.clone();
    other.app = app["id"].as_str().expect("an id").to_owned();
    other.with_key(json!({"name": "other"})).await
}

/// Removes a signer.
async fn remove(tenant: &Tenant, signer: &str) {
    let path = format!("/v1/apps/{}/signers/{signer}", tenant.app);
    tenant.control(reqwest::Method::DELETE, &path, Value::Null).await.expect(StatusCode::NO_CONTENT);
}

/// The close of a socket.
async fn closed(socket: &mut Socket) -> u16 {
    match socket.closed().await {
        (_, Received::Close(code, _)) => code,
        (events, end) => panic!("{end:?} after {events:?}"),
    }
}
