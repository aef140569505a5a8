//! The control plane by bearer: tenants, apps, keys, rules, lists, and what goes with an app that is removed.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{
    sockets::Socket,
    tenants::{Tenant, start},
};

fn ids(list: &Value) -> Vec<&str> {
    list["items"].as_array().expect("items").iter().map(|item| item["id"].as_str().expect("an id")).collect()
}

/// Every id of a list, read page by page.
async fn walk(tenant: &Tenant, path: &str, limit: usize) -> Vec<String> {
    let (mut all, mut next) = (Vec::new(), String::new());
    loop {
        let page = tenant
            .control(Method::GET, &format!("{path}?limit={limit}{next}"), Value::Null)
            .await
            .expect(StatusCode::OK);
        let found = ids(&page);
        assert!(found.len() <= limit);
        all.extend(found.into_iter().map(str::to_owned));
        match page["next"].as_str() {
            Some(cursor) => next = format!("&next={cursor}"),
            None => return all,
        }
    }
}

#[tokio::test]
async fn a_tenant_shows_its_plan_and_can_be_renamed() {
    let (_server, tenant) = start().await;
    let path = format!("/v1/tenants/{}", tenant.tenant);
    let shown = tenant.control(Method::GET, &path, Value::Null).await.expect(StatusCode::OK);
    assert_eq!(
        (&shown["id"], &shown["name"], &shown["plan"]),
        (&json!(tenant.tenant), &json!("Acme"), &json!("unlimited"))
    );
    assert!(shown["limits"]["publishes_per_s"].as_u64() > Some(0), "{shown}");
    let renamed = tenant.control(Method::PATCH, &path, json!({"name": "Emca"})).await.expect(StatusCode::OK);
    assert_eq!((&renamed["name"], &renamed["id"]), (&json!("Emca"), &json!(tenant.tenant)));
    let shown = tenant.control(Method::GET, &path, Value::Null).await.expect(StatusCode::OK);
    assert_eq!(shown["name"], "Emca");
    for bad in [json!({"name": ""}), json!({"name": "x".repeat(101)}), json!({"plan": "unlimited"}), json!([])] {
        tenant.control(Method::PATCH, &path, bad).await.expect_problem(422, "invalid_body");
    }
}

#[tokio::test]
async fn apps_are_made_listed_changed_and_removed() {
    let (_server, tenant) = start().await;
    let apps = format!("/v1/tenants/{}/apps", tenant.tenant);
    let made = tenant.control(Method::POST, &apps, json!({"name": "staging"})).await.expect(StatusCode::CREATED);
    assert_eq!((&made["name"], &made["enabled"], &made["pusher"]), (&json!("staging"), &json!(true), &json!(false)));
    let app = format!("/v1/apps/{}", made["id"].as_str().expect("an id"));
    assert_eq!(tenant.control(Method::GET, &app, Value::Null).await.expect(StatusCode::OK), made);
    let list = tenant.control(Method::GET, &apps, Value::Null).await.expect(StatusCode::OK);
    assert_eq!(
        (ids(&list), &list["next"]),
        (vec![tenant.app.as_str(), made["id"].as_str().expect("an id")], &Value::Null)
    );
    let changed = tenant.control(Method::PATCH, &app, json!({"name": "stage"})).await.expect(StatusCode::OK);
    assert_eq!((&changed["name"], &changed["enabled"]), (&json!("stage"), &json!(true)));
    for bad in [json!({"name": ""}), json!({"pusher": "yes"}), json!({"later": 1}), json!({"enabled": "no"})] {
        tenant.control(Method::PATCH, &app, bad.clone()).await.expect_problem(422, "invalid_body");
    }
    for bad in [json!({}), json!({"name": "x", "pusher": 1}), json!({"name": 1})] {
        tenant.control(Method::POST, &apps, bad).await.expect_problem(422, "invalid_body");
    }
    tenant.control(Method::DELETE, &app, Value::Null).await.expect(StatusCode::NO_CONTENT);
    tenant.control(Method::GET, &app, Value::Null).await.expect_problem(404, "not_found");
    let list = tenant.control(Method::GET, &apps, Value::Null).await.expect(StatusCode::OK);
    assert_eq!(ids(&list), [tenant.app.as_str()]);
}

