//! What a world is made from.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use fiorino_rig::{binary, postgres_bin, variable};

/// The given servers and the world's own names on them.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the binaries are.
    pub bin_dir: PathBuf,
    /// Where logs and certificates go; must exist.
    pub run_dir: PathBuf,
    /// PostgreSQL, as superuser, any database.
    pub database_url: String,
    /// Servers of their own, as superuser, by service; the others' databases are on the one above.
    pub database_servers: BTreeMap<String, String>,
    /// `host:port` of Kafka.
    pub kafka_brokers: String,
    /// The same for services that reach it in another way, by name of the service.
    pub kafka_ways: BTreeMap<String, String>,
    /// Of the API server's administrator.
    pub kubeconfig: PathBuf,
    /// The `kubectl` to call.
    pub kubectl: PathBuf,
    /// Where `psql` is.
    pub postgres_bin: PathBuf,
    /// Put before the names of databases and roles.
    pub database_prefix: String,
    /// Put before the names of topics.
    pub topic_prefix: String,
    /// Namespace of the platform: made by the world.
    pub platform: String,
    /// pagoPA's environment: `Uat` or `Production`.
    pub environment: String,
    /// Namespaces that the operator watches; none = all.
    pub watch_namespaces: Vec<String>,
    /// Replicas of the node-connector.
    pub node_connectors: usize,
    /// Zipkin's base URL, for the OTLP sink to forward traces to.
    pub forward_traces: Option<String>,
    /// Time between the simulated node's attempts to deliver a receipt, in milliseconds.
    pub receipt_retry_ms: u64,
    /// Part of the traces that is kept, 0 to 1.
    pub trace_ratio: String,
    /// `tracing` directives of every process.
    pub log_filter: String,
    /// Every two parts that talk to each other do it by way of a proxy ([`crate::World::line`]), but for Kafka's clients.
    pub proxied: bool,
    /// Processes that somebody else starts, by `<run_dir>/<name>.sh`.
    pub outside: Vec<String>,
    /// More arguments, by name of the process.
    pub extra_args: BTreeMap<String, Vec<String>>,
}

// === impl Options ===

impl Options {
    /// A world on given servers, with names of its own: nothing collides with another world's.
    ///
    /// # Errors
    /// When PostgreSQL's programs are not on this host.
    pub fn unique(
        bin_dir: PathBuf,
        run_dir: PathBuf,
        database_url: String,
        kafka_brokers: String,
        kubeconfig: PathBuf,
    ) -> Result<Self> {
        let id = uuid::Uuid::new_v4().simple().to_string();
        let id = &id[..12];
        let platform = format!("platform-{id}");
        Ok(Self {
            bin_dir,
            run_dir,
            database_url,
            database_servers: BTreeMap::new(),
            kafka_brokers,
            kafka_ways: BTreeMap::new(),
            kubeconfig,
            kubectl: "kubectl".into(),
            postgres_bin: postgres_bin().context("PostgreSQL is not installed")?,
            database_prefix: format!("w{id}_"),
            topic_prefix: format!("w{id}."),
            watch_namespaces: vec![platform.clone()],
            platform,
            environment: "Uat".to_owned(),
            node_connectors: 2,
            forward_traces: None,
            receipt_retry_ms: 1_000,
            trace_ratio: "1.0".to_owned(),
            log_filter: "info".to_owned(),
            proxied: false,
            outside: Vec::new(),
            extra_args: BTreeMap::new(),
        })
    }

    /// A world of a test, on the servers that `cargo xtask test` has started.
    ///
    /// # Errors
    /// When it was not `cargo xtask test` that started the test.
    pub fn for_test(run_dir: PathBuf) -> Result<Self> {
        let required =
            |name: &str| variable(name).with_context(|| format!("{name} is not set: run `cargo xtask test`"));
        let tenant = binary("fiorino-tenant")?;
        let bin_dir = tenant.parent().context("a binary lies in a directory")?.to_owned();
        Self::unique(
            bin_dir,
            run_dir,
            required("FIORINO_TEST_DATABASE_URL")?,
            required("FIORINO_TEST_KAFKA")?,
            required("FIORINO_TEST_KUBECONFIG")?.into(),
        )
    }

    /// Also watches a namespace of an institution.
    #[must_use]
    pub fn watching(mut self, namespace: impl Into<String>) -> Self {
        self.watch_namespaces.push(namespace.into());
        self
    }
}
