//! Roles: which part of the work a process does.

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Everything: `fanfare serve`.
    All,
    /// The HTTP API and the pages: `fanfare api`.
    Api,
    /// Clients' sockets: `fanfare gateway`.
    Gateway,
    /// From the queue to the database and the bus: `fanfare worker`.
    Worker,
}

impl Role {
    /// The command that starts it.
    pub fn command(self) -> &'static str {
        match self {
            Role::All => "serve",
            Role::Api => "api",
            Role::Gateway => "gateway",
            Role::Worker => "worker",
        }
    }

    /// Whether it serves the HTTP API.
    pub fn has_api(self) -> bool {
        matches!(self, Role::All | Role::Api)
    }

    /// Whether it serves sockets.
    pub fn has_gateway(self) -> bool {
        matches!(self, Role::All | Role::Gateway)
    }

    /// Whether it delivers.
    pub fn has_worker(self) -> bool {
        matches!(self, Role::All | Role::Worker)
    }
}
