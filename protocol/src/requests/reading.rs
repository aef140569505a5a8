//! Reading a request: every field in one pass, each checked by itself, so that a wrong one refuses only its request.

use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::value::RawValue;

use super::{Connect, History, Incoming, Presence, PresenceAsk, Publish, Range, Request, Start, Subscribe, Unreadable};
use crate::{
    errors::ErrorCode,
    names::{ChannelName, EventName},
    positions::{Position, Serial},
};

/// Every field of every request, still as text; `data` is never read further.
#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    op: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    token: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    key: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    app: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    client: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    channel: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    since: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    rewind: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    presence: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    occupancy: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    data: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    name: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    headers: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    idempotency_key: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    ephemeral: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    echo: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    ack: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    after: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    before: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    limit: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    action: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    next: Option<&'a RawValue>,
}

/// Keeps `null` apart from absent, since `"data": null` is a message.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// A refusal of one request, before its id is added.
struct Refused(ErrorCode, String);

type Field<T> = Result<T, Refused>;

impl Incoming {
    /// Reads one text frame.
    pub fn parse(text: &str) -> Result<Incoming, Unreadable> {
        // An array would be taken for the fields in their order.
        if !text.trim_start_matches([' ', '\t', '\r', '\n']).starts_with('{') {
            return Err(Unreadable::Malformed("not one JSON object".into()));
        }
        let fields: Fields<'_> = serde_json::from_str(text)
            .map_err(|error| Unreadable::Malformed(format!("not one JSON object: {error}")))?;
        let op: Option<String> = fields.op.and_then(|raw| serde_json::from_str(raw.get()).ok());
        if op.as_deref() == Some("pong") {
            return Ok(Incoming::Pong);
        }
        let id = fields
            .id
            .and_then(|raw| serde_json::from_str::<u32>(raw.get()).ok())
            .filter(|id| (1..=i32::MAX as u32).contains(id))
            .ok_or_else(|| {
                Unreadable::Malformed("a request needs an `id`, a whole number from 1 to 2147483647".into())
            })?;
        let request = match op.as_deref() {
            None => Err(Refused(ErrorCode::BadRequest, "a request needs an `op`, a string".into())),
            Some("connect") => fields.connect(),
            Some("subscribe") => fields.subscribe(),
            Some("unsubscribe") => fields.channel().map(|channel| Request::Unsubscribe { channel }),
            Some("publish") => fields.publish(),
            Some("history") => fields.history(),
            Some("presence") => fields.presence(),
            Some("token") => required(fields.token, "token").map(|token| Request::Token { token }),
            Some(other) => Err(Refused(ErrorCode::BadRequest, format!("there is no op `{}`", brief(other)))),
        };
        request.map(|request| Incoming::Request { id, request }).map_err(|Refused(code, message)| Unreadable::Refused {
            id,
            code,
            message,
        })
    }
}

impl Fields<'_> {
    fn connect(&self) -> Field<Request> {
        Ok(Request::Connect(Connect {
            token: optional(self.token, "token")?,
            key: optional(self.key, "key")?,
            app: optional(self.app, "app")?,
            client: optional(self.client, "client")?,
        }))
    }

    fn channel(&self) -> Field<ChannelName> {
        let text: String = required(self.channel, "channel")?;
        ChannelName::parse(&text).map_err(|bad| Refused(ErrorCode::BadChannel, bad.to_string()))
    }

    fn subscribe(&self) -> Field<Request> {
        Ok(Request::Subscribe(Subscribe {
            channel: self.channel()?,
            start: self.start()?,
            presence: optional(self.presence, "presence")?.unwrap_or(false),
            occupancy: optional(self.occupancy, "occupancy")?.unwrap_or(false),
        }))
    }

    fn start(&self) -> Field<Start> {
        #[derive(Deserialize)]
        struct Rewind {
            messages: Option<u64>,
            seconds: Option<u64>,
        }
        let since: Option<Position> = optional(object(self.since, "since")?, "since")?;
        let rewind: Option<Rewind> = optional(object(self.rewind, "rewind")?, "rewind")?;
        match (since, rewind) {
            (None, None) => Ok(Start::Live),
            (Some(position), None) if position.serial < Serial::MAX => Ok(Start::Since(position)),
            (Some(_), None) => Err(bad("`since.serial` is larger than any serial")),
            (None, Some(Rewind { messages: Some(messages), seconds: None })) => Ok(Start::RewindMessages(messages)),
            (None, Some(Rewind { messages: None, seconds: Some(seconds) })) => Ok(Start::RewindSeconds(seconds)),
            (None, Some(_)) => Err(bad("`rewind` takes either `messages` or `seconds`")),
            (Some(_), Some(_)) => Err(bad("`since` and `rewind` exclude each other")),
        }
    }

    fn publish(&self) -> Field<Request> {
        let name: Option<String> = optional(self.name, "name")?;
        Ok(Request::Publish(Publish {
            channel: self.channel()?,
            data: self.data.ok_or_else(|| bad("`data` is missing"))?.to_owned(),
            name: name.map(|name| EventName::parse(&name).map_err(|problem| bad(problem.to_string()))).transpose()?,
            headers: optional(self.headers, "headers")?,
            idempotency_key: optional(self.idempotency_key, "idempotency_key")?,
            ephemeral: optional(self.ephemeral, "ephemeral")?.unwrap_or(false),
            echo: optional(self.echo, "echo")?.unwrap_or(true),
            ack: optional(self.ack, "ack")?.unwrap_or_default(),
        }))
    }

    fn history(&self) -> Field<Request> {
        let after: Option<Serial> = optional(self.after, "after")?;
        let before: Option<Serial> = optional(self.before, "before")?;
        let range = match (after, before) {
            (Some(_), Some(_)) => return Err(bad("`after` and `before` exclude each other")),
            (Some(serial), None) => Range::After(serial),
            (None, Some(serial)) => Range::Before(serial),
            (None, None) => Range::Newest,
        };
        let limit: Option<u32> = optional(self.limit, "limit")?;
        if limit.is_some_and(|limit| !(1..=1000).contains(&limit)) {
            return Err(bad("`limit` is 1 to 1000"));
        }
        Ok(Request::History(History { channel: self.channel()?, range, limit }))
    }

    fn presence(&self) -> Field<Request> {
        let action: String = required(self.action, "action")?;
        let data = self.data.filter(|data| data.get() != "null").map(ToOwned::to_owned);
        let ask = match action.as_str() {
            "enter" => PresenceAsk::Enter { data },
            "update" => PresenceAsk::Update { data },
            "leave" => PresenceAsk::Leave { data },
            "list" => PresenceAsk::List { next: optional(self.next, "next")? },
            other => return Err(bad(format!("there is no action `{}`", brief(other)))),
        };
        Ok(Request::Presence(Presence { channel: self.channel()?, ask }))
    }
}

