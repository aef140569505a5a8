//! Every operation over HTTP: B's credentials on what is A's.

use serde_json::{Value, json};

use super::{CHANNEL, Hidden, NAMESPACE, requests::Operation};
use crate::harness::{
    server::{Options, Server},
    signers::OwnKey,
    tenants::{Answer, Tenant},
};

/// What a path's parameter names.
enum Kind {
    /// Something that belongs to one tenant, by an id: B's own, A's, and one that there is not.
    Object { own: String, foreign: String, missing: String },
    /// A name that anybody may use in an app of their own: one that A uses, and one that nobody does.
    Name { used: &'static str, unused: &'static str },
}

/// The kinds of the parameters there are; a new one is to be added here.
fn kind(parameter: &str, a: &Hidden, b: &Tenant, own: &Own) -> Kind {
    let object = |own: &str, foreign: &str, prefix: &str| Kind::Object {
        own: own.to_owned(),
        foreign: foreign.to_owned(),
        missing: format!("{prefix}{}", "0".repeat(26)),
    };
    match parameter {
        "tenant" => object(&b.tenant, &a.tenant.tenant, "ten_"),
        "app" => object(&b.app, &a.tenant.app, "app_"),
        "key" => object(&b.key, &a.tenant.key, "fk_"),
        "signer" => object(&own.signer, &a.signer, "sig_"),
        "hook" => object(&own.webhook, &a.webhook, "hook_"),
        "id" => object(&own.session, &a.session_id, "ssn_"),
        // B's own is one that there is not either: it would be in one channel only.
        "message" => object(&format!("msg_{}", "1".repeat(26)), &a.message, "msg_"),
        // Of the Pusher HTTP API, whose own tests sign with B's key for A's app.
        "app_id" => object("1000000001", "1000000002", "10"),
        "namespace" => Kind::Name { used: NAMESPACE, unused: "unused" },
        "channel" => Kind::Name { used: CHANNEL, unused: "unused:1" },
        "client" => Kind::Name { used: "shared", unused: "unused" },
        new => panic!(
            "the path parameter `{{{new}}}` is new: add it to `kind` in tests/it/isolation/operations.rs, as an object \
             (with B's own id, A's id and an id that there is not) or as a name; if it is an object, let `Hidden` make one"
        ),
    }
}

/// What is B's own, beside what every tenant of the tests has.
struct Own {
    session: String,
    signer: String,
    webhook: String,
}

/// An answer without what differs from call to call.
fn normal(body: Value) -> Value {
    match body {
        Value::Object(fields) => {
            let stays = |name: &str| !["request_id", "message", "id", "time", "token", "expires_at"].contains(&name);
            fields.into_iter().filter(|(name, _)| stays(name)).map(|(name, value)| (name, normal(value))).collect()
        }
        Value::Array(items) => items.into_iter().map(normal).collect(),
        plain => plain,
    }
}

/// Every choice of A's objects for some of the parameters, at least one, as bits.
fn choices(objects: usize) -> impl Iterator<Item = usize> {
    1..1 << objects
}

struct Prober {
    a: Hidden,
    b: Tenant,
    own: Own,
    calls: usize,
}

impl Prober {
    /// Calls an operation with every credential that it takes; its status and body each.
    async fn call(&mut self, operation: &Operation, path: &str, b_token: &str) -> Vec<Answer> {
        let (session, key) = (self.b.session.clone(), self.b.credential());
        let credentials =
            [("sessionBearer", session.as_str()), ("apiKeyBearer", key.as_str()), ("clientToken", b_token)];
        let mut answers = Vec::new();
        for (scheme, credential) in credentials {
            if operation.takes(scheme) {
                let answer = Answer::of(operation.request(&self.b, path, Some(credential))).await;
                self.a.check_unseen(&format!("{} {path}", operation.method), &answer.text);
                self.calls += 1;
                answers.push(answer);
            }
        }
        answers
    }

