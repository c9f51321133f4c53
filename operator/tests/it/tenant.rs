//! A strict tenant: it refuses what the contract forbids, remembers every call, and says what a test tells it to say.

mod reading;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use anyhow::Result;
use fiorino_kit::{
    clock::Clock,
    rpc::{Allow, Server},
    tls::Identity,
};
use fiorino_proto::config::v1::{
    AccountSpec, AcquireFenceRequest, AcquireFenceResponse, ApplyBundleRequest, ApplyBundleResponse, ApplyResult,
    BrokerSpec, CompleteRequest, CompleteResponse, DistributionState, InstitutionSpec, MarkUnmanagedRequest,
    MarkUnmanagedResponse, Resource, ResourceKind, ResourceOutcome, ServiceSpec, StationSpec, WatchChangesRequest,
    WatchChangesResponse,
    config_apply_server::{ConfigApply, ConfigApplyServer},
    config_read_server::ConfigReadServer,
};
use futures::{Stream, StreamExt as _, stream};
use jiff::Timestamp;
use prost::Message as _;
use sha2::{Digest as _, Sha256};
use tokio::{net::TcpListener, sync::broadcast, task::JoinHandle};
use tokio_stream::wrappers::BroadcastStream;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

const ALLOW: &[Allow] = &[
    Allow { method: "/fiorino.config.v1.ConfigApply/AcquireFence", callers: &["operator"] },
    Allow { method: "/fiorino.config.v1.ConfigApply/ApplyBundle", callers: &["operator"] },
    Allow { method: "/fiorino.config.v1.ConfigApply/Complete", callers: &["operator"] },
    Allow { method: "/fiorino.config.v1.ConfigApply/MarkUnmanaged", callers: &["operator"] },
    Allow { method: "/fiorino.config.v1.ConfigApply/WatchChanges", callers: &["operator"] },
    Allow { method: "/fiorino.config.v1.ConfigRead/GetInstitution", callers: &["operator"] },
    Allow { method: "/fiorino.config.v1.ConfigRead/ListInstitutions", callers: &["operator"] },
];

/// A call, as a test counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    Acquire,
    Apply,
    Complete,
    Get,
    List,
    Unmanaged,
}

/// What tenant holds of an institution.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) spec: InstitutionSpec,
    pub(crate) uid: String,
    pub(crate) platform: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) written_at: Timestamp,
    pub(crate) config_seq: i64,
    pub(crate) managed: bool,
    pub(crate) children: BTreeMap<String, Resource>,
    pub(crate) shared: BTreeMap<String, Resource>,
    bytes: Vec<u8>,
}

/// What the world is like.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) fence: i64,
    pub(crate) calls: Vec<Call>,
    pub(crate) institutions: BTreeMap<String, Stored>,
    /// What tenant answers to bundles of a fiscal code instead of taking them.
    pub(crate) verdicts: BTreeMap<String, (ApplyResult, String)>,
    pub(crate) distribution: DistributionState,
    /// Who holds a fiscal code that several claim, whoever applies it: uid of its object.
    pub(crate) holders: BTreeMap<String, String>,
    /// pagoPA shows stations and accounts.
    pub(crate) registered: bool,
    /// What its store is called; empty = as an older tenant, which says nothing of it.
    pub(crate) store_id: String,
    /// It takes calls and answers none.
    pub(crate) hangs: bool,
    /// Another cluster's lease followed this one.
    pub(crate) superseded: bool,
    /// When somebody allowed that it leads again.
    pub(crate) allowed_at: String,
    /// What broke the contract.
    pub(crate) violations: Vec<String>,
    lease: (String, i64),
    config_seq: i64,
}

/// Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct FakeTenant {
    platform: String,
    world: Arc<Mutex<World>>,
    changes: broadcast::Sender<WatchChangesResponse>,
}

/// The server of a [`FakeTenant`]; it can be stopped and started on the same address.
pub(crate) struct Listening {
    token: CancellationToken,
    serving: JoinHandle<()>,
}

// === impl FakeTenant ===

impl FakeTenant {
    pub(crate) fn new(platform: &str) -> Self {
        let world = World {
            fence: 0,
            calls: Vec::new(),
            institutions: BTreeMap::new(),
            verdicts: BTreeMap::new(),
            holders: BTreeMap::new(),
            distribution: DistributionState::Acknowledged,
            registered: true,
            store_id: String::new(),
            hangs: false,
            superseded: false,
            allowed_at: String::new(),
            violations: Vec::new(),
            lease: (String::new(), -1),
            config_seq: 100,
        };
        Self { platform: platform.to_owned(), world: Arc::new(Mutex::new(world)), changes: broadcast::channel(64).0 }
    }

