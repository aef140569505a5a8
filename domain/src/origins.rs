//! Origins: the web pages whose scripts may use an app from a browser.

use std::{fmt, sync::Arc};

use fanfare_protocol::ErrorCode;

use crate::{
    Refusal,
    directory::{AppProfile, Directory},
    ids::{AppId, KeyId},
    tokens,
};

/// The most origins that an app may name.
pub const MAX_ORIGINS: usize = 100;
const MAX_ORIGIN_BYTES: usize = 300;

/// What pages of other origins may ask with: what an answer to a preflight allows.
pub const ALLOWED_METHODS: &str = "GET, HEAD, POST, DELETE";
/// The headers that such a page may send.
pub const ALLOWED_HEADERS: &str =
    "authorization, content-type, fanfare-app, idempotency-key, last-event-id, traceparent, x-request-id";
/// The headers that such a page may read.
pub const EXPOSED_HEADERS: &str = "location, ratelimit, ratelimit-policy, retry-after, x-request-id";

/// The origins that an app allows: `*`, `https://app.example.com`, or `https://*.example.com` for every name below one.
#[derive(Clone, PartialEq, Eq)]
pub struct Origins(Arc<[String]>);

/// An entry that names no origin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{origin}` is no origin: {why}")]
pub struct BadOrigin {
    origin: String,
    /// Which entry it is, from 0.
    pub at: usize,
    why: &'static str,
}

impl Origins {
    /// Any origin.
    pub fn any() -> Self {
        Self(Arc::new(["*".to_owned()]))
    }

    /// Checks a list of origins; an empty one allows no page at all.
    pub fn parse(list: impl IntoIterator<Item = String>) -> Result<Self, BadOrigin> {
        let mut origins = Vec::new();
        for (at, origin) in list.into_iter().enumerate() {
            if at == MAX_ORIGINS {
                return Err(BadOrigin { origin, at, why: "an app names at most 100" });
            }
            match normal(&origin) {
                Ok(normal) => origins.push(normal),
                Err(why) => return Err(BadOrigin { origin, at, why }),
            }
        }
        Ok(Self(origins.into()))
    }

    /// Whether the pages of that origin, as a browser's `Origin` names it, may use the app.
    pub fn allow(&self, origin: &str) -> bool {
        self.0.iter().any(|allowed| covers(allowed, origin))
    }

    /// Refuses the pages of an origin that is not allowed. Who sends no `Origin` is no web page, and passes.
    pub fn require(&self, origin: Option<&str>) -> Result<(), Refusal> {
        match origin {
            Some(origin) if !self.allow(origin) => {
                Err(Refusal::new(ErrorCode::OriginNotAllowed, "the app does not allow the origin of this page"))
            }
            _ => Ok(()),
        }
    }

    /// The origins, in the order they were given.
    pub fn to_list(&self) -> Vec<String> {
        self.0.to_vec()
    }
}

impl fmt::Debug for Origins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The entry as browsers write origins: in lower case, without the port that the scheme implies.
fn normal(origin: &str) -> Result<String, &'static str> {
    if origin == "*" {
        return Ok(origin.to_owned());
    }
    if origin.len() > MAX_ORIGIN_BYTES {
        return Err("it has more than 300 bytes");
    }
    let origin = origin.to_ascii_lowercase();
    let (scheme, authority) = origin.split_once("://").ok_or("it looks like `https://app.example.com`, or is `*`")?;
    let implied = match scheme {
        "https" => ":443",
        "http" => ":80",
        _ => return Err("its scheme is `https` or `http`"),
    };
    let authority = authority.strip_suffix(implied).unwrap_or(authority);
    let name = authority.strip_prefix("*.").unwrap_or(authority);
    let (host, port) = match name.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (name, None),
    };
    let is_host = |host: &str| {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let brackets = bare.len() != host.len();
        !bare.is_empty()
            && bare.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b) || brackets && b == b':')
    };
    if !is_host(host) || port.is_some_and(|port| port.parse::<u16>().is_err()) {
        return Err("after the scheme come a host and perhaps a port, and nothing else");
    }
    Ok(format!("{scheme}://{authority}"))
}

fn covers(allowed: &str, origin: &str) -> bool {
    if allowed == "*" {
        return true;
    }
    let Some((scheme, below)) = allowed.split_once("://*") else { return allowed.eq_ignore_ascii_case(origin) };
    let Some((of, authority)) = origin.split_once("://") else { return false };
    // `below` begins with a dot, so that there is a name before it.
    let at = authority.len().saturating_sub(below.len());
    of.eq_ignore_ascii_case(scheme)
        && at > 0
        && authority.is_char_boundary(at)
        && authority[at..].eq_ignore_ascii_case(below)
}

/// The app that a request is about, as far as its credential names one, good or not: for what its origins allow to be read, not for
/// what its bearer may do. A credential is a token, a key's id, or that with its secret.
pub async fn app_of(directory: &dyn Directory, credential: &str, app: Option<&str>) -> Option<Arc<AppProfile>> {
    if let Some(app) = app {
        return directory.app(&AppId::parse(app).ok()?).await.ok()?;
    }
    let key = match KeyId::parse(credential.split('.').next().unwrap_or_default()) {
        Ok(key) => key,
        Err(_) => tokens::signing_key(credential)?,
    };
    let key = directory.key(&key).await.ok()??;
    directory.app(&key.app).await.ok()?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origins(list: &[&str]) -> Result<Origins, BadOrigin> {
        Origins::parse(list.iter().map(|origin| (*origin).to_owned()))
    }

    #[test]
    fn an_origin_is_allowed_by_name_by_its_parent_or_by_all() {
        let some = origins(&["https://App.example.com:443", "http://localhost:5173", "https://*.acme.test"]).unwrap();
        for good in ["https://app.example.com", "http://localhost:5173", "https://a.acme.test", "https://b.a.acme.test"]
        {
            assert!(some.allow(good), "{good}");
            assert!(some.require(Some(good)).is_ok());
        }
        for bad in [
            "https://example.com",
            "http://app.example.com",
            "https://app.example.com:8443",
            "https://app.example.com.evil.test",
            "https://acme.test",
            "https://evilacme.test",
            "https://.acme.test.evil",
            "http://a.acme.test",
            "http://localhost",
            "null",
            "",
            "é://é",
        ] {
            assert!(!some.allow(bad), "{bad}");
            assert_eq!(some.require(Some(bad)).unwrap_err().code, ErrorCode::OriginNotAllowed);
        }
        assert!(some.require(None).is_ok());
        assert!(Origins::any().allow("null"));
        assert!(!origins(&[]).unwrap().allow("https://app.example.com"));
    }

    #[test]
    fn what_names_no_origin_is_refused() {
        for good in
            ["*", "https://a.b", "http://127.0.0.1:8080", "https://[::1]:8443", "https://[::1]", "https://*.a.b:1"]
        {
            assert!(origins(&[good]).is_ok(), "{good}");
        }
        for bad in [
            "",
            "null",
            "example.com",
            "ftp://a.b",
            "https://",
            "https://a.b/",
            "https://a.b/c",
            "https://u@a.b",
            "https://a.b:x",
            "https://a.b:65536",
            "https://*",
            "https://a.*.b",
            "https://a b",
            "https://é",
        ] {
            assert_eq!(origins(&["*", bad]).unwrap_err().at, 1, "{bad}");
        }
        assert_eq!(Origins::parse(vec!["*".to_owned(); MAX_ORIGINS + 1]).unwrap_err().at, MAX_ORIGINS);
    }
}
