//! Grants: who is calling on the data plane, and what they may do with a channel.

use std::sync::Arc;

use fanfare_protocol::{ChannelName, ClientName, ErrorCode};
use secrecy::SecretString;
use serde_json::value::RawValue;

use crate::{
    Clock, Refusal, Timestamp,
    capabilities::{Capability, Right, Rights},
    directory::{AppProfile, Directory},
    ids::KeyId,
    keys::Key,
    tokens::{self, TokenError},
};

/// Who is calling, with the app they call.
#[derive(Debug, Clone)]
pub struct Grant {
    /// The app, its limits and its rules.
    pub profile: Arc<AppProfile>,
    /// The key that vouches for the caller.
    pub key: KeyId,
    /// Who they are.
    pub identity: Identity,
    /// When the credential ends by itself; that of a backend is looked at with each request.
    pub expires_at: Option<Timestamp>,
    capability: Capability,
    ceiling: Capability,
}

/// Who is calling.
#[derive(Debug, Clone)]
pub enum Identity {
    /// A backend that knows a key's secret.
    Backend,
    /// A client with a token.
    Client(ClientIdentity),
    /// Anyone who knows a key's id.
    Public,
}

/// What a token says of its bearer.
#[derive(Debug, Clone)]
pub struct ClientIdentity {
    /// The client; anonymous without.
    pub client: Option<ClientName>,
    /// What others see of it in presence.
    pub info: Option<Box<RawValue>>,
    /// The token's own id.
    pub token_id: Option<String>,
}

impl Grant {
    #[cfg(test)]
    pub(crate) fn for_tests(
        profile: Arc<AppProfile>,
        key: KeyId,
        identity: Identity,
        capability: Capability,
        ceiling: Capability,
    ) -> Self {
        Self { profile, key, identity, expires_at: None, capability, ceiling }
    }

    /// The rights on a channel: what the credential gives, cut down to what its key may do, and what the channel's rule gives anyone.
    pub fn rights(&self, channel: &ChannelName) -> Rights {
        let rule = self.profile.rule(channel);
        let mut rights = self.capability.rights(channel).and(self.ceiling.rights(channel));
        if matches!(self.identity, Identity::Client(_)) && !rule.client_publish {
            rights = rights.and([Right::Subscribe, Right::Presence, Right::History].into_iter().collect());
        }
        if rule.public {
            rights = rights.or([Right::Subscribe, Right::History].into_iter().collect());
        }
        rights
    }

    /// Refuses what the caller has no right to.
    pub fn require(&self, right: Right, channel: &ChannelName) -> Result<(), Refusal> {
        if self.rights(channel).has(right) {
            return Ok(());
        }
        Err(Refusal::new(ErrorCode::Forbidden, format!("the right `{}` on `{channel}` is missing", right.name())))
    }

    /// The client that speaks, if it has a name.
    pub fn client(&self) -> Option<&ClientName> {
        match &self.identity {
            Identity::Client(client) => client.client.as_ref(),
            Identity::Backend | Identity::Public => None,
        }
    }

    /// The key's own capability, which bounds what it may mint.
    pub fn ceiling(&self) -> &Capability {
        &self.ceiling
    }
}

/// Turns credentials into grants.
#[derive(Clone)]
pub struct Authenticator {
    directory: Arc<dyn Directory>,
    clock: Arc<dyn Clock>,
}

impl Authenticator {
    /// An authenticator that looks keys up in a directory.
    pub fn new(directory: Arc<dyn Directory>, clock: Arc<dyn Clock>) -> Self {
        Self { directory, clock }
    }

    /// A backend, by a key's id and secret; with `app`, only a key of that app.
    pub async fn backend(
        &self,
        key: &str,
        secret: &SecretString,
        app: Option<&str>,
    ) -> Result<(Grant, Arc<Key>), Refusal> {
        let refused = || Refusal::plain(ErrorCode::BadKey);
        let id = KeyId::parse(key).map_err(|_| refused())?;
        let key = self.directory.key(&id).await?.ok_or_else(refused)?;
        if !key.accepts(secret, self.clock.now()) {
            return Err(refused());
        }
        require_app(&key, app, ErrorCode::BadKey)?;
        let grant = self.grant(&key, Identity::Backend, Capability::everything(), ErrorCode::BadKey).await?;
        Ok((grant, key))
    }

    /// A client, by its token; with `app`, only a token of that app.
    pub async fn client(&self, token: &str, app: Option<&str>) -> Result<Grant, Refusal> {
        let id = tokens::key_id(token).map_err(refuse_token)?;
        let Some(key) = self.directory.key(&id).await? else {
            return Err(Refusal::new(ErrorCode::BadToken, "the key that signed the token is not known here"));
        };
        let claims = tokens::verify(token, &key, self.clock.now()).map_err(refuse_token)?;
        require_app(&key, app, ErrorCode::BadToken)?;
        let identity = ClientIdentity { client: claims.client, info: claims.info, token_id: claims.token_id };
        let grant = self.grant(&key, Identity::Client(identity), claims.capability, ErrorCode::BadToken).await?;
        Ok(Grant { expires_at: Some(claims.expires_at), ..grant })
    }

    /// Anyone, by a key's id: public channels only; with `app`, only a key of that app.
    pub async fn public(&self, key: &str, app: Option<&str>) -> Result<Grant, Refusal> {
        let refused = || Refusal::plain(ErrorCode::BadKey);
        let id = KeyId::parse(key).map_err(|_| refused())?;
        let key = self.directory.key(&id).await?.ok_or_else(refused)?;
        if !key.is_live(self.clock.now()) {
            return Err(refused());
        }
        require_app(&key, app, ErrorCode::BadKey)?;
        self.grant(&key, Identity::Public, Capability::default(), ErrorCode::BadKey).await
    }

    async fn grant(
        &self,
        key: &Key,
        identity: Identity,
        capability: Capability,
        unknown: ErrorCode,
    ) -> Result<Grant, Refusal> {
        let profile = self.directory.app(&key.app).await?.ok_or_else(|| Refusal::plain(unknown))?;
        if !profile.app.enabled {
            return Err(Refusal::plain(ErrorCode::AppDisabled));
        }
        Ok(Grant {
            profile,
            key: key.id.clone(),
            identity,
            expires_at: key.expires_at,
            capability,
            ceiling: key.capability.clone(),
        })
    }
}

/// Refuses a credential of another app than the caller names.
fn require_app(key: &Key, app: Option<&str>, code: ErrorCode) -> Result<(), Refusal> {
    match app {
        Some(app) if app != key.app.as_str() => Err(Refusal::new(code, "the credential is for another app")),
        _ => Ok(()),
    }
}

fn refuse_token(problem: TokenError) -> Refusal {
    match problem {
        TokenError::Expired => Refusal::plain(ErrorCode::TokenExpired),
        TokenError::Invalid(why) => Refusal::new(ErrorCode::BadToken, why),
    }
}
