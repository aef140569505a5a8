//! How a process's public listener is secured: its certificate, what is believed of proxies, and the listener that redirects.

use std::{net::TcpListener, path::Path};

use actix_web::dev::Server;
use tokio::{runtime::Handle, sync::watch};

use crate::{
    arrivals::Arrivals,
    config::Config,
    listening,
    problem::Problem,
    role::Role,
    serve::Extras,
    tls::{self, Tls, development, keep_fresh},
};

/// What secures the public listener.
pub struct Secured {
    /// What ends TLS, where this process does.
    pub tls: Option<Tls>,
    /// Whether the certificate is one for development.
    development: bool,
}

impl Secured {
    /// Reads the certificate that the configuration names.
    ///
    /// # Errors
    /// The files are wrong, or settings contradict each other.
    pub fn read(config: &Config, role: Role, extras: Extras) -> Result<Self, Problem> {
        let has_public = role.has_api() || role.has_gateway();
        let files = config.tls().filter(|_| has_public);
        if extras.dev_tls && files.is_some() {
            return Err(Problem::new(
                "--dev-tls makes a certificate, but `tls_cert` (FANFARE_TLS_CERT) names one",
                "Leave out the one or the other.",
            ));
        }
        if has_public && config.redirect_listen.is_some() && files.is_none() && !extras.dev_tls {
            return Err(Problem::new(
                "`redirect_listen` (FANFARE_REDIRECT_LISTEN) is set, but there is no TLS to redirect to",
                "Set `tls_cert` and `tls_key` (FANFARE_TLS_CERT, FANFARE_TLS_KEY), or leave it out.",
            ));
        }
        let tls = files.map(Tls::start).transpose()?;
        Ok(Self { tls, development: extras.dev_tls })
    }

    /// Makes the certificate for development, where one is wanted, or finds that of an earlier run.
    ///
    /// # Errors
    /// It cannot be made or kept.
    pub fn made(self, config: &Config, home: &Path) -> Result<Self, Problem> {
        if !self.development {
            return Ok(self);
        }
        let tls = Tls::start(development::prepare(home, config.listen)?)?;
        Ok(Self { tls: Some(tls), ..self })
    }

    /// Takes up changed certificates until `stop` says so.
    pub fn keep_fresh(&self, engine: &Handle, stop: &watch::Sender<bool>) {
        if let Some(tls) = &self.tls {
            engine.spawn(keep_fresh(tls.clone(), stop.subscribe()));
        }
    }

    /// The scheme of the listener's address.
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// What is noted of the listener's requests.
    pub fn arrivals(&self, config: &Config) -> Arrivals {
        // Browsers keep it for every port of the name, so that others' servers on this machine could not be reached.
        let hsts = config.hsts.0.clone().filter(|_| !self.development);
        Arrivals::new(config.trust(), self.tls.is_some(), hsts)
    }

    /// The listener that redirects to `public`, where one is wanted.
    ///
    /// # Errors
    /// It cannot be listened on or served.
    pub fn redirect(&self, config: &Config, public: Option<&TcpListener>) -> Result<Option<Server>, Problem> {
        let (Some(address), Some(public)) = (config.redirect_listen, public) else { return Ok(None) };
        let cannot = |error: std::io::Error| {
            Problem::new(
                format!("{address} cannot be served: {error}"),
                "Raise the limit of open files, and start again.",
            )
        };
        let listener = listening::listen(address, "redirect_listen", "FANFARE_REDIRECT_LISTEN")?;
        let port = public.local_addr().map_err(cannot)?.port();
        tls::redirect(listener, port).map(Some).map_err(cannot)
    }

    /// The certificate that clients are to trust, where no system does.
    pub fn ca(&self) -> Option<&Path> {
        self.tls.as_ref().filter(|_| self.development).map(|tls| tls.files.cert.as_path())
    }

    /// What is printed of it.
    pub fn lines(&self, url: &str) -> String {
        match &self.tls {
            Some(tls) if self.development => development::lines(tls, url),
            _ => String::new(),
        }
    }
}
