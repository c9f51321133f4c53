//! What the process is told at its start.

use std::{net::SocketAddr, path::PathBuf};

use clap::{ArgGroup, Args, Parser};
use fiorino_kit::{
    options::{AdminOptions, DatabaseOptions, TelemetryOptions, TlsOptions},
    process,
};

use crate::http::tls::MtlsFiles;

/// The node-connector of Fiorino: what the pagoPA node calls
#[derive(Debug, Clone, Parser)]
#[command(name = "fiorino-node-connector", version)]
pub struct Options {
    /// Listeners for the node
    #[command(flatten)]
    pub node: NodeOptions,
    /// Replicas of tenant, comma-separated `https://host:port`
    #[arg(long, env = "FIORINO_TENANT_ENDPOINTS", value_delimiter = ',', required = true, value_name = "URLS")]
    pub tenant_endpoints: Vec<String>,
    /// File with the key that opens what is sealed to this service: the base64 of 32 bytes
    #[arg(long, env = "FIORINO_UNSEAL_KEY", value_name = "FILE")]
    pub unseal_key: PathBuf,
    /// Stable name of this replica: the pod's name
    #[arg(long, env = "FIORINO_REPLICA", default_value = "node-connector-0", value_name = "NAME")]
    pub replica: String,
    /// Database of the service
    #[command(flatten)]
    pub database: DatabaseOptions,
    /// Identity in the mesh
    #[command(flatten)]
    pub tls: TlsOptions,
    /// Probes and metrics
    #[command(flatten)]
    pub admin: AdminOptions,
    /// Traces and logs
    #[command(flatten)]
    pub telemetry: TelemetryOptions,
}

/// Where the node calls, and how it is known.
#[derive(Debug, Clone, Args)]
#[command(group = ArgGroup::new("listener").required(true).multiple(true).args(["listen_mtls", "plain_listen"]))]
#[command(group = ArgGroup::new("clients").multiple(true).args(["node_client_ca", "node_client_pins"]))]
pub struct NodeOptions {
    /// Address of mutual TLS, reached by the pagoPA node
    #[arg(
        long,
        env = "FIORINO_LISTEN_MTLS",
        value_name = "ADDRESS",
        requires_all = ["clients", "node_cert", "node_key"]
    )]
    pub listen_mtls: Option<SocketAddr>,
    /// Address of plain HTTP, loopback only: for development
    #[arg(long, env = "FIORINO_PLAIN_LISTEN", value_name = "ADDRESS")]
    pub plain_listen: Option<SocketAddr>,
    /// PEM bundle: the node's client certificate, its authority, or several of either
    #[arg(long, env = "FIORINO_NODE_CLIENT_CA", value_name = "FILE")]
    pub node_client_ca: Option<PathBuf>,
    /// YAML list of pinned client certificates and keys with the time of each (docs/node-certificates.md)
    #[arg(long, env = "FIORINO_NODE_CLIENT_PINS", value_name = "FILE")]
    pub node_client_pins: Option<PathBuf>,
    /// Exact DNS names of which a client certificate signed by an authority of the bundle must carry one, comma-separated
    #[arg(long, env = "FIORINO_NODE_CLIENT_NAMES", value_delimiter = ',', value_name = "NAMES")]
    pub node_client_names: Vec<String>,
    /// Without names: let in every client that an authority of the bundle signed. For an authority of one's own alone
    #[arg(long, env = "FIORINO_NODE_CLIENT_ANY_NAME", conflicts_with = "node_client_names")]
    pub node_client_any_name: bool,
    /// PEM file with the certificate chain of the stations' URL, leaf first
    #[arg(long, env = "FIORINO_NODE_CERT", value_name = "FILE")]
    pub node_cert: Option<PathBuf>,
    /// PEM file with the private key of that leaf
    #[arg(long, env = "FIORINO_NODE_KEY", value_name = "FILE")]
    pub node_key: Option<PathBuf>,
}

// === impl Options ===

impl process::Options for Options {
    fn admin(&self) -> &AdminOptions {
        &self.admin
    }

    fn telemetry(&self) -> &TelemetryOptions {
        &self.telemetry
    }
}

// === impl NodeOptions ===

impl NodeOptions {
    /// Address and files of the listener for the node; `None`: there is none.
    pub(crate) fn mtls(&self) -> Option<(SocketAddr, MtlsFiles)> {
        let files = MtlsFiles {
            cert: self.node_cert.clone()?,
            key: self.node_key.clone()?,
            client_ca: self.node_client_ca.clone(),
            client_pins: self.node_client_pins.clone(),
            client_names: self.node_client_names.clone(),
            client_any_name: self.node_client_any_name,
        };
        Some((self.listen_mtls?, files))
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const LEAST: [&str; 7] = [
        "fiorino-node-connector",
        "--tenant-endpoints=https://t0:7000,https://t1:7000",
        "--unseal-key=u",
        "--database-url=postgres://node:hunter2@db/node",
        "--tls-cert=c",
        "--tls-key=k",
        "--tls-ca=a",
    ];

    fn parse(more: &[&'static str]) -> Result<Options, clap::Error> {
        Options::try_parse_from(LEAST.iter().chain(more))
    }

    #[test]
    fn both_listeners() {
        let more = [
            "--listen-mtls=0.0.0.0:8443",
            "--plain-listen=127.0.0.1:8080",
            "--node-client-ca=n",
            "--node-client-names=forwarder.platform.pagopa.it",
            "--node-cert=s",
            "--node-key=p",
        ];
        let options = parse(&more).unwrap();
        let (_, files) = options.node.mtls().unwrap();
        assert_eq!(files.client_names, ["forwarder.platform.pagopa.it"]);
        assert_eq!(options.tenant_endpoints.len(), 2);
        assert!(!fiorino_kit::options::redacted(&options).contains("hunter2"));
    }

    #[rstest]
    #[case::no_listener(&[], "--plain-listen")]
    #[case::no_certificate(&["--listen-mtls=0.0.0.0:8443"], "--node-cert")]
    #[case::no_clients(&["--listen-mtls=0.0.0.0:8443", "--node-cert=s", "--node-key=p"], "--node-client-pins")]
    #[case::both_names(&["--plain-listen=127.0.0.1:0", "--node-client-names=a", "--node-client-any-name"], "--node-client-any-name")]
    fn what_is_missing_is_named(#[case] more: &[&'static str], #[case] flag: &str) {
        let error = parse(more).unwrap_err().to_string();
        assert!(error.contains(flag), "{error}");
    }
}
