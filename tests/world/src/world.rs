//! The processes while they run.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use fiorino_rig::certs::{Mesh, write_secret};
use fiorino_rig::proxy::Proxy;
use fiorino_rig::{Process, free_port, workspace_root};

use crate::command::run;
use crate::processes::{Plan, Planned, Ports};
use crate::ways::{Way, Ways};
use crate::{Options, databases};

/// A busy machine with two cores needs a while; a process that ends is noticed at once.
const READY_DEADLINE: Duration = Duration::from_mins(1);

/// Where everything is.
#[derive(Debug, Clone)]
pub struct Addresses {
    /// Plain listeners of the node-connectors: `http://127.0.0.1:port`; a station's URL is `<this>/node/v1/{stationId}`.
    pub node_urls: Vec<String>,
    /// Their mTLS listeners, for the node's certificate.
    pub node_mtls_urls: Vec<String>,
    /// Tenant's gRPC, server name `tenant`.
    pub tenant_grpc: String,
    /// Reporting's gRPC, server name `reporting`.
    pub reporting_grpc: String,
    /// Port of the portal on loopback: `http://<host name of an institution>:<port>`.
    pub portal_port: u16,
    /// The simulated node: control API and Backoffice external API.
    pub simulator_url: String,
    /// The same as the node-connectors reach its Backoffice external API.
    pub backoffice_url: String,
    /// OTLP over gRPC.
    pub otlp_endpoint: String,
    /// What the OTLP sink has received.
    pub sink_url: String,
    /// By service, as superuser.
    pub database_urls: BTreeMap<String, String>,
    /// `host:port`
    pub kafka_brokers: String,
    /// Put before the names of topics.
    pub topic_prefix: String,
    /// Of the API server's administrator.
    pub kubeconfig: PathBuf,
    /// By process: `/livez`, `/readyz` and `/metrics` of the services.
    pub admin_urls: BTreeMap<String, String>,
}

/// A running Fiorino. Dropping it ends it.
#[derive(Debug)]
pub struct World {
    options: Options,
    addresses: Addresses,
    mesh: Mesh,
    ways: Ways,
    planned: BTreeMap<String, Planned>,
    running: BTreeMap<String, Process>,
    names: Vec<String>,
    ended: bool,
}

// === impl World ===

impl World {
    /// Makes databases, certificates, definitions and the platform's namespace, starts every process and waits until all are ready.
    ///
    /// # Errors
    /// What failed, with the end of the log of the process in question.
    pub async fn start(options: Options) -> Result<Self> {
        let mut world = Self::spawn(options).await?;
        // They all start at the same time; only the waiting is in order.
        for name in world.names.clone() {
            world.wait_ready(&name).await?;
        }
        Ok(world)
    }

    async fn spawn(options: Options) -> Result<Self> {
        let certs = options.run_dir.join("certs");
        fs_err::create_dir_all(&certs)?;
        let mesh = Mesh::at(&certs)?;
        let sealing = crypto_box::SecretKey::generate(&mut crypto_box::aead::OsRng);
        let unseal_key = certs.join("unseal.key");
        write_secret(&unseal_key, &STANDARD.encode(sealing.to_bytes()))?;
        let (databases, ()) = tokio::try_join!(databases::create(&options), prepare_cluster(&options))?;
        let ports = Ports::reserve(options.node_connectors)?;
        let ways = if options.proxied { Ways::by_proxy(&options, &ports).await? } else { Ways::default() };
        let plan = Plan {
            options: &options,
            mesh: &mesh,
            databases: &databases,
            unseal_key: &unseal_key,
            seal_public: &STANDARD.encode(sealing.public_key().as_bytes()),
            ports: &ports,
            ways: &ways,
        };
        let (planned, addresses) = plan.processes()?;
        let (outside, planned): (Vec<Planned>, Vec<Planned>) =
            planned.into_iter().partition(|process| options.outside.contains(&process.name));
        for process in outside {
            fs_err::write(options.run_dir.join(format!("{}.sh", process.name)), process.spec.script())?;
        }
        let names: Vec<String> = planned.iter().map(|process| process.name.clone()).collect();
        let (none, nothing) = (BTreeMap::new(), BTreeMap::new());
        let mut world = Self { options, addresses, mesh, ways, planned: none, running: nothing, names, ended: false };
        for process in planned {
            // Inserted one by one: should a later one fail, the drop ends the earlier ones.
            world.running.insert(process.name.clone(), Process::spawn(&process.spec)?);
            world.planned.insert(process.name.clone(), process);
        }
        Ok(world)
    }

    /// Where everything is.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Certificates: `mesh().identity("dev")`, `mesh().node_client()`.
    pub fn mesh(&self) -> &Mesh {
        &self.mesh
    }

