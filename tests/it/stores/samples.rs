//! Things to put into stores.

use std::collections::BTreeMap;

use fanfare_domain::{
    Timestamp,
    accounts::{Accounts, Email, Session, Tenant, User},
    apps::{App, Apps},
    ids::{MessageId, UserId},
    messages::Message,
    publishing::Accepted,
    rules::Retention,
};
use fanfare_protocol::ChannelName;
use secrecy::SecretString;
use serde_json::value::RawValue;

pub const NOW: Timestamp = Timestamp(1_700_000_000_000);
pub const HOUR_S: u64 = 3_600;
pub const DAY_S: u64 = 86_400;

/// A user with a tenant and a first session, not stored yet.
pub fn newcomer(name: &str) -> (User, Tenant, Session, SecretString) {
    let user = User {
        id: UserId::generate(),
        email: Email::parse(&format!("{name}@example.com")).unwrap(),
        password_hash: SecretString::from("$argon2id$not-a-real-hash".to_owned()),
        created_at: NOW,
    };
    let (session, token) = Session::begin(user.id.clone(), NOW);
    (user, Tenant::new(format!("{name}'s"), "default".to_owned(), NOW), session, token)
}

pub async fn signed_up(accounts: &impl Accounts, name: &str) -> (User, Tenant, Session) {
    let (user, tenant, session, _) = newcomer(name);
    accounts.sign_up(&user, &tenant, &session).await.unwrap();
    (user, tenant, session)
}

/// An app of a tenant of its own.
pub async fn new_app(store: &(impl Accounts + Apps)) -> App {
    let name = UserId::generate().to_string();
    let (_, tenant, _) = signed_up(store, &name).await;
    let app = App::new(tenant.id, "prod".to_owned(), NOW);
    Apps::insert(store, &app, u32::MAX).await.unwrap();
    app
}

pub fn channel(name: &str) -> ChannelName {
    ChannelName::parse(name).unwrap()
}

pub fn json(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned()).unwrap()
}

/// A message without an idempotency key, kept for a day.
pub fn message(app: &App, name: &str, data: &str) -> Accepted {
    Accepted {
        app: app.id.clone(),
        channel: channel(name),
        message: Message {
            id: MessageId::generate(),
            time: NOW,
            name: None,
            client: None,
            headers: None,
            data: json(data),
        },
        keyed: false,
        fingerprint: [0; 16],
        exclude: None,
        retention: Retention { retention_s: DAY_S, max_messages: None },
        trace: None,
        redelivered: false,
    }
}

/// A message under an idempotency key; `body` stands for all that the fingerprint covers.
pub fn keyed(app: &App, name: &str, key: u8, body: u8) -> Accepted {
    let mut accepted = message(app, name, &body.to_string());
    accepted.message.id = MessageId::derived(&[key; 32]);
    accepted.keyed = true;
    accepted.fingerprint = [body; 16];
    accepted
}

pub fn at(mut accepted: Accepted, time: Timestamp) -> Accepted {
    accepted.message.time = time;
    accepted
}

pub fn kept_for(mut accepted: Accepted, retention_s: u64) -> Accepted {
    accepted.retention.retention_s = retention_s;
    accepted
}

pub fn headers(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}
