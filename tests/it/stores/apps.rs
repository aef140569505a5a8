//! The contract of `Apps`.

use fanfare_domain::{
    StoreError,
    accounts::Accounts,
    apps::{App, Apps},
    capabilities::Capability,
    ids::{AppId, TenantId},
    keys::{Key, Keys},
    rules::{Rule, Rules},
    stores::Page,
};
use fanfare_protocol::Namespace;

use super::samples::{NOW, new_app, signed_up};

pub async fn an_app_can_be_read_back_and_changed(store: &(impl Accounts + Apps)) {
    let mut app = new_app(store).await;
    let found = Apps::find(store, &app.id).await.unwrap().unwrap();
    assert_eq!((found.name.as_str(), found.enabled, &found.epoch), ("prod", true, &app.epoch));
    assert_eq!((found.tenant, found.created_at), (app.tenant.clone(), NOW));
    (app.name, app.enabled) = ("staging".to_owned(), false);
    assert!(store.update(&app).await.unwrap());
    let found = Apps::find(store, &app.id).await.unwrap().unwrap();
    assert_eq!((found.name.as_str(), found.enabled), ("staging", false));
    app.id = AppId::generate();
    assert!(!store.update(&app).await.unwrap());
    assert!(Apps::find(store, &app.id).await.unwrap().is_none());
}

pub async fn apps_are_listed_by_id_page_by_page(store: &(impl Accounts + Apps)) {
    new_app(store).await;
    let (_, tenant, _) = signed_up(store, "ann").await;
    let mut ids = Vec::new();
    for number in 0..5 {
        let app = App::new(tenant.id.clone(), number.to_string(), NOW);
        Apps::insert(store, &app).await.unwrap();
        ids.push(app.id);
    }
    ids.sort();
    let (mut after, mut seen) = (None, Vec::new());
    loop {
        let page = Apps::list(store, &tenant.id, &Page { after, limit: 2 }).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.id.as_str().to_owned());
        seen.extend(page.into_iter().map(|app| app.id));
    }
    assert_eq!(seen, ids);
}

pub async fn an_id_can_be_taken_only_once(store: &(impl Accounts + Apps)) {
    let app = new_app(store).await;
    assert!(matches!(Apps::insert(store, &app).await, Err(StoreError::Conflict)));
}

pub async fn only_its_tenant_removes_an_app(store: &(impl Accounts + Apps)) {
    let app = new_app(store).await;
    assert!(!Apps::remove(store, &TenantId::generate(), &app.id).await.unwrap());
    assert!(Apps::remove(store, &app.tenant, &app.id).await.unwrap());
    assert!(!Apps::remove(store, &app.tenant, &app.id).await.unwrap());
    assert!(Apps::find(store, &app.id).await.unwrap().is_none());
}

pub async fn keys_and_rules_go_with_their_app(store: &(impl Accounts + Apps + Keys + Rules)) {
    let app = new_app(store).await;
    let key = Key::mint(app.id.clone(), "backend".to_owned(), Capability::everything(), None, NOW);
    Keys::insert(store, &key).await.unwrap();
    store.put(&app.id, &Namespace::parse("chat").unwrap(), &Rule::default()).await.unwrap();
    assert!(Apps::remove(store, &app.tenant, &app.id).await.unwrap());
    assert!(store.find_by_id(&key.id).await.unwrap().is_none());
    assert!(Rules::list(store, &app.id).await.unwrap().is_empty());
}
