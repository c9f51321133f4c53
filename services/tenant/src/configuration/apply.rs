//! `ConfigApply`: what the operator calls.

use std::pin::Pin;

use fiorino_domain::case::CaseKind;
use fiorino_kit::{fault, rpc, store};
use fiorino_proto::config::v1::{
    AcquireFenceRequest, AcquireFenceResponse, ApplyBundleRequest, ApplyBundleResponse, ApplyResult, CompleteRequest,
    CompleteResponse, MarkUnmanagedRequest, MarkUnmanagedResponse, ResourceKind, WatchChangesRequest,
    WatchChangesResponse, config_apply_server::ConfigApply,
};
use sqlx::PgConnection;
use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use tracing::Instrument as _;

use super::{
    bundle::{Bundle, Item, check_addressee},
    fence::{self, Issued},
    head::Head,
    plan::{self, Plan},
    readback,
    wake::Wake,
    watch,
    write::{self, Failure, Order},
};
use crate::{
    cases::{self, NewCase},
    context::Context,
    error::{Error, Result},
    key::key,
    restore,
};

/// Applies bundles.
#[derive(Debug)]
pub struct Apply {
    context: Context,
    wake: Wake,
    expected_services: Vec<String>,
    token: CancellationToken,
}

/// What came of a bundle.
enum Applied {
    Done(ApplyBundleResponse),
    /// Nothing was written: the item's identity is held by another object.
    Conflict {
        uid: String,
    },
}

// === impl Apply ===

impl Apply {
    /// `token` ends the watches.
    pub fn new(context: Context, wake: Wake, expected_services: Vec<String>, token: CancellationToken) -> Self {
        Self { context, wake, expected_services, token }
    }

    async fn acquire_fence(&self, request: &AcquireFenceRequest) -> Result<Issued> {
        self.check_platform(&request.platform)?;
        if request.lease_uid.is_empty() {
            return Err(Error::invalid("lease_uid", "must be set"));
        }
        key("lease_uid", &request.lease_uid)?;
        let (_turn, mut tx, _) = Head::begin(&self.context).await?;
        let issued = fence::acquire(&mut tx, request).await?;
        tx.commit().await?;
        Ok(issued)
    }

    async fn apply_bundle(&self, request: ApplyBundleRequest, actor: &str) -> Result<ApplyBundleResponse> {
        let fence = request.fence;
        let bundle = Bundle::read(request, &self.context.platform, self.context.environment)?;
        match self.apply(&bundle, fence, actor).await? {
            Applied::Done(response) => Ok(response),
            Applied::Conflict { uid } => self.conflict(&bundle, &uid).await,
        }
    }

    async fn apply(&self, bundle: &Bundle, fence: i64, actor: &str) -> Result<Applied> {
        let Context { platform, environment, clock, .. } = &self.context;
        let (_turn, mut tx, head) = Head::begin(&self.context).await?;
        fence::check(&mut tx, platform, fence).await?;
        let current =
            write::current(&mut tx, bundle, *environment, clock.today()).instrument(store::span("read bundle")).await?;
        let plan = Plan::new(bundle, &current);
        let holder = current.holder.as_ref();
        let applied =
            |config_seq| Ok(Applied::Done(ApplyBundleResponse { config_seq, outcomes: plan.outcomes.clone() }));
        if !plan.proceeds
            || plan.is_empty() && plan.forget_adoption.is_empty() && holder.is_some_and(|holder| holder.managed)
        {
            return applied(holder.map_or(0, |holder| holder.config_seq));
        }
        write::forget_adoption(&mut tx, &plan.forget_adoption).await?;
        let order = Order { platform, environment: *environment, actor };
        let written = write::carry_out(&mut tx, &plan, bundle, &current, head, order);
        let (institution_id, config_seq) = match written.instrument(store::span("write bundle")).await {
            Ok(written) => written,
            Err(Failure::Conflict { uid }) => return Ok(Applied::Conflict { uid }),
            Err(Failure::Store(source)) => return Err(source.into()),
        };
        readback::derive(&mut tx, &[institution_id], clock).await?;
        if holder.is_some_and(|holder| !holder.managed) {
            cases::resolve(&mut tx, institution_id, CaseKind::InstitutionUnmanaged, bundle.fiscal_code()).await?;
        }
        Wake::notify(&mut tx).await?;
        tx.commit().await?;
        fault::point("bundle-committed");
        self.wake.wake();
        let (written, removed) = (plan.writes.len(), plan.tombstones.len());
        tracing::info!(institution = bundle.fiscal_code(), actor, config_seq, written, removed, "bundle applied");
        applied(config_seq)
    }