    pub(crate) async fn listen(&self, identity: &Identity, port: u16) -> Result<Listening> {
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        let server = Server::new(identity, ALLOW)
            .add(ConfigApplyServer::new(self.clone()))
            .add(ConfigReadServer::new(self.clone()));
        let token = CancellationToken::new();
        let ended = token.clone();
        let serving = tokio::spawn(async move { server.serve(listener, ended).await.unwrap() });
        Ok(Listening { token, serving })
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// Changes the world and tells those who watch.
    pub(crate) fn change(&self, change: impl FnOnce(&mut World)) {
        change(&mut self.world());
        // Nobody may be watching at the moment: the next stream begins with `all`.
        self.changes.send(self.all()).unwrap_or_default();
    }

    fn all(&self) -> WatchChangesResponse {
        WatchChangesResponse { all: true, uids: Vec::new(), store_id: self.world().store_id.clone() }
    }

    /// A later holder of the Lease was here.
    pub(crate) fn depose(&self) {
        let mut world = self.world();
        world.fence += 1;
        world.lease.1 += 1;
    }

    pub(crate) fn count(&self, call: Call) -> usize {
        self.world().calls.iter().filter(|it| **it == call).count()
    }

    pub(crate) fn stored(&self, fiscal_code: &str) -> Option<Stored> {
        self.world().institutions.get(fiscal_code).cloned()
    }

    fn violated(&self, text: String) -> Status {
        self.world().violations.push(text.clone());
        Status::invalid_argument(text)
    }

    fn check_fence(&self, fence: i64) -> Result<(), Status> {
        let current = self.world().fence;
        if fence == current {
            Ok(())
        } else {
            Err(Status::failed_precondition(format!("the fence is {current}, not {fence}")))
        }
    }

    fn check_owner(&self, platform: &str, environment: &str) -> Result<(), Status> {
        if platform == self.platform && environment == "Uat" {
            return Ok(());
        }
        Err(self.violated(format!("bundle for {platform}/{environment}")))
    }

    fn check_resource(&self, resource: &Resource) -> Result<(), Status> {
        let spec = &resource.spec[..];
        let readable = match resource.kind() {
            ResourceKind::Broker => BrokerSpec::decode(spec).is_ok(),
            ResourceKind::Station => StationSpec::decode(spec).is_ok(),
            ResourceKind::Institution => InstitutionSpec::decode(spec).is_ok(),
            ResourceKind::Account => AccountSpec::decode(spec).is_ok(),
            ResourceKind::Service => ServiceSpec::decode(spec).is_ok(),
            ResourceKind::Unspecified => false,
        };
        let named = !resource.uid.is_empty() && !resource.name.is_empty() && !resource.namespace.is_empty();
        let hashed = resource.hash[..] == Sha256::digest(spec)[..];
        if readable && named && hashed && resource.generation > 0 && resource.config_seq == 0 {
            return Ok(());
        }
        Err(self.violated(format!("resource {resource:?}")))
    }

    /// Writes what differs; the sequence moves only then.
    fn store(&self, request: &ApplyBundleRequest, institution: &Resource, spec: InstitutionSpec) -> i64 {
        let mut world = self.world();
        let bytes = ApplyBundleRequest { fence: 0, ..request.clone() }.encode_to_vec();
        let before = world.institutions.get(&spec.fiscal_code).cloned();
        if let Some(before) = before.as_ref().filter(|before| before.bytes == bytes && before.managed) {
            return before.config_seq;
        }
        world.config_seq += 1;
        let config_seq = world.config_seq;
        let by_uid = |resources: &[Resource]| resources.iter().map(|it| (it.uid.clone(), it.clone())).collect();
        let mut children: BTreeMap<String, Resource> = by_uid(&request.children);
        for uid in &request.keep {
            if let Some(kept) = before.as_ref().and_then(|before| before.children.get(uid)) {
                children.insert(uid.clone(), kept.clone());
            }
        }
        let mut shared = before.map(|before| before.shared).unwrap_or_default();
        shared.extend::<BTreeMap<String, Resource>>(by_uid(&request.shared));
        let fiscal_code = spec.fiscal_code.clone();
        let stored = Stored {
            spec,
            uid: institution.uid.clone(),
            platform: self.platform.clone(),
            namespace: institution.namespace.clone(),
            name: institution.name.clone(),
            written_at: Clock::system().now(),
            config_seq,
            managed: true,
            children,
            shared,
            bytes,
        };
        world.institutions.insert(fiscal_code, stored);
        config_seq
    }
}

#[tonic::async_trait]
impl ConfigApply for FakeTenant {
    async fn acquire_fence(
        &self,
        request: Request<AcquireFenceRequest>,
    ) -> Result<Response<AcquireFenceResponse>, Status> {
        let AcquireFenceRequest { lease_uid, lease_transitions, platform } = request.into_inner();
        let mut world = self.world();
        world.calls.push(Call::Acquire);
        if platform != self.platform || lease_uid.is_empty() {
            world.violations.push(format!("fence for {platform:?} with lease {lease_uid:?}"));
        }
        if world.superseded {
            let mut details = ErrorDetails::new();
            details.add_bad_request_violation("lease_uid", "was followed by another cluster's");
            return Err(Status::with_error_details(Code::FailedPrecondition, "lease_uid: followed", details));
        }
        if world.lease.0 == lease_uid && lease_transitions < world.lease.1 {
            return Err(Status::failed_precondition("a later holder of the lease was here"));
        }
        world.lease = (lease_uid, lease_transitions);
        world.fence += 1;
        let allowed_at = std::mem::take(&mut world.allowed_at);
        Ok(Response::new(AcquireFenceResponse { fence: world.fence, allowed_at }))
    }

