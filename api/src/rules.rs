//! Rules: what the channels of a namespace allow.

use actix_web::{
    FromRequest, HttpRequest, delete, get, put,
    web::{self, Data, ServiceConfig},
};
use fanfare_domain::{
    Refusal,
    apps::App,
    plans::Limits,
    rules::{Retention, Rule},
};
use fanfare_protocol::{ErrorCode, Namespace, names::DEFAULT_NAMESPACE};
use serde::{Deserialize, Serialize};
use tracing::info;
use utoipa::ToSchema;

use crate::{
    answers::{Answer, Done},
    apps::app_changed,
    extract::{Allowed, Body, ManageRules, Query, Then, Valid, View},
    lists::{List, wanted},
    openapi::refusals::{ANY, BODY, CHANGE, SESSION, refusals},
    problems::ApiError,
    services::{Services, to_its_end},
};

pub(crate) fn routes(config: &mut ServiceConfig) {
    config.service(list_rules).service(show_rule).service(put_rule).service(remove_rule);
}

/// What the channels of one namespace allow; absent fields take the built-in defaults.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[schema(as = Rule)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RuleBody {
    /// Whether anyone who knows a key id may subscribe and read history. `false` where absent.
    #[schema(default = false)]
    public: bool,
    /// Whether clients may publish, if their token allows it; backends always may. `true` where absent.
    #[schema(default = true)]
    client_publish: bool,
    /// Whether clients may enter presence. `true` where absent.
    #[schema(default = true)]
    presence: bool,
    /// How long messages are kept: a day where absent. `null` keeps none, and then the messages have no serials.
    history: Option<RetentionBody>,
    /// The largest `data`, in bytes, if less than the plan's.
    #[serde(skip_serializing_if = "Option::is_none")]
    max_message_bytes: Option<u32>,
}

/// How long messages are kept.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[schema(as = Retention)]
#[serde(deny_unknown_fields)]
pub(crate) struct RetentionBody {
    /// Messages older than this are gone, in seconds.
    #[schema(minimum = 1)]
    retention_s: u64,
    /// Only the last so many are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    max_messages: Option<u64>,
}

impl Body for RuleBody {}

impl Default for RuleBody {
    fn default() -> Self {
        Rule::default().into()
    }
}

impl From<Rule> for RuleBody {
    fn from(rule: Rule) -> Self {
        let history =
            rule.history.map(|kept| RetentionBody { retention_s: kept.retention_s, max_messages: kept.max_messages });
        let Rule { public, client_publish, presence, max_message_bytes, .. } = rule;
        Self { public, client_publish, presence, history, max_message_bytes }
    }
}

impl RuleBody {
    /// The rule, if the plan allows it.
    fn checked(self, limits: &Limits) -> Result<Rule, ApiError> {
        let history = self.history.map(|kept| kept.checked(limits)).transpose()?;
        let most = limits.message_bytes;
        if self.max_message_bytes.is_some_and(|bytes| !(1..=most).contains(&bytes)) {
            return Err(ApiError::field("/max_message_bytes", format!("is 1 to {most}, which the plan allows")));
        }
        let Self { public, client_publish, presence, max_message_bytes, .. } = self;
        Ok(Rule { public, client_publish, presence, history, max_message_bytes })
    }
}

impl RetentionBody {
    fn checked(self, limits: &Limits) -> Result<Retention, ApiError> {
        if !(1..=limits.retention_s).contains(&self.retention_s) {
            return Err(ApiError::field(
                "/history/retention_s",
                format!("is 1 to {}, which the plan allows", limits.retention_s),
            ));
        }
        if self.max_messages.is_some_and(|count| !(1..=1 << 53).contains(&count)) {
            return Err(ApiError::field("/history/max_messages", "is at least 1"));
        }
        Ok(Retention { retention_s: self.retention_s, max_messages: self.max_messages })
    }
}

/// A rule and its namespace.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NamedRule {
    /// What stands before the first `:` of a channel; `_default` for the rest.
    #[schema(value_type = String)]
    namespace: Namespace,
    /// The rule.
    #[serde(flatten)]
    rule: RuleBody,
}

