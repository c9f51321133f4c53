//! Flag groups that every process shares: clap with `FIORINO_*` environment variables, read once, printed redacted.
//!
//! A process flattens the groups it needs into its own `Options` and logs [`redacted`] of them at start.

use std::{fmt, net::SocketAddr, path::PathBuf, str::FromStr, time::Duration};

use clap::{Args, ValueEnum};
use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::PgConnectOptions;

/// Where the service's own PostgreSQL database is and how much of it may be used.
#[derive(Debug, Clone, Args)]
pub struct DatabaseOptions {
    /// Connection URL of the runtime role, e.g. `postgres://tenant:secret@db/tenant`
    #[arg(long, env = "FIORINO_DATABASE_URL", value_name = "URL")]
    pub database_url: DatabaseUrl,
    /// Largest number of connections of one pool (there is a pool per class of work)
    #[arg(long, env = "FIORINO_DATABASE_POOL_MAX", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub database_pool_max: u32,
    /// Longest wait for a free connection, in milliseconds
    #[arg(long, env = "FIORINO_DATABASE_ACQUIRE_TIMEOUT_MS", default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    pub database_acquire_timeout_ms: u64,
    /// Longest run of one statement, in milliseconds; the server cancels it
    #[arg(long, env = "FIORINO_DATABASE_STATEMENT_TIMEOUT_MS", default_value_t = 5_000, value_parser = clap::value_parser!(u64).range(1..=600_000))]
    pub database_statement_timeout_ms: u64,
}

/// A PostgreSQL URL that was parsed once and never prints its password.
#[derive(Clone)]
pub struct DatabaseUrl(SecretString);

/// The process's identity in the mesh.
#[derive(Debug, Clone, Args)]
pub struct TlsOptions {
    /// PEM file with the certificate chain, leaf first
    #[arg(long, env = "FIORINO_TLS_CERT", value_name = "FILE")]
    pub tls_cert: PathBuf,
    /// PEM file with the private key of the leaf
    #[arg(long, env = "FIORINO_TLS_KEY", value_name = "FILE")]
    pub tls_key: PathBuf,
    /// PEM file with the certificate authorities of the mesh
    #[arg(long, env = "FIORINO_TLS_CA", value_name = "FILE")]
    pub tls_ca: PathBuf,
}

/// The port of probes and metrics; never reachable from outside the cluster.
#[derive(Debug, Clone, Args)]
pub struct AdminOptions {
    /// Address of `/livez`, `/readyz` and `/metrics`
    #[arg(long, env = "FIORINO_ADMIN_LISTEN", default_value = "127.0.0.1:9090", value_name = "ADDRESS")]
    pub admin_listen: SocketAddr,
}

/// What is told about the process, and to whom.
#[derive(Debug, Clone, Args)]
pub struct TelemetryOptions {
    /// OTLP gRPC endpoint for traces and metrics, e.g. `http://collector:4317`; absent: nothing is exported
    #[arg(long, env = "FIORINO_OTLP_ENDPOINT", value_name = "URL")]
    pub otlp_endpoint: Option<String>,
    /// Share of new traces that are recorded, 0.0 to 1.0; a trace that begun elsewhere keeps the decision made there
    #[arg(long, env = "FIORINO_TRACE_RATIO", default_value_t = 0.05, value_parser = ratio)]
    pub trace_ratio: f64,
    /// How log lines look
    #[arg(long, env = "FIORINO_LOG_FORMAT", value_enum, default_value_t = LogFormat::Json)]
    pub log_format: LogFormat,
    /// Which log lines are written, as `tracing` directives, e.g. `info,fiorino_kit=debug`
    #[arg(long, env = "FIORINO_LOG_FILTER", default_value = "info", value_name = "DIRECTIVES")]
    pub log_filter: String,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object per line, with `trace_id` and `span_id`
    Json,
    /// For a terminal
    Text,
}

/// Where Kafka is.
#[derive(Debug, Clone, Args)]
pub struct KafkaOptions {
    /// Bootstrap brokers, comma-separated `host:port`
    #[arg(long, env = "FIORINO_KAFKA_BROKERS", value_name = "HOSTS")]
    pub kafka_brokers: String,
    /// Put before every topic name, so that installations can share a cluster
    #[arg(long, env = "FIORINO_KAFKA_TOPIC_PREFIX", default_value = "", value_name = "PREFIX")]
    pub kafka_topic_prefix: String,
}

/// A database URL that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("failed to parse the database URL: expected postgres://user:password@host:port/name")]
pub struct DatabaseUrlError {
    #[source]
    source: Option<sqlx::Error>,
}

/// The configuration as it may be logged at start.
///
/// Secrets mask themselves in `Debug` ([`DatabaseUrl`], `secrecy`'s types): an option that holds one must use such a type.
pub fn redacted(options: &impl fmt::Debug) -> String {
    format!("{options:?}")
}

