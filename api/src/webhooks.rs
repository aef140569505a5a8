//! Webhooks: addresses of the tenant's own that are told what happens in an app's channels.

use actix_web::{
    HttpRequest, delete, get, patch, post,
    web::{Data, ServiceConfig},
};
use fanfare_domain::{
    Refusal, Timestamp,
    ids::{AppId, WebhookId},
    outbound::OutboundPolicy,
    webhooks::{self, EventKind, MAX_WEBHOOKS, Webhook, WebhookFormat},
};
use fanfare_protocol::ErrorCode;
use serde::{Deserialize, Serialize};
use tracing::info;
use utoipa::ToSchema;

use crate::{
    answers::{Answer, Done},
    apps::app_changed,
    extract::{Allowed, Body, ManageApps, Query, Then, Valid, View},
    lists::{self, List},
    openapi::refusals::{ANY, BODY, CHANGE, SESSION, refusals},
    problems::ApiError,
    services::{Services, to_its_end},
};

pub(crate) fn routes(config: &mut ServiceConfig) {
    config
        .service(list_webhooks)
        .service(add_webhook)
        .service(show_webhook)
        .service(change_webhook)
        .service(remove_webhook);
}

/// A webhook: where some of an app's events are sent.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Webhook)]
pub(crate) struct WebhookView {
    /// Its id.
    #[schema(value_type = String)]
    id: WebhookId,
    /// Where events are posted to.
    url: String,
    /// How they are written.
    #[schema(value_type = String)]
    format: WebhookFormat,
    /// What it is told of.
    #[schema(value_type = Vec<String>)]
    events: Vec<EventKind>,
    /// Whether it is told anything now.
    enabled: bool,
    /// When it was added.
    #[schema(value_type = u64)]
    created_at: Timestamp,
}

impl From<Webhook> for WebhookView {
    fn from(webhook: Webhook) -> Self {
        let Webhook { id, url, format, events, enabled, created_at, .. } = webhook;
        Self { id, url, format, events, enabled, created_at }
    }
}

/// A webhook to be added.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewWebhook {
    /// The https URL that events are posted to. Redirects are not followed, and private addresses not called.
    url: String,
    /// How they are written: `pusher`.
    format: String,
    /// What it is told of: `channel_occupied`, `channel_vacated`, `member_added`, `member_removed`, `client_event`, `cache_miss`, `subscription_count`; at least one of them.
    events: Vec<String>,
    /// Whether it is told anything; `true` where it is absent.
    enabled: Option<bool>,
}

impl Body for NewWebhook {}

impl NewWebhook {
    fn checked(self, app: AppId, policy: OutboundPolicy, now: Timestamp) -> Result<Webhook, ApiError> {
        let format = WebhookFormat::of_name(&self.format).ok_or_else(|| ApiError::field("/format", "is `pusher`"))?;
        Ok(Webhook {
            id: WebhookId::generate(),
            app,
            url: url(&self.url, policy)?,
            format,
            events: kinds(&self.events)?,
            enabled: self.enabled.unwrap_or(true),
            created_at: now,
        })
    }
}

/// What to change of a webhook.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WebhookPatch {
    /// Where events are posted to from now on.
    url: Option<String>,
    /// What it is told of from now on.
    events: Option<Vec<String>>,
    /// Whether it is told anything. What waits for a webhook that is not is let go.
    enabled: Option<bool>,
}

impl Body for WebhookPatch {}

fn url(text: &str, policy: OutboundPolicy) -> Result<String, ApiError> {
    policy.check_url(text).map(Into::into).map_err(|bad| ApiError::field("/url", bad.to_string()))
}

fn kinds(names: &[String]) -> Result<Vec<EventKind>, ApiError> {
    let mut kinds = Vec::new();
    for (at, name) in names.iter().enumerate() {
        let kind = EventKind::of_name(name).ok_or_else(|| {
            let all: Vec<_> = EventKind::ALL.iter().map(|kind| kind.name()).collect();
            ApiError::field(format!("/events/{at}"), format!("is one of {}", all.join(", ")))
        })?;
        if kinds.contains(&kind) {
            return Err(ApiError::field(format!("/events/{at}"), "is there already"));
        }
        kinds.push(kind);
    }
    if kinds.is_empty() { Err(ApiError::field("/events", "names at least one event")) } else { Ok(kinds) }
}