#[tokio::test]
async fn changes_of_other_things_at_the_same_time_do_not_enable_an_app() {
    let (_server, tenant) = start().await;
    let app = format!("/v1/apps/{}", tenant.app);
    let change = async |patch: Value| {
        let changed = tenant.control(Method::PATCH, &app, patch).await;
        changed.expect(StatusCode::OK);
    };
    for _ in 0..10 {
        change(json!({"enabled": true})).await;
        let disable = change(json!({"enabled": false}));
        tokio::join!(change(json!({"name": "a"})), disable, change(json!({"name": "b"})), change(json!({"name": "c"})));
        let now = tenant.control(Method::GET, &app, Value::Null).await.expect(StatusCode::OK);
        assert_eq!(now["enabled"], false);
    }
}

#[tokio::test]
async fn an_app_speaks_pusher_when_it_is_switched_on_and_says_who_may_subscribe() {
    let (_server, tenant) = start().await;
    let app = format!("/v1/apps/{}", tenant.app);
    let patch = async |body: Value| tenant.control(Method::PATCH, &app, body).await.expect(StatusCode::OK);
    let mut options = json!({"client_events": true, "sign_in": true, "watchlists": true, "subscription_counts": true,
        "authorized_connections": false, "batch_webhooks": false});
    let off = tenant.control(Method::GET, &app, Value::Null).await.expect(StatusCode::OK);
    assert_eq!((&off["pusher"], &off["pusher_options"]), (&json!(false), &options));
    assert!(off.get("pusher_app_id").is_none() && off.get("pusher_access").is_none(), "{off}");

    let on = patch(json!({"pusher": true})).await;
    let number = on["pusher_app_id"].as_str().expect("a number").to_owned();
    assert!(!number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()), "{number}");
    assert_eq!((&on["pusher"], &on["pusher_options"]), (&json!(true), &options));
    assert_eq!(on["pusher_access"], json!({"*": "app_key", "private-*": "signature", "presence-*": "signature"}));
    assert_eq!(tenant.control(Method::GET, &app, Value::Null).await.expect(StatusCode::OK), on);

    let changed = patch(json!({"pusher_options": {"watchlists": false, "batch_webhooks": true}})).await;
    (options["watchlists"], options["batch_webhooks"]) = (json!(false), json!(true));
    assert_eq!((&changed["pusher"], &changed["pusher_options"]), (&json!(true), &options));
    let renamed = patch(json!({"name": "other", "pusher_options": {}})).await;
    assert_eq!((&renamed["pusher"], &renamed["pusher_options"]), (&json!(true), &options));
    let off = patch(json!({"pusher": false})).await;
    assert_eq!((&off["pusher"], &off["pusher_options"]), (&json!(false), &options));
    assert_eq!(patch(json!({"pusher": true})).await["pusher_app_id"], number, "the number stays an app's");
    for bad in
        [json!({"pusher_options": {"later": true}}), json!({"pusher_options": {"sign_in": 1}}), json!({"pusher": 1})]
    {
        tenant.control(Method::PATCH, &app, bad).await.expect_problem(422, "invalid_body");
    }
}

#[tokio::test]
async fn an_app_is_made_with_pusher_and_its_options_at_once() {
    let (_server, tenant) = start().await;
    let apps = format!("/v1/tenants/{}/apps", tenant.tenant);
    let new = json!({"name": "web", "pusher": true, "pusher_options": {"sign_in": false}});
    let made = tenant.control(Method::POST, &apps, new).await.expect(StatusCode::CREATED);
    let options = &made["pusher_options"];
    assert_eq!(
        (&made["pusher"], &options["sign_in"], &options["watchlists"]),
        (&json!(true), &json!(false), &json!(true))
    );
    assert!(made["pusher_app_id"].is_string() && made["pusher_access"].is_object(), "{made}");
    let bad = json!({"name": "web", "pusher_options": {"enabled": true}});
    tenant.control(Method::POST, &apps, bad).await.expect_problem(422, "invalid_body");
}

#[tokio::test]
async fn switches_changed_at_the_same_time_do_not_undo_each_other() {
    let (_server, tenant) = start().await;
    let app = format!("/v1/apps/{}", tenant.app);
    let change = async |patch: Value| tenant.control(Method::PATCH, &app, patch).await.expect(StatusCode::OK);
    for value in [true, false, true] {
        let option = |name: &str| json!({"pusher_options": {name: value}});
        tokio::join!(
            change(json!({"pusher": value})),
            change(option("client_events")),
            change(option("sign_in")),
            change(option("authorized_connections")),
        );
        let now = change(json!({"name": "same"})).await;
        let options = &now["pusher_options"];
        let all = [&now["pusher"], &options["client_events"], &options["sign_in"], &options["authorized_connections"]];
        assert_eq!(all, [&json!(value); 4]);
    }
}

