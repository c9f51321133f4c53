//! A service's client: what it is told, what runs, and the saved copy that follows.

use std::{fmt, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use fiorino_kit::{
    backoff::{Backoff, Retry},
    clock::Clock,
    error::chain,
    rpc,
};
use sqlx::PgPool;
use tokio::{sync::watch, time::sleep};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    copy::Copy,
    follower::Follower,
    handle::{Handle, Progress},
    holding::{Holding, State},
    metrics::Metrics,
    projection::Projection,
};

/// What a client needs to know of its process.
#[derive(Debug, Clone)]
pub struct Options {
    /// Name of the service as tenant expects it.
    pub service: &'static str,
    /// Stable name of the replica (pod name).
    pub replica: String,
    /// Features of resources that this version understands.
    pub capabilities: &'static [&'static str],
    /// How long tenant is waited for before a saved copy is good enough to become ready.
    pub head_wait: Duration,
    /// Time between acknowledgements without news; tenant counts a replica out after 10 s.
    pub heartbeat: Duration,
    /// A stream without a message for so long is given up; tenant says something every 5 s.
    pub silence: Duration,
    /// Delays between attempts to reach tenant, or the database.
    pub backoff: Backoff,
    /// What the times above are measured with.
    pub clock: Clock,
}

/// Keeps a [`Handle`] up to date while it [runs](Client::run).
pub struct Client<P: Projection> {
    follower: Follower<P>,
    pool: PgPool,
    states: watch::Receiver<Arc<State<P::Item>>>,
    /// By [`Clock::monotonic`].
    patience: Duration,
}

// === impl Options ===

impl Options {
    /// The times of ARCHITECTURE.md 3.3, and no capability.
    pub fn new(service: &'static str, replica: impl Into<String>) -> Self {
        Self {
            service,
            replica: replica.into(),
            capabilities: &[],
            head_wait: Duration::from_secs(5),
            heartbeat: Duration::from_secs(2),
            silence: Duration::from_secs(15),
            backoff: Backoff { min: Duration::from_millis(100), max: Duration::from_secs(2), jitter: 50 },
            clock: Clock::system(),
        }
    }
}

// === impl Client ===

impl<P: Projection> Client<P> {
    /// Starts from the saved copy in `pool`, if there is one; `channel` leads to tenant's replicas. Without a database the
    /// client starts with nothing and tries again while it runs.
    pub async fn load(options: Options, projection: P, pool: PgPool, channel: rpc::Channel) -> (Handle<P>, Self) {
        let patience = options.clock.monotonic() + options.head_wait;
        let holding = Holding::new(projection, options.capabilities);
        let view = Arc::new(ArcSwap::from_pointee(holding.view()));
        let (progress, seen) = watch::channel(Progress::default());
        let (states, saving) = watch::channel(Arc::clone(holding.state()));
        let handle = Handle::new(Arc::clone(&view), seen);
        let mut follower = Follower {
            options,
            channel,
            pool: pool.clone(),
            boot_id: Uuid::new_v4().to_string(),
            holding,
            loaded: false,
            view,
            progress,
            states,
            metrics: Arc::new(Metrics::new()),
        };
        follower.load().await;
        (handle, Self { follower, pool, states: saving, patience })
    }

    /// Follows tenant until `token` is cancelled.
    pub async fn run(self, token: CancellationToken) {
        let Self { follower, pool, states, patience } = self;
        let (progress, clock) = (follower.progress.clone(), follower.options.clock.clone());
        let wait = async {
            sleep(patience.saturating_sub(clock.monotonic())).await;
            progress.send_modify(|progress| {
                progress.late = true;
                progress.settle();
            });
        };
        let save = save(pool, states, follower.options.backoff.retry(), Arc::clone(&follower.metrics));
        // The follower ends last: it takes its leave of tenant.
        let background = async { tokio::join!(wait, save) };
        tokio::select! {
            () = follower.follow(&token) => {}
            _ = background => {}
        }
    }
}

impl<P: Projection> fmt::Debug for Client<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("options", &self.follower.options).finish_non_exhaustive()
    }
}

/// Keeps the saved copy at what is in effect.
async fn save<I>(pool: PgPool, mut states: watch::Receiver<Arc<State<I>>>, mut retry: Retry, metrics: Arc<Metrics>) {
    let loaded = Arc::clone(&states.borrow_and_update());
    let mut copy = Copy::new(pool, (!loaded.store_id.is_empty()).then_some(loaded));
    while states.changed().await.is_ok() {
        loop {
            let state = Arc::clone(&states.borrow_and_update());
            let Err(error) = copy.save(&state).await else { break };
            metrics.save_failed();
            tracing::warn!(error = chain(&error), config_seq = state.config_seq, "failed to save the configuration");
            retry.wait().await;
        }
        retry.reset();
    }
}