fn bad(message: impl Into<String>) -> Refused {
    Refused(ErrorCode::BadRequest, message.into())
}

fn brief(text: &str) -> String {
    text.chars().take(40).collect()
}

/// A field that must be an object, if it is there.
fn object<'a>(raw: Option<&'a RawValue>, name: &str) -> Field<Option<&'a RawValue>> {
    match raw {
        Some(raw) if !raw.get().starts_with('{') && raw.get() != "null" => {
            Err(bad(format!("`{name}` is not an object")))
        }
        other => Ok(other),
    }
}

fn optional<T: DeserializeOwned>(raw: Option<&RawValue>, name: &str) -> Field<Option<T>> {
    match raw {
        None => Ok(None),
        Some(raw) => serde_json::from_str(raw.get()).map_err(|error| bad(format!("`{name}` is wrong: {error}"))),
    }
}

fn required<T: DeserializeOwned>(raw: Option<&RawValue>, name: &str) -> Field<T> {
    optional(raw, name)?.ok_or_else(|| bad(format!("`{name}` is missing")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> (u32, ErrorCode) {
        match Incoming::parse(text) {
            Err(Unreadable::Refused { id, code, .. }) => (id, code),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn null_data_is_a_message_and_absent_data_is_not() {
        let Ok(Incoming::Request { id: 7, request: Request::Publish(publish) }) =
            Incoming::parse(r#"{"id":7,"op":"publish","channel":"a","data":null,"later":[{}]}"#)
        else {
            panic!()
        };
        assert_eq!(publish.data.get(), "null");
        assert!(publish.echo);
        assert_eq!(refused(r#"{"id":7,"op":"publish","channel":"a"}"#), (7, ErrorCode::BadRequest));
    }

    #[test]
    fn what_has_no_usable_id_is_malformed() {
        for text in [
            "",
            "[]",
            r#"[5,"history"]"#,
            "{",
            "nul",
            r#"{"op":"subscribe"}"#,
            r#"{"id":0,"op":"x"}"#,
            r#"{"id":2147483648,"op":"x"}"#,
            r#"{"id":1.5}"#,
            r#"{"id":1,"id":2}"#,
        ] {
            assert!(matches!(Incoming::parse(text), Err(Unreadable::Malformed(_))), "{text}");
        }
    }

    #[test]
    fn a_wrong_field_refuses_only_its_request() {
        assert_eq!(refused(r##"{"id":1,"op":"subscribe","channel":"#x"}"##), (1, ErrorCode::BadChannel));
        assert_eq!(refused(r#"{"id":1,"op":"dance"}"#), (1, ErrorCode::BadRequest));
        assert_eq!(refused(r#"{"id":1}"#), (1, ErrorCode::BadRequest));
        assert_eq!(
            refused(r#"{"id":1,"op":"subscribe","channel":"a","since":{"serial":1}}"#),
            (1, ErrorCode::BadRequest)
        );
        assert_eq!(refused(r#"{"id":1,"op":"history","channel":"a","limit":1001}"#), (1, ErrorCode::BadRequest));
        assert_eq!(
            refused(r#"{"id":1,"op":"subscribe","channel":"a","rewind":{"messages":1,"seconds":2}}"#),
            (1, ErrorCode::BadRequest)
        );
    }

    #[test]
    fn a_position_is_an_object() {
        let text = r#"{"id":1,"op":"subscribe","channel":"a","since":["e",9]}"#;
        assert_eq!(refused(text), (1, ErrorCode::BadRequest));
    }

    #[test]
    fn pong_needs_no_id() {
        assert!(matches!(Incoming::parse(r#"{"op":"pong"}"#), Ok(Incoming::Pong)));
    }
}
