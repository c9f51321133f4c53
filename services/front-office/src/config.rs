//! What the process is told at its start.

use std::{net::SocketAddr, num::NonZeroU32};

use clap::Parser;
use fiorino_kit::{
    options::{AdminOptions, DatabaseOptions, TelemetryOptions, TlsOptions},
    process,
};
use ipnet::IpNet;

/// The front-office of Fiorino: the portal on which citizens see their notices
#[derive(Debug, Clone, Parser)]
#[command(name = "fiorino-front-office", version)]
pub struct Options {
    /// Address of plain HTTP/1.1, behind whatever ends the visitors' TLS
    #[arg(long, env = "FIORINO_LISTEN", default_value = "127.0.0.1:8080", value_name = "ADDRESS")]
    pub listen: SocketAddr,
    /// Networks of the proxies that end TLS, comma-separated, e.g. `10.0.0.0/8`: from them, and from nobody else, the visitor's address
    /// is taken from `X-Forwarded-For`
    #[arg(long, env = "FIORINO_TRUSTED_PROXIES", value_delimiter = ',', value_name = "NETWORKS")]
    pub trusted_proxies: Vec<IpNet>,
    /// Notices that one visitor's address may look up in a minute; pages without a notice: ten times as many
    #[arg(long, env = "FIORINO_LOOKUPS_PER_MINUTE", default_value = "30", value_name = "COUNT")]
    pub lookups_per_minute: NonZeroU32,
    /// Replicas of tenant, comma-separated `https://host:port`
    #[arg(long, env = "FIORINO_TENANT_ENDPOINTS", value_delimiter = ',', required = true, value_name = "URLS")]
    pub tenant_endpoints: Vec<String>,
    /// Stable name of this replica: the pod's name
    #[arg(long, env = "FIORINO_REPLICA", default_value = "front-office-0", value_name = "NAME")]
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
        "fiorino-front-office",
        "--tenant-endpoints=https://t0:7000,https://t1:7000",
        "--database-url=postgres://portal:hunter2@db/portal",
        "--tls-cert=c",
        "--tls-key=k",
        "--tls-ca=a",
    ];

    #[test]
    fn nobody_is_trusted_unless_told() {
        let options = Options::try_parse_from(LEAST).unwrap();
        assert!(options.trusted_proxies.is_empty() && options.listen.ip().is_loopback());
        assert!(!fiorino_kit::options::redacted(&options).contains("hunter2"));
        let more = ["--trusted-proxies=10.0.0.0/8,fd00::/8"];
        let options = Options::try_parse_from(LEAST.into_iter().chain(more)).unwrap();
        assert_eq!(options.trusted_proxies.len(), 2);
    }

    #[rstest::rstest]
    #[case("--trusted-proxies=proxy")]
    #[case("--lookups-per-minute=0")]
    #[case("--listen=nowhere")]
    fn what_cannot_work_is_refused_at_start(#[case] argument: &str) {
        let error = Options::try_parse_from(LEAST.into_iter().chain([argument])).unwrap_err().to_string();
        assert!(error.contains(argument.split('=').next().unwrap()), "{error}");
    }
}
