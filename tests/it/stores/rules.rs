//! The contract of `Rules`.

use fanfare_domain::{
    accounts::Accounts,
    apps::Apps,
    rules::{Retention, Rule, Rules},
};
use fanfare_protocol::Namespace;

use super::samples::new_app;

pub async fn a_rule_replaces_what_was_there(store: &(impl Accounts + Apps + Rules)) {
    let app = new_app(store).await;
    let (chat, default) = (Namespace::parse("chat").unwrap(), Namespace::parse("_default").unwrap());
    let first = Rule { public: true, history: None, ..Rule::default() };
    let second = Rule {
        history: Some(Retention { retention_s: 60, max_messages: Some(5) }),
        max_message_bytes: Some(100),
        ..Rule::default()
    };
    store.put(&app.id, &chat, &first).await.unwrap();
    store.put(&app.id, &chat, &second).await.unwrap();
    store.put(&app.id, &default, &first).await.unwrap();
    assert_eq!(Rules::list(store, &app.id).await.unwrap(), [(default, first), (chat.clone(), second)]);
    assert!(Rules::remove(store, &app.id, &chat).await.unwrap());
    assert!(!Rules::remove(store, &app.id, &chat).await.unwrap());
    assert_eq!(Rules::list(store, &app.id).await.unwrap().len(), 1);
}

pub async fn rules_belong_to_their_app(store: &(impl Accounts + Apps + Rules)) {
    let (app, other) = (new_app(store).await, new_app(store).await);
    let chat = Namespace::parse("chat").unwrap();
    store.put(&app.id, &chat, &Rule::default()).await.unwrap();
    assert!(Rules::list(store, &other.id).await.unwrap().is_empty());
    assert!(!Rules::remove(store, &other.id, &chat).await.unwrap());
    assert_eq!(Rules::list(store, &app.id).await.unwrap().len(), 1);
}
