//! Grants: who is calling on the data plane, and what they may do with a channel.

use std::sync::Arc;

use fanfare_protocol::{ChannelName, ClientName, ErrorCode};
use secrecy::SecretString;
use serde_json::value::RawValue;

use crate::{
    Clock, Refusal, Timestamp,
    capabilities::{Capability, Right, Rights},
    directory::{AppProfile, Directory},
    ids::{AppId, KeyId},
    keys::Key,
    revocations::{Enforcement, Revision, Standing},
    signers::{self, KeySets, Presented, Signer, SignerKeys},
    tokens::{self, Claims, SignedBy, TokenError},
};

mod deciding;
mod vouchers;

pub use deciding::{DecidedBy, Decision};
pub use vouchers::Voucher;

/// Who is calling, with the app they call.
#[derive(Debug, Clone)]
pub struct Grant {
    /// The app, its limits and its rules.
    pub profile: Arc<AppProfile>,
    /// Who vouches for the caller.
    pub voucher: Voucher,
    /// Who they are.
    pub identity: Identity,
    /// When the credential ends by itself; that of a backend is looked at with each request.
    pub expires_at: Option<Timestamp>,
    /// When a token was issued, or seen here if that was earlier.
    pub issued_at: Option<Timestamp>,
    /// The last revocation that was known before the credential was looked at.
    pub as_of: Revision,
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
    /// One that nobody has looked at.
    #[doc(hidden)]
    pub fn for_tests(
        profile: Arc<AppProfile>,
        voucher: Voucher,
        identity: Identity,
        capability: Capability,
        ceiling: Capability,
    ) -> Self {
        Self { profile, voucher, identity, expires_at: None, issued_at: None, as_of: Revision(0), capability, ceiling }
    }

