//! Posting to webhooks.

use std::time::Duration;

use async_trait::async_trait;
use fanfare_domain::webhooks::{Poster, Request};
use hyper::{HeaderMap, Method, header::HeaderName, http::HeaderValue};
use url::Url;

use super::{Call, Outbound};

#[async_trait]
impl Poster for Outbound {
    async fn post(&self, url: &str, request: Request, patience: Duration) -> Result<u16, String> {
        let url = Url::parse(url).map_err(|_| "it is no URL".to_owned())?;
        let mut headers = HeaderMap::new();
        for (name, value) in &request.headers {
            let value = HeaderValue::from_str(value).map_err(|_| format!("`{name}` cannot be sent"))?;
            headers.insert(HeaderName::from_static(name), value);
        }
        let body = request.body.into();
        let call = Call { method: Method::POST, url, headers, body, patience, most_bytes: 0 };
        self.ask(call).await.map(|status| status.as_u16()).map_err(|failure| failure.to_string())
    }
}
