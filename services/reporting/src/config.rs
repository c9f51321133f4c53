//! What the process is told at its start.

use std::net::SocketAddr;

use clap::Parser;
use fiorino_kit::{
    options::{AdminOptions, DatabaseOptions, KafkaOptions, TelemetryOptions, TlsOptions},
    process,
};

/// The reporting service of Fiorino: payments and flows as reported
#[derive(Debug, Clone, Parser)]
#[command(name = "fiorino-reporting", version)]
pub struct Options {
    /// Address of gRPC, reached by the mesh only
    #[arg(long, env = "FIORINO_LISTEN", default_value = "127.0.0.1:7002", value_name = "ADDRESS")]
    pub listen: SocketAddr,
    /// Replicas of tenant, comma-separated `https://host:port`
    #[arg(long, env = "FIORINO_TENANT_ENDPOINTS", value_delimiter = ',', required = true, value_name = "URLS")]
    pub tenant_endpoints: Vec<String>,
    /// Stable name of this replica: the pod's name
    #[arg(long, env = "FIORINO_REPLICA", default_value = "reporting-0", value_name = "NAME")]
    pub replica: String,
    /// Database of the service
    #[command(flatten)]
    pub database: DatabaseOptions,
    /// Identity in the mesh
    #[command(flatten)]
    pub tls: TlsOptions,
    /// Where payments are told
    #[command(flatten)]
    pub kafka: KafkaOptions,
    /// Probes and metrics
    #[command(flatten)]
    pub admin: AdminOptions,
    /// Traces and logs
    #[command(flatten)]
    pub telemetry: TelemetryOptions,
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

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: [&str; 6] = [
        "fiorino-reporting",
        "--database-url=postgres://reporting:hunter2@db/reporting",
        "--tls-cert=c",
        "--tls-key=k",
        "--tls-ca=a",
        "--kafka-brokers=k:9092",
    ];

    #[test]
    fn several_replicas_of_tenant() {
        let more = ["--tenant-endpoints=https://t0:7000,https://t1:7000"];
        let options = Options::try_parse_from(LEAST.into_iter().chain(more)).unwrap();
        assert_eq!(options.tenant_endpoints, ["https://t0:7000", "https://t1:7000"]);
        assert!(!fiorino_kit::options::redacted(&options).contains("hunter2"));
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = Options::try_parse_from(LEAST).unwrap_err().to_string();
        assert!(error.contains("--tenant-endpoints"), "{error}");
    }
}
