//! The contract of `Revocations`: numbers without holes in the order of commits, however many revoke at once.

use std::collections::BTreeSet;

use fanfare_domain::{
    accounts::Accounts,
    apps::{App, AppPatch, Apps},
    capabilities::Capability,
    ids::{AppId, KeyId, TenantId},
    keys::{Key, Keys},
    revocations::{Revision, Revocations, Subject},
    signers::Signers,
};
use fanfare_infra::sql::SqlStore;
use fanfare_protocol::ClientName;

use super::{
    samples::{NOW, new_app, signed_up},
    signers::signer,
};

fn token(app: &AppId, number: usize) -> Subject {
    Subject::Token(app.clone(), format!("token-{number}"))
}

fn client(app: &AppId, name: &str) -> Subject {
    Subject::Client(app.clone(), ClientName::parse(name).unwrap())
}

async fn subjects(store: &SqlStore, known: u64) -> Vec<(u64, Subject)> {
    let rows = store.after(Revision(known)).await.unwrap();
    rows.revocations.into_iter().map(|row| (row.revision.0, row.subject)).collect()
}

async fn revoked(store: &SqlStore, subject: &Subject) -> u64 {
    store.revoke(subject, NOW).await.unwrap().unwrap().0
}

async fn key(store: &SqlStore, app: &App) -> KeyId {
    let key = Key::mint(app.id.clone(), "k".into(), Capability::everything(), None, NOW);
    Keys::insert(store, &key, u32::MAX).await.unwrap();
    key.id
}

pub async fn revocations_are_numbered_and_read_back_after_a_number(store: &SqlStore) {
    assert_eq!(store.latest().await.unwrap().revision, Revision(0));
    let app = new_app(store).await.id;
    let all =
        [token(&app, 1), client(&app, "ann"), Subject::Connections(app.clone(), ClientName::parse("ö/b").unwrap())];
    for (subject, number) in all.iter().zip(1..) {
        assert_eq!(revoked(store, subject).await, number);
        assert_eq!(store.latest().await.unwrap().revision, Revision(number));
        assert!(store.made_here().is_none_or(|made| made == Revision(number)), "{:?}", store.made_here());
    }
    let rows = store.after(Revision(1)).await.unwrap();
    assert_eq!(rows.latest.revision, Revision(3));
    let [second, third] = &rows.revocations[..] else { panic!("{rows:?}") };
    assert_eq!((&second.subject, &third.subject), (&all[1], &all[2]));
    assert!(second.at >= NOW && second.at <= third.at && second.at <= rows.latest.now, "{rows:?}");
    assert!(second.until.since(second.at).as_secs() > 86_400, "it outlasts every token of before");
    assert!(subjects(store, 3).await.is_empty());
}

pub async fn a_token_keeps_its_number_and_a_client_gets_a_new_one(store: &SqlStore) {
    let app = new_app(store).await.id;
    assert_eq!((revoked(store, &token(&app, 1)).await, revoked(store, &token(&app, 1)).await), (1, 1));
    assert_eq!((revoked(store, &client(&app, "ann")).await, revoked(store, &client(&app, "ann")).await), (2, 3));
    assert_eq!(subjects(store, 0).await, [(1, token(&app, 1)), (3, client(&app, "ann"))]);
}

pub async fn a_key_goes_with_its_revocation_and_a_foreign_one_is_not_there(store: &SqlStore) {
    let (app, other) = (new_app(store).await, new_app(store).await);
    let (own, foreign) = (key(store, &app).await, key(store, &other).await);
    let subject = |key: &KeyId| Subject::Key(app.id.clone(), key.clone());
    for missing in [foreign.clone(), KeyId::generate()] {
        assert_eq!(store.revoke(&subject(&missing), NOW).await.unwrap(), None);
    }
    assert!(Keys::find(store, &other.id, &foreign).await.unwrap().is_some());
    assert_eq!((revoked(store, &subject(&own)).await, revoked(store, &subject(&own)).await), (1, 1));
    assert!(Keys::find(store, &app.id, &own).await.unwrap().is_none());
    // Removing one is the same.
    let second = key(store, &app).await;
    assert!(Keys::remove(store, &app.id, &second).await.unwrap());
    assert!(!Keys::remove(store, &app.id, &second).await.unwrap());
    assert_eq!(subjects(store, 0).await, [(1, subject(&own)), (2, subject(&second))]);
}

