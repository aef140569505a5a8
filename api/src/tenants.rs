//! Tenants: what they are called, and what their plan allows.

use actix_web::{
    get, patch,
    web::{Data, ServiceConfig},
};
use fanfare_domain::{accounts::Tenant, ids::TenantId, plans::Limits, stores::Page};
use fanfare_protocol::ErrorCode;
use serde::{Deserialize, Serialize};
use tracing::info;
use utoipa::ToSchema;

use crate::{
    answers::Answer,
    extract::{Allowed, Body, ManageTenant, Then, Valid, View},
    openapi::refusals::{ANY, BODY, CHANGE, SESSION, refusals},
    problems::ApiError,
    services::Services,
};

pub(crate) fn routes(config: &mut ServiceConfig) {
    config.service(show_tenant).service(change_tenant);
}

/// A tenant.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Tenant)]
pub(crate) struct TenantDetails {
    /// Its id.
    #[schema(value_type = String)]
    id: TenantId,
    /// What it is called.
    name: String,
    /// The name of its plan.
    plan: String,
    /// What the plan allows the tenant and each app.
    limits: LimitsView,
    /// What there is of it.
    usage: Usage,
}

/// What a plan allows a tenant and each of its apps.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Limits)]
pub(crate) struct LimitsView {
    /// Open connections.
    connections: u32,
    /// Messages published each second.
    publishes_per_s: u32,
    /// Pages of history read each second.
    history_reads_per_s: u32,
    /// The largest `data` of a message, in bytes.
    message_bytes: u32,
    /// Channels that one connection may subscribe to.
    channels_per_connection: u32,
    /// Requests that one connection may send each second.
    requests_per_s: u32,
    /// Bytes that wait for one connection before it is closed as a slow consumer.
    outbox_bytes: u32,
    /// Bytes that wait for all connections of an app on one node, before the slowest of them are closed.
    app_outbox_bytes: u32,
    /// Members of a channel's presence.
    presence_members: u32,
    /// The longest retention that a rule may ask for, in seconds.
    retention_s: u64,
    /// Apps of the tenant.
    apps: u32,
    /// API keys of an app.
    keys: u32,
    /// Rules of an app.
    rules: u32,
}

impl From<&Limits> for LimitsView {
    fn from(limits: &Limits) -> Self {
        Self {
            connections: limits.connections,
            publishes_per_s: limits.publishes_per_s,
            history_reads_per_s: limits.history_reads_per_s,
            message_bytes: limits.message_bytes,
            channels_per_connection: limits.channels_per_connection,
            requests_per_s: limits.requests_per_s,
            outbox_bytes: limits.outbox_bytes,
            app_outbox_bytes: limits.app_outbox_bytes,
            presence_members: limits.presence_members,
            retention_s: limits.retention_s,
            apps: limits.apps,
            keys: limits.keys,
            rules: limits.rules,
        }
    }
}

/// What there is of a tenant.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Usage {
    /// Its apps.
    apps: u64,
}

/// What to change of a tenant.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TenantPatch {
    /// What it is called from now on: 1 to 100 characters.
    name: Option<String>,
}

impl Body for TenantPatch {}

/// Checks what people call a thing: 1 to 100 characters, none of them a control character.
pub(crate) fn label(pointer: &str, text: &str) -> Result<String, ApiError> {
    let name = text.trim();
    if !(1..=100).contains(&name.chars().count()) || text.chars().any(char::is_control) {
        return Err(ApiError::field(pointer, "is 1 to 100 characters, none of them a control character"));
    }
    Ok(name.to_owned())
}

async fn details(services: &Services, tenant: Tenant) -> Result<TenantDetails, ApiError> {
    let limits = services.ports.plans.limits(&tenant.plan).into();
    let apps = count_apps(services, &tenant.id).await?;
    Ok(TenantDetails { id: tenant.id, name: tenant.name, plan: tenant.plan, limits, usage: Usage { apps } })
}

