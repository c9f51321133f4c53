//! What the process is told at its start.

use std::{fmt, net::SocketAddr};

use clap::{Parser, ValueEnum};
use fiorino_kit::{
    options::{AdminOptions, DatabaseOptions, KafkaOptions, TelemetryOptions, TlsOptions},
    process,
};

/// The tenant service of Fiorino: institutions' configuration, debt positions, payments
#[derive(Debug, Clone, Parser)]
#[command(name = "fiorino-tenant", version, after_help = "Also: fiorino-tenant fence allow --help")]
pub struct Options {
    /// Address of gRPC, reached by the mesh only
    #[arg(long, env = "FIORINO_LISTEN", default_value = "127.0.0.1:7000", value_name = "ADDRESS")]
    pub listen: SocketAddr,
    /// Namespace of the platform whose institutions are served
    #[arg(long, env = "FIORINO_PLATFORM", value_name = "NAMESPACE")]
    pub platform: String,
    /// pagoPA's environment
    #[arg(long, env = "FIORINO_ENVIRONMENT", value_enum)]
    pub environment: Environment,
    /// Services whose replicas must acknowledge a change, comma-separated
    #[arg(
        long,
        env = "FIORINO_EXPECTED_SERVICES",
        value_delimiter = ',',
        default_value = "node-connector,reporting,front-office",
        value_name = "NAMES"
    )]
    pub expected_services: Vec<String>,
    /// Longest wait, after a start, for a node-connector that compares its numbers with the database's, in milliseconds
    #[arg(long, env = "FIORINO_WITNESS_WAIT_MS", default_value_t = 10_000, value_name = "MILLISECONDS")]
    pub witness_wait_ms: u64,
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

/// pagoPA's environment: with the fiscal code it identifies an institution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Environment {
    /// Tests with pagoPA
    #[value(name = "Uat")]
    Uat,
    /// Real money
    #[value(name = "Production")]
    Production,
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

// === impl Environment ===

impl Environment {
    /// As written in manifests, messages and rows.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Uat => "Uat",
            Self::Production => "Production",
        }
    }
}

impl fmt::Display for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: [&str; 7] = [
        "fiorino-tenant",
        "--platform=fiorino",
        "--database-url=postgres://tenant:hunter2@db/tenant",
        "--tls-cert=c",
        "--tls-key=k",
        "--tls-ca=a",
        "--kafka-brokers=k:9092",
    ];

    #[test]
    fn environment_and_services_are_read_as_the_manifest_writes_them() {
        let more = ["--environment=Uat", "--expected-services=node-connector,front-office"];
        let options = Options::try_parse_from(LEAST.into_iter().chain(more)).unwrap();
        assert_eq!(options.environment, Environment::Uat);
        assert_eq!(options.expected_services, ["node-connector", "front-office"]);
        assert!(!fiorino_kit::options::redacted(&options).contains("hunter2"));
    }

    #[test]
    fn an_unknown_environment_is_refused_by_name() {
        let error = Options::try_parse_from(LEAST.into_iter().chain(["--environment=Test"])).unwrap_err().to_string();
        assert!(error.contains("--environment") && error.contains("Production"), "{error}");
    }
}
