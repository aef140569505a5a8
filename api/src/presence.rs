//! Who is in a channel.

use actix_web::{
    HttpRequest, get,
    web::{Data, ServiceConfig},
};
use fanfare_domain::{
    Refusal,
    presence::{Member, PAGE_MEMBERS, Place, cursors},
};
use fanfare_protocol::{ClientName, ErrorCode};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::{
    answers::Answer,
    extract::{OnChannel, Query, Then},
    openapi::refusals::{ANY, DATA, refusals},
    problems::ApiError,
    services::Services,
};

pub(crate) fn routes(config: &mut ServiceConfig) {
    config.service(list_members);
}

/// A page of a channel's members.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MemberList {
    /// The members, by client.
    items: Vec<MemberView>,
    /// How many members the channel has.
    count: u64,
    /// Given as `?next=`, it continues the list; `null` at its end.
    next: Option<String>,
}

/// A member of a channel.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Member)]
pub(crate) struct MemberView {
    /// The client.
    #[schema(value_type = String)]
    client: ClientName,
    /// The connection that entered or updated last.
    connection: String,
    /// What the client said of itself then; `null` if it said nothing.
    #[schema(value_type = serde_json::Value)]
    data: Option<Box<RawValue>>,
    /// What its token says of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    info: Option<Box<RawValue>>,
    /// When it entered.
    since: u64,
}

impl From<Member> for MemberView {
    fn from(Member { entry, since }: Member) -> Self {
        let connection = entry.connection.as_str().to_owned();
        Self { client: entry.client, connection, data: entry.data, info: entry.info, since: since.0 }
    }
}

refusals!(ListMembersRefusals: DATA, &[ErrorCode::NotFound, ErrorCode::BadChannel, ErrorCode::InvalidBody], ANY);

/// List a channel's members
///
/// A member is a client that has entered the channel's presence by at least one connection. Needs the right `presence`, and a rule that has
/// presence on.
#[utoipa::path(
    tag = "presence",
    params(
        ("channel" = String, Path, description = "The channel, percent-encoded.", example = "chat:1"),
        ("next" = Option<String>, Query, description = "The `next` of the page before."),
        ("limit" = Option<u32>, Query, description = "The most items: 1 to 100, 100 where it is absent.")
    ),
    responses(
        (status = 200, description = "A page of members.", body = MemberList, example = json!({
            "items": [{"client": "ann", "connection": "con_01k2v3", "data": {"mood": "fine"}, "info": {"name": "Ann"}, "since": 1_764_000_000_000u64}],
            "count": 1,
            "next": null
        })),
        ListMembersRefusals
    ),
    security(("apiKeyBearer" = []), ("apiKeyBasic" = []), ("clientToken" = []))
)]
#[get("/v1/channels/{channel}/presence")]
pub(crate) async fn list_members(
    _request: HttpRequest,
    input: Then<OnChannel, Query>,
    services: Data<Services>,
) -> Result<Answer<MemberList>, ApiError> {
    let Then(OnChannel { caller, channel }, query) = input;
    let limit = query.limit(PAGE_MEMBERS, PAGE_MEMBERS)?;
    let not_a_cursor = || ApiError::field("/next", "is not the `next` of a list");
    let after = query.text("next")?.map(|next| cursors::read(next).ok_or_else(not_a_cursor)).transpose()?;
    if !caller.grant.profile.rule(&channel).presence {
        return Err(Refusal::new(ErrorCode::Forbidden, format!("the rule of `{channel}` has presence off")).into());
    }
    caller.grant.require_presence(&channel)?;
    let place = Place { app: caller.grant.profile.app.id.clone(), channel };
    let page = services.ports.presence.page(&place, after.as_ref(), limit).await.map_err(Refusal::from)?;
    // Reading may have taken its time.
    services.ports.enforcement.require_good(&caller.grant).await?;
    let items = page.items.into_iter().map(MemberView::from).collect();
    Ok(Answer::ok(MemberList { items, count: page.count, next: page.next.as_ref().map(cursors::write) }))
}
