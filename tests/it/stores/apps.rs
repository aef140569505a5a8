//! The contract of `Apps`.

use fanfare_domain::{
    StoreError,
    accounts::Accounts,
    apps::{App, AppPatch, Apps},
    capabilities::Capability,
    ids::{AppId, TenantId},
    keys::{Key, Keys},
    origins::Origins,
    pusher::{PusherSwitches, SwitchesPatch},
    rules::{Rule, Rules},
    stores::Page,
};
use fanfare_protocol::Namespace;

use super::samples::{NOW, new_app, signed_up};

pub async fn an_app_can_be_read_back_and_changed(store: &(impl Accounts + Apps)) {
    let app = new_app(store).await;
    let found = Apps::find(store, &app.id).await.unwrap().unwrap();
    assert_eq!((found.name.as_str(), found.enabled, &found.epoch), ("prod", true, &app.epoch));
    assert_eq!((found.tenant, found.created_at), (app.tenant.clone(), NOW));
    let origins = Origins::parse(["https://app.example.com".to_owned()]).unwrap();
    assert_eq!(found.origins, Origins::any());
    let switches = PusherSwitches { enabled: true, watchlists: false, ..PusherSwitches::default() };
    let patch = AppPatch {
        name: Some("staging".to_owned()),
        enabled: Some(false),
        origins: Some(origins.clone()),
        traced_since: Some(Some(NOW)),
        pusher: SwitchesPatch { enabled: Some(true), watchlists: Some(false), ..SwitchesPatch::default() },
    };
    assert_eq!((found.traced_since, found.pusher), (None, PusherSwitches::default()));
    let changed = store.update(&app.tenant, &app.id, &patch).await.unwrap().unwrap();
    assert_eq!((changed.id, changed.name.as_str(), changed.enabled), (app.id.clone(), "staging", false));
    let found = Apps::find(store, &app.id).await.unwrap().unwrap();
    assert_eq!((found.name.as_str(), found.enabled, found.origins), ("staging", false, origins));
    assert_eq!((found.traced_since, found.pusher), (Some(NOW), switches));
    let off = AppPatch { traced_since: Some(None), ..AppPatch::default() };
    assert_eq!(store.update(&app.tenant, &app.id, &off).await.unwrap().unwrap().traced_since, None);
    for (tenant, id) in [(&app.tenant, &AppId::generate()), (&TenantId::generate(), &app.id)] {
        for patch in [AppPatch::default(), AppPatch { enabled: Some(true), ..AppPatch::default() }] {
            assert!(store.update(tenant, id, &patch).await.unwrap().is_none());
        }
    }
    assert!(!Apps::find(store, &app.id).await.unwrap().unwrap().enabled);
}

pub async fn a_change_of_one_thing_leaves_the_others(store: &(impl Accounts + Apps)) {
    let app = new_app(store).await;
    let name = |text: &str| Some(text.to_owned());
    let changes = [
        (AppPatch { enabled: Some(false), ..AppPatch::default() }, ("prod", false)),
        (AppPatch { name: name("staging"), ..AppPatch::default() }, ("staging", false)),
        (AppPatch::default(), ("staging", false)),
        (AppPatch { enabled: Some(true), ..AppPatch::default() }, ("staging", true)),
    ];
    for (patch, expected) in changes {
        let changed = store.update(&app.tenant, &app.id, &patch).await.unwrap().unwrap();
        assert_eq!((changed.name.as_str(), changed.enabled), expected, "{patch:?}");
    }
}

pub async fn switches_turned_at_the_same_time_do_not_undo_each_other(store: &(impl Accounts + Apps)) {
    let app = new_app(store).await;
    let off = Some(false);
    let turns = [
        SwitchesPatch { enabled: Some(true), ..SwitchesPatch::default() },
        SwitchesPatch { client_events: off, ..SwitchesPatch::default() },
        SwitchesPatch { sign_in: off, ..SwitchesPatch::default() },
        SwitchesPatch { watchlists: off, ..SwitchesPatch::default() },
        SwitchesPatch { subscription_counts: off, ..SwitchesPatch::default() },
        SwitchesPatch { authorized_connections: Some(true), ..SwitchesPatch::default() },
        SwitchesPatch { batch_webhooks: Some(true), ..SwitchesPatch::default() },
    ];
    let turn = async |pusher: SwitchesPatch| {
        let patch = AppPatch { pusher, ..AppPatch::default() };
        store.update(&app.tenant, &app.id, &patch).await.unwrap().unwrap()
    };
    futures::future::join_all(turns.map(turn)).await;
    let all = PusherSwitches {
        enabled: true,
        client_events: false,
        sign_in: false,
        watchlists: false,
        subscription_counts: false,
        authorized_connections: true,
        batch_webhooks: true,
    };
    assert_eq!(Apps::find(store, &app.id).await.unwrap().unwrap().pusher, all);
}

pub async fn a_tenant_has_so_many_apps_however_many_come_at_once(store: &(impl Accounts + Apps)) {
    let (_, tenant, _) = signed_up(store, "ann").await;
    let add = || async { Apps::insert(store, &App::new(tenant.id.clone(), "a".to_owned(), NOW), 3).await };
    let added = futures::future::join_all((0..8).map(|_| add())).await;
    assert_eq!(added.iter().filter(|added| added.is_ok()).count(), 3);
    assert!(added.iter().all(|added| matches!(added, Ok(()) | Err(StoreError::Full(3)))), "{added:?}");
    new_app(store).await;
    let apps = Apps::list(store, &tenant.id, &Page { after: None, limit: 10 }).await.unwrap();
    assert_eq!(apps.len(), 3);
    assert!(Apps::remove(store, &tenant.id, &apps[0].id).await.unwrap());
    add().await.unwrap();
}

pub async fn apps_are_listed_by_id_page_by_page(store: &(impl Accounts + Apps)) {
    new_app(store).await;
    let (_, tenant, _) = signed_up(store, "ann").await;
    let mut ids = Vec::new();
    for number in 0..5 {
        let app = App::new(tenant.id.clone(), number.to_string(), NOW);
        Apps::insert(store, &app, u32::MAX).await.unwrap();
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
    assert!(matches!(Apps::insert(store, &app, u32::MAX).await, Err(StoreError::Conflict)));
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
    Keys::insert(store, &key, u32::MAX).await.unwrap();
    store.put(&app.id, &Namespace::parse("chat").unwrap(), &Rule::default(), u32::MAX).await.unwrap();
    assert!(Apps::remove(store, &app.tenant, &app.id).await.unwrap());
    assert!(store.find_by_id(&key.id).await.unwrap().is_none());
    assert!(Rules::list(store, &app.id).await.unwrap().is_empty());
}