async fn count_apps(services: &Services, tenant: &TenantId) -> Result<u64, ApiError> {
    let mut page = Page { after: None, limit: 1_000 };
    let mut count = 0;
    loop {
        let apps = services.ports.apps.list(tenant, &page).await?;
        count += apps.len() as u64;
        match apps.last() {
            Some(last) if apps.len() == page.limit as usize => page.after = Some(last.id.as_str().to_owned()),
            _ => return Ok(count),
        }
    }
}

refusals!(ShowTenantRefusals: SESSION, &[ErrorCode::NotFound], ANY);

/// Show a tenant
///
/// Its name, its plan, what the plan allows it and each of its apps, and how many apps there are.
#[utoipa::path(
    tag = "tenants",
    params(("tenant" = String, Path, description = "The tenant's id.", example = "ten_01k2v3")),
    responses(
        (status = 200, description = "The tenant.", body = TenantDetails, example = json!({
            "id": "ten_01k2v3", "name": "Acme", "plan": "default",
            "limits": {"connections": 10_000, "publishes_per_s": 1_000, "history_reads_per_s": 200, "message_bytes": 65_536, "channels_per_connection": 200,
                "requests_per_s": 100, "outbox_bytes": 1_048_576, "app_outbox_bytes": 134_217_728, "presence_members": 1_000, "retention_s": 604_800, "apps": 50, "keys": 100, "rules": 100},
            "usage": {"apps": 2}
        })),
        ShowTenantRefusals
    ),
    security(("sessionCookie" = []), ("sessionBearer" = []))
)]
#[get("/v1/tenants/{tenant}")]
pub(crate) async fn show_tenant(
    scope: Allowed<View, Tenant>,
    services: Data<Services>,
) -> Result<Answer<TenantDetails>, ApiError> {
    Ok(Answer::ok(details(&services, scope.target).await?))
}

refusals!(ChangeTenantRefusals: SESSION, CHANGE, BODY, &[ErrorCode::NotFound, ErrorCode::Forbidden], ANY);

/// Rename a tenant
///
/// Fields that are absent stay as they are. Needs the role `owner` or `admin`.
#[utoipa::path(
    tag = "tenants",
    params(("tenant" = String, Path, description = "The tenant's id.", example = "ten_01k2v3")),
    request_body(content = TenantPatch, example = json!({"name": "Acme Inc."})),
    responses(
        (status = 200, description = "The tenant as it is now.", body = TenantDetails, example = json!({
            "id": "ten_01k2v3", "name": "Acme Inc.", "plan": "default",
            "limits": {"connections": 10_000, "publishes_per_s": 1_000, "history_reads_per_s": 200, "message_bytes": 65_536, "channels_per_connection": 200,
                "requests_per_s": 100, "outbox_bytes": 1_048_576, "app_outbox_bytes": 134_217_728, "presence_members": 1_000, "retention_s": 604_800, "apps": 50, "keys": 100, "rules": 100},
            "usage": {"apps": 2}
        })),
        ChangeTenantRefusals
    ),
    security(("sessionCookie" = []), ("sessionBearer" = []))
)]
#[patch("/v1/tenants/{tenant}")]
pub(crate) async fn change_tenant(
    input: Then<Allowed<ManageTenant, Tenant>, Valid<TenantPatch>>,
    services: Data<Services>,
) -> Result<Answer<TenantDetails>, ApiError> {
    let Then(scope, Valid(patch)) = input;
    let mut tenant = scope.target;
    if let Some(name) = patch.name {
        tenant.name = label("/name", &name)?;
        if !services.ports.accounts.rename_tenant(&tenant.id, &tenant.name).await? {
            return Err(ApiError::plain(ErrorCode::NotFound));
        }
        info!(tenant.id = %tenant.id, user.id = %scope.caller.user.id, "Renamed tenant `{}`", tenant.id);
    }
    Ok(Answer::ok(details(&services, tenant).await?))
}
