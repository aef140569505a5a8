//! What publishers send.

use md5::{Digest, Md5};
use serde_json::json;

use super::{
    frames,
    tokens::{Key, now_s},
};

/// A way to publish.
#[derive(Debug, Clone)]
pub enum Publishing {
    /// Fanfare's own API.
    Native {
        /// An API key.
        key: Key,
        /// Whether messages are kept.
        durable: bool,
    },
    /// Pusher's HTTP API, signed.
    Pusher {
        /// The app's number.
        app: String,
        /// Its key and secret.
        key: Key,
    },
    /// The payload as it is, to a path below `/pub/`.
    Plain,
    /// A block for `fanfare-limit`.
    Limit,
}

impl Publishing {
    /// Whether each publish is answered over HTTP.
    pub fn is_answered(&self) -> bool {
        !matches!(self, Self::Limit)
    }

    /// Appends what publishes a payload.
    pub fn push(&self, out: &mut Vec<u8>, authority: &str, channel: &str, payload: &str) {
        match self {
            Self::Native { key, durable } => {
                let body =
                    if *durable { json!({"data": payload}) } else { json!({"data": payload, "ephemeral": true}) };
                let authorization = format!("Authorization: Bearer {}\r\n", key.credential());
                post(out, authority, &format!("/v1/channels/{channel}/messages"), &authorization, &body.to_string());
            }
            Self::Pusher { app, key } => {
                let body = json!({"name": "bench", "channel": channel, "data": payload}).to_string();
                post(out, authority, &signed(app, key, &body), "", &body);
            }
            Self::Plain => post(out, authority, &format!("/pub/{channel}"), "", payload),
            Self::Limit => {
                let frame = frames::server_text(native_message(channel, payload).as_bytes());
                out.extend_from_slice(&(frame.len() as u32).to_le_bytes());
                out.extend_from_slice(&frame);
            }
        }
    }
}

fn post(out: &mut Vec<u8>, authority: &str, path: &str, more: &str, body: &str) {
    let (kind, length) = (if body.starts_with('{') { "application/json" } else { "text/plain" }, body.len());
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {authority}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n{more}\r\n"
    );
    out.extend_from_slice(head.as_bytes());
    out.extend_from_slice(body.as_bytes());
}

/// The path with its signature, as Pusher's libraries make it.
fn signed(app: &str, key: &Key, body: &str) -> String {
    let (path, md5) = (format!("/apps/{app}/events"), hex::encode(Md5::digest(body.as_bytes())));
    let (id, now) = (&key.id, now_s());
    let query = format!("auth_key={id}&auth_timestamp={now}&auth_version=1.0&body_md5={md5}");
    let signature = hex::encode(key.sign(&format!("POST\n{path}\n{query}")));
    format!("{path}?{query}&auth_signature={signature}")
}

/// The text that Fanfare would send for an ephemeral message, so that the limit sends as many bytes.
fn native_message(channel: &str, payload: &str) -> String {
    let (id, time) = ("msg_01kb5w3mz4c9v0e8x7r2t6y1qa", now_s() * 1_000);
    format!(r#"{{"op":"message","channel":"{channel}","id":"{id}","time":{time},"data":"{payload}"}}"#)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_that_of_pushers_documentation() {
        let key = Key { id: "278d425bdf160c739803".to_owned(), secret: "7ad3773142a6692b25b8".to_owned() };
        let text = "POST\n/apps/3/events\nauth_key=278d425bdf160c739803&auth_timestamp=1353088179&auth_version=1.0&\
                    body_md5=ec365a775a4cd0599faeb73354201b6f";
        let expected = "da454824c97ba181a32ccc17a72625ba02771f50b50e1e7430e47a1f3f457e6c";
        assert_eq!(hex::encode(key.sign(text)), expected);
    }

    #[test]
    fn a_block_for_the_limit_is_a_frame_and_its_length() {
        let mut out = Vec::new();
        Publishing::Limit.push(&mut out, "", "bench-0", "@payload@");
        let (length, frame) = out.split_first_chunk::<4>().expect("a length");
        assert_eq!(u32::from_le_bytes(*length) as usize, frame.len());
        let (read, used) = frames::next(frame).expect("a frame").expect("a whole one");
        assert_eq!(used, frame.len());
        assert!(read.payload.ends_with(br#""data":"@payload@"}"#));
    }
}
