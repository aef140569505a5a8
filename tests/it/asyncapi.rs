//! `openapi/asyncapi.yaml` is what is really on the wire: every frame of a scenario that provokes all kinds is valid by it.

use std::{collections::BTreeSet, fs, path::Path};

use jsonschema::Validator;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{
    server::{Options, Server},
    sockets::{Received, Recording, Socket},
    tenants::Tenant,
    tokens::every_right,
};

/// The committed document.
pub(crate) fn document() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../openapi/asyncapi.yaml");
    let text = fs::read_to_string(path).expect("the document is committed");
    serde_yaml_ng::from_str(&text).expect("the document is YAML")
}

/// A validator of one of the document's schemas.
fn validator(name: &str) -> Validator {
    let schema = json!({"$ref": format!("#/components/schemas/{name}"), "components": document()["components"]});
    jsonschema::draft202012::new(&schema).expect("the schema is one")
}

#[track_caller]
fn check(validator: &Validator, frame: &Value) {
    let problems: Vec<_> = validator.iter_errors(frame).map(|problem| problem.to_string()).collect();
    assert!(problems.is_empty(), "{frame}: {problems:?}");
}

/// The names of the schemas that a frame may be one of.
fn kinds(frame: &str) -> Vec<String> {
    let document = document();
    let references = document["components"]["schemas"][frame]["oneOf"].as_array().expect("kinds").clone();
    let name =
        |reference: &Value| reference["$ref"].as_str().and_then(|path| path.rsplit('/').next()).map(str::to_owned);
    references.iter().map(|reference| name(reference).expect("a reference")).collect()
}

async fn open(tenant: &Tenant) -> Socket {
    let mut socket = Socket::open(&tenant.url).await;
    socket.record();
    socket
}