    async fn apply_bundle(
        &self,
        request: Request<ApplyBundleRequest>,
    ) -> Result<Response<ApplyBundleResponse>, Status> {
        let request = request.into_inner();
        self.world().calls.push(Call::Apply);
        self.check_fence(request.fence)?;
        self.check_owner(&request.platform, &request.environment)?;
        let Some(institution) = &request.institution else { return Err(self.violated("no institution".to_owned())) };
        for resource in [institution].into_iter().chain(&request.children).chain(&request.shared) {
            self.check_resource(resource)?;
        }
        let spec = InstitutionSpec::decode(&institution.spec[..]).map_err(|error| self.violated(error.to_string()))?;
        if let Some(child) = request.children.iter().find(|child| request.keep.contains(&child.uid)) {
            return Err(self.violated(format!("{} is sent and kept", child.uid)));
        }
        let outcome = |resource: &Resource, result: ApplyResult, message: &str| ResourceOutcome {
            uid: resource.uid.clone(),
            result: result.into(),
            message: message.to_owned(),
        };
        let held_by_another =
            self.world().holders.get(&spec.fiscal_code).is_some_and(|holder| *holder != institution.uid);
        let conflict = held_by_another.then(|| (ApplyResult::Conflict, "held by another object".to_owned()));
        let verdict = self.world().verdicts.get(&spec.fiscal_code).cloned().or(conflict);
        if let Some((result, message)) = verdict {
            let outcomes = vec![outcome(institution, result, &message)];
            return Ok(Response::new(ApplyBundleResponse { config_seq: 0, outcomes }));
        }
        let config_seq = self.store(&request, institution, spec);
        let all = [institution].into_iter().chain(&request.children).chain(&request.shared);
        let outcomes = all.map(|resource| outcome(resource, ApplyResult::Applied, "")).collect();
        Ok(Response::new(ApplyBundleResponse { config_seq, outcomes }))
    }

    async fn mark_unmanaged(
        &self,
        request: Request<MarkUnmanagedRequest>,
    ) -> Result<Response<MarkUnmanagedResponse>, Status> {
        let request = request.into_inner();
        self.world().calls.push(Call::Unmanaged);
        self.check_fence(request.fence)?;
        self.check_owner(&request.platform, &request.environment)?;
        if let Some(stored) = self.world().institutions.get_mut(&request.fiscal_code).filter(|it| it.uid == request.uid)
        {
            stored.managed = false;
        }
        Ok(Response::new(MarkUnmanagedResponse {}))
    }

    async fn complete(&self, request: Request<CompleteRequest>) -> Result<Response<CompleteResponse>, Status> {
        let request = request.into_inner();
        self.check_fence(request.fence)?;
        if request.store_id != self.world().store_id {
            return Err(Status::failed_precondition("another store"));
        }
        self.world().calls.push(Call::Complete);
        Ok(Response::new(CompleteResponse {}))
    }

    type WatchChangesStream = std::pin::Pin<Box<dyn Stream<Item = Result<WatchChangesResponse, Status>> + Send>>;

    async fn watch_changes(
        &self,
        _: Request<WatchChangesRequest>,
    ) -> Result<Response<Self::WatchChangesStream>, Status> {
        let later = BroadcastStream::new(self.changes.subscribe());
        let later = later.map(|change| change.map_err(|error| Status::data_loss(error.to_string())));
        let first = stream::iter([Ok(self.all())]);
        Ok(Response::new(first.chain(later).boxed()))
    }
}

// === impl Listening ===

impl Listening {
    pub(crate) async fn stop(self) {
        self.token.cancel();
        self.serving.abort();
        // Aborted or ended: either way nobody listens any more.
        self.serving.await.unwrap_or_default();
    }
}
