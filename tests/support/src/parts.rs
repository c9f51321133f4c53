//! The servers that are shared by all tests.

use std::path::PathBuf;

use anyhow::{Context, Result};
use fiorino_rig::variable;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{ObjectMeta, PostParams};
use sqlx::PgPool;
use sqlx::migrate::Migrator;

use crate::database::{TestDatabase, template_key};
use crate::names;

/// Where the shared servers are.
#[derive(Debug, Clone)]
pub struct Parts {
    database_url: String,
    kafka_brokers: String,
    kubeconfig: PathBuf,
    audit_log: Option<PathBuf>,
}

// === impl Parts ===

impl Parts {
    /// Reads where the servers are from the environment.
    ///
    /// # Panics
    /// When a variable is absent: `cargo xtask test` sets them.
    pub fn get() -> Self {
        Self {
            database_url: required("FIORINO_TEST_DATABASE_URL"),
            kafka_brokers: required("FIORINO_TEST_KAFKA"),
            kubeconfig: required("FIORINO_TEST_KUBECONFIG").into(),
            audit_log: variable("FIORINO_TEST_AUDIT_LOG").map(PathBuf::from),
        }
    }

    /// A database of its own, cloned from a template that `migrate` fills once per `template_key` and server.
    /// Prefer [`Parts::migrated`], whose key follows the migrations.
    ///
    /// # Errors
    /// When the server cannot be reached or `migrate` fails.
    pub async fn database<E: Into<anyhow::Error>>(
        &self,
        template_key: &str,
        migrate: impl AsyncFnOnce(PgPool) -> Result<(), E>,
    ) -> Result<TestDatabase> {
        TestDatabase::create(&self.database_url, template_key, migrate).await
    }

    /// A database of its own with the migrations of `service` applied; a change of them makes a new template.
    ///
    /// # Errors
    /// When the server cannot be reached or a migration fails.
    pub async fn migrated(&self, service: &str, migrator: &Migrator) -> Result<TestDatabase> {
        self.database(&template_key(service, migrator), async |pool: PgPool| migrator.run(&pool).await).await
    }

    /// An empty database of its own, for who makes its tables.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub async fn empty_database(&self) -> Result<TestDatabase> {
        self.database("empty", async |_| anyhow::Ok(())).await
    }

    /// `host:port` of Kafka.
    pub fn kafka_brokers(&self) -> &str {
        &self.kafka_brokers
    }

    /// A prefix for topics and groups that no other test has.
    pub fn topic_prefix(&self) -> String {
        names::topic_prefix()
    }

    /// A name for a namespace that no other test has; see also [`Parts::create_namespace`].
    pub fn namespace(&self) -> String {
        names::namespace()
    }

    /// The fiscal code of an institution that no other test has, with its check digit.
    pub fn fiscal_code(&self) -> String {
        names::fiscal_code()
    }

    /// A kubeconfig of the API server's administrator.
    pub fn kubeconfig(&self) -> &std::path::Path {
        &self.kubeconfig
    }

    /// The API server's audit log: one JSON object per line and stage.
    ///
    /// # Errors
    /// When `FIORINO_TEST_AUDIT_LOG` is absent.
    pub fn audit_log(&self) -> Result<&std::path::Path> {
        self.audit_log.as_deref().context("FIORINO_TEST_AUDIT_LOG is not set: run `cargo xtask test`")
    }

    /// A client of the API server, as its administrator.
    ///
    /// # Errors
    /// When the kubeconfig cannot be read.
    pub async fn kube_client(&self) -> Result<kube::Client> {
        // A second call finds the provider installed: that is what is wanted.
        rustls::crypto::ring::default_provider().install_default().unwrap_or_default();
        let kubeconfig = kube::config::Kubeconfig::read_from(&self.kubeconfig)?;
        let config =
            kube::Config::from_custom_kubeconfig(kubeconfig, &kube::config::KubeConfigOptions::default()).await?;
        Ok(kube::Client::try_from(config)?)
    }

    /// Creates a namespace that no other test has. It stays: no controller of this API server would empty it.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn create_namespace(&self, client: &kube::Client) -> Result<String> {
        let name = names::namespace();
        let metadata = ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() };
        let namespace = Namespace { metadata, ..Namespace::default() };
        kube::Api::all(client.clone()).create(&PostParams::default(), &namespace).await?;
        Ok(name)
    }
}

#[expect(clippy::panic, reason = "a test without its servers must fail, and say how to get them")]
fn required(name: &str) -> String {
    variable(name).unwrap_or_else(|| panic!("{name} is not set: run the tests by `cargo xtask test`"))
}
