//! Apps: what keys, rules and channels belong to.

use std::collections::BTreeMap;

use actix_web::{
    delete, get, patch, post,
    web::{Data, ServiceConfig},
};
use fanfare_domain::{
    Refusal, Timestamp,
    accounts::Tenant,
    apps::{self, App},
    bus::Broadcast,
    ids::{AppId, TenantId},
    origins::{BadOrigin, Origins},
    pusher::{self, PusherSwitches},
};
use fanfare_protocol::ErrorCode;
use serde::{Deserialize, Serialize};
use tracing::{info, warn};
use utoipa::ToSchema;

use crate::{
    answers::{Answer, Done},
    extract::{Allowed, Body, ManageApps, Query, Then, Valid, View},
    lists::{self, List},
    openapi::refusals::{ANY, BODY, CHANGE, SESSION, refusals},
    problems::ApiError,
    services::{Services, to_its_end},
    tenants::label,
};

mod switches;

use switches::{PusherOptions, PusherOptionsPatch};

pub(crate) fn routes(config: &mut ServiceConfig) {
    config.service(list_apps).service(make_app).service(show_app).service(change_app).service(remove_app);
}

/// An app.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = App)]
pub(crate) struct AppView {
    /// Its id.
    #[schema(value_type = String)]
    id: AppId,
    /// Whose it is.
    #[schema(value_type = String)]
    tenant: TenantId,
    /// What it is called.
    name: String,
    /// A disabled app refuses its keys and tokens, and its connections are closed.
    enabled: bool,
    /// Whether Pusher's clients and server libraries are served.
    pusher: bool,
    /// The number by which Pusher's server libraries name the app; absent where they are not served. Its API keys serve as Pusher's key and secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pusher_app_id: Option<String>,
    /// What Pusher's clients may do.
    pusher_options: PusherOptions,
    /// Where they are served: what subscribing takes, by what a channel's name begins with. Channels without a prefix are open to whoever holds the app's
    /// key (the id of an API key, which web pages show to everybody) through Pusher's clients; what native clients may do is unchanged.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<BTreeMap<String, String>>)]
    pusher_access: Option<BTreeMap<&'static str, &'static str>>,
    /// The web pages that may use it from a browser: `*` for any, `https://app.example.com`, or `https://*.example.com`.
    origins: Vec<String>,
    /// Whether a trace of deliveries is kept, so that they can be explained.
    delivery_trace: bool,
    /// When it was made.
    #[schema(value_type = u64)]
    created_at: Timestamp,
}

impl From<App> for AppView {
    fn from(app: App) -> Self {
        let switches = app.pusher;
        Self {
            pusher_app_id: switches.enabled.then(|| pusher::app_id(&app.id)),
            id: app.id,
            tenant: app.tenant,
            name: app.name,
            enabled: app.enabled,
            pusher: switches.enabled,
            pusher_options: switches.into(),
            pusher_access: switches.enabled.then(switches::access),
            origins: app.origins.to_list(),
            delivery_trace: app.traced_since.is_some(),
            created_at: app.created_at,
        }
    }
}

/// An app to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewApp {
    /// What it is called: 1 to 100 characters.
    name: String,
    /// Whether Pusher's clients and server libraries are served; not, where it is absent. Then channels without a prefix are open to whoever holds the app's key.
    #[serde(default)]
    pusher: bool,
    /// What Pusher's clients may do.
    pusher_options: Option<PusherOptionsPatch>,
    /// The web pages that may use it from a browser: at most 100 of `*`, `https://app.example.com` and `https://*.example.com`. Any, where
    /// it is absent.
    origins: Option<Vec<String>>,
    /// Whether a trace of deliveries is kept, so that they can be explained; not, where it is absent.
    #[serde(default)]
    delivery_trace: bool,
}

impl Body for NewApp {}

/// What to change of an app.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AppPatch {
    /// What it is called from now on.
    name: Option<String>,
    /// Whether it is enabled.
    enabled: Option<bool>,
    /// Whether Pusher's clients and server libraries are served. Then channels without a prefix are open to whoever holds the app's key.
    pusher: Option<bool>,
    /// What Pusher's clients may do; options that are absent stay as they are.
    pusher_options: Option<PusherOptionsPatch>,
    /// The web pages that may use it from a browser; connections from others are closed.
    origins: Option<Vec<String>>,
    /// Whether a trace of deliveries is kept. Switching it off forgets what there is.
    delivery_trace: Option<bool>,
}

impl Body for AppPatch {}

fn origins(list: Option<Vec<String>>) -> Result<Option<Origins>, ApiError> {
    let bad = |bad: BadOrigin| ApiError::field(format!("/origins/{}", bad.at), bad.to_string());
    list.map(Origins::parse).transpose().map_err(bad)
}

refusals!(ListAppsRefusals: SESSION, &[ErrorCode::NotFound, ErrorCode::InvalidBody], ANY);

