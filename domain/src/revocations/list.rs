//! The list of a node: what is cut off, and whether that reaches a caller.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use fanfare_protocol::{ClientName, ErrorCode};

use super::{Revision, Revocation, Subject};
use crate::{
    Refusal, Timestamp,
    grants::Voucher,
    ids::{AppId, KeyId, SignerId, TenantId},
};

/// What of a caller a revocation can reach.
#[derive(Debug, Clone)]
pub struct Standing {
    /// The tenant whose app is called.
    pub tenant: TenantId,
    /// The app that is called.
    pub app: AppId,
    /// Who vouches for the caller.
    pub voucher: Voucher,
    /// The client that a token names.
    pub client: Option<ClientName>,
    /// The token's own id.
    pub token_id: Option<Box<str>>,
    /// When the token was issued; it is not later than the moment at which it was seen here.
    pub issued_at: Option<Timestamp>,
    /// The last revocation that was known before anything about the caller was looked up.
    pub as_of: Revision,
}

/// Why a caller is cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// The token.
    Token,
    /// Every token of the client until then.
    Client,
    /// The client's connections.
    Connections,
    /// The key.
    Key,
    /// The signer.
    Signer,
    /// The app was disabled or removed.
    App,
    /// The tenant was suspended.
    Tenant,
}

impl Cut {
    /// What the caller is told.
    pub fn refusal(self) -> Refusal {
        let (code, why) = match self {
            Cut::Token => (ErrorCode::Revoked, "the token was revoked"),
            Cut::Client => (ErrorCode::Revoked, "the client's tokens were revoked"),
            Cut::Connections => (ErrorCode::Disconnected, "the client was disconnected"),
            Cut::Key => (ErrorCode::BadKey, "the key was revoked"),
            Cut::Signer => (ErrorCode::BadKey, "the signer was removed"),
            Cut::App => (ErrorCode::AppDisabled, "the app was disabled or removed"),
            Cut::Tenant => (ErrorCode::AppDisabled, "the tenant is suspended"),
        };
        Refusal::new(code, why)
    }
}

/// Everything that is cut off and still matters.
#[derive(Debug, Default)]
pub struct RevocationList {
    revision: Revision,
    in_order: BTreeMap<Revision, Entry>,
    ends: BTreeSet<(Timestamp, Revision)>,
    apps: HashMap<AppId, OfApp>,
    tenants: HashMap<TenantId, Revision>,
}

#[derive(Debug)]
struct Entry {
    subject: Subject,
    at: Timestamp,
    until: Timestamp,
}

#[derive(Debug, Default)]
struct OfApp {
    tokens: HashMap<Box<str>, Revision>,
    clients: HashMap<ClientName, (Revision, Timestamp)>,
    connections: HashMap<ClientName, Revision>,
    keys: HashMap<KeyId, Revision>,
    signers: HashMap<SignerId, Revision>,
    itself: Option<Revision>,
}

impl RevocationList {
    /// The number of the last revocation that is known.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// How many are kept.
    pub fn len(&self) -> usize {
        self.in_order.len()
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.in_order.is_empty()
    }

    /// Takes everything that came after a number that is known, up to `upto`, and lets go what is over. What is known already stands: it
    /// may have come by a read that began later.
    pub fn take(&mut self, revocations: Vec<Revocation>, upto: Revision, now: Timestamp) {
        for revocation in
            revocations.into_iter().filter(|revocation| revocation.revision > self.revision).collect::<Vec<_>>()
        {
            self.add(revocation);
        }
        self.revision = self.revision.max(upto);
        self.prune(now);
    }

    fn add(&mut self, Revocation { revision, subject, at, until }: Revocation) {
        let replaced = match &subject {
            Subject::Token(app, token) => self.of(app).tokens.insert(token.as_str().into(), revision),
            Subject::Client(app, client) => {
                self.of(app).clients.insert(client.clone(), (revision, at)).map(|(old, _)| old)
            }
            Subject::Connections(app, client) => self.of(app).connections.insert(client.clone(), revision),
            Subject::Key(app, key) => self.of(app).keys.insert(key.clone(), revision),
            Subject::Signer(app, signer) => self.of(app).signers.insert(signer.clone(), revision),
            Subject::App(app) => self.of(app).itself.replace(revision),
            Subject::Tenant(tenant) => self.tenants.insert(tenant.clone(), revision),
        };
        if let Some(replaced) = replaced
            && let Some(entry) = self.in_order.remove(&replaced)
        {
            self.ends.remove(&(entry.until, replaced));
        }
        self.ends.insert((until, revision));
        self.in_order.insert(revision, Entry { subject, at, until });
    }

    fn of(&mut self, app: &AppId) -> &mut OfApp {
        self.apps.entry(app.clone()).or_default()
    }

