//! How each process is started.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use fiorino_rig::certs::{Identity, Mesh};
use fiorino_rig::{Spec, free_port};

use crate::databases::Urls;
use crate::ways::Ways;
use crate::{Addresses, Options};

/// A process before it runs.
#[derive(Debug)]
pub(crate) struct Planned {
    pub(crate) name: String,
    pub(crate) spec: Spec,
    /// Answers 200 when it is ready.
    pub(crate) ready_url: String,
}

/// Everything that the processes have in common.
pub(crate) struct Plan<'a> {
    pub(crate) options: &'a Options,
    pub(crate) mesh: &'a Mesh,
    pub(crate) databases: &'a BTreeMap<String, Urls>,
    pub(crate) unseal_key: &'a Path,
    pub(crate) seal_public: &'a str,
    pub(crate) ports: &'a Ports,
    pub(crate) ways: &'a Ways,
}

/// Where the processes listen.
#[derive(Debug)]
pub(crate) struct Ports {
    pub(crate) sink: u16,
    sink_http: u16,
    pub(crate) simulator: u16,
    pub(crate) tenant: u16,
    reporting: u16,
    portal: u16,
    pub(crate) node_plain: Vec<u16>,
    node_mtls: Vec<u16>,
}

// === impl Plan ===

impl Plan<'_> {
    /// Every process, in the order in which a person would name them, and where they will be.
    pub(crate) fn processes(&self) -> Result<(Vec<Planned>, Addresses)> {
        let ports = self.ports;
        let mut planned = vec![self.sink(), self.simulator(), self.tenant()?];
        for replica in 0..self.options.node_connectors {
            planned.push(self.node_connector(replica)?);
        }
        planned.extend([self.reporting()?, self.front_office()?, self.operator()?]);
        let admin_urls = planned.iter().map(|process| (process.name.clone(), process.base_url())).collect();
        let addresses = Addresses {
            node_urls: self.ways.node_urls(ports),
            node_mtls_urls: ports.node_mtls.iter().map(|port| format!("https://127.0.0.1:{port}")).collect(),
            tenant_grpc: format!("https://{}", loopback(ports.tenant)),
            reporting_grpc: format!("https://127.0.0.1:{}", ports.reporting),
            portal_port: ports.portal,
            simulator_url: format!("http://127.0.0.1:{}", ports.simulator),
            backoffice_url: format!("http://{}", self.ways.server("node-connector", "backoffice", ports.simulator)),
            otlp_endpoint: format!("http://127.0.0.1:{}", ports.sink),
            sink_url: format!("http://127.0.0.1:{}", ports.sink_http),
            database_urls: self.databases.iter().map(|(name, urls)| (name.clone(), urls.superuser.clone())).collect(),
            kafka_brokers: self.options.kafka_brokers.clone(),
            topic_prefix: self.options.topic_prefix.clone(),
            kubeconfig: self.options.kubeconfig.clone(),
            admin_urls,
        };
        Ok((planned, addresses))
    }

    /// Brings the schema of each service up to date, by its own command.
    pub(crate) fn migrations(&self) -> Vec<(String, Spec)> {
        let owners = self.databases.iter().map(|(service, urls)| {
            let name = format!("{service}-migrate");
            let log = self.options.run_dir.join(format!("{name}.log"));
            let program = self.options.bin_dir.join(format!("fiorino-{service}"));
            let spec = Spec::new(program, log).dir(&self.options.run_dir).arg("migrate").args([
                flag("database-migration-url", &urls.owner),
                flag("log-format", "json"),
                flag("log-filter", &self.options.log_filter),
            ]);
            (service.clone(), spec)
        });
        owners.collect()
    }

    fn sink(&self) -> Planned {
        let ports = self.ports;
        let mut spec = self
            .spec("otlp-sink", "fiorino-otlp-sink")
            .args([flag("listen-grpc", loopback(ports.sink)), flag("listen-http", loopback(ports.sink_http))]);
        if let Some(zipkin) = &self.options.forward_traces {
            spec = spec.arg(flag("forward-zipkin", format!("{zipkin}/api/v2/spans")));
        }
        Planned::new("otlp-sink", spec, format!("http://127.0.0.1:{}/healthz", ports.sink_http))
    }

    fn simulator(&self) -> Planned {
        let ports = self.ports;
        let node = self.mesh.node_client();
        let spec = self.spec("simulator", "fiorino-simulator").arg("serve").args([
            flag("listen", loopback(ports.simulator)),
            flag("receipt-retry-ms", self.options.receipt_retry_ms),
            flag("client-cert", node.cert.display()),
            flag("client-key", node.key.display()),
            flag("station-ca", node.ca.display()),
        ]);
        Planned::new("simulator", spec, format!("http://127.0.0.1:{}/healthz", ports.simulator))
    }

    fn tenant(&self) -> Result<Planned> {
        let spec = self.spec("tenant", "fiorino-tenant").args([
            flag("listen", loopback(self.ports.tenant)),
            flag("platform", &self.options.platform),
            flag("environment", &self.options.environment),
            flag("expected-services", "node-connector,reporting,front-office"),
        ]);
        let spec = self.with_database(self.with_kafka(spec, "tenant"), "tenant", "tenant")?;
        self.in_mesh("tenant", "tenant", spec)
    }

    fn node_connector(&self, replica: usize) -> Result<Planned> {
        let (ports, name) = (self.ports, node_connector(replica));
        let server = self.mesh.node_server();
        let spec = self.spec(&name, "fiorino-node-connector").args([
            flag("plain-listen", loopback(ports.node_plain[replica])),
            flag("listen-mtls", loopback(ports.node_mtls[replica])),
            flag("tenant-endpoints", self.tenant_url(&name)),
            flag("replica", &name),
            flag("node-client-ca", server.ca.display()),
            flag("node-client-names", "node"),
            flag("node-cert", server.cert.display()),
            flag("node-key", server.key.display()),
            flag("unseal-key", self.unseal_key.display()),
        ]);
        let spec = self.with_database(spec, &name, "node-connector")?;
        self.in_mesh(&name, "node-connector", spec)
    }

    fn reporting(&self) -> Result<Planned> {
        let spec = self.spec("reporting", "fiorino-reporting").args([
            flag("listen", loopback(self.ports.reporting)),
            flag("tenant-endpoints", self.tenant_url("reporting")),
            flag("replica", "reporting-1"),
        ]);
        let spec = self.with_database(self.with_kafka(spec, "reporting"), "reporting", "reporting")?;
        self.in_mesh("reporting", "reporting", spec)
    }

    fn front_office(&self) -> Result<Planned> {
        let spec = self.spec("front-office", "fiorino-front-office").args([
            flag("listen", loopback(self.ports.portal)),
            flag("tenant-endpoints", self.tenant_url("front-office")),
            flag("replica", "front-office-1"),
        ]);
        let spec = self.with_database(spec, "front-office", "front-office")?;
        self.in_mesh("front-office", "front-office", spec)
    }

    fn operator(&self) -> Result<Planned> {
        let mut spec = self
            .spec("operator", "fiorino-operator")
            .args([
                flag("tenant-endpoints", self.tenant_url("operator")),
                flag("platform", &self.options.platform),
                flag("environment", &self.options.environment),
                flag("seal-public-key", self.seal_public),
            ])
            .env("KUBECONFIG", self.ways.kubeconfig.as_ref().unwrap_or(&self.options.kubeconfig));
        if !self.options.watch_namespaces.is_empty() {
            spec = spec.arg(flag("watch-namespaces", self.options.watch_namespaces.join(",")));
        }
        self.in_mesh("operator", "operator", spec)
    }

    fn spec(&self, name: &str, binary: &str) -> Spec {
        let log = self.options.run_dir.join(format!("{name}.log"));
        let spec = Spec::new(self.options.bin_dir.join(binary), log).dir(&self.options.run_dir);
        spec.args(self.options.extra_args.get(name).into_iter().flatten())
    }

    fn tenant_url(&self, from: &str) -> String {
        format!("https://{}", self.ways.server(from, "tenant", self.ports.tenant))
    }

    fn with_kafka(&self, spec: Spec, service: &str) -> Spec {
        spec.args([
            flag("kafka-brokers", self.options.kafka_ways.get(service).unwrap_or(&self.options.kafka_brokers)),
            flag("kafka-topic-prefix", &self.options.topic_prefix),
        ])
    }

    fn with_database(&self, spec: Spec, process: &str, service: &str) -> Result<Spec> {
        let urls = self.databases.get(service).with_context(|| format!("{service} has no database"))?;
        Ok(spec.arg(flag("database-url", self.ways.database_url(process, &urls.runtime))))
    }

    /// Identity, probes and telemetry: the same for every service.
    fn in_mesh(&self, name: &str, identity: &str, spec: Spec) -> Result<Planned> {
        let Identity { cert, key, ca } = self.mesh.identity(identity);
        let admin = free_port()?;
        let spec = spec.args([
            flag("tls-cert", cert.display()),
            flag("tls-key", key.display()),
            flag("tls-ca", ca.display()),
            flag("admin-listen", loopback(admin)),
            flag("otlp-endpoint", format!("http://{}", self.ways.server(name, "telemetry", self.ports.sink))),
            flag("trace-ratio", &self.options.trace_ratio),
            flag("log-format", "json"),
            flag("log-filter", &self.options.log_filter),
        ]);
        Ok(Planned::new(name, spec, format!("http://127.0.0.1:{admin}/readyz")))
    }
}

// === impl Planned ===

impl Planned {
    fn new(name: &str, spec: Spec, ready_url: String) -> Self {
        Self { name: name.to_owned(), spec, ready_url }
    }

    fn base_url(&self) -> String {
        self.ready_url.rsplit_once('/').map(|(base, _)| base.to_owned()).unwrap_or_default()
    }
}

// === impl Ports ===

impl Ports {
    pub(crate) fn reserve(node_connectors: usize) -> Result<Self> {
        let several = || (0..node_connectors).map(|_| free_port()).collect::<Result<Vec<u16>>>();
        Ok(Self {
            sink: free_port()?,
            sink_http: free_port()?,
            simulator: free_port()?,
            tenant: free_port()?,
            reporting: free_port()?,
            portal: free_port()?,
            node_plain: several()?,
            node_mtls: several()?,
        })
    }
}

/// Name of a replica of the node-connector, counted from 0.
pub(crate) fn node_connector(replica: usize) -> String {
    format!("node-connector-{}", replica + 1)
}

fn flag(name: &str, value: impl std::fmt::Display) -> String {
    format!("--{name}={value}")
}

pub(crate) fn loopback(port: u16) -> String {
    format!("127.0.0.1:{port}")
}
