//! What a request for a stream asks: channels, credentials, and where to go on.

use std::time::Duration;

use actix_web::{
    HttpRequest,
    http::header::{self, HeaderName},
    web,
};
use fanfare_domain::Refusal;
use fanfare_protocol::{ChannelName, Epoch, ErrorCode, Position, Serial};
use serde_json::{Value, json};

/// The most channels of one stream.
const MAX_CHANNELS: usize = 100;
/// How long a poll waits where it does not say, and how long at most: less than what proxies and our own server allow an idle connection.
const USUAL_WAIT_MS: u64 = 25_000;
const MAX_WAIT_MS: u64 = 60_000;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const FANFARE_APP: HeaderName = HeaderName::from_static("fanfare-app");

/// Where a channel begins that says so beside its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Begin {
    Since(Position),
    RewindMessages(u64),
    RewindSeconds(u64),
}

impl Begin {
    /// The field of `subscribe` that says the same.
    pub(crate) fn field(&self) -> (&'static str, Value) {
        match self {
            Self::Since(position) => ("since", json!(position)),
            Self::RewindMessages(messages) => ("rewind", json!({ "messages": messages })),
            Self::RewindSeconds(seconds) => ("rewind", json!({ "seconds": seconds })),
        }
    }
}

/// A request for a stream, read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    /// The channels, each once, in the order of their names.
    pub(crate) channels: Vec<ChannelName>,
    /// Where each of them begins, in the same order, as far as the request says.
    pub(crate) begins: Vec<Option<Begin>>,
    pub(crate) token: Option<String>,
    pub(crate) key: Option<String>,
    pub(crate) app: Option<String>,
    pub(crate) cursor: Option<String>,
    pub(crate) presence: bool,
    pub(crate) occupancy: bool,
    /// How long a poll waits.
    pub(crate) wait: Duration,
    /// The web page that asks.
    pub(crate) origin: Option<String>,
}

impl Asked {
    /// Whom the request is from and which app it is about, which is known even where the rest is wrong.
    pub(crate) fn by_whom(request: &HttpRequest) -> Self {
        let header = |name: &HeaderName| request.headers().get(name)?.to_str().ok().map(str::to_owned);
        let mut asked = Self { app: header(&FANFARE_APP), origin: origin(request), ..Self::default() };
        for (name, value) in pairs(request).unwrap_or_default() {
            match name.as_str() {
                "token" => asked.token = Some(value),
                "key" => asked.key = Some(value),
                "app" => asked.app = Some(value),
                _ => {}
            }
        }
        if let Some(token) = bearer(request) {
            asked.token = Some(token);
        }
        asked
    }

    /// The whole request. Unknown parameters are passed over, wrong values of known ones are refused.
    pub(crate) fn read(request: &HttpRequest) -> Result<Self, Refusal> {
        let mut asked = Self { wait: Duration::from_millis(USUAL_WAIT_MS), ..Self::by_whom(request) };
        let mut channels: Vec<(ChannelName, Option<Begin>)> = Vec::new();
        for (name, value) in pairs(request)? {
            match name.as_str() {
                "channel" => {
                    let named = ChannelName::parse(&value);
                    let bad = |bad| Refusal::new(ErrorCode::BadChannel, format!("{bad}")).at("/channel");
                    channels.push((named.map_err(bad)?, None));
                }
                "since" => begin(&mut channels, "/since", since(&value)?)?,
                "rewind" => begin(&mut channels, "/rewind", rewind(&value)?)?,
                "cursor" => asked.cursor = Some(value).filter(|cursor| !cursor.is_empty()),
                "presence" => asked.presence = flag("/presence", &value)?,
                "occupancy" => asked.occupancy = flag("/occupancy", &value)?,
                "wait_ms" => asked.wait = wait(&value)?,
                _ => {}
            }
        }
        // A browser's own reconnect repeats the address, and with it a cursor that is older.
        let last = request.headers().get(LAST_EVENT_ID).and_then(|last| last.to_str().ok());
        if let Some(last) = last.filter(|last| !last.is_empty()) {
            asked.cursor = Some(last.to_owned());
        }
        // Of a channel that is named twice the first counts.
        channels.sort_by(|one, other| one.0.cmp(&other.0));
        channels.dedup_by(|later, first| later.0 == first.0);
        (asked.channels, asked.begins) = channels.into_iter().unzip();
        if !(1..=MAX_CHANNELS).contains(&asked.channels.len()) {
            return Err(wrong(
                "/channel",
                format!("a stream has 1 to {MAX_CHANNELS} channels: `?channel=a&channel=b`"),
            ));
        }
        Ok(asked)
    }

