//! The directory: keys and apps, cached.

use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use fanfare_domain::{
    StoreError,
    accounts::Accounts,
    apps::{App, Apps},
    directory::{AppProfile, Directory},
    ids::{AppId, KeyId},
    keys::{Key, Keys},
    plans::Plans,
    rules::Rules,
    signers::{MAX_SIGNERS, Signers},
    stores::Page,
    webhooks::{MAX_WEBHOOKS, Webhooks},
};

use caches::Cache;

mod caches;

const MAX_KEYS: u64 = 100_000;
const MAX_APPS: u64 = 20_000;

/// Reads keys and apps from the stores, once for all who ask at the same time, and remembers them for 30 s.
#[derive(Clone)]
pub struct CachedDirectory {
    sources: Sources,
    cached_keys: Cache<KeyId, Key>,
    cached_apps: Cache<AppId, AppProfile>,
}

#[derive(Clone)]
struct Sources {
    keys: Arc<dyn Keys>,
    apps: Arc<dyn Apps>,
    rules: Arc<dyn Rules>,
    signers: Arc<dyn Signers>,
    webhooks: Arc<dyn Webhooks>,
    accounts: Arc<dyn Accounts>,
    plans: Arc<Plans>,
}

impl CachedDirectory {
    /// A directory over these stores; `plans` turn a tenant's plan into limits.
    pub fn new(
        keys: Arc<dyn Keys>,
        apps: Arc<dyn Apps>,
        rules: Arc<dyn Rules>,
        signers: Arc<dyn Signers>,
        webhooks: Arc<dyn Webhooks>,
        accounts: Arc<dyn Accounts>,
        plans: Arc<Plans>,
    ) -> Self {
        Self {
            sources: Sources { keys, apps, rules, signers, webhooks, accounts, plans },
            cached_keys: Cache::new(MAX_KEYS),
            cached_apps: Cache::new(MAX_APPS),
        }
    }
}

#[async_trait]
impl Directory for CachedDirectory {
    async fn key(&self, key: &KeyId) -> Result<Option<Arc<Key>>, StoreError> {
        self.cached_keys.get(key, || self.sources.keys.find_by_id(key)).await
    }

    async fn app(&self, app: &AppId) -> Result<Option<Arc<AppProfile>>, StoreError> {
        self.cached_apps.get(app, || self.sources.profile(app)).await
    }

    async fn forget_key(&self, key: &KeyId) {
        self.cached_keys.forget(key);
    }

    async fn forget_app(&self, app: &AppId) {
        self.cached_apps.forget(app);
    }

    async fn forget_all(&self) {
        self.cached_keys.forget_all();
        self.cached_apps.forget_all();
    }

    async fn doubt_all(&self) {
        self.cached_keys.doubt_all();
        self.cached_apps.doubt_all();
    }
}

impl Sources {
    async fn profile(&self, app: &AppId) -> Result<Option<AppProfile>, StoreError> {
        let Some(app) = self.apps.find(app).await? else { return Ok(None) };
        let Some(tenant) = self.accounts.tenant(&app.tenant).await? else { return Ok(None) };
        // Its apps are as good as disabled until the suspension is lifted.
        let app = App { enabled: app.enabled && !self.accounts.is_suspended(&tenant.id).await?, ..app };
        let limits = self.plans.limits(&tenant.plan).clone();
        let rules = self.rules.list(&app.id).await?;
        let rules: HashMap<_, _> = rules.into_iter().map(|(name, rule)| (name.as_str().to_owned(), rule)).collect();
        let signers = self.signers.list(&app.id, &Page { after: None, limit: MAX_SIGNERS }).await?;
        let signers = signers.into_iter().map(Arc::new).collect();
        let webhooks = self.webhooks.list(&app.id, &Page { after: None, limit: MAX_WEBHOOKS }).await?;
        let webhooks = webhooks.into_iter().map(Arc::new).collect();
        Ok(Some(AppProfile { app, limits, rules, signers, webhooks }))
    }
}
