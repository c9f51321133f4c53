//! Reads back what pagoPA's registry says of our institutions, and tells tenant (ARCHITECTURE.md 3.5).
//!
//! One replica reads, the one that holds the lease; one task per broker, so that a slow registry holds up nobody else.

mod cadence;
mod client;
pub(crate) mod contract;
mod tasks;

use std::{path::Path, sync::Arc, time::Duration};

use fiorino_config_client::Handle;
use fiorino_kit::{clock::Clock, lease::LeaseSet, rpc, seal::Unsealer};
use fiorino_proto::config::v1::{RecordReadbackRequest, config_readback_client::ConfigReadbackClient};
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::PgPool;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Status};

pub use self::cadence::Intervals;
use self::{
    cadence::{Cadence, Reading},
    client::{Access, Client},
    contract::{IbansPage, InstitutionsPage, Page},
    tasks::Tasks,
};
use crate::{
    metrics::Metrics,
    projection::{Broker, Projection},
};

const LEASE: &str = "registry-readback";
const LEASE_TTL: Duration = Duration::from_secs(10);
/// How long a whole reading may take: two listings of some thousand lines.
const READING_TIMEOUT: Duration = Duration::from_mins(5);
const RECORD_TIMEOUT: Duration = Duration::from_secs(15);
/// Before a task that broke is started anew.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// Why a reading failed.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("failed to open a subscription key of the broker: seal it to this service's key")]
    Key(#[from] fiorino_kit::seal::Error),
    #[error("a subscription key of the broker is no text")]
    KeyText,
    #[error(transparent)]
    Registry(#[from] client::Error),
    #[error("failed to record the reading: {}", .0.code())]
    Record(Status),
    #[error("the reading took longer than {} s", READING_TIMEOUT.as_secs())]
    TooLong,
}

/// Reads the registry of every broker; one per process.
#[derive(Debug, Clone)]
pub(crate) struct Poller {
    config: Handle<Projection>,
    tenant: ConfigReadbackClient<rpc::Channel>,
    /// Read anew for each reading: the key may be replaced.
    unseal_key: Arc<Path>,
    registry: Client,
    leases: LeaseSet,
    clock: Clock,
    intervals: Intervals,
    metrics: Metrics,
}

/// The lease of reading.
pub(crate) fn leases(pool: PgPool, holder: &str) -> LeaseSet {
    LeaseSet::new(pool, holder, vec![LEASE.to_owned()], LEASE_TTL)
}

// === impl Error ===

impl Error {
    const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Registry(error) => error.retry_after(),
            Self::Key(_) | Self::KeyText | Self::Record(_) | Self::TooLong => None,
        }
    }
}

// === impl Poller ===

impl Poller {
    /// # Errors
    /// When TLS cannot be set up.
    pub(crate) fn new(
        config: Handle<Projection>,
        tenant: rpc::Channel,
        unseal_key: &Path,
        leases: LeaseSet,
        clock: Clock,
        intervals: Intervals,
        metrics: Metrics,
    ) -> client::Result<Self> {
        Ok(Self {
            config,
            tenant: ConfigReadbackClient::new(tenant),
            unseal_key: unseal_key.into(),
            registry: Client::new()?,
            leases,
            clock,
            intervals,
            metrics,
        })
    }

    /// Keeps one task per broker with a registry, until `token` is cancelled.
    pub(crate) async fn run(self, token: CancellationToken) {
        let mut progress = self.config.progress();
        let mut tasks = Tasks::default();
        loop {
            let view = self.config.current();
            let with_registry = view.brokers().values().filter(|broker| !broker.backoffice_url.is_empty());
            let wanted = with_registry.map(|broker| broker.fiscal_code.as_str()).collect();
            tasks.align(&wanted, &token, |code, stop| self.clone().broker(code, stop));
            tokio::select! {
                () = token.cancelled() => break,
                changed = progress.changed() => if changed.is_err() { break },
                Some(ended) = tasks.ended() => if let Err(error) = ended {
                    tracing::error!(error = &error as &dyn std::error::Error, "reading a registry broke, starting anew");
                    token.run_until_cancelled(sleep(RESTART_PAUSE)).await;
                },
            }
        }
        while tasks.ended().await.is_some() {}
    }