    /// The rights on a channel: what the credential gives, cut down to what its key may do, and what the channel's rule gives anyone.
    pub fn rights(&self, channel: &ChannelName) -> Rights {
        let rule = self.profile.rule(channel);
        let mut rights = self.capability.rights(channel).and(self.ceiling.rights(channel));
        if matches!(self.identity, Identity::Client(_)) && !rule.client_publish {
            rights = rights.and([Right::Subscribe, Right::Presence, Right::History].into_iter().collect());
        }
        if !rule.presence {
            rights = rights.and([Right::Subscribe, Right::Publish, Right::History, Right::Admin].into_iter().collect());
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

    /// Refuses history to who has no right to it, and where none is kept.
    pub fn require_history(&self, channel: &ChannelName) -> Result<(), Refusal> {
        self.require(Right::History, channel)?;
        match self.profile.rule(channel).history {
            Some(_) => Ok(()),
            None => Err(Refusal::plain(ErrorCode::HistoryOff)),
        }
    }

    /// Refuses presence to who has no right to it, and where the channel's rule has it off.
    pub fn require_presence(&self, channel: &ChannelName) -> Result<(), Refusal> {
        if !self.profile.rule(channel).presence {
            return Err(Refusal::new(ErrorCode::Forbidden, format!("the rule of `{channel}` has presence off")));
        }
        self.require(Right::Presence, channel)
    }

    /// Refuses a caller whose key may not administer the whole app.
    pub fn require_admin(&self) -> Result<(), Refusal> {
        if self.capability.everywhere(Right::Admin) && self.ceiling.everywhere(Right::Admin) {
            return Ok(());
        }
        Err(Refusal::new(ErrorCode::Forbidden, "the right `admin` on `*` is missing"))
    }

    /// The client that speaks, if it has a name.
    pub fn client(&self) -> Option<&ClientName> {
        match &self.identity {
            Identity::Client(client) => client.client.as_ref(),
            Identity::Backend | Identity::Public => None,
        }
    }

    /// What of the caller a revocation can reach.
    pub fn standing(&self) -> Standing {
        let token_id = match &self.identity {
            Identity::Client(client) => client.token_id.as_deref().map(Into::into),
            Identity::Backend | Identity::Public => None,
        };
        Standing {
            tenant: self.profile.app.tenant.clone(),
            app: self.profile.app.id.clone(),
            voucher: self.voucher.clone(),
            client: self.client().cloned(),
            token_id,
            issued_at: self.issued_at,
            as_of: self.as_of,
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
    key_sets: Arc<dyn KeySets>,
    clock: Arc<dyn Clock>,
    enforcement: Arc<Enforcement>,
}

impl Authenticator {
    /// An authenticator that looks keys up in a directory, and those of the tenants' own sets where these are kept, and refuses what is
    /// revoked.
    pub fn new(
        directory: Arc<dyn Directory>,
        key_sets: Arc<dyn KeySets>,
        clock: Arc<dyn Clock>,
        enforcement: Arc<Enforcement>,
    ) -> Self {
        Self { directory, key_sets, clock, enforcement }
    }

    /// A backend, by a key's id and secret; with `app`, only a key of that app.
    pub async fn backend(
        &self,
        key: &str,
        secret: &SecretString,
        app: Option<&str>,
    ) -> Result<(Grant, Arc<Key>), Refusal> {
        self.backend_that(key, |key, now| key.accepts(secret, now), app).await
    }

    /// A backend, by a key's id and by something that only who knows its secret can make: `proves` says whether it is that, by a secret that is good then.
    pub async fn proven_backend(&self, key: &str, proves: impl Fn(&Key, Timestamp) -> bool) -> Result<Grant, Refusal> {
        self.backend_that(key, proves, None).await.map(|(grant, _)| grant)
    }

    async fn backend_that(
        &self,
        key: &str,
        proves: impl Fn(&Key, Timestamp) -> bool,
        app: Option<&str>,
    ) -> Result<(Grant, Arc<Key>), Refusal> {
        let refused = || Refusal::plain(ErrorCode::BadKey);
        let id = KeyId::parse(key).map_err(|_| refused())?;
        let as_of = self.enforcement.require_current().await?;
        let key = self.directory.key(&id).await?.ok_or_else(refused)?;
        if !proves(&key, self.clock.now()) {
            return Err(refused());
        }
        require_app(&key, app, ErrorCode::BadKey)?;
        let grant = self.grant(&key, Identity::Backend, Capability::everything(), ErrorCode::BadKey).await?;
        Ok((self.admit(grant, None, as_of)?, key))
    }

    /// A client, by its token; with `app`, only a token of that app. A token that a key of the tenant's own signed needs it: its signer is
    /// looked for in that app and nowhere else.
    pub async fn client(&self, token: &str, app: Option<&str>) -> Result<Grant, Refusal> {
        match tokens::signed_by(token).map_err(refuse_token)? {
            SignedBy::Key(id) => self.client_of_key(token, &id, app).await,
            SignedBy::Signer(presented) => match app {
                Some(app) => self.client_of_signer(token, &presented, app).await,
                None => {
                    let why = "a token signed by a key of your own comes with its app: `app` of `connect`, the header `Fanfare-App`, or `?app=`";
                    Err(Refusal::new(ErrorCode::BadToken, why))
                }
            },
        }
    }

    /// The fresh token of a connection to `app`. One of another app's API key is granted here too, and told apart by who asks.
    pub async fn refresh(&self, token: &str, app: &AppId) -> Result<Grant, Refusal> {
        match tokens::signed_by(token).map_err(refuse_token)? {
            SignedBy::Key(id) => self.client_of_key(token, &id, None).await,
            SignedBy::Signer(presented) => self.client_of_signer(token, &presented, app.as_str()).await,
        }
    }

    async fn client_of_key(&self, token: &str, id: &KeyId, app: Option<&str>) -> Result<Grant, Refusal> {
        let as_of = self.enforcement.require_current().await?;
        let Some(key) = self.directory.key(id).await? else {
            return Err(Refusal::new(ErrorCode::BadToken, "the key that signed the token is not known here"));
        };
        let claims = tokens::verify(token, &key, self.clock.now()).map_err(refuse_token)?;
        require_app(&key, app, ErrorCode::BadToken)?;
        let profile = self.profile(&key.app, ErrorCode::BadToken).await?;
        self.admit_client(vouched(profile, Voucher::Key(id.clone()), claims, key.capability.clone()), as_of)
    }

    async fn client_of_signer(&self, token: &str, presented: &Presented, app: &str) -> Result<Grant, Refusal> {
        // An app that there is not is refused as one without that signer.
        let nobody = || Refusal::new(ErrorCode::BadToken, "no signer of this app has the token's `iss` and `aud`");
        let app = AppId::parse(app).map_err(|_| nobody())?;
        let as_of = self.enforcement.require_current().await?;
        let profile = self.directory.app(&app).await?.ok_or_else(nobody)?;
        let mut refused = nobody();
        for signer in profile.signers.iter().filter(|signer| presented.may_be_of(signer)) {
            match self.claims_by(token, presented, signer).await {
                Ok(claims) => {
                    let profile = self.profile(&app, ErrorCode::BadToken).await?;
                    let voucher = Voucher::Signer(signer.id.clone());
                    return self.admit_client(vouched(profile, voucher, claims?, signer.capability.clone()), as_of);
                }
                // That one signer cannot be asked is said rather than that others did not sign.
                Err(why) if refused.code != ErrorCode::Unavailable => refused = why,
                Err(_) => {}
            }
        }
        Err(refused)
    }

    /// What a token says, if this signer signed it; else, why that is not so or not known.
    async fn claims_by(
        &self,
        token: &str,
        presented: &Presented,
        signer: &Signer,
    ) -> Result<Result<Claims, Refusal>, Refusal> {
        let not_by = |why: &str| Refusal::new(ErrorCode::BadToken, why);
        let fetched;
        let key = match &signer.keys {
            SignerKeys::Pem { key, .. } => key,
            SignerKeys::Jwks { url } => {
                let found = self.key_sets.key(&signer.id, url, &presented.wanted).await.map_err(|away| {
                    let why = "the signer's JWKS could not be fetched, and the token's key is not known without it";
                    Refusal::new(ErrorCode::Unavailable, why).retry_after(away.retry_after)
                })?;
                fetched = found.ok_or_else(|| not_by("the signer's JWKS has no key of the token's `kid` and `alg`"))?;
                &fetched
            }
        };
        if key.algorithm != presented.wanted.algorithm {
            return Err(not_by("the token's `alg` is not the one of its signer's key"));
        }
        if key.kid.is_some() && presented.wanted.kid.is_some() && key.kid != presented.wanted.kid {
            return Err(not_by("the token's `kid` is not the one of its signer's key"));
        }
        let claims = signers::verify(token, key, signer, self.clock.now());
        claims
            .map(|claims| claims.map_err(refuse_token))
            .ok_or_else(|| not_by("the token's signature does not match its signer's key"))
    }

    /// Anyone, by a key's id: public channels only; with `app`, only a key of that app.
    pub async fn public(&self, key: &str, app: Option<&str>) -> Result<Grant, Refusal> {
        let refused = || Refusal::plain(ErrorCode::BadKey);
        let id = KeyId::parse(key).map_err(|_| refused())?;
        let as_of = self.enforcement.require_current().await?;
        let key = self.directory.key(&id).await?.ok_or_else(refused)?;
        if !key.is_live(self.clock.now()) {
            return Err(refused());
        }
        require_app(&key, app, ErrorCode::BadKey)?;
        let grant = self.grant(&key, Identity::Public, Capability::default(), ErrorCode::BadKey).await?;
        self.admit(grant, None, as_of)
    }

    /// A token that claims to be issued later than now was seen here now.
    fn admit_client(&self, grant: Grant, as_of: Revision) -> Result<Grant, Refusal> {
        let issued_at = grant.issued_at.map(|issued| issued.min(self.clock.now()));
        self.admit(grant, issued_at, as_of)
    }

    /// The one way by which anybody is let in: nothing of the grant was revoked since it was looked up, or before.
    fn admit(&self, grant: Grant, issued_at: Option<Timestamp>, as_of: Revision) -> Result<Grant, Refusal> {
        let grant = Grant { issued_at, as_of, ..grant };
        self.enforcement.check(&grant.standing())?;
        Ok(grant)
    }

    async fn grant(
        &self,
        key: &Key,
        identity: Identity,
        capability: Capability,
        unknown: ErrorCode,
    ) -> Result<Grant, Refusal> {
        Ok(Grant {
            profile: self.profile(&key.app, unknown).await?,
            voucher: Voucher::Key(key.id.clone()),
            identity,
            expires_at: key.expires_at,
            issued_at: None,
            as_of: Revision(0),
            capability,
            ceiling: key.capability.clone(),
        })
    }

    /// An app that is there and enabled.
    async fn profile(&self, app: &AppId, unknown: ErrorCode) -> Result<Arc<AppProfile>, Refusal> {
        let profile = self.directory.app(app).await?.ok_or_else(|| Refusal::plain(unknown))?;
        if profile.app.enabled { Ok(profile) } else { Err(Refusal::plain(ErrorCode::AppDisabled)) }
    }
}

/// The one place where verified claims become a grant, whoever vouches for them.
fn vouched(profile: Arc<AppProfile>, voucher: Voucher, claims: Claims, ceiling: Capability) -> Grant {
    let identity = ClientIdentity { client: claims.client, info: claims.info, token_id: claims.token_id };
    Grant {
        profile,
        voucher,
        identity: Identity::Client(identity),
        expires_at: Some(claims.expires_at),
        issued_at: Some(claims.issued_at),
        as_of: Revision(0),
        capability: claims.capability,
        ceiling,
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
