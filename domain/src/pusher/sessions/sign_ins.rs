//! Signing in: a connection becomes a user's, and may watch which other users have one.

use fanfare_protocol::pusher::{CloseCode, PusherChannel, Said};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Effect, Effects, Member, Session, client_of, say, say_error};
use crate::Refusal;

/// The most users that a connection watches.
pub const MAX_WATCHED: usize = 100;

/// Who a connection is signed in as.
#[derive(Debug, Clone)]
pub struct User {
    /// The user as others see it.
    pub member: Member,
    /// The users that are watched.
    pub watchlist: Vec<String>,
    /// What was signed, to the letter.
    pub user_data: String,
}

/// Who a connection wants to be.
#[derive(Debug)]
pub struct SignIn {
    /// The signature to be looked at.
    pub auth: String,
    /// Who.
    pub user: User,
}

#[derive(Deserialize)]
struct UserData {
    id: String,
    #[serde(default)]
    user_info: Option<Box<RawValue>>,
    #[serde(default)]
    watchlist: Option<Vec<String>>,
}

impl Session {
    pub(super) fn sign_in(&mut self, auth: String, user_data: String, effects: &mut Effects) {
        match self.checked_user(user_data) {
            Ok((user, is_cut)) => {
                if is_cut {
                    let why =
                        format!("a watchlist has {MAX_WATCHED} users at most; the first {MAX_WATCHED} are watched");
                    say_error(&why, Some(CloseCode::WATCHLIST_LIMIT), effects);
                }
                self.is_signing_in = true;
                effects.push(Effect::SignIn(Box::new(SignIn { auth, user })));
            }
            Err(why) => refuse(&why, effects),
        }
    }

    fn checked_user(&self, user_data: String) -> Result<(User, bool), String> {
        let switches = self.grant().ok_or("the connection is not open")?.profile.app.pusher;
        if !switches.sign_in {
            return Err("the app has signing in switched off".to_owned());
        }
        if self.is_signing_in {
            return Err("the connection is signing in already".to_owned());
        }
        let shape = |_| "`user_data` is JSON: {id: a string, user_info?: anything, watchlist?: strings}".to_owned();
        let UserData { id, user_info, watchlist } = serde_json::from_str(&user_data).map_err(shape)?;
        let client = PusherChannel::of_user(&id).ok().and_then(|_| client_of(&id));
        let client = client.ok_or("`id` has 1 to 128 of the characters that a channel's name may have")?;
        if self.user().is_some_and(|user| user.member.client != client) {
            return Err("the connection is signed in as another user".to_owned());
        }
        let member = Member::new(client, user_info.as_deref())?;
        let mut watchlist = watchlist.filter(|_| switches.watchlists).unwrap_or_default();
        let is_cut = watchlist.len() > MAX_WATCHED;
        watchlist.truncate(MAX_WATCHED);
        watchlist.retain(|user| PusherChannel::of_user(user).is_ok());
        watchlist.sort();
        watchlist.dedup();
        Ok((User { member, watchlist, user_data }, is_cut))
    }

    pub(super) fn signed_in(&mut self, user: User, outcome: Result<(), Refusal>, effects: &mut Effects) {
        self.is_signing_in = false;
        match outcome {
            Ok(()) => {
                self.is_authorized = true;
                effects.push(say(&Said::SignedIn { user_data: &user.user_data }));
                if self.user.is_none() && !user.watchlist.is_empty() {
                    effects.push(Effect::Watch(user.watchlist.clone()));
                }
                self.user = Some(user);
            }
            Err(refusal) => refuse(&refusal.message, effects),
        }
    }
}

fn refuse(why: &str, effects: &mut Effects) {
    say_error(&format!("sign-in refused: {why}"), Some(CloseCode::UNAUTHORIZED), effects);
}
