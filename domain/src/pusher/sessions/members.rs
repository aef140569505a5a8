//! Members: who joins a presence channel, as the app's backend says.

use fanfare_protocol::{ClientName, json};
use serde::Deserialize;
use serde_json::{Number, value::RawValue};

/// The most members of a channel, as Pusher has it.
pub const MAX_MEMBERS: u32 = 100;
/// The most bytes of what is said of a member.
pub(super) const MAX_INFO_BYTES: usize = 1_024;

/// Who joins.
#[derive(Debug, Clone)]
pub struct Member {
    /// The user, who is a client for everybody else.
    pub client: ClientName,
    /// What others see of it, on one line.
    pub info: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct ChannelData {
    user_id: Id,
    #[serde(default)]
    user_info: Option<Box<RawValue>>,
}

/// An id may be a number, which is the same as its text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Id {
    Text(String),
    Number(Number),
}

impl Member {
    /// Reads `channel_data`.
    ///
    /// # Errors
    /// Why it is refused, for whoever wrote the backend.
    pub(super) fn read(channel_data: &str) -> Result<Self, String> {
        let shape = |_| "`channel_data` is JSON: {user_id: a string or number, user_info?: anything}".to_owned();
        let ChannelData { user_id, user_info } = serde_json::from_str(channel_data).map_err(shape)?;
        let user = match user_id {
            Id::Text(text) => text,
            Id::Number(number) => number.to_string(),
        };
        let client = ClientName::parse(&user).map_err(|bad| format!("`user_id` of `channel_data`: {bad}"))?;
        Self::new(client, user_info.as_deref())
    }

    /// A member of which this is said.
    pub(super) fn new(client: ClientName, info: Option<&RawValue>) -> Result<Self, String> {
        let info = info.map(json::compact);
        let size = info.as_ref().map_or(0, |info| info.get().len());
        if size > MAX_INFO_BYTES {
            return Err(format!("`user_info` has {size} bytes; {MAX_INFO_BYTES} are allowed"));
        }
        Ok(Self { client, info })
    }
}
