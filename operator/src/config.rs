//! What the process is told at its start.

use std::{fmt, path::PathBuf};

use clap::{Parser, ValueEnum};
use fiorino_kit::{
    options::{AdminOptions, TelemetryOptions, TlsOptions},
    process,
};
use kube::{
    Client,
    config::{Config, InferConfigError, KubeConfigOptions, Kubeconfig, KubeconfigError},
};

use crate::seal::SealKey;

/// The operator of Fiorino: custom resources to configured services
#[derive(Debug, Clone, Parser)]
#[command(name = "fiorino-operator", version)]
pub struct Options {
    /// Namespace of the platform: its stations, brokers and profiles, and the Lease
    #[arg(long, env = "FIORINO_PLATFORM", value_name = "NAMESPACE")]
    pub platform: String,
    /// pagoPA's environment
    #[arg(long, env = "FIORINO_ENVIRONMENT", value_enum)]
    pub environment: Environment,
    /// Namespaces that are watched, comma-separated; the platform's is always one of them. Empty: all of the cluster
    #[arg(long, env = "FIORINO_WATCH_NAMESPACES", value_delimiter = ',', value_name = "NAMES")]
    pub watch_namespaces: Vec<String>,
    /// Domains under which institutions may have portal host names, comma-separated; empty: any
    #[arg(long, env = "FIORINO_ALLOWED_HOSTNAMES", value_delimiter = ',', value_name = "DOMAINS")]
    pub allowed_hostnames: Vec<String>,
    /// Where tenant is, comma-separated `https://host:port`
    #[arg(long, env = "FIORINO_TENANT_ENDPOINTS", value_delimiter = ',', required = true, value_name = "URLS")]
    pub tenant_endpoints: Vec<String>,
    /// Public key of the node-connector, to which subscription keys are sealed: a file, or its content (32 bytes as base64 or hex)
    #[arg(long, env = "FIORINO_SEAL_PUBLIC_KEY", value_name = "FILE|KEY")]
    pub seal_public_key: SealKey,
    /// Kubeconfig; default: KUBECONFIG, else the pod's service account
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Name of the Lease by which one replica leads
    #[arg(long, env = "FIORINO_LEASE", default_value = "fiorino-operator", value_name = "NAME")]
    pub lease: String,
    /// Institutions that are looked at, and as many that are brought to tenant, at once
    #[arg(long, env = "FIORINO_CONCURRENCY", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub concurrency: u16,
    /// How often each institution is looked at when nothing changes, in seconds, +-25 %
    #[arg(long, env = "FIORINO_RESYNC_SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub resync_seconds: u64,
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

/// Why the API server cannot be called.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// `--kubeconfig` does not work.
    #[error("failed to use the kubeconfig")]
    Kubeconfig(#[from] KubeconfigError),
    /// There is neither a kubeconfig nor a service account.
    #[error("failed to find the api server: give --kubeconfig, KUBECONFIG or a service account")]
    Infer(#[from] InferConfigError),
    /// The client could not be made.
    #[error("failed to make the client of the api server")]
    Client(#[from] kube::Error),
}

/// pagoPA's environment: with the fiscal code it identifies an institution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Environment {
    /// Tests with pagoPA: codes made for tests are let through with a warning
    #[value(name = "Uat")]
    Uat,
    /// Real money
    #[value(name = "Production")]
    Production,
}

// === impl Options ===

impl Options {
    /// The namespaces to watch, the platform's among them; empty = all.
    pub fn namespaces(&self) -> Vec<String> {
        let mut namespaces: Vec<String> =
            self.watch_namespaces.iter().filter(|name| !name.is_empty()).cloned().collect();
        if !namespaces.is_empty() {
            namespaces.push(self.platform.clone());
        }
        namespaces.sort();
        namespaces.dedup();
        namespaces
    }

    /// A client of the API server.
    ///
    /// # Errors
    /// When it cannot be found or its configuration does not work.
    pub async fn client(&self) -> Result<Client, ClientError> {
        let config = match &self.kubeconfig {
            Some(path) => {
                Config::from_custom_kubeconfig(Kubeconfig::read_from(path)?, &KubeConfigOptions::default()).await?
            }
            None => Config::infer().await?,
        };
        Ok(Client::try_from(config)?)
    }
}

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
    /// As written in messages and rows.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Uat => "Uat",
            Self::Production => "Production",
        }
    }

    /// Base URL of pagoPA's Backoffice external API for institutions (contract `openapi_backoffice_external_ec.json`, servers).
    pub const fn backoffice_url(self) -> &'static str {
        match self {
            Self::Uat => "https://api.uat.platform.pagopa.it/backoffice/external/ec/v1",
            Self::Production => "https://api.platform.pagopa.it/backoffice/external/ec/v1",
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

    const LEAST: [&str; 8] = [
        "fiorino-operator",
        "--platform=fiorino",
        "--environment=Uat",
        "--tenant-endpoints=https://tenant:7000",
        "--seal-public-key=4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742",
        "--tls-cert=c",
        "--tls-key=k",
        "--tls-ca=a",
    ];

    fn parse(more: &[&str]) -> Result<Options, clap::Error> {
        Options::try_parse_from(LEAST.iter().chain(more))
    }

    #[test]
    fn all_namespaces_unless_told_and_then_the_platforms_too() {
        assert!(parse(&[]).unwrap().namespaces().is_empty());
        assert!(parse(&["--watch-namespaces="]).unwrap().namespaces().is_empty());
        assert_eq!(parse(&["--watch-namespaces=comune,altro"]).unwrap().namespaces(), ["altro", "comune", "fiorino"]);
        assert_eq!(parse(&["--watch-namespaces=fiorino,comune"]).unwrap().namespaces(), ["comune", "fiorino"]);
    }

    #[rstest::rstest]
    #[case("--environment=uat")]
    #[case("--concurrency=0")]
    #[case("--seal-public-key=abc")]
    #[case("--resync-seconds=0")]
    fn what_cannot_work_is_refused_at_start(#[case] argument: &str) {
        let error = parse(&[argument]).unwrap_err().to_string();
        assert!(error.contains(argument.split('=').next().unwrap()), "{error}");
    }
}