#[tokio::test]
async fn lists_are_paged_without_a_double_or_a_hole() {
    let (_server, tenant) = start().await;
    let apps = format!("/v1/tenants/{}/apps", tenant.tenant);
    let keys = format!("/v1/apps/{}/keys", tenant.app);
    let (mut made_apps, mut made_keys) = (vec![tenant.app.clone()], vec![tenant.key.clone()]);
    for at in 0..6 {
        for (path, made) in [(&apps, &mut made_apps), (&keys, &mut made_keys)] {
            let body = json!({"name": format!("n{at}")});
            let one = tenant.control(Method::POST, path, body).await.expect(StatusCode::CREATED);
            made.push(one["id"].as_str().expect("an id").to_owned());
        }
    }
    for limit in [1, 3, 7, 100] {
        assert_eq!(walk(&tenant, &apps, limit).await, made_apps);
        assert_eq!(walk(&tenant, &keys, limit).await, made_keys);
    }
    for bad in ["limit=0", "limit=101", "limit=x", "next=%25"] {
        tenant.control(Method::GET, &format!("{apps}?{bad}"), Value::Null).await.expect_problem(422, "invalid_body");
    }
}

#[tokio::test]
async fn a_secret_is_shown_once() {
    let (_server, tenant) = start().await;
    let keys = format!("/v1/apps/{}/keys", tenant.app);
    let cap = json!({"chat:*": ["subscribe", "publish"]});
    let minted =
        tenant.control(Method::POST, &keys, json!({"name": "narrow", "cap": cap})).await.expect(StatusCode::CREATED);
    let secret = minted["secret"].as_str().expect("a secret");
    assert_eq!((secret.len(), &secret[..3], &minted["cap"]), (46, "fs_", &cap));
    let path = format!("{keys}/{}/rotate", minted["id"].as_str().expect("an id"));
    let rotated = tenant.control(Method::POST, &path, json!({"grace_s": 60})).await.expect(StatusCode::OK);
    let list = tenant.control(Method::GET, &keys, Value::Null).await;
    for shown in [secret, rotated["secret"].as_str().expect("a secret"), tenant.secret.as_str()] {
        assert!(!list.text.contains(shown), "a list shows a secret");
    }
    let list = list.expect(StatusCode::OK);
    let items = list["items"].as_array().expect("items");
    assert_eq!(items[0]["cap"], json!({"*": ["subscribe", "publish", "presence", "history", "admin"]}));
    assert_eq!((&items[1]["name"], &items[1]["cap"]), (&json!("narrow"), &cap));
    let until = items[1]["previous_until"].as_u64().expect("a grace");
    assert!(until > items[1]["created_at"].as_u64().expect("a time") + 50_000);
    for bad in [
        json!({}),
        json!({"name": "x", "cap": {"a*b": []}}),
        json!({"name": "x", "expires_at": 1}),
        json!({"name": "x", "cap": []}),
    ] {
        tenant.control(Method::POST, &keys, bad).await.expect_problem(422, "invalid_body");
    }
    tenant.control(Method::POST, &path, json!({"grace_s": 2_592_001})).await.expect_problem(422, "invalid_body");
}

