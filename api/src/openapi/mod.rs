//! The OpenAPI document, made from the handlers.

use utoipa::{
    Modify, OpenApi,
    openapi::{
        HeaderBuilder, ObjectBuilder, RefOr,
        path::{Operation, PathItem},
        schema::Type,
        security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

use crate::{
    accounts, apps, authorize, batches, channels, deliveries, history, keys, messages, presence, problems, pusher,
    revocations, rules, signers, tenants, tokens, webhooks,
};

pub(crate) mod refusals;
pub(crate) mod streams;

/// The whole document.
pub fn openapi() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Fanfare",
        description = "Real-time messaging: publish over HTTP, subscribe over WebSocket.\n\n\
            The **control plane** (accounts, tenants, apps, keys, rules) is called with a session: the cookie that signing in sets, \
            or the same token as a bearer. The **data plane** (messages, history, channels, tokens) is called with an API key, as \
            `Bearer fk_….fs_…` or as Basic, or with a client token.\n\n\
            Times are milliseconds since the epoch of Unix. Every refusal is `application/problem+json` (RFC 9457) with a stable `code`, but for those of the Pusher HTTP API; \
            all codes are explained at [/errors](/errors). Every answer carries `X-Request-Id`; where a limit applies, \
            `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers) tell where the caller stands.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    servers((url = "/", description = "This server")),
    paths(
        accounts::sign_up, accounts::log_in, accounts::log_out, accounts::me, accounts::change_password,
        accounts::list_sessions, accounts::end_session,
        tenants::show_tenant, tenants::change_tenant,
        apps::list_apps, apps::make_app, apps::show_app, apps::change_app, apps::remove_app,
        keys::list_keys, keys::mint_key, keys::rotate_key, keys::revoke_key,
        signers::list_signers, signers::add_signer, signers::show_signer, signers::remove_signer,
        webhooks::list_webhooks, webhooks::add_webhook, webhooks::show_webhook, webhooks::change_webhook, webhooks::remove_webhook,
        rules::list_rules, rules::show_rule, rules::put_rule, rules::remove_rule,
        messages::publish, batches::publish_batch, history::read_history, presence::list_members, tokens::mint_token,
        channels::list_channels, channels::show_channel, deliveries::explain_delivery, authorize::authorize, streams::stream_events, streams::poll,
        revocations::revoke, revocations::disconnect,
        pusher::trigger, pusher::trigger_batch, pusher::list_channels, pusher::show_channel, pusher::list_users, pusher::terminate_connections,
    ),
    components(schemas(problems::Problem, problems::FieldProblem, pusher::PusherProblem)),
    tags(
        (name = "accounts", description = "Signing up and in, and the sessions of a person."),
        (name = "tenants", description = "What a tenant is called, and what its plan allows."),
        (name = "apps", description = "Apps: what keys, rules and channels belong to. Nothing crosses from one to another."),
        (name = "keys", description = "API keys, by which backends publish and vouch for clients."),
        (name = "signers", description = "Keys of your own that sign client tokens: a public key, or a JWKS."),
        (name = "webhooks", description = "Addresses of your own that are told what happens in channels."),
        (name = "rules", description = "What the channels of a namespace allow."),
        (name = "messages", description = "Publishing."),
        (name = "history", description = "Reading what was published."),
        (name = "streams", description = "Following channels over HTTP, where a WebSocket is not at hand; the WebSocket itself is at `/v1/connect`."),
        (name = "presence", description = "Who is in a channel."),
        (name = "channels", description = "Which channels are occupied, by how many, and where they stand."),
        (name = "tokens", description = "Tokens for clients, and their end."),
        (name = "pusher", description = "The Pusher HTTP API, for apps whose `pusher` is on. Server libraries of Pusher call it with the app's `pusher_app_id`, and with the id and the secret of an API key as key and secret. Refusals are plain JSON.")
    ),
    modifiers(&Security, &CommonHeaders)
)]
struct Document;

struct Security;

impl Modify for Security {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        let bearer = |format: &str, description: &str| {
            SecurityScheme::Http(
                HttpBuilder::new()
                    .scheme(HttpAuthScheme::Bearer)
                    .bearer_format(format)
                    .description(Some(description))
                    .build(),
            )
        };
        let cookie = ApiKeyValue::with_description(
            "__Host-session",
            "Set by signing up or in; named `session` over plain http on this machine. A change by cookie must come from the same origin.",
        );
        components.add_security_scheme("sessionCookie", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
        components.add_security_scheme(
            "sessionBearer",
            bearer("ses_…", "The session token that signing up or in answers with."),
        );
        components.add_security_scheme(
            "apiKeyBearer",
            bearer("fk_….fs_…", "The id and the secret of an API key, with a dot between them."),
        );
        let basic = HttpBuilder::new()
            .scheme(HttpAuthScheme::Basic)
            .description(Some("The id of an API key as user name, its secret as password."));
        components.add_security_scheme("apiKeyBasic", SecurityScheme::Http(basic.build()));
        let signature = ApiKeyValue::with_description(
            "auth_signature",
            "HMAC-SHA256, in hexadecimal digits, by the secret of an API key, of the method, the path and the query (decoded, sorted, without the signature), with line \
            feeds between them. The query has `auth_key` (the key's id), `auth_timestamp` (whole seconds, at most 600 from now), `auth_version` (1.0) and, with a \
            body, `body_md5`.",
        );
        components.add_security_scheme("pusherSignature", SecurityScheme::ApiKey(ApiKey::Query(signature)));
        components.add_security_scheme(
            "clientToken",
            bearer(
                "JWT",
                "A client token: signed with the secret of an API key (HS256), or by a signer of the app (RS256, ES256, EdDSA) and then with the app's id \
                in the header `Fanfare-App` or in `?app=`.",
            ),
        );
    }
}

/// Names the headers that every answer has.
struct CommonHeaders;

impl Modify for CommonHeaders {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        for operation in document.paths.paths.values_mut().flat_map(operations_mut) {
            for answer in operation.responses.responses.values_mut() {
                let RefOr::T(answer) = answer else { continue };
                answer.headers.insert(
                    "X-Request-Id".to_owned(),
                    RefOr::T(text_header("The id of the request, for support and logs.")),
                );
            }
        }
    }
}

/// A header that carries text.
pub(crate) fn text_header(description: &str) -> utoipa::openapi::Header {
    let text = ObjectBuilder::new().schema_type(Type::String).build();
    HeaderBuilder::new().schema(Some(text)).description(Some(description)).build()
}

fn operations_mut(path: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut path.get, &mut path.post, &mut path.put, &mut path.patch, &mut path.delete].into_iter().flatten()
}

/// The methods of a path.
pub(crate) fn methods(path: &PathItem) -> Vec<&'static str> {
    let all = [
        ("GET, HEAD", &path.get),
        ("POST", &path.post),
        ("PUT", &path.put),
        ("PATCH", &path.patch),
        ("DELETE", &path.delete),
    ];
    all.into_iter().filter(|(_, operation)| operation.is_some()).map(|(name, _)| name).collect()
}

#[cfg(test)]
mod tests;
