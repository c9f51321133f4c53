//! By which way each part reaches the others: straight, or by a proxy of its own.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use fiorino_rig::proxy::Proxy;

use crate::Options;
use crate::processes::{Ports, loopback, node_connector};

/// Who connects to whom.
pub type Way = (String, String);

/// The proxies, if there are any.
#[derive(Debug, Default)]
pub(crate) struct Ways {
    proxies: BTreeMap<Way, Proxy>,
    /// The operator's, by way of its proxy.
    pub(crate) kubeconfig: Option<PathBuf>,
}

// === impl Ways ===

impl Ways {
    /// A proxy between every two parts that talk to each other.
    pub(crate) async fn by_proxy(options: &Options, ports: &Ports) -> Result<Self> {
        let mut ways = Self::default();
        let connectors: Vec<String> = (0..options.node_connectors).map(node_connector).collect();
        for (name, port) in connectors.iter().zip(&ports.node_plain) {
            ways.add("node", name, local(*port)).await?;
        }
        for from in connectors.iter().map(String::as_str).chain(["reporting", "front-office", "operator"]) {
            ways.add(from, "tenant", local(ports.tenant)).await?;
        }
        for from in connectors.iter().map(String::as_str).chain(["tenant", "reporting", "front-office"]) {
            let server = options.database_servers.get(from).unwrap_or(&options.database_url);
            let (proxy, _) = Proxy::before_url(server).await?;
            ways.proxies.insert(way(from, "database"), proxy);
        }
        for from in connectors.iter().map(String::as_str).chain(["tenant", "reporting", "front-office", "operator"]) {
            ways.add(from, "telemetry", local(ports.sink)).await?;
        }
        ways.add("node-connector", "backoffice", local(ports.simulator)).await?;
        ways.kubeconfig = Some(ways.add_kubernetes(options).await?);
        Ok(ways)
    }

    async fn add(&mut self, from: &str, to: &str, target: SocketAddr) -> Result<()> {
        self.proxies.insert(way(from, to), Proxy::before(target).await?);
        Ok(())
    }

    async fn add_kubernetes(&mut self, options: &Options) -> Result<PathBuf> {
        let text = fs_err::read_to_string(&options.kubeconfig)?;
        let (_, rest) = text.split_once("https://").context("the kubeconfig names no server")?;
        let server = rest.split(|c: char| c != '.' && c != ':' && !c.is_ascii_digit()).next().unwrap_or_default();
        let (proxy, _) = Proxy::before_url(&format!("https://{server}")).await?;
        let kubeconfig = options.run_dir.join("kubeconfig-by-proxy");
        fs_err::write(&kubeconfig, text.replace(server, &proxy.address().to_string()))?;
        self.proxies.insert(way("operator", "kubernetes"), proxy);
        Ok(kubeconfig)
    }

    pub(crate) fn lines(&self) -> impl Iterator<Item = &Way> {
        self.proxies.keys()
    }

    pub(crate) fn line(&self, from: &str, to: &str) -> Result<&Proxy> {
        self.proxies.get(&way(from, to)).with_context(|| format!("there is no proxy from {from} to {to}"))
    }

    /// `host:port` at which `from` reaches `to`, which listens on `port`.
    pub(crate) fn server(&self, from: &str, to: &str, port: u16) -> String {
        self.line(from, to).map_or_else(|_| loopback(port), |proxy| proxy.address().to_string())
    }

    /// The URL as a process uses it.
    pub(crate) fn database_url(&self, from: &str, url: &str) -> String {
        let Ok(proxy) = self.line(from, "database") else { return url.to_owned() };
        let server = url.rsplit_once('@').and_then(|(_, rest)| rest.split('/').next()).unwrap_or_default();
        url.replace(&format!("@{server}/"), &format!("@{}/", proxy.address()))
    }

    /// Plain listeners of the node-connectors, as the node reaches them.
    pub(crate) fn node_urls(&self, ports: &Ports) -> Vec<String> {
        let server = |(replica, port): (usize, &u16)| self.server("node", &node_connector(replica), *port);
        ports.node_plain.iter().enumerate().map(|at| format!("http://{}", server(at))).collect()
    }
}

fn way(from: &str, to: &str) -> Way {
    (from.to_owned(), to.to_owned())
}

fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}