fn webhook_id(request: &HttpRequest) -> Result<WebhookId, ApiError> {
    WebhookId::parse(request.match_info().query("hook")).map_err(|_| ApiError::plain(ErrorCode::NotFound))
}

refusals!(ListWebhooksRefusals: SESSION, &[ErrorCode::NotFound, ErrorCode::InvalidBody], ANY);

/// List an app's webhooks
///
/// Oldest first.
#[utoipa::path(
    tag = "webhooks",
    params(
        ("app" = String, Path, description = "The app's id.", example = "app_01k2v3"),
        ("limit" = Option<u32>, Query, description = "The most items: 1 to 100, 100 where it is absent."),
        ("next" = Option<String>, Query, description = "The `next` of the page before.")
    ),
    responses(
        (status = 200, description = "A page of webhooks.", body = List<WebhookView>, example = json!({
            "items": [{
                "id": "hook_01k2v3", "url": "https://example.com/fanfare", "format": "pusher",
                "events": ["channel_occupied", "channel_vacated"], "enabled": true, "created_at": 1_764_000_000_000u64
            }],
            "next": null
        })),
        ListWebhooksRefusals
    ),
    security(("sessionCookie" = []), ("sessionBearer" = []))
)]
#[get("/v1/apps/{app}/webhooks")]
pub(crate) async fn list_webhooks(
    input: Then<Allowed<View>, Query>,
    services: Data<Services>,
) -> Result<Answer<List<WebhookView>>, ApiError> {
    let Then(scope, query) = input;
    let page = lists::wanted(&query)?;
    let webhooks = services.ports.webhooks.list(&scope.target.id, &page).await?;
    Ok(Answer::ok(List::page(webhooks, &page, |webhook| webhook.id.as_str(), WebhookView::from)))
}

refusals!(AddWebhookRefusals: SESSION, CHANGE, BODY, &[ErrorCode::NotFound, ErrorCode::Forbidden, ErrorCode::PlanLimit], ANY);

/// Add a webhook
///
/// From now on, what happens in the app's channels is posted there, signed with the app's oldest API key that works. What is not answered with 2xx within 4 s is
/// tried again for 5 minutes. An app has at most 20 webhooks.
#[utoipa::path(
    tag = "webhooks",
    params(("app" = String, Path, description = "The app's id.", example = "app_01k2v3")),
    request_body(content = NewWebhook, example = json!({
        "url": "https://example.com/fanfare", "format": "pusher", "events": ["channel_occupied", "channel_vacated"]
    })),
    responses(
        (status = 201, description = "The webhook.", body = WebhookView, example = json!({
            "id": "hook_01k2v3", "url": "https://example.com/fanfare", "format": "pusher",
            "events": ["channel_occupied", "channel_vacated"], "enabled": true, "created_at": 1_764_000_000_000u64
        })),
        AddWebhookRefusals
    ),
    security(("sessionCookie" = []), ("sessionBearer" = []))
)]
#[post("/v1/apps/{app}/webhooks")]
pub(crate) async fn add_webhook(
    input: Then<Allowed<ManageApps>, Valid<NewWebhook>>,
    services: Data<Services>,
) -> Result<Answer<WebhookView>, ApiError> {
    let Then(scope, Valid(new)) = input;
    let webhook = new.checked(scope.target.id, services.ports.outbound, services.now())?;
    let webhook = to_its_end(async move {
        services.ports.webhooks.insert(&webhook, MAX_WEBHOOKS).await?;
        let (id, app) = (&webhook.id, &webhook.app);
        info!(app.id = %app, webhook.id = %id, user.id = %scope.caller.user.id, "Added webhook `{id}`");
        app_changed(&services, app).await?;
        Ok(webhook)
    });
    Ok(Answer::created(webhook.await?.into()))
}

refusals!(ShowWebhookRefusals: SESSION, &[ErrorCode::NotFound], ANY);

