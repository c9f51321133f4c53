//! The process's parts, put together: also inside a test.

use std::{convert::Infallible, sync::Arc, time::Duration};

use fiorino_kit::{
    admin::Readiness,
    clock::Clock,
    error::chain,
    rpc,
    tls::{self, Identity},
};
use futures::{FutureExt as _, StreamExt as _};
use kube::{
    Client, Resource, ResourceExt as _,
    runtime::{Config, applier, controller, reflector::ObjectRef},
};
use tokio::sync::Notify;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    backoff::{self, Backoffs},
    config::Options,
    events::Events,
    institution::{
        Caches, Context, Feeds, Memory, Secrets, Slots, absent, apply::Executor, dereference::Dereferencer, reconcile,
        unused, validate::Rules,
    },
    metrics::Metrics,
    runtime::{
        cache::{Feed, Guarded, Kind},
        lease::{self, Election, Held, Term},
        queue::{InstitutionRef, Queue},
    },
    tenant::{self, Tenant, pass::Passes},
};

/// Longest wait for the first lists: without definitions or without permission there is nothing to do.
const FILL_TIMEOUT: Duration = Duration::from_mins(1);

/// Changes of one institution and its children that come together are one reconcile.
const DEBOUNCE: Duration = Duration::from_millis(100);

/// Longest wait at the end for reconciles that are under way: each call of theirs has its deadline, but there may be many.
const DRAIN: Duration = Duration::from_secs(10);

/// Why the process cannot start, or broke.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Certificates.
    #[error("failed to load the identity in the mesh")]
    Identity(#[from] tls::Error),
    /// Tenant's endpoints.
    #[error("failed to use tenant's endpoints")]
    Endpoints(#[from] rpc::Error),
    /// The API server did not list every kind.
    #[error(
        "failed to list the custom resources within {} s: are the definitions installed, and may the operator list and watch them",
        FILL_TIMEOUT.as_secs()
    )]
    NotFilled,
    /// Somebody else leads.
    #[error("failed to keep the lease")]
    Lease(#[from] lease::Error),
}

/// The operator of one platform.
pub struct Operator {
    options: Options,
    client: Client,
    identity: Identity,
    clock: Clock,
    /// In the Lease and in Events.
    name: String,
    queue: Queue,
    metrics: Metrics,
    memory: Arc<Memory>,
    backoffs: Arc<Backoffs>,
    absences: Arc<Backoffs>,
    /// An object of any kind changed.
    changed: Arc<Notify>,
}

// === impl Operator ===

