//! Institutions whose manifest went without tenant's knowledge: released while it was away, or their finalizer was taken off by hand. Tenant
//! holds them for an object that is not there, and no other may have them. They are found at the start, and when tenant was away.
//!
//! Who is marked as unmanaged is served on as before, and comes back by its manifest; what it loses is the protection from a manifest of
//! another name or namespace. Therefore all of this must hold: neither the uid nor the name of its object is in the cluster, as the watch
//! shows it **and** as the API server says when it is asked; the operator watches that namespace; and tenant wrote it after this cluster's
//! Lease was made. A cluster that is made anew holds nothing at first: what is older than its Lease stays as it is until it is applied.

use std::{sync::Arc, time::Duration};

use fiorino_crds::CreditorInstitution;
use fiorino_kit::{backoff::Backoff, error::chain};
use fiorino_proto::config::v1::InstitutionStatus;
use jiff::Timestamp;
use kube::{Api, Client, ResourceExt as _, api::ListParams};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{
    Caches, Context,
    apply::{Error, Result},
};
use crate::runtime::call::timely;

/// After a look that failed.
const DELAYS: Backoff = Backoff { min: Duration::from_secs(1), max: Duration::from_mins(1), jitter: 25 };

/// What this operator can tell the absence of.
#[derive(Debug, Clone)]
pub struct Sight {
    /// Namespace of the platform.
    pub platform: String,
    /// Namespaces that are watched; empty: all.
    pub namespaces: Vec<String>,
    /// When the Lease was made; `None`: unknown, nothing is judged.
    pub since: Option<Timestamp>,
}

/// Looks each time that tenant says `all`: when its stream begins. A look that fails is tried again, until `token` is cancelled.
pub async fn run(ctx: Arc<Context>, sight: Sight, tenant_is_there: Arc<Notify>, token: CancellationToken) {
    let mut retry = DELAYS.retry();
    let looks = async {
        loop {
            tenant_is_there.notified().await;
            while let Err(error) = Box::pin(ctx.tell_absent(&sight)).await {
                tracing::warn!(error = chain(&error), "failed to look for institutions without a manifest");
                retry.wait().await;
            }
            retry.reset();
        }
    };
    token.run_until_cancelled(looks).await;
}

// === impl Sight ===

impl Sight {
    /// Whether an institution that tenant holds may be without a manifest, as far as is known without asking the API server.
    pub fn misses(&self, known: &InstitutionStatus, caches: &Caches) -> bool {
        let InstitutionStatus { managed, platform, namespace, name, uid, written_at, .. } = known;
        let of_this_cluster = self.since.zip(written_at.parse().ok()).is_some_and(|(since, written)| since < written);
        *managed
            && of_this_cluster
            && *platform == self.platform
            && !name.is_empty()
            && (self.namespaces.is_empty() || self.namespaces.contains(namespace))
            && !caches.has_institution(uid, namespace, name)
    }
}

// === impl Context ===

impl Context {
    async fn tell_absent(&self, sight: &Sight) -> Result<()> {
        let mut page_token = String::new();
        loop {
            let page = self.executor.tenant.institutions(page_token).await?;
            for known in &page.institutions {
                if sight.misses(known, &self.dereferencer.caches) {
                    self.unmanage_absent(known).await?;
                }
            }
            if page.next_page_token.is_empty() {
                return Ok(());
            }
            page_token = page.next_page_token;
        }
    }

    async fn unmanage_absent(&self, known: &InstitutionStatus) -> Result<()> {
        let InstitutionStatus { fiscal_code, uid, namespace, name, .. } = known;
        if is_there(&self.executor.client, namespace, name).await? {
            return Ok(());
        }
        if self.executor.term.is_over() {
            return Err(Error::TermOver);
        }
        self.executor.tenant.mark_unmanaged(fiscal_code, uid).await?;
        tracing::warn!(
            namespace,
            name,
            "tenant held an institution whose manifest is gone: it is served on as unmanaged"
        );
        Ok(())
    }
}

/// Whether an institution of this name is in the cluster, by the API server's own word. It lists: an empty list is said only of a kind that
/// it serves and a namespace that it may look into, while "not found" is also said of a kind that it does not serve at the moment.
///
/// # Errors
/// When the API server cannot be asked.
pub async fn is_there(client: &Client, namespace: &str, name: &str) -> Result<bool> {
    let api: Api<CreditorInstitution> = Api::namespaced(client.clone(), namespace);
    let params = ListParams::default().fields(&format!("metadata.name={name}"));
    let listed = timely(api.list_metadata(&params)).await.map_err(Error::Look)?;
    Ok(listed.items.iter().any(|object| object.name_any() == name))
}
