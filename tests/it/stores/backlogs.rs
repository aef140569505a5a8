//! The contract of `Backlog`, and of the notes that go into it, on both engines.

use std::{collections::HashMap, sync::Arc};

use fanfare_domain::{
    apps::App,
    directory::AppProfile,
    ids::TenantId,
    plans::Limits,
    webhooks::{Backlog, EventKind, Note, Notebook, Noted, Notes, Taken, Webhook, read_notes},
};
use fanfare_infra::{
    names::Names,
    rabbitmq::{RabbitBacklog, RabbitConfig, declare},
    sql::SqlBacklog,
};
use fanfare_protocol::ClientName;

use super::{
    engines,
    samples::{NOW, channel},
    webhooks::webhook,
};
use crate::harness::rabbitmq::broker;

/// Runs a fact over a backlog; each call of the maker is a process of its own.
macro_rules! hold_backlogs_to {
    ($($fact:ident)+) => {
        $(mod $fact {
            use super::*;

            #[tokio::test]
            async fn in_sqlite() {
                let engine = engines::sqlite().await;
                super::$fact(&|| Arc::new(SqlBacklog::new(engine.store.clone(), "notes"))).await;
            }

            #[tokio::test]
            async fn in_rabbitmq() {
                let vhost = broker().await;
                declare(&vhost.url, &Names::default(), 1).await.unwrap();
                let config = RabbitConfig { url: vhost.url.clone().into(), names: Names::default(), partitions: 1 };
                super::$fact(&|| RabbitBacklog::notes(&config)).await;
            }
        })+
    };
}

hold_backlogs_to! {
    what_is_put_in_is_handed_out_in_order_and_what_is_not_settled_again_to_the_next
    notes_come_out_as_they_were_noted
}

type Make<'a> = &'a (dyn Fn() -> Arc<dyn Backlog> + Sync);

async fn take(backlog: &dyn Backlog, count: usize) -> Vec<Taken> {
    let mut taken = Vec::new();
    while taken.len() < count {
        taken.extend(backlog.take().await);
    }
    taken
}

async fn what_is_put_in_is_handed_out_in_order_and_what_is_not_settled_again_to_the_next(make: Make<'_>) {
    let (putting, first) = (make(), make());
    putting.put((0..20_u8).map(|n| vec![b'a' + n]).collect()).await.unwrap();
    let taken = take(first.as_ref(), 20).await;
    assert_eq!(taken.iter().map(|one| one.body[0]).collect::<Vec<_>>(), (b'a'..b'a' + 20).collect::<Vec<_>>());
    let receipts: Vec<_> = taken.iter().map(|taken| taken.receipt).collect();
    first.settle(&receipts[..10]).await;
    putting.put(vec![b"last".to_vec()]).await.unwrap();
    assert_eq!(take(first.as_ref(), 1).await[0].body, b"last");
    drop(first);
    let second = make();
    let again = take(second.as_ref(), 11).await;
    assert_eq!(again[0].body, [b'a' + 10]);
    assert_eq!(again[10].body, b"last");
}

async fn notes_come_out_as_they_were_noted(make: Make<'_>) {
    let app = App::new(TenantId::generate(), "a".into(), NOW);
    let hook = Webhook { events: EventKind::ALL.into(), ..webhook(&app) };
    let profile = AppProfile {
        app,
        limits: Limits::default(),
        rules: HashMap::new(),
        signers: Vec::new(),
        webhooks: vec![Arc::new(hook)],
    };
    let profile = Arc::new(profile);
    let unheard = Arc::new(AppProfile { webhooks: Vec::new(), ..profile.as_ref().clone() });
    let (notebook, backlog) = (Notebook::default(), make());
    let event = Note::ClientEvent {
        channel: channel("presence-a"),
        event: "client-said".into(),
        data: "{\"a\":\"\u{0}é\"}".into(),
        socket_id: "1.2".into(),
        user_id: Some(ClientName::parse("ann").unwrap()),
    };
    let wanted = [
        event.clone(),
        Note::CacheMiss(channel("cache-a")),
        Note::Occupancy(channel("a")),
        Note::Members(channel("presence-a")),
    ];
    for note in &wanted {
        notebook.note(&unheard, note.clone());
        notebook.note(&profile, note.clone());
    }
    // Members are of presence channels only, and a hint is noted once.
    notebook.note(&profile, Note::Members(channel("a")));
    notebook.note(&profile, Note::Occupancy(channel("a")));
    notebook.put_down(backlog.as_ref()).await.unwrap();
    let taken = take(backlog.as_ref(), 1).await;
    let noted = |note: &Note| Noted { app: profile.app.id.clone(), note: note.clone() };
    assert_eq!(read_notes(&taken[0].body).unwrap(), wanted.iter().map(noted).collect::<Vec<_>>());
}
