//! What is published: requests of one message or of many, ready as bytes.

use serde_json::{Value, json};

use crate::{clients::Tenant, requests::post};

/// What is published, and how.
pub struct Offer {
    /// Who publishes.
    pub tenant: Tenant,
    /// Messages of a request; 0 for requests of one message, each to the path of its channel.
    pub batch: usize,
    /// Channels of one request.
    pub spread: usize,
    /// All channels.
    pub channels: usize,
    /// Bytes of each message's text.
    pub bytes: usize,
}

/// A request, and how many of its messages go to which channel.
pub struct Request {
    /// The whole request.
    pub bytes: Vec<u8>,
    /// By the number of a channel, so many messages.
    pub messages: Vec<(usize, u64)>,
}

impl Offer {
    /// One request for each channel that a request can begin with.
    pub fn requests(&self) -> Vec<Request> {
        (0..self.channels).map(|first| self.request(first)).collect()
    }

    /// Messages of a request.
    pub fn messages(&self) -> usize {
        self.batch.max(1)
    }

    fn request(&self, first: usize) -> Request {
        let data = self.data();
        if self.batch == 0 {
            let bytes = post(&self.tenant, &self.path(first), "", &json!({"data": data}));
            return Request { bytes, messages: vec![(first, 1)] };
        }
        let channel = |at: usize| (first + at % self.spread) % self.channels;
        let items: Vec<_> = (0..self.batch).map(|at| json!({"channel": name(channel(at)), "data": data})).collect();
        let mut messages: Vec<_> = (0..self.spread).map(|at| (channel(at), 0)).collect();
        (0..self.batch).for_each(|at| messages[at % self.spread].1 += 1);
        Request { bytes: post(&self.tenant, "/v1/messages", "", &json!({"messages": items})), messages }
    }

    /// One more message to a channel, which is answered when it is in history; the same one however often it is sent.
    pub fn last(&self, channel: usize, round: usize) -> Vec<u8> {
        let path = format!("{}?ack=persisted", self.path(channel));
        post(&self.tenant, &path, &format!("Idempotency-Key: last-{round}\r\n"), &json!({"data": self.data()}))
    }

    fn data(&self) -> Value {
        Value::String("x".repeat(self.bytes.saturating_sub(2)))
    }

    fn path(&self, channel: usize) -> String {
        format!("/v1/channels/{}/messages", name(channel))
    }
}

fn name(channel: usize) -> String {
    format!("bench:{channel}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(batch: usize, spread: usize) -> Offer {
        Offer { tenant: Tenant::known("http://h:1", "fk_a.fs_b"), batch, spread, channels: 3, bytes: 10 }
    }

    #[test]
    fn a_batch_is_spread_over_its_channels() {
        let requests = offer(5, 2).requests();
        assert_eq!(requests.len(), 3);
        assert_eq!(requests[2].messages, [(2, 3), (0, 2)]);
        let text = String::from_utf8(requests[0].bytes.clone()).unwrap();
        assert!(text.starts_with("POST /v1/messages HTTP/1.1\r\n"));
        assert_eq!(text.matches(r#"{"channel":"bench:0","data":"xxxxxxxx"}"#).count(), 3);
    }

    #[test]
    fn a_single_message_goes_to_the_path_of_its_channel() {
        let requests = offer(0, 1).requests();
        let text = String::from_utf8(requests[1].bytes.clone()).unwrap();
        assert!(text.starts_with("POST /v1/channels/bench:1/messages HTTP/1.1\r\nHost: h:1\r\n"));
        assert!(text.ends_with("Content-Length: 19\r\n\r\n{\"data\":\"xxxxxxxx\"}"));
    }
}