/// List a tenant's apps
///
/// Oldest first.
#[utoipa::path(
    tag = "apps",
    params(
        ("tenant" = String, Path, description = "The tenant's id.", example = "ten_01k2v3"),
        ("limit" = Option<u32>, Query, description = "The most items: 1 to 100, 100 where it is absent."),
        ("next" = Option<String>, Query, description = "The `next` of the page before.")
    ),
    responses(
        (status = 200, description = "A page of apps.", body = List<AppView>, example = json!({
            "items": [{"id": "app_01k2v3", "tenant": "ten_01k2v3", "name": "prod", "enabled": true, "pusher": false, "pusher_options": {"client_events": true, "sign_in": true, "watchlists": true, "subscription_counts": true, "authorized_connections": false, "batch_webhooks": false}, "origins": ["*"], "delivery_trace": false, "created_at": 1_764_000_000_000u64}],
            "next": null
        })),
        ListAppsRefusals
    ),
    security(("sessionCookie" = []), ("sessionBearer" = []))
)]
#[get("/v1/tenants/{tenant}/apps")]
pub(crate) async fn list_apps(
    input: Then<Allowed<View, Tenant>, Query>,
    services: Data<Services>,
) -> Result<Answer<List<AppView>>, ApiError> {
    let Then(scope, query) = input;
    let page = lists::wanted(&query)?;
    let apps = services.ports.apps.list(&scope.target.id, &page).await?;
    Ok(Answer::ok(List::page(apps, &page, |app| app.id.as_str(), AppView::from)))
}

refusals!(MakeAppRefusals: SESSION, CHANGE, BODY, &[ErrorCode::NotFound, ErrorCode::Forbidden, ErrorCode::PlanLimit], ANY);

/// Make an app
///
/// It has no keys yet, and the built-in rule for all of its channels.
#[utoipa::path(
    tag = "apps",
    params(("tenant" = String, Path, description = "The tenant's id.", example = "ten_01k2v3")),
    request_body(content = NewApp, example = json!({"name": "prod", "pusher": true, "origins": ["https://app.example.com"]})),
    responses(
        (status = 201, description = "The app.", body = AppView, example = json!(
            {"id": "app_01k2v3", "tenant": "ten_01k2v3", "name": "prod", "enabled": true, "pusher": true, "pusher_app_id": "4711047110", "pusher_access": {"*": "app_key", "private-*": "signature", "presence-*": "signature"}, "pusher_options": {"client_events": true, "sign_in": true, "watchlists": true, "subscription_counts": true, "authorized_connections": false, "batch_webhooks": false}, "origins": ["https://app.example.com"], "delivery_trace": false, "created_at": 1_764_000_000_000u64}
        )),
        MakeAppRefusals
    ),
    security(("sessionCookie" = []), ("sessionBearer" = []))
)]
#[post("/v1/tenants/{tenant}/apps")]
pub(crate) async fn make_app(
    input: Then<Allowed<ManageApps, Tenant>, Valid<NewApp>>,
    services: Data<Services>,
) -> Result<Answer<AppView>, ApiError> {
    let Then(scope, Valid(new)) = input;
    let most = services.ports.plans.limits(&scope.target.plan).apps;
    let (name, origins) = (label("/name", &new.name)?, origins(new.origins)?.unwrap_or_else(Origins::any));
    let now = services.now();
    let pusher = switches::turned(Some(new.pusher), new.pusher_options).turn(PusherSwitches::default());
    let traced_since = new.delivery_trace.then_some(now);
    let app = App { origins, traced_since, pusher, ..App::new(scope.target.id, name, now) };
    services.ports.apps.insert(&app, most).await?;
    if new.delivery_trace {
        change_trace(&services, &app.id, Some(now)).await;
    }
    info!(app.id = %app.id, user.id = %scope.caller.user.id, "Made app `{}`", app.id);
    Ok(Answer::created(app.into()))
}

refusals!(ShowAppRefusals: SESSION, &[ErrorCode::NotFound], ANY);

/// Show an app
///
/// Its name, whose it is, and whether it is enabled.
#[utoipa::path(
    tag = "apps",
    params(("app" = String, Path, description = "The app's id.", example = "app_01k2v3")),
    responses(
        (status = 200, description = "The app.", body = AppView, example = json!(
            {"id": "app_01k2v3", "tenant": "ten_01k2v3", "name": "prod", "enabled": true, "pusher": false, "pusher_options": {"client_events": true, "sign_in": true, "watchlists": true, "subscription_counts": true, "authorized_connections": false, "batch_webhooks": false}, "origins": ["*"], "delivery_trace": false, "created_at": 1_764_000_000_000u64}
        )),
        ShowAppRefusals
    ),
    security(("sessionCookie" = []), ("sessionBearer" = []))
)]
#[get("/v1/apps/{app}")]
pub(crate) async fn show_app(scope: Allowed<View>) -> Answer<AppView> {
    Answer::ok(scope.target.into())
}

