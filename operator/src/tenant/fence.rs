//! The number by which tenant tells the leader from a deposed one (ARCHITECTURE.md 3.2).

use std::{sync::Arc, time::Duration};

use fiorino_kit::{clock::Clock, rpc::Channel};
use fiorino_proto::config::v1::{AcquireFenceRequest, AcquireFenceResponse, config_apply_client::ConfigApplyClient};
use tokio::sync::Mutex;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::{Error, Result, deadline};
use crate::{metrics::Metrics, runtime::lease::Held};

const TIMEOUT: Duration = Duration::from_secs(2);

/// A cluster whose Lease was followed asks no more often than this whether somebody allowed it to lead again.
const SUPERSEDED_PAUSE: Duration = Duration::from_mins(1);

/// Asked of tenant when it is first needed; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Fence {
    client: ConfigApplyClient<Channel>,
    held: Arc<Held>,
    platform: String,
    standing: Arc<Mutex<Standing>>,
    news: Arc<std::sync::Mutex<Option<News>>>,
    metrics: Metrics,
    clock: Clock,
}

/// News of the Lease for a person, published once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
    /// Whose Lease.
    pub lease: Held,
    /// A code.
    pub reason: &'static str,
    /// What happened, and what can be done.
    pub note: String,
}

/// The last answer of tenant.
#[derive(Debug, Default)]
enum Standing {
    #[default]
    Unasked,
    Issued(i64),
    /// Another cluster's Lease followed this one; `at`: when it was said (monotonic).
    Superseded {
        at: Duration,
        status: Status,
    },
}

// === impl Fence ===

impl Fence {
    pub(super) fn new(
        client: ConfigApplyClient<Channel>,
        held: Held,
        platform: String,
        metrics: Metrics,
        clock: Clock,
    ) -> Self {
        let (standing, news) = (Arc::default(), Arc::default());
        Self { client, held: Arc::new(held), platform, standing, news, metrics, clock }
    }

    /// The fence; one caller asks, the others wait for his answer.
    pub(super) async fn current(&self) -> Result<i64> {
        let mut standing = self.standing.lock().await;
        let known = match &*standing {
            Standing::Issued(number) => return Ok(*number),
            Standing::Superseded { at, status } => {
                if self.clock.monotonic().saturating_sub(*at) < SUPERSEDED_PAUSE {
                    return Err(Error::Superseded(status.clone()));
                }
                true
            }
            Standing::Unasked => false,
        };
        let message = AcquireFenceRequest {
            lease_uid: self.held.uid.clone(),
            lease_transitions: self.held.transitions,
            platform: self.platform.clone(),
        };
        match self.client.clone().acquire_fence(deadline(message, TIMEOUT)).await {
            Ok(response) => {
                let AcquireFenceResponse { fence, allowed_at } = response.into_inner();
                tracing::info!(fence, "acquired the fence");
                if !allowed_at.is_empty() {
                    self.allowed(&allowed_at);
                }
                self.metrics.superseded(false);
                *standing = Standing::Issued(fence);
                Ok(fence)
            }
            Err(status) if is_superseded(&status) => {
                if !known {
                    self.refused(&status);
                }
                *standing = Standing::Superseded { at: self.clock.monotonic(), status: status.clone() };
                Err(Error::Superseded(status))
            }
            Err(status) => Err(status.into()),
        }
    }

    /// Tenant does not know this number any more.
    pub(super) async fn forget(&self, stale: i64) {
        let mut standing = self.standing.lock().await;
        if matches!(*standing, Standing::Issued(number) if number == stale) {
            *standing = Standing::Unasked;
        }
    }

    /// News that was not published yet.
    pub(super) fn news(&self) -> Option<News> {
        self.news.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take()
    }

    fn allowed(&self, allowed_at: &str) {
        let lease = &self.held.uid;
        tracing::warn!(lease, allowed_at, "leading again although another cluster led meanwhile, as somebody allowed");
        self.tell("LeadsAgain", format!(
            "leads {} again although another cluster led meanwhile, as was allowed at {allowed_at}: that cluster's operator \
             is refused from now on",
            self.platform
        ));
    }

    fn refused(&self, status: &Status) {
        let lease = &self.held.uid;
        tracing::error!(
            lease,
            reason = status.message(),
            "tenant obeys another cluster: nothing is written by this one"
        );
        self.metrics.superseded(true);
        self.tell("Superseded", format!(
            "tenant obeys another cluster, which led {} after this one: manifests have no effect here; if this cluster shall \
             lead again, run: fiorino-tenant fence allow {lease}",
            self.platform
        ));
    }

    fn tell(&self, reason: &'static str, note: String) {
        let news = News { lease: (*self.held).clone(), reason, note };
        *self.news.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(news);
    }
}

/// Whether it is this Lease as such that tenant refuses, whoever holds it.
fn is_superseded(status: &Status) -> bool {
    let details = status.get_error_details();
    let violations = details.bad_request().map(|request| &request.field_violations[..]).unwrap_or_default();
    status.code() == Code::FailedPrecondition && violations.iter().any(|violation| violation.field == "lease_uid")
}