    /// A's objects are refused as those that there are not, to the letter.
    async fn probe_objects(&mut self, operation: &Operation, token: &str) {
        let parameters = operation.parameters();
        let is_object = |name: &&str| matches!(kind(name, &self.a, &self.b, &self.own), Kind::Object { .. });
        let objects: Vec<String> =
            parameters.iter().filter(|name| is_object(name)).map(|name| (*name).to_owned()).collect();
        for choice in choices(objects.len()) {
            let path = |of_a: bool| {
                operation.fill(|name| match kind(name, &self.a, &self.b, &self.own) {
                    Kind::Object { own, foreign, missing } => {
                        let at = objects.iter().position(|object| object == name).expect("it is an object");
                        if choice >> at & 1 == 0 {
                            own
                        } else if of_a {
                            foreign
                        } else {
                            missing
                        }
                    }
                    Kind::Name { used, .. } => used.to_owned(),
                })
            };
            let (foreign, missing) = (path(true), path(false));
            let (foreign_answers, missing_answers) =
                (self.call(operation, &foreign, token).await, self.call(operation, &missing, token).await);
            for (of_a, of_none) in foreign_answers.into_iter().zip(missing_answers) {
                assert_eq!(of_a.status, 404, "{} {foreign}: {}", operation.method, of_a.text);
                assert_eq!(
                    (of_none.status, normal(of_a.body)),
                    (404, normal(of_none.body)),
                    "{} {foreign}",
                    operation.method
                );
            }
        }
    }

    /// In B's own app, a name that A uses too is like one that nobody uses.
    async fn probe_names(&mut self, operation: &Operation, token: &str) {
        let fill = |used_by_a: bool| {
            operation.fill(|name| match kind(name, &self.a, &self.b, &self.own) {
                Kind::Object { own, .. } => own,
                Kind::Name { used, unused } => if used_by_a { used } else { unused }.to_owned(),
            })
        };
        let (used, unused) = (fill(true), fill(false));
        let (of_used, of_unused) =
            (self.call(operation, &used, token).await, self.call(operation, &unused, token).await);
        for (of_used, of_unused) in of_used.into_iter().zip(of_unused) {
            assert_eq!(of_used.status, of_unused.status, "{} {used}: {}", operation.method, of_used.text);
            let (of_used, of_unused) = (of_used.text.replace("shared", "unused"), of_unused.text);
            let read = |text: &str| normal(serde_json::from_str(text).unwrap_or_default());
            assert_eq!(read(&of_used), read(&of_unused), "{} {used}", operation.method);
        }
    }
}

#[tokio::test]
async fn no_operation_shows_or_changes_what_belongs_to_another_tenant() {
    let server = Server::start(Options::default()).await;
    let a = Hidden::sign_up(&server).await;
    let b = Tenant::sign_up(&server).await;
    let traced = json!({"delivery_trace": true});
    b.control(reqwest::Method::PATCH, &format!("/v1/apps/{}", b.app), traced).await.expect(reqwest::StatusCode::OK);
    let own_session = b.control(reqwest::Method::GET, "/v1/me", Value::Null).await.body["session"]["id"].clone();
    let document = Answer::of(b.request(reqwest::Method::GET, "/openapi.json")).await.body;
    let before = a.snapshot().await;
    let own = Own {
        session: own_session.as_str().expect("an id").to_owned(),
        signer: b.signer("own", OwnKey::ED25519).await,
        webhook: b.webhook("https://own.example.com/", &["cache_miss"]).await,
    };
    let mut prober = Prober { a, b, own, calls: 0 };
    let token = prober.b.full_token("ann").await;
    let mut operations = Operation::all(&document);
    // B's own things are called too, by their names: what removes them comes last.
    operations.sort_by_key(|operation| operation.method == reqwest::Method::DELETE);
    for operation in &operations {
        prober.probe_objects(operation, &token).await;
        let names = operation
            .parameters()
            .iter()
            .any(|name| matches!(kind(name, &prober.a, &prober.b, &prober.own), Kind::Name { .. }));
        let is_data_plane = operation.takes("apiKeyBearer") || operation.takes("clientToken");
        let is_looking = operation.method == reqwest::Method::GET;
        if !operation.is_public() && (names || is_data_plane || is_looking) {
            prober.probe_names(operation, &token).await;
        }
    }
    assert!(prober.calls > 2 * operations.len(), "{} calls", prober.calls);
    assert_eq!(prober.a.snapshot().await, before, "B changed something of A's");
}

#[tokio::test]
async fn a_cursor_of_another_tenants_list_leads_nowhere_but_into_ones_own() {
    let server = Server::start(Options::default()).await;
    let a = Hidden::sign_up(&server).await;
    a.tenant.with_key(json!({"name": "hidden-second"})).await;
    let b = Tenant::sign_up(&server).await;
    let list = |tenant: &Tenant, rest: &str| format!("/v1/apps/{}/keys?limit=1{rest}", tenant.app);
    let page = a.tenant.control(reqwest::Method::GET, &list(&a.tenant, ""), Value::Null).await;
    let cursor = page.body["next"].as_str().expect("there is more").to_owned();
    let answer = b.control(reqwest::Method::GET, &list(&b, &format!("&next={cursor}")), Value::Null).await;
    a.check_unseen("A's cursor", &answer.text);
    assert_eq!(answer.body["items"][0]["id"], b.key);
}
