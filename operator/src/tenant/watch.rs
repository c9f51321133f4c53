//! Tenant says which institutions' status may read differently now.

use std::{collections::HashSet, sync::Arc, time::Duration};

use fiorino_kit::{backoff::Backoff, error::chain};
use fiorino_proto::config::v1::WatchChangesResponse;
use kube::{ResourceExt as _, runtime::reflector::ObjectRef};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{Result, Tenant, pass::Passes};
use crate::{
    institution::{Caches, Memory},
    runtime::queue::Queue,
};

/// Between two attempts to open the stream: a restart of tenant is noticed at once, a long outage is no load.
const DELAYS: Backoff = Backoff { min: Duration::from_millis(200), max: Duration::from_secs(5), jitter: 25 };

/// What is done when tenant's store is another one.
#[derive(Debug, Clone)]
pub struct News {
    /// Everything is looked at again, and tenant told when it was.
    pub passes: Passes,
    /// What the store before had answered says nothing.
    pub memory: Arc<Memory>,
    /// Notified when a stream begins: tenant can be asked what it holds.
    pub all: Arc<Notify>,
}

// === impl News ===

impl News {
    fn store(&self, change: &WatchChangesResponse, caches: &Caches) {
        let institutions = caches.institutions.state();
        let all = institutions.iter().map(|institution| ObjectRef::from_obj(&**institution));
        if change.all && self.passes.begin(&change.store_id, all) {
            self.memory.forget_answers();
        }
        if change.all {
            self.all.notify_one();
        }
    }
}

/// Follows the stream until `token` is cancelled; a broken one is opened again. The first message of each says `all`, so that nothing is
/// missed in between.
pub async fn run(tenant: Tenant, caches: Caches, queue: Queue, news: News, token: CancellationToken) {
    let mut retry = DELAYS.retry();
    loop {
        let followed = token.run_until_cancelled(follow(&tenant, &caches, &queue, &news, || retry.reset())).await;
        match followed {
            None => return,
            Some(Ok(())) => {}
            Some(Err(error)) => tracing::warn!(error = chain(&error), "failed to watch tenant's changes"),
        }
        if token.run_until_cancelled(retry.wait()).await.is_none() {
            return;
        }
    }
}

async fn follow(
    tenant: &Tenant,
    caches: &Caches,
    queue: &Queue,
    news: &News,
    mut connected: impl FnMut(),
) -> Result<()> {
    let mut changes = tenant.changes().await?;
    while let Some(change) = changes.message().await? {
        connected();
        news.store(&change, caches);
        wake(&change, caches, queue).await;
    }
    Ok(())
}

async fn wake(change: &WatchChangesResponse, caches: &Caches, queue: &Queue) {
    let uids: HashSet<&str> = change.uids.iter().map(String::as_str).collect();
    let concerned = caches
        .institutions
        .state_filter(|institution| change.all || institution.uid().is_some_and(|uid| uids.contains(uid.as_str())));
    for institution in concerned {
        queue.push(ObjectRef::from_obj(&*institution)).await;
    }
}
