//! The contract of `Rules`.

use fanfare_domain::{
    StoreError,
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
    store.put(&app.id, &chat, &first, u32::MAX).await.unwrap();
    store.put(&app.id, &chat, &second, u32::MAX).await.unwrap();
    store.put(&app.id, &default, &first, u32::MAX).await.unwrap();
    assert_eq!(Rules::list(store, &app.id).await.unwrap(), [(default, first), (chat.clone(), second)]);
    assert!(Rules::remove(store, &app.id, &chat).await.unwrap());
    assert!(!Rules::remove(store, &app.id, &chat).await.unwrap());
    assert_eq!(Rules::list(store, &app.id).await.unwrap().len(), 1);
}

pub async fn an_app_has_so_many_rules_and_one_of_them_can_be_replaced(store: &(impl Accounts + Apps + Rules)) {
    let app = new_app(store).await;
    let put = async |name: usize| {
        let namespace = Namespace::parse(&name.to_string()).unwrap();
        store.put(&app.id, &namespace, &Rule::default(), 3).await
    };
    let added = futures::future::join_all((0..8).map(put)).await;
    assert_eq!(added.iter().filter(|added| added.is_ok()).count(), 3);
    assert!(added.iter().all(|added| matches!(added, Ok(()) | Err(StoreError::Full(3)))), "{added:?}");
    let there = added.iter().position(Result::is_ok).unwrap();
    put(there).await.unwrap();
    assert_eq!(Rules::list(store, &app.id).await.unwrap().len(), 3);
}

pub async fn rules_belong_to_their_app(store: &(impl Accounts + Apps + Rules)) {
    let (app, other) = (new_app(store).await, new_app(store).await);
    let chat = Namespace::parse("chat").unwrap();
    store.put(&app.id, &chat, &Rule::default(), u32::MAX).await.unwrap();
    assert!(Rules::list(store, &other.id).await.unwrap().is_empty());
    assert!(!Rules::remove(store, &other.id, &chat).await.unwrap());
    assert_eq!(Rules::list(store, &app.id).await.unwrap().len(), 1);
}
