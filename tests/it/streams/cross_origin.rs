//! Web pages of other origins: what they may ask, and what they may read.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{
    sockets::{PATIENCE, Received, Socket},
    tenants::{Answer, Tenant, start},
};

const OURS: &str = "https://app.example.com";
const FOREIGN: &str = "https://evil.example";

async fn asked(tenant: &Tenant, path: &str, bearer: &str, origin: &str) -> Answer {
    Answer::of(tenant.request(Method::GET, path).bearer_auth(bearer).header("origin", origin)).await
}

fn allowed(answer: &Answer) -> Option<&str> {
    answer.headers.get("access-control-allow-origin").and_then(|value| value.to_str().ok())
}

async fn restrict(tenant: &Tenant, origins: Value) -> Answer {
    tenant.control(Method::PATCH, &format!("/v1/apps/{}", tenant.app), json!({"origins": origins})).await
}

#[tokio::test]
async fn a_preflight_is_answered_for_any_origin_on_the_data_plane_alone() {
    let (_server, tenant) = start().await;
    restrict(&tenant, json!([OURS])).await.expect(StatusCode::OK);
    let preflight = |path: &str| {
        let request = tenant.request(Method::OPTIONS, path).header("origin", FOREIGN);
        Answer::of(request.header("access-control-request-method", "POST"))
    };
    for path in ["/v1/sse", "/v1/poll", "/v1/connect", "/v1/messages", "/v1/channels/chat:1/messages", "/v1/tokens"] {
        let answer = preflight(path).await;
        assert_eq!((answer.status, allowed(&answer)), (204, Some("*")), "{path}");
        let headers = answer.headers["access-control-allow-headers"].to_str().expect("text").to_owned();
        assert!(headers.contains("authorization") && headers.contains("last-event-id"), "{headers}");
        assert!(!answer.headers.contains_key("access-control-allow-credentials"));
    }
    for path in ["/v1/signup", "/v1/login", "/v1/me"] {
        assert_eq!(allowed(&preflight(path).await), None, "{path}");
    }
}

#[tokio::test]
async fn an_answer_is_shared_only_with_the_origins_of_the_app() {
    let (_server, tenant) = start().await;
    let token = tenant.full_token("ann").await;
    let history = "/v1/channels/chat:1/messages";
    for path in [history, "/v1/poll?channel=chat:1"] {
        assert_eq!(allowed(&asked(&tenant, path, &token, FOREIGN).await), Some(FOREIGN), "any, by default: {path}");
    }
    let app = restrict(&tenant, json!([OURS, "https://*.example.org"])).await.expect(StatusCode::OK);
    assert_eq!(app["origins"], json!([OURS, "https://*.example.org"]));
    for origin in [OURS, "https://a.b.example.org"] {
        for path in [history, "/v1/poll?channel=chat:1"] {
            let answer = asked(&tenant, path, &token, origin).await;
            assert_eq!((answer.status, allowed(&answer)), (200, Some(origin)), "{path}: {}", answer.text);
            assert!(answer.headers["access-control-expose-headers"].to_str().expect("text").contains("x-request-id"));
            assert_eq!(answer.headers["vary"], "origin");
        }
        // A refusal can be read too, so that a page knows why.
        let refused = asked(&tenant, "/v1/poll?channel=%20", &token, origin).await;
        assert_eq!((refused.status, allowed(&refused)), (422, Some(origin)));
        let refused = asked(&tenant, "/v1/channels/chat:1/messages?limit=x", &token, origin).await;
        assert_eq!((refused.status, allowed(&refused)), (422, Some(origin)));
    }
    assert_eq!(allowed(&asked(&tenant, history, &token, FOREIGN).await), None);
    for path in ["/v1/poll?channel=chat:1", "/v1/sse?channel=chat:1"] {
        let refused = asked(&tenant, path, &token, FOREIGN).await;
        assert_eq!(allowed(&refused), None);
        refused.expect_problem(403, "origin_not_allowed");
    }
    assert_eq!(tenant.poll(&token, "channel=chat:1").await.status, 200, "who is no web page passes");
}

#[tokio::test]
async fn a_socket_is_held_to_the_origins_when_it_connects_and_for_as_long_as_it_lasts() {
    let (_server, tenant) = start().await;
    restrict(&tenant, json!([OURS])).await.expect(StatusCode::OK);
    let token = tenant.full_token("ann").await;
    let connect = json!({"op": "connect", "token": token});
    let mut foreign = Socket::open_from(&tenant.url, FOREIGN).await;
    assert_eq!(foreign.refused(connect.clone()).await, "origin_not_allowed");
    assert_eq!(foreign.close_code().await, 4030);
    let mut ours = Socket::open_from(&tenant.url, OURS).await;
    ours.ask(connect.clone()).await;
    let mut nowhere = Socket::open(&tenant.url).await;
    nowhere.ask(connect).await;
    restrict(&tenant, json!([])).await.expect(StatusCode::OK);
    let ended = tokio::time::timeout(PATIENCE, ours.closed()).await.expect("it ends").1;
    assert_eq!(ended, Received::Close(4030, "origin_not_allowed".into()));
    nowhere.subscribe("chat:1").await;
}

#[tokio::test]
async fn what_is_no_origin_is_refused_by_name() {
    let (_server, tenant) = start().await;
    for (bad, pointer) in [(json!(["*", "example.com"]), "/origins/1"), (json!(["https://a.b/"]), "/origins/0")] {
        let problem = restrict(&tenant, bad).await.expect_problem(422, "invalid_body");
        assert_eq!(problem["errors"][0]["pointer"], pointer);
    }
    let path = format!("/v1/tenants/{}/apps", tenant.tenant);
    let made = tenant.control(Method::POST, &path, json!({"name": "second", "origins": [OURS]})).await;
    assert_eq!(made.expect(StatusCode::CREATED)["origins"], json!([OURS]));
    let shown = tenant.control(Method::GET, &format!("/v1/apps/{}", tenant.app), Value::Null).await;
    assert_eq!(shown.expect(StatusCode::OK)["origins"], json!(["*"]));
}