#[tokio::test]
async fn putting_a_rule_replaces_it_and_absent_fields_take_the_defaults() {
    let (_server, tenant) = start().await;
    let rules = format!("/v1/apps/{}/rules", tenant.app);
    let chat = format!("{rules}/chat");
    let defaults =
        json!({"public": false, "client_publish": true, "presence": true, "history": {"retention_s": 86_400}});
    let show = async |path: &str| tenant.control(Method::GET, path, Value::Null).await;
    assert_eq!(show(&format!("{rules}/_default")).await.expect(StatusCode::OK), defaults);
    show(&chat).await.expect_problem(404, "not_found");
    let first = json!({"public": true, "client_publish": false, "presence": false, "history": {"retention_s": 5, "max_messages": 7}, "max_message_bytes": 9});
    let put = tenant.control(Method::PUT, &chat, first.clone()).await.expect(StatusCode::OK);
    assert_eq!(put, first);
    assert_eq!(show(&chat).await.expect(StatusCode::OK), first);
    let mut expected = defaults.clone();
    expected["history"] = Value::Null;
    let put = tenant.control(Method::PUT, &chat, json!({"history": null})).await.expect(StatusCode::OK);
    assert_eq!(put, expected, "nothing of the rule before stays");
    assert_eq!(tenant.control(Method::PUT, &chat, json!({})).await.expect(StatusCode::OK), defaults);
    let list = show(&rules).await.expect(StatusCode::OK);
    let names: Vec<_> = list["items"].as_array().expect("items").iter().map(|rule| rule["namespace"].clone()).collect();
    assert_eq!(names, ["_default", "chat"]);
    for bad in [
        json!({"public": 1}),
        json!({"later": 1}),
        json!({"history": {}}),
        json!({"history": {"retention_s": 0}}),
        json!({"history": {"retention_s": 1, "max_messages": 0}}),
        json!({"max_message_bytes": 0}),
    ] {
        tenant.control(Method::PUT, &chat, bad).await.expect_problem(422, "invalid_body");
    }
    for bad in ["a%3Ab", "a%20b", &"x".repeat(201)] {
        tenant.control(Method::PUT, &format!("{rules}/{bad}"), json!({})).await.expect_problem(422, "invalid_body");
    }
    tenant.control(Method::DELETE, &chat, Value::Null).await.expect(StatusCode::NO_CONTENT);
    tenant.control(Method::DELETE, &chat, Value::Null).await.expect_problem(404, "not_found");
}

#[tokio::test]
async fn the_default_rule_holds_where_a_namespace_has_none() {
    let (_server, tenant) = start().await;
    tenant.rule("_default", json!({"client_publish": false})).await;
    tenant.rule("chat", json!({})).await;
    let mut socket = tenant.join("ann").await;
    let publish = |channel: &str| json!({"op": "publish", "channel": channel, "data": 1});
    assert_eq!(socket.refused(publish("lobby")).await, "forbidden");
    assert_eq!(socket.refused(publish("news:1")).await, "forbidden");
    socket.ask(publish("chat:1")).await;
}

#[tokio::test]
async fn with_an_app_goes_everything_of_it() {
    let (_server, tenant) = start().await;
    let kept = tenant.with_key(json!({"name": "second"})).await;
    tenant.rule("chat", json!({})).await;
    tenant.publish("chat:1", json!(1)).await;
    let token = tenant.full_token("ann").await;
    let mut socket = Socket::connect(&tenant.url, &token).await;
    socket.subscribe("chat:1").await;
    let app = format!("/v1/apps/{}", tenant.app);
    tenant.control(Method::DELETE, &app, Value::Null).await.expect(StatusCode::NO_CONTENT);
    assert_eq!(socket.close_code().await, 4020);
    let key = &tenant.key;
    for (method, path) in [
        (Method::GET, app.clone()),
        (Method::PATCH, app.clone()),
        (Method::DELETE, app.clone()),
        (Method::GET, format!("{app}/keys")),
        (Method::POST, format!("{app}/keys")),
        (Method::DELETE, format!("{app}/keys/{key}")),
        (Method::POST, format!("{app}/keys/{key}/rotate")),
        (Method::GET, format!("{app}/rules")),
        (Method::GET, format!("{app}/rules/chat")),
        (Method::PUT, format!("{app}/rules/chat")),
        (Method::DELETE, format!("{app}/rules/chat")),
    ] {
        tenant.control(method, &path, Value::Null).await.expect_problem(404, "not_found");
    }
    for holder in [&tenant, &kept] {
        let publish = holder.data(Method::POST, "/v1/channels/chat:1/messages", json!({"data": 2})).await;
        publish.expect_problem(401, "bad_key");
        let read = holder.data(Method::GET, "/v1/channels/chat:1/messages", Value::Null).await;
        read.expect_problem(401, "bad_key");
    }
    let mut socket = Socket::open(&tenant.url).await;
    assert_eq!(socket.refused(json!({"op": "connect", "token": token})).await, "bad_token");
    let mut socket = Socket::open(&tenant.url).await;
    assert_eq!(socket.refused(json!({"op": "connect", "key": key})).await, "bad_key");
}
