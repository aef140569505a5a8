//! Where faults strike: the processes of a fleet, its engines and the links between.

use std::{fs, path::Path, time::Duration};

use futures::future::join_all;
use tokio::sync::Mutex;

use super::{
    faults::{Fault, Kind, Target},
    stage::pass,
};
use crate::harness::{
    nodes::{Fleet, Links, Postgres, Production, RabbitMq, RedisAt},
    processes::Engine,
    proxy::Proxy,
    server::Server,
};

/// All that faults can be made to.
pub struct Targets {
    apis: Vec<Mutex<Server>>,
    gateways: Vec<Mutex<Server>>,
    workers: Vec<Mutex<Server>>,
    links: Vec<Links>,
    postgres: Mutex<Postgres>,
    redis: Mutex<RedisAt>,
    rabbitmq: Mutex<RabbitMq>,
    /// How long what comes back by itself is away.
    away: Duration,
}

impl Targets {
    /// Takes a fleet apart.
    pub fn new(fleet: Fleet, away: Duration) -> Self {
        let mut links = Vec::new();
        let [apis, gateways, workers] = [fleet.apis, fleet.gateways, fleet.workers].map(|nodes| {
            let (servers, their): (Vec<_>, Vec<_>) = nodes.into_iter().map(|node| node.into_parts()).unzip();
            links.extend(their);
            servers.into_iter().map(Mutex::new).collect()
        });
        let Production { postgres, redis, rabbitmq, .. } = fleet.production;
        let (postgres, redis, rabbitmq) = (Mutex::new(postgres), Mutex::new(redis), Mutex::new(rabbitmq));
        Self { apis, gateways, workers, links, postgres, redis, rabbitmq, away }
    }

    /// Makes faults at once, and returns when what comes back by itself has come back.
    pub async fn strike(&self, faults: &[Fault]) {
        join_all(faults.iter().map(|fault| self.strike_one(*fault))).await;
    }

    /// Starts again what was ended.
    pub async fn heal(&self, faults: &[Fault]) {
        join_all(faults.iter().map(|fault| self.heal_one(*fault))).await;
    }

    /// Keeps what the nodes logged.
    pub async fn keep_logs(&self, folder: &Path) {
        fs::create_dir_all(folder).expect("the folder can be made");
        for (role, nodes) in [("api", &self.apis), ("gateway", &self.gateways), ("worker", &self.workers)] {
            for (n, node) in nodes.iter().enumerate() {
                let log = node.lock().await.stderr();
                fs::write(folder.join(format!("{role}-{n}.log")), log).expect("the log can be kept");
            }
        }
    }

    async fn strike_one(&self, fault: Fault) {
        match fault.target {
            _ if fault.is_link() => self.strike_link(fault).await,
            Target::Postgres => self.strike_engine(fault.kind, self.postgres.lock().await.engine()).await,
            Target::Redis => self.strike_engine(fault.kind, self.redis.lock().await.engine()).await,
            Target::RabbitMq => self.strike_engine(fault.kind, self.rabbitmq.lock().await.engine()).await,
            Target::Api | Target::Gateway | Target::Worker => self.strike_node(fault).await,
        }
    }

    async fn heal_one(&self, fault: Fault) {
        if !matches!(fault.kind, Kind::Terminate | Kind::Kill) {
            return;
        }
        match fault.target {
            Target::Postgres => self.postgres.lock().await.engine().restart().await,
            Target::Redis => self.redis.lock().await.engine().restart().await,
            Target::RabbitMq => self.rabbitmq.lock().await.engine().restart().await,
            Target::Api | Target::Gateway | Target::Worker => self.node(fault).lock().await.restart().await,
        }
    }

    async fn strike_node(&self, fault: Fault) {
        let mut node = self.node(fault).lock().await;
        match fault.kind {
            Kind::Terminate => {
                let status = node.terminate().await;
                assert!(status.success(), "{fault:?}: {status}\n{}", node.stderr());
            }
            Kind::Kill => node.kill9().await,
            Kind::Stop | Kind::Cut | Kind::Stall => {
                node.stop();
                pass(self.away).await;
                node.cont();
            }
        }
    }

    async fn strike_engine(&self, kind: Kind, engine: &mut Engine) {
        match kind {
            Kind::Terminate => engine.terminate().await,
            Kind::Kill => engine.kill9().await,
            Kind::Stop | Kind::Cut | Kind::Stall => {
                engine.stop();
                pass(self.away).await;
                engine.cont();
            }
        }
    }

    async fn strike_link(&self, fault: Fault) {
        let link = self.link(fault);
        if fault.kind == Kind::Cut {
            link.cut()
        } else {
            link.stall()
        }
        pass(self.away).await;
        link.restore();
    }

    fn node(&self, fault: Fault) -> &Mutex<Server> {
        match fault.target {
            Target::Api => &self.apis[fault.node],
            Target::Gateway => &self.gateways[fault.node],
            _ => &self.workers[fault.node],
        }
    }

    fn link(&self, fault: Fault) -> &Proxy {
        let links = &self.links[fault.node];
        match fault.target {
            Target::Postgres => &links.postgres,
            Target::RabbitMq => &links.rabbitmq,
            _ => links.redis(),
        }
    }
}
