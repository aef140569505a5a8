//! Outbound calls to URLs that tenants name: guarded against reaching what is not theirs to reach (SSRF).
//!
//! The address that was checked is the one that is connected to, since resolving, checking and connecting are one step here and nothing resolves
//! the name again. Redirects are not followed, and proxies of the environment are not known: nothing here would do either.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use fanfare_domain::outbound::{NotCalled, OutboundPolicy};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::{HeaderMap, Method, Request, Response, StatusCode, body::Incoming, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_platform_verifier::BuilderVerifierExt;
use tokio::time::timeout;
use url::{Position, Url};

mod connecting;
mod posting;

use connecting::connect;

/// What we call ourselves.
const USER_AGENT: &str = concat!("Fanfare/", env!("CARGO_PKG_VERSION"));

/// A call that brought no answer. Which of them a tenant's URL caused is the tenant's to know; nothing of the answer is in it.
#[derive(Debug, thiserror::Error)]
pub enum OutboundError {
    /// It is not called from here.
    #[error(transparent)]
    NotCalled(#[from] NotCalled),
    /// The name has no address.
    #[error("its name cannot be resolved")]
    Unresolved,
    /// Nobody answers there, or not in time.
    #[error("it did not answer: {0}")]
    Unreachable(String),
    /// The answer is larger than what is taken.
    #[error("its answer has more than {0} bytes")]
    TooLarge(usize),
}

/// What is called, and how much patience there is.
#[derive(Debug, Clone)]
pub struct Call {
    /// The method.
    pub method: Method,
    /// Where to.
    pub url: Url,
    /// Headers beside those of every call.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// How long all of it may take.
    pub patience: Duration,
    /// The largest answer that is taken, in bytes.
    pub most_bytes: usize,
}

/// An answer, whatever its status; a redirect is one too.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// Calls what tenants name. Cheap to clone.
#[derive(Clone)]
pub struct Outbound {
    policy: OutboundPolicy,
    /// Made when it is first needed: a machine without certificates still serves, and calls nothing.
    tls: Arc<OnceLock<Result<Arc<ClientConfig>, rustls::Error>>>,
}

impl Outbound {
    /// A caller under a policy, which trusts the certificates that the system trusts.
    pub fn new(policy: OutboundPolicy) -> Self {
        Self { policy, tls: Arc::default() }
    }

    /// What may be called.
    pub fn policy(&self) -> OutboundPolicy {
        self.policy
    }

    /// Calls, over a connection of its own.
    pub async fn call(&self, call: Call) -> Result<Answer, OutboundError> {
        let url = self.policy.check_url(call.url.as_str())?;
        let (patience, most) = (call.patience, call.most_bytes);
        let answer = timeout(patience, self.exchange(url, call)).await;
        answer
            .unwrap_or_else(|_| Err(OutboundError::Unreachable(format!("it took longer than {patience:?}"))))
            .and_then(|answer| if answer.body.len() > most { Err(OutboundError::TooLarge(most)) } else { Ok(answer) })
    }

    fn tls(&self) -> Result<Arc<ClientConfig>, OutboundError> {
        self.tls.get_or_init(trusting_the_system).clone().map_err(|error| {
            OutboundError::Unreachable(format!("the certificates that this machine trusts cannot be used: {error}"))
        })
    }

    /// Calls, and hears of the answer only its status.
    async fn ask(&self, call: Call) -> Result<StatusCode, OutboundError> {
        let url = self.policy.check_url(call.url.as_str())?;
        let patience = call.patience;
        let answered = timeout(patience, self.begin(&url, &call)).await;
        let late = |_| Err(OutboundError::Unreachable(format!("it took longer than {patience:?}")));
        answered.unwrap_or_else(late).map(|(_driving, answer)| answer.status())
    }

    /// Calls, and waits until the answer begins.
    async fn begin(&self, url: &Url, call: &Call) -> Result<(Driving, Response<Incoming>), OutboundError> {
        let unreachable = |error: hyper::Error| OutboundError::Unreachable(error.to_string());
        let stream = connect(self.policy, || self.tls(), url).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(unreachable)?;
        let driving = Driving(tokio::spawn(connection).abort_handle());
        let answer = sender.send_request(request(url, call)?).await.map_err(unreachable)?;
        Ok((driving, answer))
    }

    async fn exchange(&self, url: Url, call: Call) -> Result<Answer, OutboundError> {
        let (driving, answer) = self.begin(&url, &call).await?;
        let (parts, body) = answer.into_parts();
        let body = Limited::new(body, call.most_bytes).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() {
                OutboundError::TooLarge(call.most_bytes)
            } else {
                OutboundError::Unreachable("its answer broke off".to_owned())
            }
        })?;
        drop(driving);
        Ok(Answer { status: parts.status, headers: parts.headers, body: body.to_bytes() })
    }
}

fn trusting_the_system() -> Result<Arc<ClientConfig>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut tls = config.with_platform_verifier()?.with_no_client_auth();
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(tls))
}

/// A connection that is driven in the background, for as long as the call lasts.
struct Driving(tokio::task::AbortHandle);

impl Drop for Driving {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn request(url: &Url, call: &Call) -> Result<Request<Full<Bytes>>, OutboundError> {
    let mut request = Request::builder().method(&call.method).uri(&url[Position::BeforePath..Position::AfterQuery]);
    if let Some(headers) = request.headers_mut() {
        headers.extend(call.headers.clone());
    }
    request
        .header(header::HOST, &url[Position::BeforeHost..Position::AfterPort])
        .header(header::USER_AGENT, USER_AGENT)
        .header(header::CONNECTION, "close")
        .body(Full::new(call.body.clone()))
        .map_err(|_| OutboundError::NotCalled(NotCalled::Url("the URL cannot be written into a request")))
}
