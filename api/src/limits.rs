//! This node's own limits, and how answers tell them: the `RateLimit` fields of draft-ietf-httpapi-ratelimit-headers.

use std::time::Duration;

use actix_web::{
    HttpMessage, HttpRequest,
    http::header::{HeaderMap, HeaderName, HeaderValue},
};
use fanfare_domain::{Refusal, directory::AppProfile, limits::Quota, plans};

use crate::services::Services;

mod gates;

pub(crate) use gates::{Gates, Try};

/// Where a caller stands under one limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    name: &'static str,
    limit: u32,
    remaining: u32,
    window: Duration,
}

impl Standing {
    /// An app's publishes, after `quota` was left of them.
    pub fn of_publishes(limits: &plans::Limits, quota: Option<Quota>) -> Self {
        let rate = limits.publishes_per_s.max(1);
        let limit = quota.map_or(rate.max(plans::BATCH_ITEMS as u32), |quota| quota.limit);
        let window = Duration::from_secs(u64::from(limit.div_ceil(rate)));
        Self { name: "publishes", limit, remaining: quota.map_or(0, |quota| quota.remaining), window }
    }

    /// An app's reads of history, after `quota` was left of them.
    pub fn of_history(limits: &plans::Limits, quota: Option<Quota>) -> Self {
        let limit = limits.history_reads_per_s.max(1);
        let remaining = quota.map_or(0, |quota| quota.remaining);
        Self { name: "history", limit, remaining, window: Duration::from_secs(1) }
    }

    /// Has the answer to this request tell it.
    pub fn note(self, request: &HttpRequest) {
        let mut extensions = request.extensions_mut();
        match extensions.get_mut::<Standings>() {
            Some(all) => all.0.push(self),
            None => {
                extensions.insert(Standings(vec![self]));
            }
        }
    }

    fn policy(&self) -> String {
        format!("\"{}\";q={};w={}", self.name, self.limit, self.window.as_secs())
    }

    /// `t` is when the whole limit is there again.
    fn state(&self) -> String {
        let used = self.window.mul_f64(f64::from(self.limit - self.remaining.min(self.limit)) / f64::from(self.limit));
        format!("\"{}\";r={};t={}", self.name, self.remaining, whole_seconds(used))
    }
}

/// Takes a read from the app's rate of reads, which all that is read of its channels shares, and has the answer tell what is left of it.
pub(crate) fn take_read(
    request: &HttpRequest,
    services: &Services,
    profile: &AppProfile,
    what: &str,
) -> Result<(), Refusal> {
    let taken = services.ports.limits.history(&profile.app.id, &profile.limits);
    Standing::of_history(&profile.limits, taken.ok()).note(request);
    taken.map(drop).map_err(|exceeded| exceeded.refusal(what))
}

/// Every limit that a request was counted under.
struct Standings(Vec<Standing>);

/// Writes the `RateLimit` fields of an answer, if its request was counted.
pub(crate) fn write_headers(request: &HttpRequest, headers: &mut HeaderMap) {
    let extensions = request.extensions();
    let Some(Standings(all)) = extensions.get::<Standings>() else { return };
    let joined = |part: fn(&Standing) -> String| all.iter().map(part).collect::<Vec<_>>().join(", ");
    for (name, value) in [("ratelimit-policy", joined(Standing::policy)), ("ratelimit", joined(Standing::state))] {
        let value = HeaderValue::from_str(&value).expect("names and numbers make a header");
        headers.insert(HeaderName::from_static(name), value);
    }
}

/// A wait as headers carry it: rounded up.
pub(crate) fn whole_seconds(wait: Duration) -> u64 {
    wait.as_millis().div_ceil(1_000) as u64
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn header(request: &HttpRequest, name: &str) -> String {
        let mut headers = HeaderMap::new();
        write_headers(request, &mut headers);
        headers.get(name).unwrap().to_str().unwrap().to_owned()
    }

    #[test]
    fn the_headers_have_the_form_of_the_draft() {
        let request = TestRequest::default().to_http_request();
        let window = Duration::from_secs(60);
        Standing { name: "logins", limit: 10, remaining: 9, window }.note(&request);
        assert_eq!(header(&request, "ratelimit-policy"), r#""logins";q=10;w=60"#);
        assert_eq!(header(&request, "ratelimit"), r#""logins";r=9;t=6"#);
        let limits = plans::Limits { publishes_per_s: 100, ..plans::Limits::default() };
        Standing::of_publishes(&limits, Some(Quota { limit: 1_000, remaining: 1_000 })).note(&request);
        assert_eq!(header(&request, "ratelimit-policy"), r#""logins";q=10;w=60, "publishes";q=1000;w=10"#);
        assert_eq!(header(&request, "ratelimit"), r#""logins";r=9;t=6, "publishes";r=1000;t=0"#);
    }

    #[test]
    fn waits_are_rounded_up() {
        assert_eq!(whole_seconds(Duration::from_millis(1)), 1);
        assert_eq!(whole_seconds(Duration::from_millis(1_001)), 2);
        assert_eq!(whole_seconds(Duration::from_secs(3)), 3);
    }
}