    /// What it was made from.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Names of the processes.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// A process, to be signalled, stopped or killed.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn process(&mut self, name: &str) -> Result<&mut Process> {
        self.running.get_mut(name).with_context(|| format!("no process is called {name}"))
    }

    /// Every process with its name.
    pub fn processes(&self) -> impl Iterator<Item = (&str, &Process)> {
        self.names.iter().filter_map(|name| self.running.get(name).map(|process| (name.as_str(), process)))
    }

    /// Ends a process if it runs and starts it again as it was started first, on the same ports; waits until it is ready.
    ///
    /// # Errors
    /// When it does not become ready.
    pub async fn restart(&mut self, name: &str) -> Result<()> {
        self.respawn(name, &[])?;
        self.wait_ready(name).await
    }

    /// The same with more variables in its environment, and waits for nothing.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn respawn(&mut self, name: &str, environment: &[(&str, &str)]) -> Result<()> {
        self.process(name)?.stop()?;
        let planned = self.planned.get(name).with_context(|| format!("no process is called {name}"))?;
        let spec = environment.iter().fold(planned.spec.clone(), |spec, (key, value)| spec.env(key, value));
        self.running.insert(name.to_owned(), Process::spawn(&spec)?);
        Ok(())
    }

    /// Who connects to whom by way of a proxy: `("node-connector-1", "database")`.
    pub fn lines(&self) -> impl Iterator<Item = &Way> {
        self.ways.lines()
    }

    /// The proxy between two parts.
    ///
    /// # Errors
    /// When there is none.
    pub fn line(&self, from: &str, to: &str) -> Result<&Proxy> {
        self.ways.line(from, to)
    }

    /// Starts one more process like another, under a name, probes and a log of its own and with other flags; waits until it is ready.
    ///
    /// # Errors
    /// When there is none like that, or it does not become ready.
    pub async fn start_another(&mut self, like: &str, name: &str, flags: &[(&str, &str)]) -> Result<()> {
        let planned = self.planned.get(like).with_context(|| format!("no process is called {like}"))?;
        let admin = free_port()?;
        let spec = planned.spec.clone().log(self.options.run_dir.join(format!("{name}.log")));
        let spec = spec.flag("admin-listen", format!("127.0.0.1:{admin}"));
        let spec = flags.iter().fold(spec, |spec, (flag, value)| spec.flag(flag, value));
        let planned = Planned { name: name.to_owned(), spec, ready_url: format!("http://127.0.0.1:{admin}/readyz") };
        self.running.insert(name.to_owned(), Process::spawn(&planned.spec)?);
        self.planned.insert(name.to_owned(), planned);
        self.names.push(name.to_owned());
        self.wait_ready(name).await
    }

    /// Waits until a process answers that it is ready.
    ///
    /// # Errors
    /// When it ends or the deadline passes.
    pub async fn wait_ready(&mut self, name: &str) -> Result<()> {
        let planned = self.planned.get(name).with_context(|| format!("no process is called {name}"))?;
        let process = self.running.get_mut(name).with_context(|| format!("no process is called {name}"))?;
        ready(process, &planned.ready_url).await
    }

    /// Runs `kubectl` against the API server.
    ///
    /// # Errors
    /// What `kubectl` complains about.
    pub async fn kubectl(&self, args: &[&str], input: &str) -> Result<String> {
        kubectl(&self.options, args, input).await
    }

    /// Ends everything and removes databases and roles. Logs stay.
    ///
    /// # Errors
    /// When PostgreSQL is away.
    pub async fn stop(mut self) -> Result<()> {
        self.stop_processes();
        self.ended = true;
        databases::remove(&self.options).await
    }

    /// What the processes logged last, for the test that fails.
    #[expect(clippy::print_stderr, reason = "a failing test shows what its processes said")]
    fn last_words(&self) {
        for (name, process) in self.processes() {
            eprintln!("--- {name}\n{}", process.log_tail(15));
        }
    }

    /// The sink goes last: it takes the others' last words.
    fn stop_processes(&mut self) {
        let sink = self.running.remove("otlp-sink");
        std::thread::scope(|scope| {
            for (_, process) in std::mem::take(&mut self.running) {
                scope.spawn(|| drop(process));
            }
        });
        drop(sink);
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.last_words();
        }
        self.stop_processes();
        if self.ended {
            return;
        }
        let options = self.options.clone();
        // A runtime of its own: the test's is busy running this very drop, or gone.
        let remover = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(databases::remove(&options))
        });
        drop(remover.join());
    }
}

/// Installs the definitions and makes the platform's namespace.
async fn prepare_cluster(options: &Options) -> Result<()> {
    let templates = workspace_root().join("charts/fiorino-crds/templates").display().to_string();
    // Forced: another world may have applied the same.
    kubectl(options, &["apply", "--server-side", "--force-conflicts", "--filename", &templates], "").await?;
    let namespace = format!(
        "{{\"apiVersion\": \"v1\", \"kind\": \"Namespace\", \"metadata\": {{\"name\": \"{}\"}}}}",
        options.platform
    );
    kubectl(options, &["apply", "--server-side", "--filename", "-"], &namespace).await?;
    // The definitions alone: what else the chart brings is never established.
    kubectl(options, &["wait", "--for=condition=established", "--timeout=30s", "crd", "--all"], "").await.map(drop)
}

async fn kubectl(options: &Options, args: &[&str], input: &str) -> Result<String> {
    let kubeconfig = format!("--kubeconfig={}", options.kubeconfig.display());
    run(&options.kubectl, &[&[kubeconfig.as_str()], args].concat(), input).await
}

async fn ready(process: &mut Process, url: &str) -> Result<()> {
    // A second call finds the provider installed: that is what is wanted.
    rustls::crypto::ring::default_provider().install_default().unwrap_or_default();
    let client = reqwest::Client::builder().timeout(Duration::from_secs(2)).build()?;
    let answers = async || {
        let response = client.get(url).send().await?;
        anyhow::ensure!(response.status().is_success(), "{}", response.text().await?.trim());
        Ok(())
    };
    process.wait_ready(READY_DEADLINE, answers).await
}
