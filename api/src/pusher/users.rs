//! Users: who is in a presence channel, and cutting one off.

use actix_web::{FromRequest, HttpRequest, get, post, web, web::Data};
use fanfare_domain::{
    Refusal,
    capabilities::Right,
    presence::{PAGE_MEMBERS, Place},
    revocations::Subject,
};
use fanfare_protocol::{
    ClientName, ErrorCode,
    pusher::{Access, PusherChannel},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    PusherError,
    events::read,
    refusals::{CALLERS, pusher_refusals},
    requests::{Signed, channel_of},
};
use crate::{answers::Answer, limits::take_read, openapi::refusals::ANY, revocations::cut_off, services::Services};

/// The users of a presence channel.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Users {
    /// Each once, whatever number of connections they have.
    users: Vec<User>,
}

/// A user.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct User {
    /// Their id.
    #[schema(value_type = String)]
    id: ClientName,
}

pusher_refusals!(UsersRefusals: CALLERS, &[ErrorCode::InvalidBody, ErrorCode::BadChannel], ANY);

/// List the users of a presence channel
///
/// Its members, native ones too. Takes from the same rate as reads of history. Needs the right `presence`.
#[utoipa::path(
    tag = "pusher",
    params(
        ("app_id" = String, Path, description = "The app's `pusher_app_id`.", example = "4711047110"),
        ("channel" = String, Path, description = "The channel.", example = "presence-room")
    ),
    responses(
        (status = 200, description = "The users.", body = Users, example = json!({"users": [{"id": "ann"}, {"id": "bob"}]})),
        UsersRefusals
    ),
    security(("pusherSignature" = []))
)]
#[get("/apps/{app_id}/channels/{channel}/users")]
pub(crate) async fn list_users(
    request: HttpRequest,
    signed: Signed,
    services: Data<Services>,
) -> Result<Answer<Users>, PusherError> {
    let grant = &signed.grant;
    let channel = channel_of(&request).await?;
    if channel.access != Access::Presence {
        return Err(PusherError::bad(format!("users are of presence channels, and `{}` is none", channel.name)));
    }
    grant.require(Right::Presence, &channel.name)?;
    take_read(&request, &services, &grant.profile, "reads of history and channels")?;
    let place = Place { app: grant.profile.app.id.clone(), channel: channel.name };
    let (mut users, mut after) = (Vec::new(), None);
    loop {
        let page = services.ports.presence.page(&place, after.as_ref(), PAGE_MEMBERS).await.map_err(Refusal::from)?;
        users.extend(page.items.into_iter().map(|member| User { id: member.entry.client }));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    // Reading may have taken its time.
    services.ports.enforcement.require_good(grant).await?;
    Ok(Answer::ok(Users { users }))
}

/// An empty object.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
pub(crate) struct Nothing {}

pusher_refusals!(TerminateRefusals: CALLERS, &[
    ErrorCode::Malformed, ErrorCode::InvalidBody, ErrorCode::PlanLimit, ErrorCode::BodyTooLarge, ErrorCode::RequestTimeout,
], ANY);

/// Terminate a user's connections
///
/// Those that are signed in as that user, and native connections of the client of that name, on every node, within a second. They may come back. Needs the
/// right `admin` on `*`.
#[utoipa::path(
    tag = "pusher",
    params(
        ("app_id" = String, Path, description = "The app's `pusher_app_id`.", example = "4711047110"),
        ("id" = String, Path, description = "The user's id, percent-encoded.", example = "ann")
    ),
    request_body(content = Nothing, example = json!({})),
    responses((status = 200, description = "They are closed.", body = Nothing, example = json!({})), TerminateRefusals),
    security(("pusherSignature" = []))
)]
#[post("/apps/{app_id}/users/{id}/terminate_connections")]
pub(crate) async fn terminate_connections(
    request: HttpRequest,
    signed: Signed,
    services: Data<Services>,
) -> Result<Answer<Nothing>, PusherError> {
    let path = web::Path::<(String, String)>::extract(&request).await;
    let user = path.map(|path| path.into_inner().1).map_err(|_| PusherError::bad("the user's id cannot be read"))?;
    terminate(&request, &signed, services, &user).await
}

/// Where Pusher's Python library looks for it: there the key alone says which app is meant.
#[post("/users/{id}/terminate_connections")]
pub(crate) async fn terminate_without_app(
    request: HttpRequest,
    signed: Signed,
    services: Data<Services>,
) -> Result<Answer<Nothing>, PusherError> {
    let path = web::Path::<String>::extract(&request).await;
    let user = path.map(web::Path::into_inner).map_err(|_| PusherError::bad("the user's id cannot be read"))?;
    terminate(&request, &signed, services, &user).await
}

async fn terminate(
    request: &HttpRequest,
    signed: &Signed,
    services: Data<Services>,
    user: &str,
) -> Result<Answer<Nothing>, PusherError> {
    read::<Nothing>(&signed.body)?;
    signed.grant.require_admin()?;
    PusherChannel::of_user(user).map_err(|_| PusherError::bad("this is no user's id"))?;
    let client = ClientName::parse(user).map_err(|bad| PusherError::bad(bad.to_string()))?;
    let subject = Subject::Connections(signed.grant.profile.app.id.clone(), client);
    cut_off(request, subject, &signed.grant, services).await?;
    Ok(Answer::ok(Nothing {}))
}