    /// Reads one broker's registry again and again.
    async fn broker(self, code: String, token: CancellationToken) {
        let mut cadence = Cadence::new(self.intervals);
        while let Some(()) = token.run_until_cancelled(self.lease()).await {
            let mark = self.config.current().mark(&code);
            let Some(reading) = token.run_until_cancelled(self.read(&code)).await else { return };
            // Both run from here on, the end of the reading.
            let (next, soonest) = (sleep(cadence.after(reading)), sleep(cadence.soonest(reading)));
            let changed = async {
                self.changed(&code, mark).await;
                soonest.await;
            };
            tokio::select! {
                () = token.cancelled() => return,
                () = next => {}
                () = changed => cadence.changed(),
            }
        }
    }

    /// Waits until what pagoPA registers for the broker is another than what was read for.
    async fn changed(&self, code: &str, mark: u64) {
        let mut progress = self.config.progress();
        while self.config.current().mark(code) == mark {
            if progress.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Waits until this replica is the one that reads.
    async fn lease(&self) {
        let mut held = self.leases.changed();
        // An error means that leases ended, and with them the process.
        if held.wait_for(|names| names.iter().any(|name| name == LEASE)).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    async fn read(&self, code: &str) -> Reading {
        let view = self.config.current();
        let Some(broker) = view.brokers().get(code) else { return Reading::Settled };
        let read = tokio::time::timeout(READING_TIMEOUT, self.reading(broker)).await.unwrap_or(Err(Error::TooLong));
        let (reading, outcome) = match read {
            Ok(true) => (Reading::Waiting, "waiting"),
            Ok(false) => (Reading::Settled, "settled"),
            Err(error) => {
                let reading = Reading::Failed { retry_after: error.retry_after() };
                tracing::warn!(
                    broker = code,
                    error = &error as &dyn std::error::Error,
                    "failed to read pagopa's registry, trying again"
                );
                (reading, "failed")
            }
        };
        self.metrics.readback(code, outcome);
        reading
    }

    /// One complete reading, told to tenant; whether something still waits.
    #[tracing::instrument(name = "read registry", skip_all, fields(broker = broker.fiscal_code), err(level = "debug"))]
    async fn reading(&self, broker: &Broker) -> Result<bool, Error> {
        let access = self.access(broker)?;
        let (read_at, began) = (self.clock.now().to_string(), self.clock.monotonic());
        let associations = self.list::<InstitutionsPage>(&access).await?;
        let ibans = self.list::<IbansPage>(&access).await?;
        tracing::debug!(associations = associations.len(), ibans = ibans.len(), "registry read");
        let age = self.clock.monotonic().saturating_sub(began);
        let mut request = Request::new(RecordReadbackRequest {
            broker_fiscal_code: broker.fiscal_code.clone(),
            read_at,
            associations,
            ibans,
            age_ms: u64::try_from(age.as_millis()).unwrap_or(u64::MAX),
        });
        request.set_timeout(RECORD_TIMEOUT);
        let recorded = self.tenant.clone().record_readback(request).await.map_err(Error::Record)?;
        Ok(recorded.into_inner().waiting)
    }

    async fn list<P: Page>(&self, access: &Access) -> Result<Vec<P::Item>, Error> {
        let listing = self.registry.list::<P>(access).await?;
        if listing.unreadable > 0 {
            tracing::error!(
                broker = access.broker,
                listing = P::LISTING,
                lines = listing.unreadable,
                "lines of pagopa's registry break its contract and are left out: ask pagoPA to correct them"
            );
            self.metrics.unreadable_lines(P::LISTING, listing.unreadable);
        }
        Ok(listing.items)
    }

    fn access(&self, broker: &Broker) -> Result<Access, Error> {
        let unsealer = Unsealer::from_file(&self.unseal_key)?;
        let keys = broker
            .sealed_keys
            .iter()
            .map(|sealed| {
                let key = unsealer.unseal(sealed)?;
                let text = std::str::from_utf8(key.expose_secret()).map_err(|_| Error::KeyText)?;
                Ok(SecretString::from(text))
            })
            .collect::<Result<_, Error>>()?;
        Ok(Access { url: broker.backoffice_url.clone(), broker: broker.fiscal_code.clone(), keys })
    }
}