pub async fn a_signer_goes_with_its_revocation(store: &SqlStore) {
    let (app, other) = (new_app(store).await, new_app(store).await);
    let signer = signer(&app);
    Signers::insert(store, &signer, u32::MAX).await.unwrap();
    assert!(!Signers::remove(store, &other.id, &signer.id).await.unwrap());
    assert!(Signers::remove(store, &app.id, &signer.id).await.unwrap());
    assert!(!Signers::remove(store, &app.id, &signer.id).await.unwrap());
    assert_eq!(subjects(store, 0).await, [(1, Subject::Signer(app.id, signer.id))]);
    assert!(store.made_here().is_none_or(|made| made == Revision(1)));
}

pub async fn an_app_that_is_disabled_or_removed_is_revoked_along_with_it(store: &SqlStore) {
    let app = new_app(store).await;
    let enabled = |enabled: bool| AppPatch { enabled: Some(enabled), ..AppPatch::default() };
    let change = async |patch: AppPatch| Apps::update(store, &app.tenant, &app.id, &patch).await.unwrap().unwrap();
    change(AppPatch { name: Some("other".into()), ..AppPatch::default() }).await;
    assert!(!change(enabled(false)).await.enabled);
    assert!(change(enabled(true)).await.enabled);
    assert_eq!(subjects(store, 0).await, [(1, Subject::App(app.id.clone()))]);
    let stranger = TenantId::generate();
    assert!(Apps::update(store, &stranger, &app.id, &enabled(false)).await.unwrap().is_none());
    assert!(!Apps::remove(store, &stranger, &app.id).await.unwrap());
    assert!(Apps::remove(store, &app.tenant, &app.id).await.unwrap());
    assert_eq!(subjects(store, 0).await, [(2, Subject::App(app.id.clone()))]);
}

pub async fn a_tenant_is_suspended_until_that_is_lifted(store: &SqlStore) {
    let (_, tenant, _) = signed_up(store, "ann").await;
    assert!(!store.is_suspended(&tenant.id).await.unwrap());
    for (number, suspended) in [(1, true), (2, false)] {
        assert!(store.suspend(&tenant.id, suspended, NOW).await.unwrap());
        assert_eq!(store.is_suspended(&tenant.id).await.unwrap(), suspended);
        assert_eq!(subjects(store, 0).await, [(number, Subject::Tenant(tenant.id.clone()))]);
    }
    assert!(!store.suspend(&TenantId::generate(), true, NOW).await.unwrap());
    assert_eq!(store.latest().await.unwrap().revision, Revision(2));
}

/// Readers that go on from the number that they saw last see every row, though writers commit at the same time.
pub async fn no_row_is_missed_by_who_reads_on_while_others_revoke(store: &SqlStore) {
    const WRITERS: usize = 4;
    const EACH: usize = 20;
    let app = new_app(store).await.id;
    let write = async |writer: usize| {
        for number in 0..EACH {
            revoked(store, &token(&app, writer * EACH + number)).await;
        }
    };
    let read = async {
        let (mut known, mut seen) = (0, BTreeSet::new());
        while known < (WRITERS * EACH) as u64 {
            let rows = store.after(Revision(known)).await.unwrap();
            seen.extend(rows.revocations.iter().map(|row| row.revision.0));
            known = rows.latest.revision.0;
            assert_eq!(seen, (1..=known).collect(), "every number up to the latest is there");
            tokio::task::yield_now().await;
        }
    };
    tokio::join!(read, write(0), write(1), write(2), write(3));
}