    /// Whether it is known where every channel goes on; else the answer is to tell it first.
    pub(crate) fn goes_on(&self) -> bool {
        self.cursor.is_some() || self.begins.iter().all(Option::is_some)
    }

    /// The `connect` that a socket would send.
    pub(crate) fn connect(&self, id: u32) -> String {
        let mut connect = json!({"id": id, "op": "connect"});
        for (name, value) in [("token", &self.token), ("key", &self.key), ("app", &self.app)] {
            if let Some(value) = value {
                connect[name] = Value::from(value.as_str());
            }
        }
        connect.to_string()
    }

    /// What names the app, good or not.
    pub(crate) fn credential(&self) -> &str {
        self.token.as_deref().or(self.key.as_deref()).unwrap_or_default()
    }
}

fn pairs(request: &HttpRequest) -> Result<Vec<(String, String)>, Refusal> {
    let pairs = web::Query::<Vec<(String, String)>>::from_query(request.query_string());
    pairs.map(web::Query::into_inner).map_err(|_| wrong("", "the query string cannot be read"))
}

/// The origin of the web page that a request comes from; one that cannot be read is one that no app allows by name.
pub(crate) fn origin(request: &HttpRequest) -> Option<String> {
    request.headers().get(header::ORIGIN).map(|origin| origin.to_str().unwrap_or_default().to_owned())
}

/// A token in `Authorization`.
pub(crate) fn bearer(request: &HttpRequest) -> Option<String> {
    let value = request.headers().get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
}

/// Takes note of where the channel before begins.
fn begin(channels: &mut [(ChannelName, Option<Begin>)], pointer: &'static str, begin: Begin) -> Result<(), Refusal> {
    match channels.last_mut() {
        Some((_, place @ None)) => {
            *place = Some(begin);
            Ok(())
        }
        _ => Err(wrong(pointer, "each `since` or `rewind` stands after the `channel` that it is about, one for each")),
    }
}

/// A position as text: `EPOCH:SERIAL`.
fn since(value: &str) -> Result<Begin, Refusal> {
    let bad = || wrong("/since", "`since` is the position of the channel before it: `EPOCH:SERIAL`");
    let (epoch, serial) = value.rsplit_once(':').filter(|(epoch, _)| !epoch.is_empty()).ok_or_else(bad)?;
    let serial = digits(serial).filter(|serial| *serial < 1 << 53).ok_or_else(bad)?;
    Ok(Begin::Since(Position { epoch: Epoch::new(epoch), serial: Serial(serial) }))
}

/// How far back: `20` messages, or `30s`.
fn rewind(value: &str) -> Result<Begin, Refusal> {
    let bad = || wrong("/rewind", "`rewind` is a number of messages, `20`, or of seconds, `30s`");
    match value.strip_suffix('s') {
        Some(seconds) => digits(seconds).map(Begin::RewindSeconds).ok_or_else(bad),
        None => digits(value).map(Begin::RewindMessages).ok_or_else(bad),
    }
}

/// A whole number that is written with digits alone.
fn digits(value: &str) -> Option<u64> {
    value.bytes().all(|byte| byte.is_ascii_digit()).then(|| value.parse().ok())?
}

fn flag(pointer: &'static str, value: &str) -> Result<bool, Refusal> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(wrong(pointer, format!("`{}` is `true` or `false`", &pointer[1..]))),
    }
}

fn wait(value: &str) -> Result<Duration, Refusal> {
    let digits = value.bytes().all(|byte| byte.is_ascii_digit());
    match value.parse() {
        Ok(wait_ms @ 0..=MAX_WAIT_MS) if digits => Ok(Duration::from_millis(wait_ms)),
        _ => Err(wrong("/wait_ms", format!("`wait_ms` is a whole number, 0 to {MAX_WAIT_MS}"))),
    }
}