/// Answers of every op, good and bad, and everything that comes of publishing.
async fn converse(tenant: &Tenant) -> Recording {
    let mut socket = open(tenant).await;
    let token = tenant.full_token("ann").await;
    socket.ask(json!({"op": "connect", "token": token, "app": tenant.app, "client": "tests/1.0"})).await;
    let epoch = socket.subscribe("room").await["epoch"].clone();
    let rich = json!({"op": "publish", "channel": "room", "data": {"a": [1.5, null]}, "name": "said", "headers": {"a": "b"},
        "idempotency_key": "k", "ack": "persisted"});
    socket.ask(rich).await;
    socket.ask(json!({"op": "publish", "channel": "room", "data": null, "ephemeral": true, "ack": "accepted"})).await;
    socket.ask(json!({"op": "publish", "channel": "room", "data": 1, "echo": false})).await;
    socket.messages(2).await;
    socket.event_of("skip").await;
    for page in [json!({}), json!({"after": 0, "limit": 1}), json!({"before": 2})] {
        let mut request = json!({"op": "history", "channel": "room"});
        request.as_object_mut().expect("an object").extend(page.as_object().expect("an object").clone());
        socket.ask(request).await;
    }
    for start in [
        json!({"since": {"epoch": epoch, "serial": 1}}),
        json!({"since": {"epoch": "other", "serial": 0}}),
        json!({"rewind": {"seconds": 60}}),
        json!({"rewind": {"messages": 1}}),
    ] {
        socket.ask(json!({"op": "unsubscribe", "channel": "room"})).await;
        let mut request = json!({"op": "subscribe", "channel": "room"});
        request.as_object_mut().expect("an object").extend(start.as_object().expect("an object").clone());
        socket.ask(request).await;
    }
    socket.ask(json!({"op": "subscribe", "channel": "hall", "presence": true})).await;
    socket.ask(json!({"op": "presence", "channel": "hall", "action": "enter", "data": {"a": 1}})).await;
    socket.ask(json!({"op": "presence", "channel": "hall", "action": "list"})).await;
    while !socket.recording().received.iter().any(|frame| frame.contains(r#""op":"presence""#)) {
        socket.receive().await;
    }
    assert_eq!(socket.refused(json!({"op": "unsubscribe", "channel": "never"})).await, "not_subscribed");
    socket.ask(json!({"op": "subscribe", "channel": "counted", "occupancy": true})).await;
    while socket.event().await["op"] != "occupancy" {}
    let narrow = tenant.token("ann", json!({})).await;
    socket.ask(json!({"op": "token", "token": narrow})).await;
    loop {
        if socket.event().await["op"] == "unsubscribed" {
            break;
        }
    }
    assert_eq!(socket.refused(json!({"op": "subscribe", "channel": "room"})).await, "forbidden");
    // The ping interval is short here.
    while !socket.recording().received.iter().any(|frame| frame.contains(r#""ping""#)) {
        socket.receive().await;
    }
    socket.send(json!({"op": "connect", "token": token})).await;
    assert_eq!(socket.close_code().await, 4003);
    socket.recording().clone()
}

/// A token that is warned of, and one that runs out while messages go past retention.
async fn outlive_tokens(tenant: &Tenant) -> Vec<Recording> {
    let mut warned = open(tenant).await;
    warned.ask(json!({"op": "connect", "token": tenant.short_token("ann", every_right(), 66.0)})).await;
    let mut expired = open(tenant).await;
    expired.ask(json!({"op": "connect", "token": tenant.full_token("ann").await})).await;
    tenant.rule("brief", json!({"history": {"retention_s": 60, "max_messages": 1}})).await;
    expired.subscribe("brief:1").await;
    tenant.shorten(&mut expired, "ann").await;
    while expired.answer(json!({"op": "history", "channel": "brief:1"})).await.get("error").is_none() {}
    for number in 1..=3 {
        tenant.publish("brief:1", json!(number)).await;
    }
    let fresh = tenant.full_token("ann").await;
    expired.ask(json!({"op": "token", "token": fresh})).await;
    assert_eq!(expired.event_of("gap").await, json!({"op": "gap", "channel": "brief:1", "from": 1, "to": 2}));
    assert_eq!(expired.event_of("message").await["serial"], 3);
    warned.event_of("token_expiring").await;
    vec![warned.recording().clone(), expired.recording().clone()]
}

/// Somebody with a key id only, until the server ends.
async fn outlive_the_server(server: &mut Server, tenant: &Tenant) -> Recording {
    let mut socket = open(tenant).await;
    socket.ask(json!({"op": "connect", "key": tenant.key})).await;
    let (status, (events, end)) = tokio::join!(server.terminate(), socket.closed());
    assert!(status.success());
    assert!(events.iter().any(|event| event["op"] == "reconnect"), "{events:?}");
    assert!(matches!(end, Received::Close(4200, _)), "{end:?}");
    socket.recording().clone()
}

#[tokio::test]
async fn every_frame_is_valid_by_the_document_and_every_kind_is_seen() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let config = folder.path().join("fanfare.toml");
    fs::write(&config, "[gateway.connection]\nping_interval = \"300ms\"\n").expect("a file can be written");
    let path = config.to_str().expect("the path is text");
    let mut server = Server::start(Options::default().env("FANFARE_CONFIG", path)).await;
    let tenant = Tenant::sign_up(&server).await;
    let (conversation, mut recordings) = tokio::join!(converse(&tenant), outlive_tokens(&tenant));
    recordings.push(conversation);
    recordings.push(outlive_the_server(&mut server, &tenant).await);

    let frames = |pick: fn(&Recording) -> &Vec<String>| -> Vec<Value> {
        recordings.iter().flat_map(pick).map(|frame| serde_json::from_str(frame).expect("a frame is JSON")).collect()
    };
    for (name, frames) in [("ClientFrame", frames(|all| &all.sent)), ("ServerFrame", frames(|all| &all.received))] {
        let whole = validator(name);
        let each: Vec<_> = kinds(name).into_iter().map(|kind| (validator(&kind), kind)).collect();
        let mut seen = BTreeSet::new();
        for frame in &frames {
            check(&whole, frame);
            seen.extend(each.iter().filter(|(validator, _)| validator.is_valid(frame)).map(|(_, kind)| kind.clone()));
            check_teeth(&whole, frame);
        }
        assert_eq!(seen, kinds(name).into_iter().collect::<BTreeSet<_>>(), "every kind of {name} is to be provoked");
    }
}

/// Spoils a frame in every way that must be noticed: no `op` or `id`, each field of another type, and, from the server, one too many.
fn check_teeth(validator: &Validator, frame: &Value) {
    let fields: Vec<String> = frame.as_object().expect("an object").keys().cloned().collect();
    let is_clients = frame.get("op").is_some() && (frame.get("id").is_some_and(Value::is_u64) || frame["op"] == "pong");
    for field in fields.iter().filter(|field| *field != "data") {
        let mut wrong = frame.clone();
        wrong[field.as_str()] = json!([["wrong"]]);
        assert!(!validator.is_valid(&wrong), "{wrong} is taken");
    }
    for needed in ["op", "id", "channel", "ok", "error"].into_iter().filter(|field| frame.get(*field).is_some()) {
        let mut lacking = frame.clone();
        lacking.as_object_mut().expect("an object").remove(needed);
        assert!(!validator.is_valid(&lacking), "{lacking} is taken");
    }
    if !is_clients {
        let mut more = frame.clone();
        more["later"] = json!(1);
        assert!(!validator.is_valid(&more), "{more} is taken");
    }
}

#[test]
fn the_examples_of_the_document_are_valid_by_it() {
    let document = document();
    let messages = document["components"]["messages"].as_object().expect("messages");
    for (name, message) in messages {
        let schema = message["payload"]["$ref"].as_str().and_then(|path| path.rsplit('/').next()).expect("a reference");
        let validator = validator(schema);
        let examples = message["examples"].as_array().unwrap_or_else(|| panic!("{name} has no example"));
        for example in examples {
            check(&validator, &example["payload"]);
        }
    }
    assert_eq!(document["asyncapi"], "3.0.0");
    assert_eq!(Method::GET.as_str(), document["channels"]["connect"]["bindings"]["ws"]["method"]);
}
