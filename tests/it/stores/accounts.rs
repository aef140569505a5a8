//! The contract of `Accounts`.

use std::time::Duration;

use fanfare_domain::{
    Timestamp,
    accounts::{Accounts, LISTED_SESSIONS, Role, SESSION_LIFE, Session, SignUpError},
    ids::{TenantId, UserId},
};
use secrecy::{ExposeSecret, SecretString};

use super::samples::{NOW, newcomer, signed_up};

pub async fn a_sign_up_can_be_read_back(accounts: &impl Accounts) {
    let (user, tenant, session) = signed_up(accounts, "ann").await;
    let found = accounts.user_by_email(&user.email).await.unwrap().unwrap();
    assert_eq!((&found.id, found.created_at), (&user.id, NOW));
    assert_eq!(found.password_hash.expose_secret(), user.password_hash.expose_secret());
    let memberships = accounts.memberships(&user.id).await.unwrap();
    assert_eq!(memberships.len(), 1);
    assert_eq!((&memberships[0].tenant.id, memberships[0].role), (&tenant.id, Role::Owner));
    assert_eq!(accounts.tenant(&tenant.id).await.unwrap().unwrap().plan, "default");
    let (live, whose) = accounts.session(&session.token_hash, NOW).await.unwrap().unwrap();
    assert_eq!((live.id, whose.email), (session.id, user.email));
}

pub async fn a_taken_address_leaves_nothing_behind(accounts: &impl Accounts) {
    signed_up(accounts, "ann").await;
    let (user, tenant, session, _) = newcomer("ann");
    let refused = accounts.sign_up(&user, &tenant, &session).await.unwrap_err();
    assert!(matches!(refused, SignUpError::EmailTaken), "{refused:?}");
    assert!(accounts.tenant(&tenant.id).await.unwrap().is_none());
    assert!(accounts.session(&session.token_hash, NOW).await.unwrap().is_none());
    signed_up(accounts, "bob").await;
}

pub async fn a_new_password_ends_all_other_sessions(accounts: &impl Accounts) {
    let (ann, _, kept) = signed_up(accounts, "ann").await;
    let (bob, _, _) = signed_up(accounts, "bob").await;
    accounts.begin_session(&Session::begin(ann.id.clone(), NOW).0, NOW).await.unwrap();
    accounts.set_password(&ann.id, &SecretString::from("new".to_owned()), &kept.id).await.unwrap();
    let left = accounts.sessions(&ann.id, NOW).await.unwrap();
    assert_eq!(left.into_iter().map(|session| session.id).collect::<Vec<_>>(), [kept.id]);
    assert_eq!(accounts.sessions(&bob.id, NOW).await.unwrap().len(), 1);
    let hash = accounts.user_by_email(&ann.email).await.unwrap().unwrap().password_hash;
    assert_eq!(hash.expose_secret(), "new");
}

pub async fn a_session_ends_at_its_time(accounts: &impl Accounts) {
    let (ann, _, first) = signed_up(accounts, "ann").await;
    let end = NOW.after(SESSION_LIFE);
    assert!(accounts.session(&first.token_hash, Timestamp(end.0 - 1)).await.unwrap().is_some());
    assert!(accounts.session(&first.token_hash, end).await.unwrap().is_none());
    let (second, _) = Session::begin(ann.id.clone(), NOW.after(Duration::from_secs(1)));
    accounts.begin_session(&second, NOW).await.unwrap();
    let ids = async |now| -> Vec<_> {
        accounts.sessions(&ann.id, now).await.unwrap().into_iter().map(|session| session.id).collect()
    };
    assert_eq!(ids(NOW).await, [second.id.clone(), first.id.clone()]);
    let (third, _) = Session::begin(ann.id.clone(), end);
    accounts.begin_session(&third, end).await.unwrap();
    assert_eq!(ids(NOW).await, [third.id, second.id], "what was over is gone");
}

pub async fn the_newest_sessions_are_listed(accounts: &impl Accounts) {
    let (ann, _, first) = signed_up(accounts, "ann").await;
    for later in 1..=u64::from(LISTED_SESSIONS) {
        accounts.begin_session(&Session::begin(ann.id.clone(), Timestamp(NOW.0 + later)).0, NOW).await.unwrap();
    }
    let listed = accounts.sessions(&ann.id, NOW).await.unwrap();
    assert_eq!(listed.len(), LISTED_SESSIONS as usize);
    assert!(listed.iter().all(|session| session.id != first.id), "the oldest is left out");
}

pub async fn a_session_is_ended_only_by_its_user(accounts: &impl Accounts) {
    let (ann, _, session) = signed_up(accounts, "ann").await;
    let (bob, _, _) = signed_up(accounts, "bob").await;
    assert!(!accounts.end_session(&bob.id, &session.id).await.unwrap());
    assert!(accounts.end_session(&ann.id, &session.id).await.unwrap());
    assert!(!accounts.end_session(&ann.id, &session.id).await.unwrap());
    assert!(accounts.session(&session.token_hash, NOW).await.unwrap().is_none());
}

pub async fn a_stranger_has_no_role(accounts: &impl Accounts) {
    let (ann, tenant, _) = signed_up(accounts, "ann").await;
    let (bob, _, _) = signed_up(accounts, "bob").await;
    assert_eq!(accounts.role(&ann.id, &tenant.id).await.unwrap(), Some(Role::Owner));
    assert_eq!(accounts.role(&bob.id, &tenant.id).await.unwrap(), None);
    assert_eq!(accounts.role(&UserId::generate(), &tenant.id).await.unwrap(), None);
    assert!(accounts.rename_tenant(&tenant.id, "Acme").await.unwrap());
    assert_eq!(accounts.tenant(&tenant.id).await.unwrap().unwrap().name, "Acme");
    assert!(!accounts.rename_tenant(&TenantId::generate(), "Acme").await.unwrap());
}