refusals!(ChangeAppRefusals: SESSION, CHANGE, BODY, &[ErrorCode::NotFound, ErrorCode::Forbidden], ANY);

/// Change an app
///
/// Fields that are absent stay as they are. Disabling an app closes its connections, and its keys and tokens are refused until it is enabled again.
#[utoipa::path(
    tag = "apps",
    params(("app" = String, Path, description = "The app's id.", example = "app_01k2v3")),
    request_body(content = AppPatch, example = json!({"enabled": false})),
    responses(
        (status = 200, description = "The app as it is now.", body = AppView, example = json!(
            {"id": "app_01k2v3", "tenant": "ten_01k2v3", "name": "prod", "enabled": false, "pusher": false, "pusher_options": {"client_events": true, "sign_in": true, "watchlists": true, "subscription_counts": true, "authorized_connections": false, "batch_webhooks": false}, "origins": ["*"], "delivery_trace": false, "created_at": 1_764_000_000_000u64}
        )),
        ChangeAppRefusals
    ),
    security(("sessionCookie" = []), ("sessionBearer" = []))
)]
#[patch("/v1/apps/{app}")]
pub(crate) async fn change_app(
    input: Then<Allowed<ManageApps>, Valid<AppPatch>>,
    services: Data<Services>,
) -> Result<Answer<AppView>, ApiError> {
    let Then(scope, Valid(patch)) = input;
    let name = patch.name.map(|name| label("/name", &name)).transpose()?;
    // A trace that is kept already goes on.
    let is_switched = patch.delivery_trace.filter(|is_on| *is_on != scope.target.traced_since.is_some());
    let traced_since = is_switched.map(|is_on| is_on.then(|| services.now()));
    let pusher = switches::turned(patch.pusher, patch.pusher_options);
    let patch = apps::AppPatch { name, enabled: patch.enabled, origins: origins(patch.origins)?, traced_since, pusher };
    let app = to_its_end(async move {
        let changed = services.ports.apps.update(&scope.target.tenant, &scope.target.id, &patch).await?;
        let app = changed.ok_or_else(|| Refusal::plain(ErrorCode::NotFound))?;
        info!(app.id = %app.id, user.id = %scope.caller.user.id, app.enabled = app.enabled, "Changed app `{}`", app.id);
        if let Some(since) = patch.traced_since {
            change_trace(&services, &app.id, since).await;
        }
        if app.enabled {
            app_changed(&services, &app.id).await?;
        } else {
            app_ended(&services, &app.id).await;
        }
        Ok(app)
    });
    Ok(Answer::ok(app.await?.into()))
}

refusals!(RemoveAppRefusals: SESSION, CHANGE, &[ErrorCode::NotFound, ErrorCode::Forbidden], ANY);

/// Remove an app
///
/// Its keys, its rules and its messages go with it, and its connections are closed. This cannot be undone.
#[utoipa::path(
    tag = "apps",
    params(("app" = String, Path, description = "The app's id.", example = "app_01k2v3")),
    responses((status = 204, description = "The app is gone."), RemoveAppRefusals),
    security(("sessionCookie" = []), ("sessionBearer" = []))
)]
#[delete("/v1/apps/{app}")]
pub(crate) async fn remove_app(scope: Allowed<ManageApps>, services: Data<Services>) -> Result<Done, ApiError> {
    let app = scope.target;
    let removal = to_its_end(async move {
        if !services.ports.apps.remove(&app.tenant, &app.id).await? {
            return Err(Refusal::plain(ErrorCode::NotFound));
        }
        info!(app.id = %app.id, user.id = %scope.caller.user.id, "Removed app `{}`", app.id);
        if app.traced_since.is_some() {
            change_trace(&services, &app.id, None).await;
        }
        app_ended(&services, &app.id).await;
        Ok(())
    });
    removal.await?;
    Ok(Done)
}

/// Begins a trace of deliveries with nothing in it, or forgets it.
async fn change_trace(services: &Services, app: &AppId, since: Option<Timestamp>) {
    let changed = match since {
        Some(now) => services.ports.trace.begin(app, now).await,
        None => services.ports.trace.forget(app).await,
    };
    if let Err(failure) = changed {
        // Nobody is told anything of a trace that began before its app's; and what is old goes by itself.
        warn!(error = %failure, app.id = %app, "What was traced of an app could not be forgotten yet");
    }
}

/// Has every node close what the app, or a signer of it, let in; that is stored among the revocations, so that nothing is lost with a broadcast.
pub(crate) async fn app_ended(services: &Services, app: &AppId) {
    services.ports.directory.forget_app(app).await;
    services.enforce().await;
    services.tell_predecessors(Broadcast::AppChanged(app.clone())).await;
}

/// Has every node read the app afresh.
pub(crate) async fn app_changed(services: &Services, app: &AppId) -> Result<(), Refusal> {
    services.ports.directory.forget_app(app).await;
    services.tell(Broadcast::AppChanged(app.clone())).await
}
