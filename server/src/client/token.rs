//! `fanfare token`: mints a client token here, from a key, without asking a server.

use std::{collections::BTreeMap, time::Duration};

use clap::Args;
use fanfare_domain::{
    Clock,
    capabilities::{Capability, Right, Rights},
    clock::SystemClock,
    tokens::MAX_LIFE,
};
use fanfare_protocol::ClientName;

use super::credentials::ApiKey;
use crate::{output, problem::Problem};

/// What a token is to say.
#[derive(Debug, Args)]
pub struct TokenArgs {
    /// The API key that signs, fk_….fs_…
    #[arg(long, env = "FANFARE_KEY", hide_env_values = true)]
    key: Option<String>,
    /// The client that the token names; anonymous without
    #[arg(long)]
    client: Option<String>,
    /// What it allows, as PATTERN=RIGHT,RIGHT…; may be given several times. Rights: subscribe, publish, presence, history
    #[arg(long = "cap", value_name = "PATTERN=RIGHTS", default_value = "*=subscribe,publish,presence,history")]
    caps: Vec<String>,
    /// How long it is good, 24h at most
    #[arg(long, default_value = "1h", value_parser = humantime::parse_duration)]
    ttl: Duration,
}

/// Prints a fresh token.
pub fn run(args: &TokenArgs) -> Result<(), Problem> {
    let key = ApiKey::required(args.key.as_deref())?;
    let client = args.client.as_deref().map(ClientName::parse).transpose();
    let client = client
        .map_err(|bad| Problem::new(bad.to_string(), "A client id has 1 to 128 bytes and no control characters."))?;
    let capability = capability(&args.caps)?;
    if args.ttl > MAX_LIFE || args.ttl < Duration::from_secs(1) {
        return Err(Problem::new(
            "a token lives 1s to 24h",
            "Give --ttl within that, as in --ttl 1h; a client gets a fresh token before the old one ends.",
        ));
    }
    output::print(&format!("{}\n", key.mint(client, capability, args.ttl, SystemClock.now()))).map(drop)
}

fn capability(caps: &[String]) -> Result<Capability, Problem> {
    let mut patterns: BTreeMap<String, Rights> = BTreeMap::new();
    for cap in caps {
        let (pattern, rights) = cap.rsplit_once('=').ok_or_else(|| {
            Problem::new(format!("`{cap}` has no `=`"), "Write --cap as in --cap 'chat:*=subscribe,publish'")
        })?;
        let rights = rights.split(',').map(right).collect::<Result<Rights, Problem>>()?;
        let known = patterns.entry(pattern.to_owned()).or_default();
        *known = known.or(rights);
    }
    Capability::new(patterns)
        .map_err(|bad| Problem::new(bad.to_string(), "Write --cap as in --cap 'chat:*=subscribe,publish'"))
}

fn right(name: &str) -> Result<Right, Problem> {
    Right::ALL.into_iter().find(|right| *right != Right::Admin && right.name() == name.trim()).ok_or_else(|| {
        Problem::new(
            format!("`{name}` is not a right of a client"),
            "Rights are subscribe, publish, presence and history, with commas between them.",
        )
    })
}

#[cfg(test)]
mod tests {
    use fanfare_protocol::ChannelName;

    use super::*;

    #[test]
    fn capabilities_are_written_with_the_last_equals_sign_between_pattern_and_rights() {
        let caps = ["chat:*=subscribe,publish".to_owned(), "a=b=history".to_owned(), "chat:*=history".to_owned()];
        let capability = capability(&caps).unwrap();
        let rights = |name| capability.rights(&ChannelName::parse(name).unwrap());
        assert!(rights("chat:1").has(Right::Publish) && rights("chat:1").has(Right::History));
        assert!(rights("a=b").has(Right::History) && !rights("a=b").has(Right::Subscribe));
    }

    #[test]
    fn wrong_capabilities_are_told_what_is_wrong() {
        for (bad, part) in [
            ("chat:*", "no `=`"),
            ("a*b=subscribe", "not a pattern"),
            ("a=dance", "not a right"),
            ("a=admin", "not a right"),
        ] {
            assert!(capability(&[bad.to_owned()]).unwrap_err().what.contains(part), "{bad}");
        }
    }
}