fn ratio(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(ratio),
        _ => Err("expected a number between 0.0 and 1.0".to_owned()),
    }
}

// === impl DatabaseOptions ===

impl DatabaseOptions {
    /// Options with every default, for tests and tools.
    ///
    /// # Errors
    /// [`DatabaseUrlError`] when `url` is not a PostgreSQL URL.
    pub fn for_url(url: &str) -> Result<Self, DatabaseUrlError> {
        Ok(Self {
            database_url: url.parse()?,
            database_pool_max: 8,
            database_acquire_timeout_ms: 500,
            database_statement_timeout_ms: 5_000,
        })
    }

    /// Longest wait for a free connection.
    pub fn acquire_timeout(&self) -> Duration {
        Duration::from_millis(self.database_acquire_timeout_ms)
    }

    /// Longest run of one statement.
    pub fn statement_timeout(&self) -> Duration {
        Duration::from_millis(self.database_statement_timeout_ms)
    }
}

// === impl DatabaseUrl ===

impl DatabaseUrl {
    /// The URL with its password.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    fn parsed(&self) -> Result<PgConnectOptions, sqlx::Error> {
        PgConnectOptions::from_str(self.expose())
    }

    /// Connection options; parsing succeeded once already.
    ///
    /// # Errors
    /// The error of the parser, which is unreachable for a value made by [`FromStr`].
    pub fn connect_options(&self) -> Result<PgConnectOptions, sqlx::Error> {
        self.parsed()
    }
}

impl FromStr for DatabaseUrl {
    type Err = DatabaseUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if !["postgres://", "postgresql://"].iter().any(|scheme| text.starts_with(scheme)) {
            return Err(DatabaseUrlError { source: None });
        }
        let url = Self(SecretString::from(text));
        url.parsed().map_err(|source| DatabaseUrlError { source: Some(source) })?;
        Ok(url)
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.parsed() {
            Ok(url) => write!(
                f,
                "postgres://{}:***@{}:{}/{}",
                url.get_username(),
                url.get_host(),
                url.get_port(),
                url.get_database().unwrap_or_default()
            ),
            Err(_) => f.write_str("postgres://***"),
        }
    }
}

// === impl TelemetryOptions ===

impl TelemetryOptions {
    /// No export, warnings as text: for tests and tools.
    pub fn quiet() -> Self {
        Self { otlp_endpoint: None, trace_ratio: 1.0, log_format: LogFormat::Text, log_filter: "warn".to_owned() }
    }
}

// === impl KafkaOptions ===

impl KafkaOptions {
    /// The topic's name in this installation.
    pub fn topic(&self, name: &str) -> String {
        format!("{}{name}", self.kafka_topic_prefix)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Options {
        #[command(flatten)]
        database: DatabaseOptions,
        #[command(flatten)]
        tls: TlsOptions,
        #[command(flatten)]
        admin: AdminOptions,
        #[command(flatten)]
        telemetry: TelemetryOptions,
        #[command(flatten)]
        kafka: KafkaOptions,
    }

    fn parse(more: &[&str]) -> Result<Options, clap::Error> {
        let base = [
            "service",
            "--database-url=postgres://tenant:hunter2@db.local:5433/tenant?sslmode=disable",
            "--tls-cert=c",
            "--tls-key=k",
            "--tls-ca=a",
            "--kafka-brokers=k1:9092,k2:9092",
        ];
        Options::try_parse_from(base.iter().chain(more))
    }

    #[test]
    fn a_printed_configuration_shows_everything_but_the_password() {
        let printed = redacted(&parse(&[]).unwrap());
        assert!(!printed.contains("hunter"), "{printed}");
        for shown in ["postgres://tenant:***@db.local:5433/tenant", "k1:9092,k2:9092", "127.0.0.1:9090"] {
            assert!(printed.contains(shown), "{shown} is missing in {printed}");
        }
    }

    #[rstest::rstest]
    #[case("--trace-ratio=1.01")]
    #[case("--trace-ratio=NaN")]
    #[case("--database-pool-max=0")]
    #[case("--database-acquire-timeout-ms=0")]
    #[case("--admin-listen=nowhere")]
    #[case("--log-format=xml")]
    fn what_cannot_work_is_refused_at_start(#[case] argument: &str) {
        let error = parse(&[argument]).unwrap_err().to_string();
        let flag = argument.split('=').next().unwrap();
        assert!(error.contains(flag), "{error}");
    }

    #[test]
    fn a_refused_url_does_not_print_its_password() {
        let error = "postgres://u:hunter2@host:notaport/db".parse::<DatabaseUrl>().unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }

    #[test]
    fn the_prefix_makes_the_topic() {
        let kafka = parse(&["--kafka-topic-prefix=uat."]).unwrap().kafka;
        assert_eq!(kafka.topic("fiorino.payments.v1"), "uat.fiorino.payments.v1");
    }
}
