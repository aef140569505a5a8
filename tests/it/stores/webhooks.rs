//! The contract of `Webhooks`.

use fanfare_domain::{
    StoreError,
    accounts::Accounts,
    apps::{App, Apps},
    ids::WebhookId,
    stores::Page,
    webhooks::{EventKind, Webhook, WebhookFormat, WebhookPatch, Webhooks},
};

use super::samples::{NOW, new_app};

pub fn webhook(app: &App) -> Webhook {
    Webhook {
        id: WebhookId::generate(),
        app: app.id.clone(),
        url: "https://example.com/hook".to_owned(),
        format: WebhookFormat::Pusher,
        events: vec![EventKind::ChannelVacated, EventKind::ChannelOccupied],
        enabled: true,
        created_at: NOW,
    }
}

pub async fn a_webhook_can_be_read_back_and_changed(store: &(impl Accounts + Apps + Webhooks)) {
    let app = new_app(store).await;
    let webhook = webhook(&app);
    Webhooks::insert(store, &webhook, u32::MAX).await.unwrap();
    assert_eq!(Webhooks::find(store, &app.id, &webhook.id).await.unwrap().as_ref(), Some(&webhook));
    assert!(Webhooks::find(store, &app.id, &WebhookId::generate()).await.unwrap().is_none());
    let nothing = WebhookPatch::default();
    assert_eq!(Webhooks::update(store, &app.id, &webhook.id, &nothing).await.unwrap().as_ref(), Some(&webhook));
    let off = WebhookPatch { enabled: Some(false), ..WebhookPatch::default() };
    let changed = Webhooks::update(store, &app.id, &webhook.id, &off).await.unwrap();
    assert_eq!(changed, Some(Webhook { enabled: false, ..webhook.clone() }));
    let events = vec![EventKind::CacheMiss];
    let url = "https://example.com/other".to_owned();
    let other = WebhookPatch { url: Some(url.clone()), events: Some(events.clone()), enabled: None };
    let changed = Webhooks::update(store, &app.id, &webhook.id, &other).await.unwrap();
    assert_eq!(changed, Some(Webhook { enabled: false, url, events, ..webhook }));
}

pub async fn webhooks_are_listed_by_id_page_by_page_and_so_are_the_apps_that_have_some(
    store: &(impl Accounts + Apps + Webhooks),
) {
    let (app, other) = (new_app(store).await, new_app(store).await);
    new_app(store).await;
    Webhooks::insert(store, &webhook(&other), u32::MAX).await.unwrap();
    let mut ids = Vec::new();
    for _ in 0..3 {
        let webhook = webhook(&app);
        Webhooks::insert(store, &webhook, u32::MAX).await.unwrap();
        ids.push(webhook.id);
    }
    ids.sort();
    let first = Webhooks::list(store, &app.id, &Page { after: None, limit: 2 }).await.unwrap();
    let after = first.last().map(|webhook| webhook.id.as_str().to_owned());
    let rest = Webhooks::list(store, &app.id, &Page { after, limit: 2 }).await.unwrap();
    assert_eq!((first.len(), rest.len()), (2, 1));
    assert_eq!(first.into_iter().chain(rest).map(|webhook| webhook.id).collect::<Vec<_>>(), ids);
    let first = Webhooks::apps(store, None, 1).await.unwrap();
    let rest = Webhooks::apps(store, first.last(), 9).await.unwrap();
    let mut both = [app.id, other.id];
    both.sort();
    assert_eq!([first, rest].concat(), both);
}

pub async fn an_app_has_so_many_webhooks_however_many_come_at_once(store: &(impl Accounts + Apps + Webhooks)) {
    let (app, other) = (new_app(store).await, new_app(store).await);
    let add = |app: &App| {
        let webhook = webhook(app);
        async move { Webhooks::insert(store, &webhook, 3).await }
    };
    let added = futures::future::join_all((0..8).map(|_| add(&app))).await;
    assert_eq!(added.iter().filter(|added| added.is_ok()).count(), 3);
    assert!(added.iter().all(|added| matches!(added, Ok(()) | Err(StoreError::Full(3)))), "{added:?}");
    add(&other).await.unwrap();
}

pub async fn another_app_neither_sees_nor_changes_nor_removes_a_webhook(store: &(impl Accounts + Apps + Webhooks)) {
    let (app, other) = (new_app(store).await, new_app(store).await);
    let webhook = webhook(&app);
    Webhooks::insert(store, &webhook, u32::MAX).await.unwrap();
    assert!(Webhooks::find(store, &other.id, &webhook.id).await.unwrap().is_none());
    let off = WebhookPatch { enabled: Some(false), ..WebhookPatch::default() };
    assert!(Webhooks::update(store, &other.id, &webhook.id, &off).await.unwrap().is_none());
    assert!(!Webhooks::remove(store, &other.id, &webhook.id).await.unwrap());
    assert_eq!(Webhooks::find(store, &app.id, &webhook.id).await.unwrap().as_ref(), Some(&webhook));
    assert!(Webhooks::remove(store, &app.id, &webhook.id).await.unwrap());
    assert!(!Webhooks::remove(store, &app.id, &webhook.id).await.unwrap());
}

pub async fn webhooks_go_with_their_app(store: &(impl Accounts + Apps + Webhooks)) {
    let app = new_app(store).await;
    let webhook = webhook(&app);
    Webhooks::insert(store, &webhook, u32::MAX).await.unwrap();
    assert!(Apps::remove(store, &app.tenant, &app.id).await.unwrap());
    assert!(Webhooks::find(store, &app.id, &webhook.id).await.unwrap().is_none());
}
