//! `Allowed`: the only way to a tenant or an app, which names the permission it takes.

use std::{future::Future, marker::PhantomData};

use actix_web::{FromRequest, HttpRequest, dev::Payload};
use fanfare_domain::{
    StoreError,
    accounts::{Permission, Role, Tenant},
    apps::App,
    ids::{AppId, TenantId},
};
use fanfare_protocol::ErrorCode;

use super::{Extracting, SignedIn};
use crate::{problems::ApiError, services::Services};

/// A permission, as a type.
pub(crate) trait Need: 'static {
    const PERMISSION: Permission;
}

macro_rules! needs {
    ($($name:ident)*) => {
        $(
            #[doc = concat!("The permission `", stringify!($name), "`.")]
            pub(crate) struct $name;

            impl Need for $name {
                const PERMISSION: Permission = Permission::$name;
            }
        )*
    };
}

needs! { View ManageApps ManageKeys ManageRules ManageTenant }

/// What a path can name.
pub(crate) trait Target: Sized + 'static {
    /// The name of the path's parameter.
    const PARAMETER: &'static str;

    /// Looks it up; a text that is no id names nothing.
    fn find(services: &Services, text: &str) -> impl Future<Output = Result<Option<Self>, StoreError>>;

    /// Whose it is.
    fn tenant(&self) -> &TenantId;
}

impl Target for Tenant {
    const PARAMETER: &'static str = "tenant";

    async fn find(services: &Services, text: &str) -> Result<Option<Self>, StoreError> {
        match TenantId::parse(text) {
            Ok(id) => services.ports.accounts.tenant(&id).await,
            Err(_) => Ok(None),
        }
    }

    fn tenant(&self) -> &TenantId {
        &self.id
    }
}

impl Target for App {
    const PARAMETER: &'static str = "app";

    async fn find(services: &Services, text: &str) -> Result<Option<Self>, StoreError> {
        match AppId::parse(text) {
            Ok(id) => services.ports.apps.find(&id).await,
            Err(_) => Ok(None),
        }
    }

    fn tenant(&self) -> &TenantId {
        &self.tenant
    }
}

/// What the path names, of a tenant that the caller belongs to, in a role that may do it.
///
/// What belongs to others is refused as what does not exist.
pub(crate) struct Allowed<N, T = App> {
    pub target: T,
    pub caller: SignedIn,
    need: PhantomData<N>,
}

impl<N: Need, T: Target> FromRequest for Allowed<N, T> {
    type Error = actix_web::Error;
    type Future = Extracting<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let caller = SignedIn::extract(&request).await?;
            let (target, role) = reach::<T>(&request, &caller).await?;
            if !role.may(N::PERMISSION) {
                let detail = format!("your role, {}, may not do this", role.name());
                return Err(ApiError::new(ErrorCode::Forbidden, detail).into());
            }
            Ok(Self { target, caller, need: PhantomData })
        })
    }
}

async fn reach<T: Target>(request: &HttpRequest, caller: &SignedIn) -> Result<(T, Role), ApiError> {
    let nothing = || ApiError::plain(ErrorCode::NotFound);
    let services = Services::of(request);
    let text = request.match_info().get(T::PARAMETER).ok_or_else(nothing)?;
    let target = T::find(&services, text).await?.ok_or_else(nothing)?;
    let role = services.ports.accounts.role(&caller.user.id, target.tenant()).await?.ok_or_else(nothing)?;
    Ok((target, role))
}
