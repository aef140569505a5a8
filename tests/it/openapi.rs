//! The OpenAPI document: what is served, printed and committed is one, complete, and true of the server.

use std::{fs, path::Path};

use reqwest::{Client, Method, StatusCode};
use serde_json::Value;

use crate::{
    harness::{
        server::{Options, Server, fanfare},
        tenants::{Answer, Tenant},
    },
    isolation::Operation,
};

fn committed() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../openapi/openapi.json");
    fs::read_to_string(path).expect("the document is committed: `fanfare openapi > openapi/openapi.json`")
}

fn committed_document() -> Value {
    serde_json::from_str(&committed()).expect("the document is JSON")
}

#[test]
fn the_binary_prints_the_document_that_is_committed() {
    let output = fanfare().arg("openapi").output().expect("the binary can be started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8(output.stdout).expect("the document is text");
    assert!(printed == committed(), "openapi/openapi.json is stale: `fanfare openapi > openapi/openapi.json`");
    assert_eq!(committed_document()["openapi"], "3.1.0");
}

#[tokio::test]
async fn the_server_serves_the_document_that_is_committed() {
    let server = Server::start(Options::default()).await;
    let client = Client::builder().no_proxy().build().expect("a client can be built");
    let served = Answer::of(client.get(format!("{}/openapi.json", server.url()))).await;
    assert_eq!(served.headers["content-type"], "application/json");
    assert!(served.expect(StatusCode::OK) == committed_document(), "what is served is not what is committed");
}

#[test]
fn every_operation_says_what_it_does_who_may_and_how_it_fails() {
    let document = committed_document();
    for operation in Operation::all(&document) {
        let name = format!("{} {}", operation.method, operation.path);
        let text = |field: &str| operation.document[field].as_str().unwrap_or_default().to_owned();
        assert!(
            !text("summary").is_empty() && !text("description").is_empty(),
            "{name} has no summary or no description"
        );
        for scheme in operation.document["security"].as_array().unwrap_or_else(|| panic!("{name} has no security")) {
            for used in scheme.as_object().expect("schemes").keys() {
                assert!(
                    document["components"]["securitySchemes"][used].is_object(),
                    "{name}: `{used}` is not explained"
                );
            }
        }
        if !operation.document["requestBody"].is_null() {
            assert!(!operation.example().is_null(), "{name}: its body has no example");
        }
        check_answers(&name, &operation, &document);
    }
}

fn check_answers(name: &str, operation: &Operation, document: &Value) {
    let answers = operation.document["responses"].as_object().expect("responses");
    assert!(answers.keys().any(|status| status.starts_with('2')), "{name} never succeeds");
    assert!(answers.keys().any(|status| !status.starts_with('2')), "{name} never fails");
    assert!(operation.is_public() || answers.contains_key("401"), "{name} lacks 401");
    for (status, answer) in answers {
        assert!(
            answer["description"].as_str().is_some_and(|text| !text.is_empty()),
            "{name} {status} is not described"
        );
        if status == "204" {
            continue;
        }
        let kind = match status.as_str() {
            "200" if operation.path == "/v1/sse" => "text/event-stream",
            good if good.starts_with('2') => "application/json",
            // Pusher's libraries are told in plain JSON.
            _ if operation.takes("pusherSignature") => "application/json",
            _ => "application/problem+json",
        };
        let content = &answer["content"][kind];
        assert!(content["schema"].is_object(), "{name} {status} is no {kind}");
        assert!(!content["example"].is_null() || content["examples"].is_object(), "{name} {status} has no example");
        if let Some(path) = content["schema"]["$ref"].as_str() {
            assert!(document.pointer(path.trim_start_matches('#')).is_some(), "{name} {status}: {path} is nowhere");
        }
    }
}

#[tokio::test]
async fn without_credentials_every_guarded_operation_answers_401() {
    let server = Server::start(Options::default()).await;
    let tenant = Tenant::sign_up(&server).await;
    let mut guarded = 0;
    for operation in Operation::all(&committed_document()) {
        let path = operation.fill(|name| match name {
            "app" => tenant.app.clone(),
            "tenant" => tenant.tenant.clone(),
            other => other.to_owned(),
        });
        let answer = Answer::of(operation.request(&tenant, &path, None)).await;
        let name = format!("{} {path}", operation.method);
        if operation.is_public() {
            assert!(answer.body["code"] != "unauthorized" && answer.status != 404, "{name}: {}", answer.text);
            continue;
        }
        guarded += 1;
        let challenge =
            answer.headers.get("www-authenticate").and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        assert!(answer.headers.contains_key("x-request-id"), "{name}");
        assert_eq!(answer.status, 401, "{name}: {}", answer.text);
        if operation.takes("pusherSignature") {
            // What is signed in the query takes no bearer, and refuses in a form of its own.
            assert!(challenge.starts_with("Pusher"), "{name}: `{challenge}`");
            answer.expect_refused(401);
            let answer = Answer::of(operation.request(&tenant, &path, Some(&tenant.credential()))).await;
            assert_eq!(answer.status, 401, "{name}: {}", answer.text);
            continue;
        }
        assert!(challenge.contains("Bearer"), "{name}: `{challenge}`");
        answer.expect_problem(401, "unauthorized");
        // A credential of the other plane serves no more than none.
        let wrong = if operation.takes("sessionBearer") { tenant.credential() } else { tenant.session.clone() };
        let answer = Answer::of(operation.request(&tenant, &path, Some(&wrong))).await;
        assert_eq!(answer.status, 401, "{name}: {}", answer.text);
    }
    assert!(guarded > 20, "{guarded}");
}

/// What a page loads, by the attributes `src` and `href`.
fn references(page: &str) -> Vec<String> {
    let of = |attribute: &str| {
        page.split(&format!("{attribute}=\""))
            .skip(1)
            .filter_map(|rest| rest.split('"').next())
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    [of("src"), of("href")].concat()
}

#[tokio::test]
async fn the_docs_come_from_the_binary_and_ask_nobody_else() {
    let server = Server::start(Options::default()).await;
    let client = Client::builder().no_proxy().build().expect("a client can be built");
    let get = |path: String| Answer::of(client.request(Method::GET, path));
    let page = get(format!("{}/docs", server.url())).await;
    assert!(page.headers["content-type"].to_str().expect("text").starts_with("text/html"));
    let policy = page.headers["content-security-policy"].to_str().expect("text").to_owned();
    assert!(policy.contains("default-src 'none'") && !policy.contains("http"), "{policy}");
    let loaded = references(&page.text);
    assert!(
        loaded.iter().any(|path| path.ends_with(".js")) && loaded.iter().any(|path| path.ends_with(".css")),
        "{loaded:?}"
    );
    for path in loaded {
        assert!(!path.contains("//"), "/docs loads {path}");
        let file = get(format!("{}/docs/{}", server.url(), path.trim_start_matches("./"))).await;
        assert_eq!(file.status, 200, "{path}");
        let imports = ["@import", "url(http", "url(//", "url(\"http", "url('http"];
        assert!(
            !path.ends_with(".css") || imports.iter().all(|import| !file.text.contains(import)),
            "{path} imports something"
        );
    }
    let initializer = get(format!("{}/docs/swagger-initializer.js", server.url())).await;
    assert!(initializer.text.contains("/openapi.json") && !initializer.text.contains("http"), "{}", initializer.text);
}
