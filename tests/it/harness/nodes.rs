//! An installation of several processes over production engines: api, gateway and worker nodes, each behind links that can be cut.

use std::ops::{Deref, DerefMut};

use super::{
    engines,
    postgres::{self, Database},
    processes::Engine,
    proxy::Proxy,
    rabbitmq::{self, Vhost},
    redis::{self, Redis},
    server::{Options, Server, fanfare},
    sockets::Socket,
    tenants::Tenant,
    tokens::every_right,
};

/// Engines of an installation that its nodes are started on.
#[derive(Debug)]
pub struct Production {
    /// The database.
    pub postgres: Postgres,
    /// Redis.
    pub redis: RedisAt,
    /// RabbitMQ.
    pub rabbitmq: RabbitMq,
    partitions: u16,
}

/// Where the database is.
#[derive(Debug)]
pub enum Postgres {
    /// On the server that the tests share.
    Shared(Database),
    /// On a server of its own, which may be killed.
    Private(Box<postgres::Private>),
}

/// Where the queues are.
#[derive(Debug)]
pub enum RabbitMq {
    /// On the broker that the tests share.
    Shared(Vhost),
    /// On a broker of its own, which may be killed.
    Private(Box<rabbitmq::Private>),
}

/// Where the bus is.
#[derive(Debug)]
pub enum RedisAt {
    /// On a server of its own.
    Own(Box<Redis>),
    /// At a URL that is not one server's: nodes reach it straight, without a link that can be cut.
    Url(String),
}

impl Postgres {
    /// The process of a server of its own.
    pub fn engine(&mut self) -> &mut Engine {
        match self {
            Self::Shared(_) => panic!("the tests share this server"),
            Self::Private(server) => server.engine(),
        }
    }

    /// The database on the server that the tests share.
    pub fn database(&self) -> &Database {
        match self {
            Self::Shared(database) => database,
            Self::Private(_) => panic!("the server is this test's own"),
        }
    }
}

impl RabbitMq {
    /// The process of a broker of its own.
    pub fn engine(&mut self) -> &mut Engine {
        match self {
            Self::Shared(_) => panic!("the tests share this broker"),
            Self::Private(broker) => broker.engine(),
        }
    }

    /// How to reach it, without a link between.
    pub fn url(&self) -> String {
        match self {
            Self::Shared(vhost) => vhost.url.clone(),
            Self::Private(broker) => broker.url(),
        }
    }
}

impl RedisAt {
    /// The process of a server of its own.
    pub fn engine(&mut self) -> &mut Engine {
        match self {
            Self::Own(server) => server.engine(),
            Self::Url(url) => panic!("{url} is not one server"),
        }
    }

    /// The one server.
    pub fn server(&self) -> &Redis {
        match self {
            Self::Own(server) => server,
            Self::Url(url) => panic!("{url} is not one server"),
        }
    }
}

impl Production {
    /// A database and a virtual host on the servers that the tests share, and a Redis of its own; migrated.
    pub async fn start(partitions: u16) -> Self {
        let redis = RedisAt::Own(Box::new(redis::server().await));
        Self::over(redis, partitions).await
    }

    /// The same, over another Redis.
    pub async fn over(redis: RedisAt, partitions: u16) -> Self {
        let (database, vhost) = tokio::join!(postgres::database(), rabbitmq::broker());
        let (postgres, rabbitmq) = (Postgres::Shared(database), RabbitMq::Shared(vhost));
        Self { postgres, redis, rabbitmq, partitions }.migrated().await
    }

    /// Engines that are all its own; migrated.
    pub async fn private(partitions: u16) -> Self {
        let (postgres, redis, rabbitmq) =
            tokio::join!(postgres::Private::start(), redis::server(), rabbitmq::Private::start());
        let (postgres, redis) = (Postgres::Private(Box::new(postgres)), RedisAt::Own(Box::new(redis)));
        let rabbitmq = RabbitMq::Private(Box::new(rabbitmq));
        Self { postgres, redis, rabbitmq, partitions }.migrated().await
    }

    /// What a process on these engines is told, without links between.
    pub fn env(&self) -> Vec<(&'static str, String)> {
        let urls = [self.database_url(), self.redis_url(), self.amqp_url()];
        engines::variables(&urls[0], &urls[1], &urls[2], &self.partitions.to_string())
    }