impl Operator {
    /// Conditions of readiness.
    pub const READINESS: [&'static str; 1] = ["caches"];

    /// Loads the identity. [`fiorino_kit::crypto::install_ring`] comes first.
    ///
    /// # Errors
    /// Certificates that do not work.
    pub fn new(options: Options, client: Client, clock: Clock) -> Result<Self, Error> {
        let identity = Identity::load(&options.tls)?;
        let queue = Queue::default();
        let metrics = Metrics::new(&clock, &queue);
        let name = format!("fiorino-operator-{}", Uuid::new_v4());
        Ok(Self {
            options,
            client,
            identity,
            clock,
            name,
            queue,
            metrics,
            memory: Arc::default(),
            backoffs: Arc::new(Backoffs::new(backoff::FAILURE)),
            absences: Arc::new(Backoffs::new(backoff::ABSENCE)),
            changed: Arc::default(),
        })
    }

    /// Watches, waits until it leads, and reconciles until `token` is cancelled; then ends what is under way and gives the Lease free.
    ///
    /// # Errors
    /// When it cannot start or no longer leads.
    pub async fn run(self, readiness: Readiness, token: CancellationToken) -> Result<(), Error> {
        let feeds = Feeds::new(&self.options.namespaces(), &self.clock);
        let caches = feeds.caches();
        let watches = self.watch(feeds, &caches);
        let outcome = self.lead(&caches, &readiness, &token).await;
        watches.cancel();
        outcome
    }

    async fn lead(&self, caches: &Caches, readiness: &Readiness, token: &CancellationToken) -> Result<(), Error> {
        let Some(filled) = token.run_until_cancelled(tokio::time::timeout(FILL_TIMEOUT, caches.filled())).await else {
            return Ok(());
        };
        if !filled.unwrap_or(false) {
            return Err(Error::NotFilled);
        }
        readiness.set("caches", true);
        let Options { platform, lease, .. } = &self.options;
        let election = Election::new(self.client.clone(), platform, lease, self.name.clone(), self.clock.clone());
        let Some(held) = election.acquire(token).await else { return Ok(()) };
        self.metrics.leading(true);
        let outcome = self.reconcile_while_leading(caches, &election, &held, token).await;
        self.metrics.leading(false);
        outcome
    }

    /// Reconciles until told to end; the Lease is held until the last reconcile is over. A lost Lease ends everything at once.
    async fn reconcile_while_leading(
        &self,
        caches: &Caches,
        election: &Election,
        held: &Held,
        token: &CancellationToken,
    ) -> Result<(), Error> {
        let released = CancellationToken::new();
        let mut holding = std::pin::pin!(election.hold(held, &released));
        let worked = tokio::select! {
            worked = self.reconcile(caches, held, election.term(), token).boxed() => worked,
            lost = &mut holding => return Ok(lost?),
        };
        released.cancel();
        holding.await?;
        worked
    }

    async fn reconcile(
        &self,
        caches: &Caches,
        held: &Held,
        term: Term,
        token: &CancellationToken,
    ) -> Result<(), Error> {
        let channel = rpc::connect(&self.options.tenant_endpoints, "tenant", &self.identity, "operator")?;
        let Options { platform, environment, .. } = &self.options;
        let tenant =
            Tenant::new(channel, held.clone(), platform, *environment, self.metrics.clone(), self.clock.clone());
        let context = Arc::new(self.context(caches, tenant.clone(), term));
        let sight =
            absent::Sight { platform: platform.clone(), namespaces: self.options.namespaces(), since: held.created_at };
        let tenant_is_there = Arc::new(Notify::new());
        let waiting = ReceiverStream::new(self.queue.open());
        let ended = token.child_token();
        let _ends = ended.clone().drop_guard();
        let passes = context.passes.clone();
        let news = tenant::watch::News {
            passes: passes.clone(),
            memory: Arc::clone(&self.memory),
            all: Arc::clone(&tenant_is_there),
        };
        tokio::spawn(tenant::watch::run(tenant.clone(), caches.clone(), self.queue.clone(), news, ended.clone()));
        tokio::spawn(tenant::pass::run(tenant, passes.clone(), ended.clone()));
        tokio::spawn(absent::run(Arc::clone(&context), sight, tenant_is_there, ended.clone()));
        tokio::spawn(everything(caches.clone(), self.queue.clone()));
        tokio::spawn(unused::run(Arc::clone(&context), Arc::clone(&self.changed), ended.clone()));

        // As many at once as there are institutions; `Slots` bounds what they do.
        let config = Config::default().concurrency(0).debounce(DEBOUNCE);
        let queue = waiting.map(Ok::<InstitutionRef, Infallible>).take_until(ended.cancelled_owned());
        let reconciles = applier(
            |institution, context| reconcile(institution, context).boxed(),
            |institution, error, context: Arc<Context>| context.after(&institution, error),
            context,
            caches.institutions.clone(),
            Box::pin(queue),
            config,
        );
        let all = reconciles.for_each(|outcome| self.reconciled(outcome, caches, &passes));
        let overdue = async {
            token.cancelled().await;
            tokio::time::sleep(DRAIN).await;
        };
        tokio::select! {
            () = all => {}
            () = overdue => tracing::warn!("gave up reconciles that were under way at the end"),
        }
        Ok(())
    }

    /// A failed reconcile was logged with its pause. An object that went meanwhile waits no longer.
    async fn reconciled<T, E: std::error::Error + 'static>(
        &self,
        outcome: Result<T, controller::Error<E, Infallible>>,
        caches: &Caches,
        passes: &Passes,
    ) {
        match outcome {
            Ok(_) | Err(controller::Error::ReconcilerFailed(..)) => {}
            Err(controller::Error::ObjectNotFound(object)) => {
                let gone = ObjectRef::new(&object.name).within(object.namespace.as_deref().unwrap_or_default());
                self.queue.begun(&gone);
                passes.gone(&gone);
                // Made anew just now it was not asked for again, for it waited.
                if caches.institutions.get(&gone).is_some() {
                    self.queue.push(gone).await;
                }
            }
            Err(error @ (controller::Error::QueueError(_) | controller::Error::RunnerError(_))) => {
                tracing::error!(error = chain(&error), "failed to run the controller");
            }
        }
    }