/// The namespace that the path names.
async fn namespace(request: &HttpRequest) -> Result<Namespace, ApiError> {
    let wrong = |detail: String| ApiError::field("/namespace", detail);
    let path = web::Path::<(String, String)>::extract(request).await.map_err(|_| wrong("cannot be read".to_owned()))?;
    Namespace::parse(&path.1).map_err(|bad| wrong(bad.to_string()))
}

/// An app's rules; `_default` is always among them.
async fn rules_of(services: &Services, app: &App) -> Result<Vec<(Namespace, Rule)>, ApiError> {
    let mut rules = services.ports.rules.list(&app.id).await?;
    if !rules.iter().any(|(namespace, _)| namespace.as_str() == DEFAULT_NAMESPACE) {
        let default = Namespace::parse(DEFAULT_NAMESPACE).expect("the default namespace is a namespace");
        rules.push((default, Rule::default()));
    }
    Ok(rules)
}

refusals!(ListRulesRefusals: SESSION, &[ErrorCode::NotFound, ErrorCode::InvalidBody], ANY);

/// List an app's rules
///
/// By namespace. `_default` is always among them: it is the rule of every namespace that has none of its own.
#[utoipa::path(
    tag = "rules",
    params(
        ("app" = String, Path, description = "The app's id.", example = "app_01k2v3"),
        ("limit" = Option<u32>, Query, description = "How many items at most, 1 to 100; 100 where it is absent."),
        ("next" = Option<String>, Query, description = "The `next` of the page before.")
    ),
    responses(
        (status = 200, description = "The rules.", body = List<NamedRule>, example = json!({
            "items": [{"namespace": "_default", "public": false, "client_publish": true, "presence": true, "history": {"retention_s": 86_400}}],
            "next": null
        })),
        ListRulesRefusals
    ),
    security(("sessionCookie" = []), ("sessionBearer" = []))
)]
#[get("/v1/apps/{app}/rules")]
pub(crate) async fn list_rules(
    input: Then<Allowed<View>, Query>,
    services: Data<Services>,
) -> Result<Answer<List<NamedRule>>, ApiError> {
    let Then(scope, query) = input;
    let page = wanted(&query)?;
    let mut rules = rules_of(&services, &scope.target).await?;
    rules.sort_by(|(left, _), (right, _)| left.cmp(right));
    let view = |(namespace, rule): (Namespace, Rule)| NamedRule { namespace, rule: rule.into() };
    Ok(Answer::ok(List::part(rules, &page, |(namespace, _)| namespace.as_str(), view)))
}

refusals!(ShowRuleRefusals: SESSION, &[ErrorCode::NotFound, ErrorCode::InvalidBody], ANY);

/// Show a rule
///
/// A namespace without a rule of its own is not found; it follows `_default`, which is always there.
#[utoipa::path(
    tag = "rules",
    params(
        ("app" = String, Path, description = "The app's id.", example = "app_01k2v3"),
        ("namespace" = String, Path, description = "What stands before the first `:` of a channel, or `_default`.", example = "chat")
    ),
    responses(
        (status = 200, description = "The rule.", body = RuleBody, example = json!(
            {"public": false, "client_publish": true, "presence": true, "history": {"retention_s": 86_400}}
        )),
        ShowRuleRefusals
    ),
    security(("sessionCookie" = []), ("sessionBearer" = []))
)]
#[get("/v1/apps/{app}/rules/{namespace}")]
pub(crate) async fn show_rule(
    request: HttpRequest,
    scope: Allowed<View>,
    services: Data<Services>,
) -> Result<Answer<RuleBody>, ApiError> {
    let namespace = namespace(&request).await?;
    let rules = rules_of(&services, &scope.target).await?;
    let found = rules.into_iter().find(|(name, _)| *name == namespace);
    found.map(|(_, rule)| Answer::ok(rule.into())).ok_or_else(|| ApiError::plain(ErrorCode::NotFound))
}

refusals!(PutRuleRefusals: SESSION, CHANGE, BODY, &[ErrorCode::NotFound, ErrorCode::Forbidden, ErrorCode::PlanLimit], ANY);