/// Show a webhook
///
/// Where it is, and what it is told of.
#[utoipa::path(
    tag = "webhooks",
    params(
        ("app" = String, Path, description = "The app's id.", example = "app_01k2v3"),
        ("hook" = String, Path, description = "The webhook's id.", example = "hook_01k2v3")
    ),
    responses(
        (status = 200, description = "The webhook.", body = WebhookView, example = json!({
            "id": "hook_01k2v3", "url": "https://example.com/fanfare", "format": "pusher",
            "events": ["member_added", "member_removed"], "enabled": true, "created_at": 1_764_000_000_000u64
        })),
        ShowWebhookRefusals
    ),
    security(("sessionCookie" = []), ("sessionBearer" = []))
)]
#[get("/v1/apps/{app}/webhooks/{hook}")]
pub(crate) async fn show_webhook(
    request: HttpRequest,
    scope: Allowed<View>,
    services: Data<Services>,
) -> Result<Answer<WebhookView>, ApiError> {
    let found = services.ports.webhooks.find(&scope.target.id, &webhook_id(&request)?).await?;
    found.map(|webhook| Answer::ok(webhook.into())).ok_or_else(|| ApiError::plain(ErrorCode::NotFound))
}

refusals!(ChangeWebhookRefusals: SESSION, CHANGE, BODY, &[ErrorCode::NotFound, ErrorCode::Forbidden], ANY);

/// Change a webhook
///
/// Fields that are absent stay as they are.
#[utoipa::path(
    tag = "webhooks",
    params(
        ("app" = String, Path, description = "The app's id.", example = "app_01k2v3"),
        ("hook" = String, Path, description = "The webhook's id.", example = "hook_01k2v3")
    ),
    request_body(content = WebhookPatch, example = json!({"enabled": false})),
    responses(
        (status = 200, description = "The webhook as it is now.", body = WebhookView, example = json!({
            "id": "hook_01k2v3", "url": "https://example.com/fanfare", "format": "pusher",
            "events": ["channel_occupied", "channel_vacated"], "enabled": false, "created_at": 1_764_000_000_000u64
        })),
        ChangeWebhookRefusals
    ),
    security(("sessionCookie" = []), ("sessionBearer" = []))
)]
#[patch("/v1/apps/{app}/webhooks/{hook}")]
pub(crate) async fn change_webhook(
    request: HttpRequest,
    input: Then<Allowed<ManageApps>, Valid<WebhookPatch>>,
    services: Data<Services>,
) -> Result<Answer<WebhookView>, ApiError> {
    let Then(scope, Valid(patch)) = input;
    let id = webhook_id(&request)?;
    let url = patch.url.map(|text| url(&text, services.ports.outbound)).transpose()?;
    let events = patch.events.map(|names| kinds(&names)).transpose()?;
    let patch = webhooks::WebhookPatch { url, events, enabled: patch.enabled };
    let webhook = to_its_end(async move {
        let app = scope.target.id;
        let changed = services.ports.webhooks.update(&app, &id, &patch).await?;
        let webhook = changed.ok_or_else(|| Refusal::plain(ErrorCode::NotFound))?;
        info!(app.id = %app, webhook.id = %id, user.id = %scope.caller.user.id, "Changed webhook `{id}`");
        app_changed(&services, &app).await?;
        Ok(webhook)
    });
    Ok(Answer::ok(webhook.await?.into()))
}

refusals!(RemoveWebhookRefusals: SESSION, CHANGE, &[ErrorCode::NotFound, ErrorCode::Forbidden], ANY);

/// Remove a webhook
///
/// What it was not told yet is let go.
#[utoipa::path(
    tag = "webhooks",
    params(
        ("app" = String, Path, description = "The app's id.", example = "app_01k2v3"),
        ("hook" = String, Path, description = "The webhook's id.", example = "hook_01k2v3")
    ),
    responses((status = 204, description = "The webhook is gone."), RemoveWebhookRefusals),
    security(("sessionCookie" = []), ("sessionBearer" = []))
)]
#[delete("/v1/apps/{app}/webhooks/{hook}")]
pub(crate) async fn remove_webhook(
    request: HttpRequest,
    scope: Allowed<ManageApps>,
    services: Data<Services>,
) -> Result<Done, ApiError> {
    let id = webhook_id(&request)?;
    let removal = to_its_end(async move {
        let app = scope.target.id;
        if !services.ports.webhooks.remove(&app, &id).await? {
            return Err(Refusal::plain(ErrorCode::NotFound));
        }
        info!(app.id = %app, webhook.id = %id, user.id = %scope.caller.user.id, "Removed webhook `{id}`");
        app_changed(&services, &app).await
    });
    removal.await?;
    Ok(Done)
}