    fn context(&self, caches: &Caches, tenant: Tenant, term: Term) -> Context {
        let Options { platform, environment, allowed_hostnames, seal_public_key, resync_seconds, concurrency, .. } =
            &self.options;
        let client = self.client.clone();
        Context {
            dereferencer: Dereferencer {
                caches: caches.clone(),
                secrets: Secrets::new(client.clone(), self.clock.clone(), seal_public_key.clone()),
                memory: Arc::clone(&self.memory),
                tenant: Some(tenant.clone()),
                platform: platform.clone(),
            },
            rules: Rules {
                platform: platform.clone(),
                environment: *environment,
                allowed_hostnames: allowed_hostnames.iter().filter(|domain| !domain.is_empty()).cloned().collect(),
            },
            executor: Executor {
                client: client.clone(),
                tenant,
                events: Events::new(client, &self.name),
                memory: Arc::clone(&self.memory),
                metrics: self.metrics.clone(),
                term,
            },
            memory: Arc::clone(&self.memory),
            slots: Slots::new(*concurrency),
            backoffs: Arc::clone(&self.backoffs),
            absences: Arc::clone(&self.absences),
            metrics: self.metrics.clone(),
            queue: self.queue.clone(),
            resync: Duration::from_secs(*resync_seconds),
            clock: self.clock.clone(),
            passes: Passes::default(),
        }
    }

    /// Starts the watches of every kind; each change asks for the institutions that it concerns.
    fn watch(&self, feeds: Feeds, caches: &Caches) -> CancellationToken {
        let token = CancellationToken::new();
        self.feed(feeds.institutions, &token, caches, Caches::touched_by_institution);
        self.feed(feeds.ibans, &token, caches, Caches::touched_by_iban);
        self.feed(feeds.services, &token, caches, Caches::touched_by_service);
        self.feed(feeds.stations, &token, caches, |it, object| it.touched_by_platform(object.namespace().as_deref()));
        self.feed(feeds.brokers, &token, caches, |it, object| it.touched_by_platform(object.namespace().as_deref()));
        self.feed(feeds.profiles, &token, caches, |it, object| it.touched_by_platform(object.namespace().as_deref()));
        token
    }

    fn feed<K: Kind>(
        &self,
        feed: Feed<K>,
        token: &CancellationToken,
        caches: &Caches,
        touched: impl Fn(&Caches, &Guarded<K>) -> Vec<InstitutionRef> + Send + Sync + 'static,
    ) {
        let (caches, queue) = (caches.clone(), self.queue.clone());
        let (memory, backoffs, absences) =
            (Arc::clone(&self.memory), Arc::clone(&self.backoffs), Arc::clone(&self.absences));
        let changed = Arc::clone(&self.changed);
        let store = feed.store();
        let watched = self.metrics.watched(&<K as Resource>::kind(&()));
        let running = feed.run(self.client.clone(), watched, move |object| {
            let uid = object.uid().unwrap_or_default();
            let current = store.get(&ObjectRef::from_obj(&*object));
            if current.is_none_or(|current| current.uid().as_deref() != Some(&uid)) {
                memory.forget(&uid);
                backoffs.succeeded(&uid);
                absences.succeeded(&uid);
            }
            changed.notify_one();
            let concerned = touched(&caches, &object);
            let queue = queue.clone();
            async move {
                for institution in concerned {
                    queue.push_changed(institution).await;
                }
            }
        });
        tokio::spawn(token.clone().run_until_cancelled_owned(running));
    }
}

impl std::fmt::Debug for Operator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Operator").field("name", &self.name).field("options", &self.options).finish_non_exhaustive()
    }
}

/// A new leader looks at everything once.
async fn everything(caches: Caches, queue: Queue) {
    for institution in caches.institutions.state() {
        queue.push(ObjectRef::from_obj(&*institution)).await;
    }
}
