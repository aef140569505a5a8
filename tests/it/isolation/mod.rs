//! D5: nothing crosses from one tenant to another, over any operation of the OpenAPI document and any op of the socket.

mod operations;
mod requests;
mod sockets;

pub(crate) use requests::Operation;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{server::Server, signers::OwnKey, tenants::Tenant};

/// The channel that both tenants use.
const CHANNEL: &str = "shared:1";
/// The namespace that both tenants use.
const NAMESPACE: &str = "shared";

/// Tenant A: the one that is not to be seen.
struct Hidden {
    tenant: Tenant,
    /// The id of A's login session.
    session_id: String,
    /// The id of A's signer.
    signer: String,
    /// The id of A's webhook.
    webhook: String,
    /// The id of A's message.
    message: String,
    /// What belongs to A alone; none of it may stand in any answer to B.
    marks: Vec<String>,
}

impl Hidden {
    async fn sign_up(server: &Server) -> Self {
        let tenant = Tenant::sign_up(server).await;
        let app = format!("/v1/apps/{}", tenant.app);
        let names = [(format!("/v1/tenants/{}", tenant.tenant), "hidden-tenant-name"), (app, "hidden-app-name")];
        for (path, name) in names {
            tenant.control(Method::PATCH, &path, json!({"name": name})).await.expect(StatusCode::OK);
        }
        tenant.rule(NAMESPACE, json!({"history": {"retention_s": 76_543}})).await;
        let message = json!({"data": "hidden-data", "name": "hidden-event", "client": "hidden-client", "headers": {"a": "hidden-header"}});
        let path = format!("/v1/channels/{CHANNEL}/messages?ack=persisted");
        let published = tenant.data(Method::POST, &path, message).await.expect(StatusCode::CREATED);
        let me = tenant.control(Method::GET, "/v1/me", Value::Null).await.expect(StatusCode::OK);
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let session_id = text(&me["session"]["id"]);
        let signer = tenant.signer("hidden-signer", OwnKey::ED25519).await;
        let webhook = tenant.webhook("https://hidden-webhook.example.com/", &["cache_miss"]).await;
        let marks = vec![
            signer.clone(),
            webhook.clone(),
            "hidden-".to_owned(),
            "76543".to_owned(),
            tenant.session.clone(),
            tenant.tenant.clone(),
            tenant.email.clone(),
            tenant.app.clone(),
            tenant.key.clone(),
            tenant.secret.clone(),
            text(&me["user"]["id"]),
            text(&published["message"]),
            text(&published["epoch"]),
            session_id.clone(),
        ];
        Self { tenant, session_id, signer, webhook, message: text(&published["message"]), marks }
    }

    /// Holds an answer to B to saying nothing of A, whatever B asked with.
    #[track_caller]
    fn check_unseen(&self, what: &str, text: &str) {
        for mark in &self.marks {
            assert!(!text.contains(mark.as_str()), "{what} tells B of A's `{mark}`: {text}");
        }
    }

    /// Everything of A, to be compared before and after.
    async fn snapshot(&self) -> Vec<Value> {
        let (app, tenant) = (format!("/v1/apps/{}", self.tenant.app), format!("/v1/tenants/{}", self.tenant.tenant));
        let mut all = Vec::new();
        for path in [
            "/v1/me",
            "/v1/me/sessions",
            &tenant,
            &format!("{tenant}/apps"),
            &app,
            &format!("{app}/keys"),
            &format!("{app}/rules"),
            &format!("{app}/signers"),
            &format!("{app}/webhooks"),
        ] {
            all.push(self.tenant.control(Method::GET, path, Value::Null).await.expect(StatusCode::OK));
        }
        all.push(json!(self.tenant.history(CHANNEL).await));
        all
    }
}
