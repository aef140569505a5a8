//! The contracts of `Told` and of `Backlog` in SQL.

use std::sync::Arc;

use fanfare_domain::{
    ids::WebhookId,
    presence::Place,
    webhooks::{Backlog, Change, Changed, Known, Telling, Told},
};
use fanfare_infra::sql::{SqlBacklog, SqlStore, SqlTold};
use fanfare_protocol::ClientName;

use super::samples::{channel, new_app};

fn over(store: &SqlStore) -> (SqlTold, SqlBacklog) {
    let backlog = SqlBacklog::new(store.clone(), "webhooks");
    (SqlTold::beside(store.clone(), backlog.clone()), backlog)
}

fn place(app: &fanfare_domain::apps::App, name: &str) -> Place {
    Place { app: app.id.clone(), channel: channel(name) }
}

fn changed(place: &Place, change: Change) -> Changed {
    let telling = Telling::new(place.app.clone(), WebhookId::generate(), change.tidings(&place.channel));
    Changed { channel: place.channel.clone(), change, tellings: vec![telling] }
}

pub async fn a_change_is_made_once_however_many_see_it(store: &SqlStore) {
    let app = new_app(store).await;
    let place = place(&app, "presence-a");
    let ann = ClientName::parse("ann").unwrap();
    let mut told_so_far = 0;
    let (_, backlog) = over(store);
    for change in [
        Change::Occupied,
        Change::Added(ann.clone()),
        Change::Counted { from: 0, to: 2 },
        Change::Removed(ann),
        Change::Vacated,
    ] {
        // Each as a worker of its own.
        let all = (0..4).map(|_| {
            let (told, _) = over(store);
            let changes = vec![changed(&place, change.clone())];
            let app = place.app.clone();
            async move { told.change(&app, changes).await.unwrap() }
        });
        let made: usize = futures::future::join_all(all).await.into_iter().sum();
        assert_eq!(made, 1, "{change:?}");
        told_so_far += 1;
    }
    let mut taken = Vec::new();
    while taken.len() < told_so_far {
        taken.extend(backlog.take().await);
    }
    assert_eq!(taken.len(), told_so_far, "each is told once");
    assert_eq!(over(store).0.read(&place).await.unwrap(), Known::default());
}

pub async fn what_was_told_is_read_back_listed_and_forgotten(store: &SqlStore) {
    let (app, other) = (new_app(store).await, new_app(store).await);
    let (told, _) = over(store);
    let ann = ClientName::parse("änn 1").unwrap();
    let mut all = Vec::new();
    for name in ["A", "b-1", "b.1", "b;", "presence-a", "presence-b", "Z", "a"] {
        let place = place(&app, name);
        told.change(&app.id, vec![changed(&place, Change::Occupied)]).await.unwrap();
        all.push(place);
    }
    let alone = place(&other, "presence-a");
    told.change(&other.id, vec![changed(&alone, Change::Added(ann.clone()))]).await.unwrap();
    told.change(&app.id, vec![changed(&all[4], Change::Added(ann.clone()))]).await.unwrap();
    told.change(&app.id, vec![changed(&all[4], Change::Counted { from: 0, to: 7 })]).await.unwrap();
    let known = Known { subscribers: Some(7), members: [ann].into() };
    assert_eq!(told.read(&all[4]).await.unwrap(), known);
    all.push(alone.clone());
    all.sort();
    let (mut listed, mut after) = (Vec::new(), None);
    loop {
        let page = told.places(after.as_ref(), 2).await.unwrap();
        after = page.last().map(|found| found.place.clone());
        let was_last = page.len() < 2;
        listed.extend(page);
        if was_last {
            break;
        }
    }
    assert_eq!(listed.iter().map(|found| found.place.clone()).collect::<Vec<_>>(), all);
    for found in &listed {
        let is_alone = found.place == alone;
        let members = u64::from(is_alone || found.place == place(&app, "presence-a"));
        assert_eq!((found.is_occupied, found.members), (!is_alone, members), "{found:?}");
    }
    let asked = [channel("a"), channel("nobody")];
    assert_eq!(told.occupied(&app.id, &asked).await.unwrap(), [channel("a")].into());
    told.forget(&app.id).await.unwrap();
    let left = told.places(None, 9).await.unwrap();
    assert_eq!(left.into_iter().map(|found| found.place).collect::<Vec<_>>(), [alone]);
}

pub async fn what_waits_is_handed_out_in_order_until_it_is_settled(store: &SqlStore) {
    let backlog: Arc<dyn Backlog> = Arc::new(SqlBacklog::new(store.clone(), "notes"));
    backlog.put((0..300).map(|n: u32| n.to_string().into_bytes()).collect()).await.unwrap();
    let other = SqlBacklog::new(store.clone(), "webhooks");
    other.put(vec![b"other".to_vec()]).await.unwrap();
    let mut taken = Vec::new();
    while taken.len() < 300 {
        taken.extend(backlog.take().await);
    }
    let bodies: Vec<_> = taken.iter().map(|taken| String::from_utf8(taken.body.clone()).unwrap()).collect();
    assert_eq!(bodies, (0..300).map(|n: u32| n.to_string()).collect::<Vec<_>>());
    let receipts: Vec<_> = taken.iter().map(|taken| taken.receipt).collect();
    backlog.settle(&receipts[..299]).await;
    // As after a restart.
    let again = SqlBacklog::new(store.clone(), "notes").take().await;
    assert_eq!(again.iter().map(|taken| taken.body.clone()).collect::<Vec<_>>(), [b"299".to_vec()]);
    assert_eq!(other.take().await[0].body, b"other");
}