fn wrong(pointer: &'static str, why: impl Into<String>) -> Refusal {
    Refusal::new(ErrorCode::InvalidBody, why).at(pointer)
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn read(query: &str, headers: &[(&'static str, &'static str)]) -> Result<Asked, Refusal> {
        let request = TestRequest::with_uri(&format!("/v1/poll?{query}"));
        let request = headers.iter().fold(request, |request, header| request.insert_header(*header));
        Asked::read(&request.to_http_request())
    }

    fn pointer(query: &str) -> Option<&'static str> {
        read(query, &[]).unwrap_err().pointer
    }

    #[test]
    fn channels_are_known_in_one_order_each_once() {
        let asked = read("channel=b&channel=a%3A1&channel=b&unknown=x", &[]).unwrap();
        let names: Vec<_> = asked.channels.iter().map(ChannelName::as_str).collect();
        assert_eq!(names, ["a:1", "b"]);
        assert_eq!((asked.wait, asked.cursor), (Duration::from_secs(25), None));
        assert_eq!(pointer(""), Some("/channel"));
        let many: String = (0..=MAX_CHANNELS).map(|n| format!("channel=c{n}&")).collect();
        assert_eq!(pointer(&many), Some("/channel"));
        assert_eq!(read("channel=a%20b", &[]).unwrap_err().code, ErrorCode::BadChannel);
    }

    #[test]
    fn what_the_browser_read_last_counts_before_the_address() {
        let asked = read("channel=a&cursor=old", &[("last-event-id", "new")]).unwrap();
        assert_eq!(asked.cursor.as_deref(), Some("new"));
        let asked = read("channel=a&cursor=old", &[("last-event-id", "")]).unwrap();
        assert_eq!(asked.cursor.as_deref(), Some("old"));
        assert_eq!(read("channel=a&cursor=", &[]).unwrap().cursor, None);
    }

    #[test]
    fn a_token_comes_in_the_header_or_in_the_address() {
        assert_eq!(read("channel=a&token=t", &[]).unwrap().connect(1), r#"{"id":1,"op":"connect","token":"t"}"#);
        let asked = read("channel=a&token=t&app=app_1", &[("authorization", "bearer h")]).unwrap();
        assert_eq!(asked.connect(1), r#"{"app":"app_1","id":1,"op":"connect","token":"h"}"#);
        assert_eq!(read("channel=a&key=fk_1", &[]).unwrap().credential(), "fk_1");
    }

    #[test]
    fn a_channel_says_where_it_begins() {
        let asked = read("channel=b&since=e:7&channel=a&channel=c&rewind=20&channel=d&rewind=30s", &[]).unwrap();
        let since = Begin::Since(Position { epoch: Epoch::new("e"), serial: Serial(7) });
        assert_eq!(asked.begins, [None, Some(since), Some(Begin::RewindMessages(20)), Some(Begin::RewindSeconds(30))]);
        assert!(!asked.goes_on());
        assert!(read("channel=a&since=e:0", &[]).unwrap().goes_on());
        assert!(read("channel=a&cursor=c", &[]).unwrap().goes_on());
        for bad in ["", "7", ":7", "e:", "e:-1", "e:x", "e:9007199254740992"] {
            assert_eq!(pointer(&format!("channel=a&since={bad}")), Some("/since"), "{bad}");
        }
        for bad in ["", "s", "-1", "1m", "1.5s"] {
            assert_eq!(pointer(&format!("channel=a&rewind={bad}")), Some("/rewind"), "{bad}");
        }
        assert_eq!(pointer("since=e:7&channel=a"), Some("/since"));
        assert_eq!(pointer("channel=a&since=e:7&rewind=1"), Some("/rewind"));
    }

    #[test]
    fn numbers_and_flags_are_read_strictly() {
        assert_eq!(read("channel=a&wait_ms=0", &[]).unwrap().wait, Duration::ZERO);
        for bad in ["", "-1", "%2B1", "1.5", "60001", "99999999999999999999"] {
            assert_eq!(pointer(&format!("channel=a&wait_ms={bad}")), Some("/wait_ms"), "{bad}");
        }
        assert!(read("channel=a&presence=true", &[]).unwrap().presence);
        assert_eq!(pointer("channel=a&presence=1"), Some("/presence"));
        assert!(read("channel=a&occupancy=true", &[]).unwrap().occupancy);
        assert_eq!(pointer("channel=a&occupancy="), Some("/occupancy"));
    }
}
