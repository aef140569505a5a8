//! `serve --demo`: something to try at once, made on the first run and shown again on later ones.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use fanfare_domain::{
    Timestamp,
    accounts::{Accounts, Email, Session, SignUpError, Tenant, User, passwords},
    apps::{App, Apps},
    capabilities::Capability,
    ids::{KeyId, UserId},
    keys::{Key, Keys},
    rules::{Rule, Rules},
    secrets,
};
use fanfare_infra::sql::SqlStore;
use fanfare_protocol::Namespace;
use secrecy::{ExposeSecret, SecretString};
use tracing::info;

use crate::{compose::Node, owned, problem::Problem};

/// The channel of the examples; its namespace is public.
const CHANNEL: &str = "demo:hello";
/// Where the key is kept between runs, in the data folder.
const FILE: &str = "demo.key";

/// What was made on the first run, which is not shown again.
struct Account {
    email: Email,
    password: SecretString,
}

/// Something to try.
pub struct Demo {
    key: SecretString,
    account: Option<Account>,
}

/// Finds what an earlier run made, or makes it.
pub async fn prepare(node: &Node, plan: &str) -> Result<Demo, Problem> {
    let file = node.home.join(FILE);
    if let Some(key) = kept(&node.store, &file).await? {
        return Ok(Demo { key, account: None });
    }
    let (key, account) = make(&node.store, plan, node.clock.now()).await?;
    keep(&file, &key)?;
    info!("Made a demo tenant, app and key");
    Ok(Demo { key, account: Some(account) })
}

impl Demo {
    /// Lines to paste; the first time, the password of the tenant's owner is among them.
    ///
    /// `ca` is the certificate that clients are to trust, where no system does.
    pub fn lines(&self, url: &str, ca: Option<&Path>) -> String {
        show(url, ca, self.key.expose_secret(), self.account.as_ref())
    }
}

/// The key of an earlier run, if the database still knows it.
async fn kept(store: &SqlStore, file: &Path) -> Result<Option<SecretString>, Problem> {
    let Ok(text) = fs::read_to_string(file) else { return Ok(None) };
    let text = SecretString::from(text.trim().to_owned());
    let Some(id) = text.expose_secret().split_once('.').and_then(|(id, _)| KeyId::parse(id).ok()) else {
        return Ok(None);
    };
    let known = store.find_by_id(&id).await.map_err(|error| failed(&error))?;
    Ok(known.is_some().then_some(text))
}

async fn make(store: &SqlStore, plan: &str, now: Timestamp) -> Result<(SecretString, Account), Problem> {
    let (tenant, account) = sign_up(store, plan, now).await?;
    let app = App::new(tenant.id, "demo".to_owned(), now);
    Apps::insert(store, &app, u32::MAX).await.map_err(|error| failed(&error))?;
    let key = Key::mint(app.id.clone(), "demo".to_owned(), Capability::everything(), None, now);
    Keys::insert(store, &key, u32::MAX).await.map_err(|error| failed(&error))?;
    let namespace = Namespace::parse("demo").expect("`demo` is a namespace");
    let rule = Rule { public: true, ..Rule::default() };
    store.put(&app.id, &namespace, &rule, u32::MAX).await.map_err(|error| failed(&error))?;
    let shown = SecretString::from(format!("{}.{}", key.id, key.secret.expose_secret()));
    Ok((shown, account))
}

/// Signs up; if an earlier demo took the address, then under another one.
async fn sign_up(store: &SqlStore, plan: &str, now: Timestamp) -> Result<(Tenant, Account), Problem> {
    let fresh = format!("demo-{}@example.com", secrets::short_random());
    for address in ["demo@example.com", &fresh] {
        let email = Email::parse(address).expect("it has the shape of an address");
        let password = secrets::generate("");
        let tenant = Tenant::new("Demo".to_owned(), plan.to_owned(), now);
        let password_hash = passwords::hash(&password);
        let user = User { id: UserId::generate(), email: email.clone(), password_hash, created_at: now };
        let (session, _) = Session::begin(user.id.clone(), now);
        match store.sign_up(&user, &tenant, &session).await {
            Ok(()) => return Ok((tenant, Account { email, password })),
            Err(SignUpError::EmailTaken) => {}
            Err(SignUpError::Store(error)) => return Err(failed(&error)),
        }
    }
    Err(Problem::new("the demo tenant could not sign up", "Start again without --demo, and sign up over the API."))
}

fn keep(file: &Path, key: &SecretString) -> Result<(), Problem> {
    owned::write(file, &format!("{}\n", key.expose_secret())).map_err(|error| {
        Problem::new(format!("{} cannot be written: {error}", file.display()), "Make the data folder writable.")
    })
}

fn failed(error: &fanfare_domain::StoreError) -> Problem {
    Problem::new(format!("the demo could not be made: {error}"), "Look at the log, or start without --demo.")
}

fn show(url: &str, ca: Option<&Path>, key: &str, account: Option<&Account>) -> String {
    let id = key.split_once('.').map_or(key, |(id, _)| id);
    let command = command();
    let trusting = |option: &str| ca.map(|ca| format!(" {option} {}", ca.display())).unwrap_or_default();
    let mut text = String::from("\nTry it. In one terminal, follow a channel:\n\n");
    let mut add = |line: String| writeln!(text, "{line}").expect("a string takes what is written");
    add(format!("  FANFARE_KEY={key} {command} tail {CHANNEL} --url {url}{}\n", trusting("--ca")));
    add("In another, publish to it:\n".to_owned());
    add(format!(
        "  curl{} {url}/v1/channels/{CHANNEL}/messages -H 'Authorization: Bearer {key}' -H 'Content-Type: application/json' -d '{{\"name\":\"said\",\"data\":{{\"text\":\"hello\"}}}}'\n",
        trusting("--cacert")
    ));
    add("In a browser, watch it, or watch and publish (what follows the # stays in the browser):\n".to_owned());
    add(format!("  {url}/demo#key={id}"));
    add(format!("  {url}/demo#key={key}"));
    if let Some(Account { email, password }) = account {
        add(format!(
            "\nThe demo tenant's owner, shown this once: {} with password {}",
            email.as_str(),
            password.expose_secret()
        ));
    }
    text
}

/// How this program is called from where its user stands.
pub fn command() -> String {
    let name = "fanfare";
    let own = std::env::current_exe().ok();
    let on_path = std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file()).and_then(canonical)
            == own.clone().and_then(canonical)
    });
    match own {
        Some(own) if !on_path => own.display().to_string(),
        _ => name.to_owned(),
    }
}

fn canonical(path: PathBuf) -> Option<PathBuf> {
    path.canonicalize().ok()
}

#[cfg(test)]
mod tests {
    use std::{fs::Permissions, os::unix::fs::PermissionsExt};

    use super::*;

    #[test]
    fn a_key_is_its_owners_alone_also_where_another_file_was_before() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(FILE);
        for old in [file.clone(), file.with_extension("new")] {
            fs::write(&old, "old and of some length").unwrap();
            fs::set_permissions(&old, Permissions::from_mode(0o644)).unwrap();
        }
        keep(&file, &SecretString::from("fk_a.fs_b".to_owned())).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "fk_a.fs_b\n");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
