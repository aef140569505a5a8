//! The document is complete: whoever reads only it can call everything.

use serde_json::Value;

use super::openapi;

fn operations() -> Vec<(String, Value)> {
    let document = serde_json::to_value(openapi()).unwrap();
    let mut all = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            all.push((format!("{method} {path}"), operation.clone()));
        }
    }
    all
}

/// The Pusher HTTP API refuses in a form of its own: plain JSON, and 400 for whatever is wrong.
fn is_pusher(operation: &Value) -> bool {
    operation["tags"][0] == "pusher"
}

fn text<'a>(operation: &'a Value, field: &str) -> &'a str {
    operation[field].as_str().unwrap_or_default()
}

#[test]
fn it_is_openapi_3_1() {
    assert_eq!(serde_json::to_value(openapi()).unwrap()["openapi"], "3.1.0");
}

#[test]
fn every_operation_says_what_it_does_and_who_may() {
    let operations = operations();
    assert_eq!(operations.len(), 50);
    for (name, operation) in operations {
        assert_eq!(operation["tags"].as_array().map(Vec::len), Some(1), "{name}");
        assert!(!text(&operation, "summary").is_empty(), "{name} has no summary");
        assert!(!text(&operation, "description").is_empty(), "{name} has no description");
        assert!(operation["security"].is_array(), "{name} has no security");
    }
}

#[test]
fn every_body_has_an_example() {
    for (name, operation) in operations() {
        if let Some(body) = operation.get("requestBody") {
            assert!(!body["content"]["application/json"]["example"].is_null(), "{name}: request");
        }
        for (status, answer) in operation["responses"].as_object().unwrap() {
            let content = &answer["content"];
            match status.as_str() {
                "204" => assert!(content.is_null(), "{name} {status}"),
                "200" if name == "get /v1/sse" => {
                    assert!(!content["text/event-stream"]["example"].is_null(), "{name}")
                }
                good if good.starts_with('2') => {
                    let shown = &content["application/json"];
                    assert!(!shown["example"].is_null() || shown["examples"].is_object(), "{name} {status}")
                }
                _ => {
                    let kind = if is_pusher(&operation) { "application/json" } else { "application/problem+json" };
                    assert!(!content[kind]["examples"].is_null(), "{name} {status}")
                }
            }
        }
    }
}

#[test]
fn every_operation_lists_its_refusals() {
    for (name, operation) in operations() {
        let answers = operation["responses"].as_object().unwrap();
        for status in ["429", "503", "500"] {
            assert!(answers.contains_key(status), "{name} lacks {status}");
        }
        let open = operation["security"] == serde_json::json!([{}]);
        assert!(open || answers.contains_key("401"), "{name} lacks 401");
        assert!(!name.contains("{app}") || answers.contains_key("404"), "{name} lacks 404");
        let wrong = if is_pusher(&operation) { "400" } else { "422" };
        assert!(operation.get("requestBody").is_none() || answers.contains_key(wrong), "{name} lacks {wrong}");
    }
}

#[test]
fn every_parameter_of_a_path_is_described() {
    for (name, operation) in operations() {
        for part in name.split('/').filter(|part| part.starts_with('{')) {
            let parameter = part.trim_matches(['{', '}']);
            let found = operation["parameters"].as_array().unwrap().iter().any(|own| {
                own["name"] == parameter
                    && own["in"] == "path"
                    && own["description"].is_string()
                    && !own["example"].is_null()
            });
            assert!(found, "{name}: {parameter}");
        }
    }
}
