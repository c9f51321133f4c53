//! Calls to tenant: the one that stores the configuration and knows how far it has come.

mod fence;
mod outage;
pub mod pass;
pub mod watch;

use std::time::Duration;

use fiorino_kit::{clock::Clock, rpc::Channel};
use fiorino_proto::config::v1::{
    ApplyBundleRequest, ApplyBundleResponse, CompleteRequest, GetInstitutionRequest, InstitutionStatus,
    MarkUnmanagedRequest, WatchChangesRequest, WatchChangesResponse, config_apply_client::ConfigApplyClient,
    config_read_client::ConfigReadClient,
};
use tonic::{Code, Request, Response, Status, Streaming};

pub use self::fence::News;
use self::{fence::Fence, outage::Outage, pass::Whole};
use crate::{config::Environment, institution::bundle::Bundle, metrics::Metrics, runtime::lease::Held};

const READ_TIMEOUT: Duration = Duration::from_secs(2);
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// Result of this module.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call to tenant failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Tenant cannot be reached, is too slow, or broke: the same call may work later.
    #[error("tenant is away: {}", .0.message())]
    Away(Status),
    /// Tenant does not take what was sent, whoever sends it and however often.
    #[error("tenant refused the call: {}", .0.message())]
    Refused(Status),
    /// Another operator holds a later fence: this one was deposed.
    #[error("tenant obeys a later leader: {}", .0.message())]
    Deposed(Status),
    /// Another cluster's Lease followed the one that this operator holds.
    #[error("tenant obeys another cluster: {}", .0.message())]
    Superseded(Status),
}

/// The client of one leader; cheap to clone.
#[derive(Debug, Clone)]
pub struct Tenant {
    apply: ConfigApplyClient<Channel>,
    read: ConfigReadClient<Channel>,
    fence: Fence,
    outage: Outage,
    platform: String,
    environment: Environment,
    metrics: Metrics,
    clock: Clock,
}

// === impl Error ===

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        match status.code() {
            Code::InvalidArgument | Code::PermissionDenied | Code::Unimplemented | Code::OutOfRange => {
                Self::Refused(status)
            }
            Code::FailedPrecondition => Self::Deposed(status),
            _ => Self::Away(status),
        }
    }
}

// === impl Tenant ===

impl Tenant {
    /// A client that writes in the name of the leader who holds `held`.
    pub fn new(
        channel: Channel,
        held: Held,
        platform: &str,
        environment: Environment,
        metrics: Metrics,
        clock: Clock,
    ) -> Self {
        let apply = ConfigApplyClient::new(channel.clone());
        let fence = Fence::new(apply.clone(), held, platform.to_owned(), metrics.clone(), clock.clone());
        let read = ConfigReadClient::new(channel);
        let outage = Outage::new(clock.clone());
        Self { apply, read, fence, outage, platform: platform.to_owned(), environment, metrics, clock }
    }

    /// What tenant knows of an institution; `None` when it was never applied.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn institution(&self, fiscal_code: &str) -> Result<Option<InstitutionStatus>> {
        let message = GetInstitutionRequest {
            platform: self.platform.clone(),
            environment: self.environment.to_string(),
            fiscal_code: fiscal_code.to_owned(),
        };
        let mut client = self.read.clone();
        let call = async {
            match self.timed("GetInstitution", client.get_institution(deadline(message, READ_TIMEOUT))).await {
                Ok(response) => Ok(response.status),
                Err(status) if status.code() == Code::NotFound => Ok(None),
                Err(status) => Err(status.into()),
            }
        };
        self.outage.through(call).await
    }

    /// Namespace of the platform.
    pub fn platform(&self) -> &str {
        &self.platform
    }

    /// News of the Lease for a person, each once.
    pub fn news(&self) -> Option<News> {
        self.fence.news()
    }

    /// Makes an institution's configuration what the bundle says.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn apply(&self, bundle: &Bundle) -> Result<ApplyBundleResponse> {
        self.fenced(|fence| {
            let message = ApplyBundleRequest { fence, ..bundle.request(&self.platform, self.environment) };
            let mut client = self.apply.clone();
            async move {
                let call = client.apply_bundle(deadline(message, WRITE_TIMEOUT));
                self.timed("ApplyBundle", call).await
            }
        })
        .await
    }

    /// The manifest was deleted: tenant serves the institution on, as unmanaged.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn mark_unmanaged(&self, fiscal_code: &str, uid: &str) -> Result<()> {
        self.fenced(|fence| {
            let message = MarkUnmanagedRequest {
                fence,
                platform: self.platform.clone(),
                environment: self.environment.to_string(),
                fiscal_code: fiscal_code.to_owned(),
                uid: uid.to_owned(),
            };
            let mut client = self.apply.clone();
            async move {
                let call = client.mark_unmanaged(deadline(message, WRITE_TIMEOUT));
                self.timed("MarkUnmanaged", call).await
            }
        })
        .await?;
        Ok(())
    }

    /// Every institution was looked at since this store began.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn complete(&self, whole: &Whole) -> Result<()> {
        self.fenced(|fence| {
            let Whole { store_id, held_back } = whole.clone();
            let message = CompleteRequest { fence, platform: self.platform.clone(), store_id, held_back };
            let mut client = self.apply.clone();
            async move { self.timed("Complete", client.complete(deadline(message, WRITE_TIMEOUT))).await }
        })
        .await?;
        Ok(())
    }

    async fn changes(&self) -> Result<Streaming<WatchChangesResponse>> {
        let message = WatchChangesRequest { platform: self.platform.clone() };
        let mut client = self.apply.clone();
        let changes = self.timed("WatchChanges", client.watch_changes(message)).await?;
        // Those whom the stream wakes shall not be told that nobody answered a moment ago.
        self.outage.over();
        Ok(changes)
    }

    /// Calls with the fence; a fence that tenant no longer knows (it was restored, or this leader was away) is asked for once more,
    /// which a deposed leader is refused, and a cluster that another one followed.
    async fn fenced<T, F>(&self, call: impl Fn(i64) -> F) -> Result<T>
    where
        F: Future<Output = Result<T, Status>>,
    {
        let call = async {
            let fence = self.fence.current().await?;
            match call(fence).await {
                Err(status) if status.code() == Code::FailedPrecondition => {
                    self.fence.forget(fence).await;
                    let fence = self.fence.current().await?;
                    Ok(call(fence).await?)
                }
                outcome => Ok(outcome?),
            }
        };
        self.outage.through(call).await
    }

    async fn timed<T>(
        &self,
        method: &'static str,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, Status> {
        let started = self.clock.monotonic();
        let outcome = call.await;
        let code = outcome.as_ref().err().map_or(Code::Ok, Status::code);
        self.metrics.called(method, code, self.clock.monotonic().saturating_sub(started));
        outcome.map(Response::into_inner)
    }
}

fn deadline<T>(message: T, timeout: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(timeout);
    request
}
