//! Several installations on one Redis and one virtual host: each keeps to the names that begin with its prefix, and hears nothing of the others.

use super::*;
use crate::harness::{
    postgres::{self, Database},
    rabbitmq::{self, Vhost},
    redis::{self, Redis},
    server::Options,
    tokens::every_right,
};

const CHANNEL: &str = "room:1";
/// As many connections as an app may have.
const CONNECTIONS: usize = 4;

/// An installation: one process that is everything, and one that is a gateway.
struct Installation {
    serve: Server,
    gateway: Server,
}

/// What an installation is told. Its users at the engines may touch names that begin with its prefix, and nothing else.
async fn options(redis: &Redis, vhost: &Vhost, database: &Database, prefix: &str, in_redis: &str) -> Options {
    let (keys, channels) = (format!("~{in_redis}:*"), format!("&{in_redis}:*"));
    let rights = ["resetkeys", "resetchannels", &keys, &channels, "+@all"];
    let allowed = redis.ask(&[&["acl", "setuser", prefix, "on", ">secret"][..], &rights].concat()).await;
    assert_eq!(allowed, "OK");
    let redis = redis.url().replace("//", &format!("//{prefix}:secret@"));
    let amqp = vhost.url_for(&format!("{prefix}.")).await;
    let variables = crate::harness::engines::variables(&database.tcp_url, &redis, &amqp, "2");
    let config = format!("plan_default = \"small\"\n[plans.small]\nconnections = {CONNECTIONS}\n");
    let options = Options::default().config(&config).env("FANFARE_PLAN_DEFAULT", "small");
    variables.iter().fold(options, |options, (name, value)| options.env(name, value))
}

impl Installation {
    async fn start(options: &Options) -> Self {
        let serve = Server::start(options.clone().in_role("serve")).await;
        // It says nothing of the prefix, and takes it from the database.
        let gateway = Server::start(options.clone().in_role("gateway").env_remove("FANFARE_PREFIX")).await;
        Self { serve, gateway }
    }

    fn tenant(&self, tenant: &Tenant) -> Tenant {
        tenant.at(self.serve.url())
    }

    async fn join(&self, tenant: &Tenant, client: &str) -> Socket {
        Socket::connect(self.gateway.url(), &tenant.short_token(client, every_right(), 3_600.0)).await
    }

    /// A client of this installation alone, who watches the channel and publishes to it under a key that clients of others use too.
    async fn traffic(&self, tenant: &Tenant, own: &str) -> Vec<Socket> {
        let mut watcher = self.join(tenant, "watcher").await;
        watcher.ask(json!({"op": "subscribe", "channel": CHANNEL, "presence": true})).await;
        let mut member = self.join(tenant, own).await;
        member.ask(json!({"op": "presence", "channel": CHANNEL, "action": "enter"})).await;
        let path = format!("/v1/channels/{CHANNEL}/messages?ack=persisted");
        for number in 1..=2 {
            let body = json!({"data": own, "idempotency_key": format!("key-{number}")});
            let answer = self.tenant(tenant).data(Method::POST, &path, body).await;
            assert_eq!((answer.status, &answer.body["serial"]), (201, &json!(number)), "{}", answer.text);
        }
        vec![watcher, member]
    }

    /// What the channel's watcher was told, which must be all of this installation.
    async fn is_alone(&self, tenant: &Tenant, own: &str, sockets: &mut [Socket]) {
        let entered = sockets[0].event_of("presence").await;
        assert_eq!((&entered["client"], &entered["action"]), (&json!(own), &json!("enter")), "{entered}");
        for (at, message) in sockets[0].messages(2).await.iter().enumerate() {
            assert_eq!((&message["data"], &message["serial"]), (&json!(own), &json!(at + 1)), "{message}");
        }
        let tenant = self.tenant(tenant);
        let path = format!("/v1/channels/{CHANNEL}");
        let members = tenant.data(Method::GET, &format!("{path}/presence"), Value::Null).await.body;
        assert_eq!((&members["count"], &members["items"][0]["client"]), (&json!(1), &json!(own)), "{members}");
        until("the subscriptions are counted", async || {
            let told = tenant.data(Method::GET, &path, Value::Null).await.body;
            assert!(told["subscribers"].as_u64() <= Some(1), "{told}");
            (told["subscribers"] == 1 && told["members"] == 1).then_some(())
        })
        .await;
    }

    /// Takes the connections that are left to the app, and no other installation's.
    async fn fill(&self, tenant: &Tenant, sockets: &mut Vec<Socket>) {
        for at in sockets.len()..CONNECTIONS {
            sockets.push(self.join(tenant, &format!("client-{at}")).await);
        }
        let mut late = Socket::open(self.gateway.url()).await;
        let token = tenant.short_token("late", every_right(), 3_600.0);
        assert!(late.answer(json!({"op": "connect", "token": token})).await.get("ok").is_none());
    }

    /// Whether the beats of a worker reach the gateway.
    async fn hears_beats(&self, tenant: &Tenant) -> bool {
        let report = Answer::of(tenant.at(self.gateway.ops_url()).request(Method::GET, "/readyz")).await.body;
        report["checks"]["bus"]["ok"].as_bool().unwrap_or_else(|| panic!("{report}"))
    }
}

#[tokio::test]
async fn two_installations_of_the_same_apps_share_engines_and_hear_nothing_of_each_other() {
    let (redis, vhost, database) = tokio::join!(redis::server(), rabbitmq::broker(), postgres::database());
    let first = options(&redis, &vhost, &database, "fanfare", "ff").await;
    let mut serve = Server::start(first.clone().in_role("serve")).await;
    let tenant = Tenant::sign_up(&serve).await;
    serve.terminate().await;
    // The same apps, keys and ids in another installation: nothing but the prefix keeps them apart.
    let copy = database.copy().await;
    copy.execute("update settings set value = 'acme' where name = 'prefix'").await;
    let second = options(&redis, &vhost, &copy, "acme", "acme").await.env("FANFARE_PREFIX", "acme");
    let (mut ours, theirs) = tokio::join!(Installation::start(&first), Installation::start(&second));

    let mut sockets = tokio::join!(ours.traffic(&tenant, "ann"), theirs.traffic(&tenant, "bob"));
    tokio::join!(ours.is_alone(&tenant, "ann", &mut sockets.0), theirs.is_alone(&tenant, "bob", &mut sockets.1));
    tokio::join!(ours.fill(&tenant, &mut sockets.0), theirs.fill(&tenant, &mut sockets.1));

    let keys = redis.ask(&["keys", "*"]).await;
    let begins = |prefix: &str| keys.lines().filter(|key| key.starts_with(prefix)).count();
    assert!(begins("ff:") > 5 && begins("acme:") > 5, "{keys}");
    assert_eq!(begins("ff:") + begins("acme:"), keys.lines().count(), "{keys}");

    ours.serve.kill9().await;
    until("nobody's beats but its own worker's reach a gateway", async || {
        (!ours.hears_beats(&tenant).await).then_some(())
    })
    .await;
    assert!(theirs.hears_beats(&tenant).await);
    assert_eq!(redis.ask(&["acl", "log"]).await, "", "nobody tried to touch another name");
}