    /// Runs `fanfare` with a command on these engines and gives what it printed; it must succeed.
    pub async fn run(&self, args: &[&str]) -> String {
        let mut command = fanfare();
        command.args(args).envs(self.env());
        let ran = tokio::task::spawn_blocking(move || command.output()).await.expect("it does not panic");
        let ran = ran.expect("the binary can be started");
        let printed = [ran.stdout, ran.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        assert!(ran.status.success(), "fanfare {args:?}: {}\n{}{}", ran.status, printed[0], printed[1]);
        printed[0].clone()
    }

    /// Starts a process of one role: `api`, `gateway` or `worker`. A gateway is ready only while there is a worker.
    pub async fn node(&self, role: &'static str) -> Node {
        self.node_with(Options::role(role)).await
    }

    /// The same, with more options.
    pub async fn node_with(&self, options: Options) -> Node {
        let (database, amqp) = (self.database_url(), self.amqp_url());
        let mut links = Links {
            postgres: Proxy::start(port(&database)).await,
            rabbitmq: Proxy::start(port(&amqp)).await,
            redis: None,
        };
        let redis = match &self.redis {
            RedisAt::Url(url) => url.clone(),
            RedisAt::Own(redis) => {
                let proxy = links.redis.insert(Proxy::start(redis.port()).await);
                through(&redis.url(), proxy)
            }
        };
        let (database, amqp) = (through(&database, &links.postgres), through(&amqp, &links.rabbitmq));
        let variables = engines::variables(&database, &redis, &amqp, &self.partitions.to_string());
        let options = variables.iter().fold(options, |options, (name, value)| options.env(name, value));
        Node { server: Server::start(options).await, links }
    }

    async fn migrated(self) -> Self {
        self.run(&["migrate"]).await;
        self
    }

    fn database_url(&self) -> String {
        match &self.postgres {
            Postgres::Shared(database) => database.tcp_url.clone(),
            Postgres::Private(server) => server.tcp_url(),
        }
    }

    fn redis_url(&self) -> String {
        match &self.redis {
            RedisAt::Own(redis) => redis.url(),
            RedisAt::Url(url) => url.clone(),
        }
    }

    fn amqp_url(&self) -> String {
        self.rabbitmq.url()
    }
}

/// A process with its links to the engines; a [`Server`] in all else.
#[derive(Debug)]
pub struct Node {
    server: Server,
    /// Its links.
    pub links: Links,
}

/// One proxy for each engine.
#[derive(Debug)]
pub struct Links {
    /// To Postgres.
    pub postgres: Proxy,
    /// To RabbitMQ.
    pub rabbitmq: Proxy,
    /// To Redis, where that is one server.
    pub redis: Option<Proxy>,
}

impl Links {
    /// The link to Redis.
    pub fn redis(&self) -> &Proxy {
        self.redis.as_ref().expect("Redis is one server here")
    }
}

impl Node {
    /// The process and its links apart.
    pub fn into_parts(self) -> (Server, Links) {
        (self.server, self.links)
    }
}

impl Deref for Node {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl DerefMut for Node {
    fn deref_mut(&mut self) -> &mut Server {
        &mut self.server
    }
}

/// Two processes of each role on the same engines.
#[derive(Debug)]
pub struct Fleet {
    /// The API nodes.
    pub apis: Vec<Node>,
    /// The gateway nodes.
    pub gateways: Vec<Node>,
    /// The worker nodes.
    pub workers: Vec<Node>,
    /// What they stand on; last, so that it goes last.
    pub production: Production,
}

impl Fleet {
    /// Starts two of each with these options, and waits until all are ready.
    pub async fn start(production: Production, options: impl Fn(Options) -> Options) -> Self {
        let two = async |role| {
            let node = || production.node_with(options(Options::role(role)));
            <[Node; 2]>::from(tokio::join!(node(), node())).into()
        };
        let (apis, gateways, workers) = tokio::join!(two("api"), two("gateway"), two("worker"));
        Self { apis, gateways, workers, production }
    }

    /// Every link to one engine, of all nodes.
    pub fn links(&self, engine: fn(&Links) -> &Proxy) -> Vec<&Proxy> {
        let nodes = self.apis.iter().chain(&self.gateways).chain(&self.workers);
        nodes.map(|node| engine(&node.links)).collect()
    }

    /// Whoever signs up at the first API node.
    pub async fn tenant(&self) -> Tenant {
        Tenant::sign_up(&self.apis[0]).await
    }

    /// A connected socket of `client` at one of the gateways, with every right.
    pub async fn join(&self, tenant: &Tenant, gateway: usize, client: &str) -> Socket {
        let token = tenant.short_token(client, every_right(), 3_600.0);
        Socket::connect(self.gateways[gateway].url(), &token).await
    }
}

/// The port of 127.0.0.1 in a URL.
fn port(url: &str) -> u16 {
    let rest = url.split("127.0.0.1:").nth(1).expect("the tests' engines listen on 127.0.0.1");
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next().expect("a split has a first part");
    digits.parse().expect("a port is a number")
}

/// The same URL with the proxy's port.
fn through(url: &str, proxy: &Proxy) -> String {
    url.replace(&format!("127.0.0.1:{}", port(url)), &format!("127.0.0.1:{}", proxy.port()))
}