/// Set a rule
///
/// Replaces what was there; absent fields take the built-in defaults. It holds at once, for live connections too.
#[utoipa::path(
    tag = "rules",
    params(
        ("app" = String, Path, description = "The app's id.", example = "app_01k2v3"),
        ("namespace" = String, Path, description = "What stands before the first `:` of a channel, or `_default`.", example = "chat")
    ),
    request_body(content = RuleBody, example = json!({"public": false, "client_publish": true, "presence": true, "history": {"retention_s": 86_400}})),
    responses(
        (status = 200, description = "The rule as it is now.", body = RuleBody, example = json!(
            {"public": false, "client_publish": true, "presence": true, "history": {"retention_s": 86_400}}
        )),
        PutRuleRefusals
    ),
    security(("sessionCookie" = []), ("sessionBearer" = []))
)]
#[put("/v1/apps/{app}/rules/{namespace}")]
pub(crate) async fn put_rule(
    request: HttpRequest,
    input: Then<Allowed<ManageRules>, Valid<RuleBody>>,
    services: Data<Services>,
) -> Result<Answer<RuleBody>, ApiError> {
    let Then(scope, Valid(body)) = input;
    let namespace = namespace(&request).await?;
    let limits = services.limits_of(&scope.target.tenant).await?;
    let rule = body.checked(&limits)?;
    let rule = to_its_end(async move {
        services.ports.rules.put(&scope.target.id, &namespace, &rule, limits.rules).await?;
        info!(app.id = %scope.target.id, user.id = %scope.caller.user.id, "Set the rule of `{namespace}`");
        app_changed(&services, &scope.target.id).await?;
        Ok(rule)
    });
    Ok(Answer::ok(rule.await?.into()))
}

refusals!(RemoveRuleRefusals: SESSION, CHANGE, &[ErrorCode::NotFound, ErrorCode::Forbidden, ErrorCode::InvalidBody], ANY);

/// Remove a rule
///
/// The namespace follows `_default` from now on; and `_default` itself, the built-in rule.
#[utoipa::path(
    tag = "rules",
    params(
        ("app" = String, Path, description = "The app's id.", example = "app_01k2v3"),
        ("namespace" = String, Path, description = "What stands before the first `:` of a channel, or `_default`.", example = "chat")
    ),
    responses((status = 204, description = "The rule is gone."), RemoveRuleRefusals),
    security(("sessionCookie" = []), ("sessionBearer" = []))
)]
#[delete("/v1/apps/{app}/rules/{namespace}")]
pub(crate) async fn remove_rule(
    request: HttpRequest,
    scope: Allowed<ManageRules>,
    services: Data<Services>,
) -> Result<Done, ApiError> {
    let namespace = namespace(&request).await?;
    let removal = to_its_end(async move {
        if !services.ports.rules.remove(&scope.target.id, &namespace).await? {
            return Err(Refusal::plain(ErrorCode::NotFound));
        }
        info!(app.id = %scope.target.id, user.id = %scope.caller.user.id, "Removed the rule of `{namespace}`");
        app_changed(&services, &scope.target.id).await
    });
    removal.await?;
    Ok(Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(text: &str) -> Result<Rule, String> {
        let body: RuleBody = serde_json::from_str(text).unwrap();
        body.checked(&Limits::default()).map_err(|refused| refused.fields[0].pointer.clone())
    }

    #[test]
    fn absent_fields_take_the_built_in_defaults_and_null_keeps_no_history() {
        assert_eq!(checked("{}"), Ok(Rule::default()));
        assert_eq!(checked(r#"{"history":null}"#).unwrap().history, None);
    }

    #[test]
    fn a_rule_stays_within_the_plan() {
        assert_eq!(checked(r#"{"history":{"retention_s":0}}"#), Err("/history/retention_s".into()));
        assert_eq!(checked(r#"{"history":{"retention_s":604801}}"#), Err("/history/retention_s".into()));
        assert_eq!(checked(r#"{"history":{"retention_s":1,"max_messages":0}}"#), Err("/history/max_messages".into()));
        assert_eq!(checked(r#"{"max_message_bytes":65537}"#), Err("/max_message_bytes".into()));
        assert!(checked(r#"{"history":{"retention_s":604800,"max_messages":1},"max_message_bytes":65536}"#).is_ok());
    }
}
