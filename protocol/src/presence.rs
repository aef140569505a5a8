//! Presence on the wire: who is in a channel, and what is told of their coming and going.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::names::{ChannelName, ClientName};

/// What a member did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PresenceAction {
    /// Its first connection entered.
    Enter,
    /// Its data changed.
    Update,
    /// Its last connection left.
    Leave,
}

impl PresenceAction {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Enter => "enter",
            Self::Update => "update",
            Self::Leave => "leave",
        }
    }
}

/// A member as lists show it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MemberItem {
    /// The client.
    pub client: ClientName,
    /// The connection that entered or updated last.
    pub connection: String,
    /// What the client said of itself then; `null` if it said nothing.
    pub data: Option<Box<RawValue>>,
    /// What its token says of it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub info: Option<Box<RawValue>>,
    /// When it entered, in milliseconds since the epoch of Unix.
    pub since: u64,
}

/// The answer to `presence` with `list`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MemberList {
    /// The members, by client.
    pub items: Vec<MemberItem>,
    /// How many members the channel has.
    pub count: u64,
    /// Given as `next`, it continues the list; `null` at its end.
    pub next: Option<String>,
}

/// `presence`, said unasked to those who watch a channel.
#[derive(Debug, Clone, Serialize)]
pub struct PresenceSaid<'a> {
    /// Always `presence`.
    pub op: &'static str,
    /// The channel.
    pub channel: &'a ChannelName,
    /// What the member did.
    pub action: PresenceAction,
    /// The client.
    pub client: &'a ClientName,
    /// The connection that entered or updated last.
    pub connection: &'a str,
    /// What the client said of itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<&'a RawValue>,
    /// What its token says of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub info: Option<&'a RawValue>,
    /// When, in milliseconds since the epoch of Unix.
    pub time: u64,
}

impl PresenceSaid<'_> {
    /// The text of the event.
    pub fn to_text(&self) -> String {
        serde_json::to_string(self).expect("wire types have string keys and finite numbers")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_its_shape() {
        let data = RawValue::from_string("{\"mood\":1.0}".to_owned()).unwrap();
        let said = PresenceSaid {
            op: "presence",
            channel: &ChannelName::parse("chat:1").unwrap(),
            action: PresenceAction::Enter,
            client: &ClientName::parse("ann").unwrap(),
            connection: "con_1",
            data: Some(&data),
            info: None,
            time: 7,
        };
        let text = r#"{"op":"presence","channel":"chat:1","action":"enter","client":"ann","connection":"con_1","data":{"mood":1.0},"time":7}"#;
        assert_eq!(said.to_text(), text);
    }

    #[test]
    fn a_member_without_data_shows_null_and_without_info_nothing() {
        let client = ClientName::parse("ann").unwrap();
        let item = MemberItem { client, connection: "con_1".to_owned(), data: None, info: None, since: 5 };
        assert_eq!(
            serde_json::to_string(&item).unwrap(),
            r#"{"client":"ann","connection":"con_1","data":null,"since":5}"#
        );
    }
}
