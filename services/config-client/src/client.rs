//! Follows tenant: connects, applies, acknowledges, saves, and begins again when anything breaks.

use std::{convert::Infallible, fmt, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use fiorino_kit::{
    backoff::{Backoff, Retry},
    rpc,
};
use fiorino_proto::config::v1::Hello;
use sqlx::PgPool;
use tokio::{
    sync::watch,
    time::{Instant, interval, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    copy::{Copy, Saved},
    handle::{Handle, Progress},
    holding::{Holding, State},
    metrics::Metrics,
    projection::Projection,
    session::{Error, Session},
};

/// How long reading the saved copy may hold up the start.
const LOAD_LIMIT: Duration = Duration::from_secs(2);

/// Nacks in one acknowledgement; the rest follows when these are mended.
const NACKS_MAX: usize = 200;

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
}

/// Keeps a [`Handle`] up to date while it [runs](Client::run).
pub struct Client<P: Projection> {
    follower: Follower<P>,
    pool: PgPool,
    states: watch::Receiver<Arc<State<P::Item>>>,
    patience: Instant,
}

/// The stream's side.
struct Follower<P: Projection> {
    options: Options,
    channel: rpc::Channel,
    pool: PgPool,
    boot_id: String,
    holding: Holding<P>,
    /// The saved copy was read, or is not needed any more.
    loaded: bool,
    view: Arc<ArcSwap<P::View>>,
    progress: watch::Sender<Progress>,
    states: watch::Sender<Arc<State<P::Item>>>,
    metrics: Arc<Metrics>,
}

// === impl Options ===

impl Options {
    /// The times of architecture.md section 4, and no capability.
    pub fn new(service: &'static str, replica: impl Into<String>) -> Self {
        Self {
            service,
            replica: replica.into(),
            capabilities: &[],
            head_wait: Duration::from_secs(5),
            heartbeat: Duration::from_secs(2),
            silence: Duration::from_secs(15),
            backoff: Backoff { min: Duration::from_millis(100), max: Duration::from_secs(2), jitter: 50 },
        }
    }
}

// === impl Client ===

impl<P: Projection> Client<P> {
    /// Starts from the saved copy in `pool`, if there is one; `channel` leads to tenant's replicas. Without a database the
    /// client starts with nothing and tries again while it runs.
    pub async fn load(options: Options, projection: P, pool: PgPool, channel: rpc::Channel) -> (Handle<P>, Self) {
        let patience = Instant::now() + options.head_wait;
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
        let progress = follower.progress.clone();
        let wait = async {
            sleep_until(patience).await;
            progress.send_modify(|progress| {
                progress.late = true;
                progress.settle();
            });
        };
        let save = save(pool, states, follower.options.backoff.retry(), Arc::clone(&follower.metrics));
        tokio::select! {
            () = token.cancelled() => {}
            _ = async { tokio::join!(wait, save, follower.follow()) } => {}
        }
    }
}

impl<P: Projection> fmt::Debug for Client<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("options", &self.follower.options).finish_non_exhaustive()
    }
}

// === impl Follower ===

impl<P: Projection> Follower<P> {
    /// Reads the saved copy.
    async fn load(&mut self) {
        match timeout(LOAD_LIMIT, Saved::load(&self.pool)).await {
            Ok(Ok(Some(saved))) => {
                self.holding.restore(saved.store_id, saved.config_seq, saved.resources);
                self.publish(|_| {});
                let Progress { config_seq, refused, .. } = *self.progress.borrow();
                tracing::info!(config_seq, refused, "saved configuration loaded");
                self.loaded = true;
            }
            Ok(Ok(None)) => self.loaded = true,
            Ok(Err(error)) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "failed to load the saved configuration");
            }
            Err(_) => tracing::warn!("failed to load the saved configuration in time"),
        }
    }

    async fn follow(mut self) -> Infallible {
        let mut retry = self.options.backoff.retry();
        loop {
            let before = self.progress.borrow().config_seq;
            let Err(error) = self.session(&mut retry).await;
            self.holding.abandon();
            self.publish(|progress| progress.connected = false);
            self.metrics.stream_failed();
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                config_seq = before,
                "configuration stream failed, serving what is held"
            );
            if matches!(error, Error::Unusable(_)) {
                // What is held does not fit what tenant sends: ask for a snapshot.
                self.holding.distrust();
            }
            if !self.loaded {
                self.load().await;
            }
            retry.wait().await;
        }
    }

    /// One stream, until it breaks.
    async fn session(&mut self, retry: &mut Retry) -> Result<Infallible, Error> {
        let mut session = Session::open(self.channel.clone(), self.hello(), self.options.silence).await?;
        let mut heartbeat = interval(self.options.heartbeat);
        let mut current = false;
        loop {
            tokio::select! {
                message = session.next() => {
                    let completed = self.holding.receive(message?)?;
                    if completed {
                        current = true;
                        // Nothing older than this is of use any more.
                        self.loaded = true;
                        retry.reset();
                    }
                    self.apply(completed);
                    if completed {
                        self.acknowledge(&session)?;
                    }
                }
                _ = heartbeat.tick() => if current {
                    self.acknowledge(&session)?;
                }
            }
        }
    }

    fn hello(&self) -> Hello {
        let (store_id, known_seq) = self.holding.known();
        Hello {
            service: self.options.service.to_owned(),
            replica: self.options.replica.clone(),
            boot_id: self.boot_id.clone(),
            capabilities: self.options.capabilities.iter().map(|&name| name.to_owned()).collect(),
            store_id,
            known_seq,
        }
    }

    /// A message was taken; a completed one takes effect.
    fn apply(&self, completed: bool) {
        let Progress { connected, whole, .. } = *self.progress.borrow();
        if !Arc::ptr_eq(&self.states.borrow(), self.holding.state()) {
            self.publish(|progress| (progress.connected, progress.whole) = (true, true));
        } else if !connected || completed && !whole {
            self.progress.send_modify(|progress| {
                progress.connected = true;
                progress.whole |= completed;
            });
            self.metrics.progress(&self.progress.borrow());
        }
    }

    /// Puts what is held into effect and tells of it.
    fn publish(&self, change: impl FnOnce(&mut Progress)) {
        let state = self.holding.state();
        if !Arc::ptr_eq(&self.states.borrow(), state) {
            self.view.store(Arc::new(self.holding.view()));
            self.states.send_replace(Arc::clone(state));
        }
        self.progress.send_modify(|progress| {
            progress.store_id.clone_from(&state.store_id);
            progress.config_seq = state.config_seq;
            progress.refused = state.nacks().len();
            change(progress);
            progress.settle();
        });
        self.metrics.progress(&self.progress.borrow());
    }

    fn acknowledge(&self, session: &Session) -> Result<(), Error> {
        let state = self.holding.state();
        let mut nacks = state.nacks();
        nacks.truncate(NACKS_MAX);
        session.acknowledge(state.config_seq, nacks)
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
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                config_seq = state.config_seq,
                "failed to save the configuration"
            );
            retry.wait().await;
        }
        retry.reset();
    }
}
