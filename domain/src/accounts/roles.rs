//! Roles: what somebody may do in a tenant.

use serde::{Deserialize, Serialize};

/// What somebody is in a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// May do everything.
    Owner,
    /// May do everything but remove the tenant.
    Admin,
    /// May change apps, keys and rules.
    Developer,
    /// May look.
    Viewer,
}

/// What a handler needs, named where it reaches a tenant or an app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// See the tenant, its apps, keys (never secrets) and rules.
    View,
    /// Make and change apps.
    ManageApps,
    /// Mint, rotate and revoke keys.
    ManageKeys,
    /// Change rules.
    ManageRules,
    /// Rename the tenant.
    ManageTenant,
}

impl Role {
    /// The role's name, as stored.
    pub fn name(self) -> &'static str {
        match self {
            Role::Owner => "owner",
            Role::Admin => "admin",
            Role::Developer => "developer",
            Role::Viewer => "viewer",
        }
    }

    /// The role of that name.
    pub fn from_name(name: &str) -> Option<Role> {
        [Role::Owner, Role::Admin, Role::Developer, Role::Viewer].into_iter().find(|role| role.name() == name)
    }

    /// Whether the role may do it.
    pub fn may(self, permission: Permission) -> bool {
        match self {
            Role::Owner | Role::Admin => true,
            Role::Developer => permission != Permission::ManageTenant,
            Role::Viewer => permission == Permission::View,
        }
    }
}
