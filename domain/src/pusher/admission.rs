//! Who is let in: apps that speak Pusher, and signatures of their keys.

use std::sync::Arc;

use fanfare_protocol::ErrorCode;

use super::Signed;
use crate::{
    Clock, Refusal,
    directory::{AppProfile, Directory},
    ids::{AppId, KeyId},
    keys::Key,
};

/// Refuses an app that does not speak Pusher.
///
/// # Errors
/// It is disabled, or has Pusher switched off.
pub fn require_pusher(profile: &AppProfile) -> Result<(), Refusal> {
    if !profile.app.enabled {
        return Err(Refusal::plain(ErrorCode::AppDisabled));
    }
    match profile.app.pusher.enabled {
        true => Ok(()),
        false => Err(Refusal::new(ErrorCode::NotFound, "the app does not speak Pusher; switch `pusher` on")),
    }
}

/// The key of an app whose signature `auth` (`KEY:SIGNATURE`) is, over what is to be signed for that connection.
///
/// # Errors
/// It is none, or what keys there are is not known now.
pub async fn authorize(
    directory: &Arc<dyn Directory>,
    clock: &Arc<dyn Clock>,
    app: &AppId,
    (auth, socket_id): (&str, &str),
    signed: Signed<'_>,
) -> Result<Arc<Key>, Refusal> {
    let refused = || {
        Refusal::new(ErrorCode::BadKey, "`auth` is not `KEY:SIGNATURE` of what the app's key signs for this connection")
    };
    let named = auth.split_once(':').and_then(|(key, _)| KeyId::parse(key).ok()).ok_or_else(refused)?;
    let key = directory.key(&named).await?.filter(|key| key.app == *app).ok_or_else(refused)?;
    signed.verify(auth, &key, socket_id, clock.now()).map_err(|_| refused())?;
    Ok(key)
}