    fn prune(&mut self, now: Timestamp) {
        while let Some((until, revision)) = self.ends.first().copied().filter(|(until, _)| *until <= now) {
            self.ends.remove(&(until, revision));
            if let Some(entry) = self.in_order.remove(&revision) {
                self.forget(&entry.subject);
            }
        }
    }

    fn forget(&mut self, subject: &Subject) {
        let (Subject::Token(app, _)
        | Subject::Client(app, _)
        | Subject::Connections(app, _)
        | Subject::Key(app, _)
        | Subject::Signer(app, _)
        | Subject::App(app)) = subject
        else {
            if let Subject::Tenant(tenant) = subject {
                self.tenants.remove(tenant);
            }
            return;
        };
        let of = self.of(app);
        match subject {
            Subject::Token(_, token) => of.tokens.remove(token.as_str()),
            Subject::Client(_, client) => of.clients.remove(client).map(|(revision, _)| revision),
            Subject::Connections(_, client) => of.connections.remove(client),
            Subject::Key(_, key) => of.keys.remove(key),
            Subject::Signer(_, signer) => of.signers.remove(signer),
            Subject::App(_) | Subject::Tenant(_) => of.itself.take(),
        };
        if of.is_empty() {
            self.apps.remove(app);
        }
    }

    /// Whether a caller is cut off, and by what.
    pub fn cut(&self, caller: &Standing) -> Option<Cut> {
        let is_news = |revision: &Revision| *revision > caller.as_of;
        if self.tenants.get(&caller.tenant).is_some_and(is_news) {
            return Some(Cut::Tenant);
        }
        let of = self.apps.get(&caller.app)?;
        if of.itself.as_ref().is_some_and(is_news) {
            return Some(Cut::App);
        }
        match &caller.voucher {
            Voucher::Key(key) if of.keys.contains_key(key) => return Some(Cut::Key),
            Voucher::Signer(signer) if of.signers.contains_key(signer) => return Some(Cut::Signer),
            Voucher::Key(_) | Voucher::Signer(_) => {}
        }
        if caller.token_id.as_deref().is_some_and(|token| of.tokens.contains_key(token)) {
            return Some(Cut::Token);
        }
        let client = caller.client.as_ref()?;
        // Without a time of issue it cannot be shown that a token is younger.
        let is_older = |at: Timestamp| caller.issued_at.is_none_or(|issued| issued <= at);
        if of.clients.get(client).is_some_and(|(_, at)| is_older(*at)) {
            return Some(Cut::Client);
        }
        of.connections.get(client).is_some_and(is_news).then_some(Cut::Connections)
    }

    /// When the tokens of a client were cut off last: one that is to be good must be issued later.
    pub fn client_cut_at(&self, app: &AppId, client: &ClientName) -> Option<Timestamp> {
        self.apps.get(app)?.clients.get(client).map(|(_, at)| *at)
    }

    /// Whose callers the revocations after a number may reach.
    pub fn reach_after(&self, known: Revision) -> Reach {
        let mut reach = Reach::default();
        for entry in self.entries_after(known) {
            match &entry.subject {
                Subject::Token(app, _)
                | Subject::Client(app, _)
                | Subject::Connections(app, _)
                | Subject::Key(app, _)
                | Subject::Signer(app, _)
                | Subject::App(app) => reach.apps.insert(app.clone()),
                Subject::Tenant(tenant) => reach.tenants.insert(tenant.clone()),
            };
        }
        reach
    }

    /// When the revocations after a number were made.
    pub fn times_after(&self, known: Revision) -> Vec<Timestamp> {
        self.entries_after(known).map(|entry| entry.at).collect()
    }

    fn entries_after(&self, known: Revision) -> impl Iterator<Item = &Entry> {
        self.in_order.range(Revision(known.0.saturating_add(1))..).map(|(_, entry)| entry)
    }
}

impl OfApp {
    fn is_empty(&self) -> bool {
        self.tokens.is_empty()
            && self.clients.is_empty()
            && self.connections.is_empty()
            && self.keys.is_empty()
            && self.signers.is_empty()
            && self.itself.is_none()
    }
}

/// Apps and tenants that something was cut off of.
#[derive(Debug, Default)]
pub struct Reach {
    apps: HashSet<AppId>,
    tenants: HashSet<TenantId>,
}

impl Reach {
    /// Whether a caller is to be looked at.
    pub fn has(&self, caller: &Standing) -> bool {
        self.apps.contains(&caller.app) || self.tenants.contains(&caller.tenant)
    }

    /// Whether nobody is to be looked at.
    pub fn is_empty(&self) -> bool {
        self.apps.is_empty() && self.tenants.is_empty()
    }
}

#[cfg(test)]
mod tests;
