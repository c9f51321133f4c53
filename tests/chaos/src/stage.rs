//! Where it happens: a town whose parts talk by way of proxies, with servers of its own where these are to be broken.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use fiorino_e2e::town::{Names, PATIENCE, Town};
use fiorino_rig::proxy::Proxy;
use fiorino_rig::servers::{Kafka, Listener, Mode, Postgres, Volume};
use fiorino_rig::{Kubernetes, Process, eventually, free_port, kubernetes_bin, postgres_bin, variable};
use fiorino_world::Options;
use tempfile::TempDir;
use tokio_util::task::AbortOnDropHandle;

use crate::debts::Debts;
use crate::institution;
use crate::ledger::Ledger;
use crate::load::Load;
use crate::node::Node;
use crate::visitor::{PORTAL, Visitor};

/// So that one visitor of the portal may look as often as he likes.
const LOOKUPS: &str = "--lookups-per-minute=60000";
/// Services that talk to Kafka.
const OF_KAFKA: [&str; 2] = ["tenant", "reporting"];

/// Servers of its own that a stage has; the others are those that all tests share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Own {
    /// A durable PostgreSQL.
    pub postgres: bool,
    /// Its data lie on a volume of so many megabytes.
    pub volume_mb: Option<u32>,
    /// A Kafka, which each service reaches by a proxy.
    pub kafka: bool,
    /// A Kubernetes API server.
    pub kubernetes: bool,
}

/// Three institutions of one station, all payable, and their servers. Fields are dropped in this order.
#[derive(Debug)]
pub struct Stage {
    /// The processes.
    pub town: Town,
    /// The node, whose calls are noted, as the municipality's station knows it.
    pub node: Arc<Node>,
    /// The same for each institution, the municipality first.
    pub nodes: Vec<Arc<Node>>,
    /// What it was answered.
    pub ledger: Arc<Ledger>,
    /// The servers of its own.
    pub servers: Servers,
    _stalls: AbortOnDropHandle<()>,
}

/// Servers of a stage's own.
#[derive(Debug)]
pub struct Servers {
    /// Of the databases.
    pub postgres: Option<Postgres>,
    /// Of the topics.
    pub kafka: Option<Kafka>,
    /// Of the manifests.
    pub kubernetes: Option<Kubernetes>,
    /// Of PostgreSQL's data.
    pub volume: Option<Volume>,
    /// To Kafka, by service.
    kafka_lines: BTreeMap<String, Proxy>,
    _dir: TempDir,
}

// === impl Stage ===

impl Stage {
    /// Starts everything, and waits until the municipality is payable.
    ///
    /// # Errors
    /// When a server does not start.
    pub async fn new(own: Own) -> Result<Self> {
        Self::with(own, |options, _| options).await
    }

    /// The same in a world that is other than usual.
    ///
    /// # Errors
    /// When a server does not start.
    pub async fn with(own: Own, adjust: impl FnOnce(Options, &Names) -> Options) -> Result<Self> {
        let servers = Servers::start(own).await?;
        let mut institutions = None;
        let town = Town::with(|options, names| {
            let [_, second, third] = institutions.insert(institution::of(names));
            let watching = options.watching(&second.names.namespace).watching(&third.names.namespace);
            let mut options = adjust(watching, names);
            options.proxied = true;
            options.extra_args.insert(PORTAL.to_owned(), vec![LOOKUPS.to_owned()]);
            options.database_url = servers.postgres.as_ref().map_or(options.database_url, Postgres::url);
            if let Some(kafka) = &servers.kafka {
                options.kafka_brokers.clone_from(&kafka.brokers);
            }
            if let Some(kubernetes) = &servers.kubernetes {
                options.kubeconfig.clone_from(&kubernetes.kubeconfig);
            }
            let ways = servers.kafka_lines.iter().map(|(name, proxy)| (name.clone(), proxy.address().to_string()));
            options.kafka_ways = ways.collect();
            options
        })
        .await;
        let institutions = institutions.context("the town has no names")?;
        town.apply(&institution::manifests(&institutions, town.platform())).await?;
        town.onboard().await;
        let ledger = Arc::new(Ledger::default());
        let mut nodes = Vec::new();
        for one in institutions {
            town.condition_in(&one.names.namespace, "Ready", "True").await;
            nodes.push(Arc::new(Node::new(&town.world.addresses().node_urls, one, Arc::clone(&ledger))?));
        }
        let stalls = tokio::spawn({
            let ledger = Arc::clone(&ledger);
            async move { ledger.measure_stalls().await }
        });
        let node = Arc::clone(&nodes[0]);
        Ok(Self { town, node, nodes, ledger, servers, _stalls: AbortOnDropHandle::new(stalls) })
    }

