//! The contract of `Signers`.

use fanfare_domain::{
    StoreError,
    accounts::Accounts,
    apps::{App, Apps},
    capabilities::Right,
    ids::SignerId,
    signers::{Signer, SignerKeys, Signers, SigningAlgorithm, VerifyingKey, usual_capability},
    stores::Page,
};

use super::samples::{NOW, channel, new_app};

const PEM: &str = include_str!("../../keys/p256.pub.pem");

pub fn signer(app: &App) -> Signer {
    Signer {
        id: SignerId::generate(),
        app: app.id.clone(),
        name: "own".to_owned(),
        issuer: "https://id.example.com/".to_owned(),
        audience: "chat".to_owned(),
        keys: SignerKeys::Jwks { url: "https://id.example.com/jwks".to_owned() },
        capability: usual_capability(),
        created_at: NOW,
    }
}

pub async fn a_signer_can_be_read_back(store: &(impl Accounts + Apps + Signers)) {
    let app = new_app(store).await;
    let by_url = signer(&app);
    let key = VerifyingKey::from_pem(PEM, Some("k1".to_owned())).unwrap();
    let by_pem = Signer { keys: SignerKeys::Pem { pem: PEM.to_owned(), key }, ..signer(&app) };
    for signer in [&by_url, &by_pem] {
        Signers::insert(store, signer, u32::MAX).await.unwrap();
    }
    let found = Signers::find(store, &app.id, &by_url.id).await.unwrap().unwrap();
    assert_eq!((&found.id, &found.app, &found.name), (&by_url.id, &app.id, &by_url.name));
    assert_eq!((&found.issuer, &found.audience, found.created_at), (&by_url.issuer, &by_url.audience, NOW));
    assert!(matches!(&found.keys, SignerKeys::Jwks { url } if url == "https://id.example.com/jwks"));
    let rights = found.capability.rights(&channel("any"));
    assert!(rights.has(Right::Presence) && !rights.has(Right::Admin));
    let found = Signers::find(store, &app.id, &by_pem.id).await.unwrap().unwrap();
    let SignerKeys::Pem { pem, key } = found.keys else { panic!("{found:?}") };
    assert_eq!((pem.as_str(), key.kid.as_deref(), key.algorithm), (PEM, Some("k1"), SigningAlgorithm::Es256));
    assert!(Signers::find(store, &app.id, &SignerId::generate()).await.unwrap().is_none());
}

pub async fn signers_are_listed_by_id_page_by_page(store: &(impl Accounts + Apps + Signers)) {
    let (app, other) = (new_app(store).await, new_app(store).await);
    Signers::insert(store, &signer(&other), u32::MAX).await.unwrap();
    let mut ids = Vec::new();
    for _ in 0..3 {
        let signer = signer(&app);
        Signers::insert(store, &signer, u32::MAX).await.unwrap();
        ids.push(signer.id);
    }
    ids.sort();
    let first = Signers::list(store, &app.id, &Page { after: None, limit: 2 }).await.unwrap();
    let after = first.last().map(|signer| signer.id.as_str().to_owned());
    let rest = Signers::list(store, &app.id, &Page { after, limit: 2 }).await.unwrap();
    assert_eq!((first.len(), rest.len()), (2, 1));
    assert_eq!(first.into_iter().chain(rest).map(|signer| signer.id).collect::<Vec<_>>(), ids);
}

pub async fn an_app_has_so_many_signers_however_many_come_at_once(store: &(impl Accounts + Apps + Signers)) {
    let (app, other) = (new_app(store).await, new_app(store).await);
    let add = |app: &App| {
        let signer = signer(app);
        async move { Signers::insert(store, &signer, 3).await }
    };
    let added = futures::future::join_all((0..8).map(|_| add(&app))).await;
    assert_eq!(added.iter().filter(|added| added.is_ok()).count(), 3);
    assert!(added.iter().all(|added| matches!(added, Ok(()) | Err(StoreError::Full(3)))), "{added:?}");
    add(&other).await.unwrap();
}

pub async fn another_app_neither_sees_nor_removes_a_signer(store: &(impl Accounts + Apps + Signers)) {
    let (app, other) = (new_app(store).await, new_app(store).await);
    let signer = signer(&app);
    Signers::insert(store, &signer, u32::MAX).await.unwrap();
    assert!(Signers::find(store, &other.id, &signer.id).await.unwrap().is_none());
    assert!(!Signers::remove(store, &other.id, &signer.id).await.unwrap());
    assert!(Signers::remove(store, &app.id, &signer.id).await.unwrap());
    assert!(!Signers::remove(store, &app.id, &signer.id).await.unwrap());
}

pub async fn signers_go_with_their_app(store: &(impl Accounts + Apps + Signers)) {
    let app = new_app(store).await;
    let signer = signer(&app);
    Signers::insert(store, &signer, u32::MAX).await.unwrap();
    assert!(Apps::remove(store, &app.tenant, &app.id).await.unwrap());
    assert!(Signers::find(store, &app.id, &signer.id).await.unwrap().is_none());
}