    /// Names the other object.
    async fn conflict(&self, bundle: &Bundle, uid: &str) -> Result<ApplyBundleResponse> {
        let mut conn = self.context.pools.config.acquire().await?;
        let mut outcomes = Vec::new();
        for item in bundle.items() {
            outcomes.push(if item.resource.uid == uid {
                let other = self.other_object(&mut conn, bundle, item).await?;
                plan::outcome(item, ApplyResult::Conflict, &held_by(item, &other))
            } else {
                plan::outcome(
                    item,
                    ApplyResult::Unchanged,
                    "not applied: the bundle is in conflict with another object",
                )
            });
        }
        let config_seq =
            sqlx::query_scalar("select config_seq from institution where environment = $1 and fiscal_code = $2")
                .bind(self.context.environment.as_str())
                .bind(bundle.fiscal_code())
                .fetch_optional(&mut *conn)
                .await?;
        tracing::info!(institution = bundle.fiscal_code(), uid, "bundle refused: conflict");
        Ok(ApplyBundleResponse { config_seq: config_seq.unwrap_or_default(), outcomes })
    }

    /// Who holds the identity: another object of the bundle, else one that was applied.
    async fn other_object(&self, conn: &mut PgConnection, bundle: &Bundle, item: &Item) -> Result<String> {
        let rival = |other: &&Item| {
            other.kind == item.kind
                && other.spec.identity() == item.spec.identity()
                && other.resource.uid != item.resource.uid
        };
        if let Some(other) = bundle.items().find(rival) {
            return Ok(other.object());
        }
        let stored = sqlx::query_scalar(
            "select r.namespace || '/' || r.name
             from config_resource r
             where r.kind = $1 and r.identity = $2 and r.uid <> $3 and not r.removed
                 and r.institution_id in (
                     select 0 union all
                     select institution_id from institution where environment = $4 and fiscal_code = $5)",
        )
        .bind(i16::try_from(item.kind as i32).unwrap_or_default())
        .bind(item.spec.identity())
        .bind(&item.resource.uid)
        .bind(self.context.environment.as_str())
        .bind(bundle.fiscal_code())
        .fetch_optional(conn)
        .await?;
        Ok(stored.unwrap_or_else(|| "another object, which has just been removed".to_owned()))
    }

    async fn mark_unmanaged(&self, request: &MarkUnmanagedRequest, actor: &str) -> Result<()> {
        let MarkUnmanagedRequest { fence, platform, environment, fiscal_code, uid } = request;
        check_addressee(platform, environment, &self.context.platform, self.context.environment)?;
        let (_turn, mut tx, head) = Head::begin(&self.context).await?;
        fence::check(&mut tx, platform, *fence).await?;
        let head = Head { status_seq: head.status_seq + 1, ..head };
        let institution_id: Option<i32> = sqlx::query_scalar(
            "update institution set managed = false, status_seq = $1
             where environment = $2 and fiscal_code = $3 and uid = $4 and managed
             returning institution_id",
        )
        .bind(head.status_seq)
        .bind(environment)
        .bind(fiscal_code)
        .bind(uid)
        .fetch_optional(&mut *tx)
        .await?;
        // Never applied, marked before, or adopted by another object: there is nothing to tell.
        let Some(institution_id) = institution_id else { return Ok(()) };
        cases::open(&mut tx, &[self.unmanaged(institution_id, request, actor)]).await?;
        head.advance(&mut tx).await?;
        tx.commit().await?;
        self.wake.wake();
        tracing::warn!(
            institution = fiscal_code,
            actor,
            "manifest was deleted, the institution is served on as unmanaged"
        );
        Ok(())
    }