    /// People begin to pay.
    ///
    /// # Errors
    /// When no debts can be made.
    pub async fn load(&self) -> Result<Load> {
        Load::start(self.nodes.clone(), Debts::of(&self.town)?, Visitor::of(&self.town)?).await
    }

    /// Starts the operator again if it has ended, as Kubernetes would: it does when it could not renew its Lease for 10 s.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn revive_operator(&mut self) -> Result<()> {
        let world = &mut self.town.world;
        match world.process("operator")?.exited()? {
            Some(_) => world.respawn("operator", &[]),
            None => Ok(()),
        }
    }

    /// Changes the municipality's manifest and waits until every service has it: the operator works, whatever it went through.
    ///
    /// # Errors
    /// What `kubectl` complains about, and what is not ready.
    pub async fn reconfigure(&mut self) -> Result<()> {
        let manifest = self.town.names.town_manifest(self.town.platform(), "Comune di Roccafiorina Terme");
        // An API server that has just come back may not know its own definitions yet.
        eventually(PATIENCE, async || self.town.apply(&manifest).await).await?;
        let settled = eventually(PATIENCE, async || {
            self.revive_operator()?;
            self.town.as_settled().await
        });
        settled.await.context("a changed manifest does not become Ready").map(drop)
    }

    /// Who talks to whom by way of a proxy.
    pub fn lines(&self) -> Vec<(String, String)> {
        let to_kafka = self.servers.kafka_lines.keys().map(|name| (name.clone(), "kafka".to_owned()));
        self.town.world.lines().cloned().chain(to_kafka).collect()
    }

    /// The proxy between two of them.
    ///
    /// # Errors
    /// When there is none.
    pub fn line(&self, from: &str, to: &str) -> Result<&Proxy> {
        match self.servers.kafka_lines.get(from) {
            Some(proxy) if to == "kafka" => Ok(proxy),
            _ => self.town.world.line(from, to),
        }
    }
}

impl Drop for Stage {
    /// Nobody needs an orderly end, which takes seconds: what was to be seen was seen.
    fn drop(&mut self) {
        let world = &mut self.town.world;
        for name in world.names().to_vec() {
            // What has ended is ended.
            drop(world.process(&name).and_then(Process::kill));
        }
        if let Some(kafka) = &mut self.servers.kafka {
            drop(kafka.process_mut().kill());
        }
        if let Some(kubernetes) = &mut self.servers.kubernetes {
            drop(kubernetes.kill());
        }
    }
}

// === impl Servers ===

impl Servers {
    async fn start(own: Own) -> Result<Self> {
        // Open to be traversed: PostgreSQL runs as another user.
        let open = std::fs::Permissions::from_mode(0o711);
        let dir = tempfile::Builder::new().prefix("fiorino-chaos-").permissions(open).tempdir()?;
        let volume = match own.volume_mb {
            Some(size_mb) => Some(Volume::mount(&dir.path().join("volume"), size_mb).await?),
            None => None,
        };
        let ((kafka, kafka_lines), postgres, kubernetes) = tokio::try_join!(
            kafka(own.kafka, dir.path()),
            postgres(own.postgres, dir.path(), volume.as_ref()),
            kubernetes(own.kubernetes, dir.path()),
        )?;
        Ok(Self { postgres, kafka, kubernetes, volume, kafka_lines, _dir: dir })
    }
}

async fn postgres(own: bool, dir: &Path, volume: Option<&Volume>) -> Result<Option<Postgres>> {
    if !own {
        return Ok(None);
    }
    let bin = postgres_bin().context("PostgreSQL is not installed")?;
    Postgres::start_on(&bin, dir.join("postgres"), Mode::Durable, volume).await.map(Some)
}

async fn kafka(own: bool, dir: &Path) -> Result<(Option<Kafka>, BTreeMap<String, Proxy>)> {
    let mut lines = BTreeMap::new();
    if !own {
        return Ok((None, lines));
    }
    let jars = variable("FIORINO_TEST_KAFKA_JARS").context("no jars of Kafka: run `cargo xtask test`")?;
    let mut listeners = Vec::new();
    for service in OF_KAFKA {
        let port = free_port()?;
        let proxy = Proxy::before(SocketAddr::from(([127, 0, 0, 1], port))).await?;
        listeners.push(Listener { port, advertised: proxy.address().port() });
        lines.insert(service.to_owned(), proxy);
    }
    Ok((Some(Kafka::start(jars.as_ref(), dir.join("kafka"), &listeners).await?), lines))
}

async fn kubernetes(own: bool, dir: &Path) -> Result<Option<Kubernetes>> {
    if !own {
        return Ok(None);
    }
    // A process that is killed loses nothing that the kernel has: no fsync is needed.
    Kubernetes::start(&kubernetes_bin()?, dir.join("kubernetes"), false).await.map(Some)
}