    fn unmanaged(&self, institution_id: i32, request: &MarkUnmanagedRequest, actor: &str) -> NewCase {
        NewCase {
            institution_id,
            kind: CaseKind::InstitutionUnmanaged,
            key: request.fiscal_code.clone(),
            nav: None,
            receipt_id: None,
            detail: serde_json::json!({ "platform": request.platform, "uid": request.uid, "actor": actor }),
            opened_at: self.context.clock.now(),
        }
    }

    fn check_platform(&self, platform: &str) -> Result<()> {
        check_addressee(platform, self.context.environment.as_str(), &self.context.platform, self.context.environment)
    }
}

/// Who holds the identity and what can be done. The annotation helps only in the holder's own namespace, and never to an institution: whoever
/// may write there could as well delete the other object.
fn held_by(item: &Item, other: &str) -> String {
    let identity = item.spec.identity();
    let beside = other.split('/').next() == Some(item.resource.namespace.as_str());
    let remedy = match item.kind {
        ResourceKind::Institution => "; an institution whose manifest was deleted is taken over",
        _ if beside => ", or annotate the one that shall hold it with fiorino.dev/adopt",
        _ => "",
    };
    format!("{identity} is held by {other}: delete one of the two objects{remedy}")
}

#[tonic::async_trait]
impl ConfigApply for Apply {
    async fn acquire_fence(
        &self,
        request: Request<AcquireFenceRequest>,
    ) -> Result<Response<AcquireFenceResponse>, Status> {
        let actor = rpc::actor(&request);
        let Issued { fence, allowed_at } = self.acquire_fence(request.get_ref()).await?;
        let allowed_at = allowed_at.map(|at| at.to_string()).unwrap_or_default();
        if allowed_at.is_empty() {
            tracing::info!(actor, fence, "fence issued");
        } else {
            let lease = &request.get_ref().lease_uid;
            tracing::warn!(
                actor,
                fence,
                lease,
                allowed_at,
                "a lease that another one followed leads again, as was allowed"
            );
        }
        Ok(Response::new(AcquireFenceResponse { fence, allowed_at }))
    }

    async fn apply_bundle(
        &self,
        request: Request<ApplyBundleRequest>,
    ) -> Result<Response<ApplyBundleResponse>, Status> {
        let actor = rpc::actor(&request);
        Ok(Response::new(self.apply_bundle(request.into_inner(), &actor).await?))
    }

    async fn mark_unmanaged(
        &self,
        request: Request<MarkUnmanagedRequest>,
    ) -> Result<Response<MarkUnmanagedResponse>, Status> {
        self.mark_unmanaged(request.get_ref(), &rpc::actor(&request)).await?;
        Ok(Response::new(MarkUnmanagedResponse {}))
    }

    async fn complete(&self, request: Request<CompleteRequest>) -> Result<Response<CompleteResponse>, Status> {
        let actor = rpc::actor(&request);
        let CompleteRequest { fence, platform, store_id, held_back } = request.into_inner();
        self.check_platform(&platform)?;
        restore::complete(&self.context, fence, &platform, &store_id, held_back).await?;
        tracing::info!(actor, held_back, "the operator has looked at every manifest");
        Ok(Response::new(CompleteResponse {}))
    }

    type WatchChangesStream = Pin<Box<dyn Stream<Item = Result<WatchChangesResponse, Status>> + Send>>;

    async fn watch_changes(
        &self,
        request: Request<WatchChangesRequest>,
    ) -> Result<Response<Self::WatchChangesStream>, Status> {
        self.check_platform(&request.get_ref().platform)?;
        let changes = watch::changes(
            self.context.pools.stream.clone(),
            self.expected_services.clone(),
            self.wake.clone(),
            self.token.child_token(),
        );
        Ok(Response::new(Box::pin(changes)))
    }
}
