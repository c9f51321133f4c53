//! The stream's side of a client: connects, applies, acknowledges, and begins again when anything breaks.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use fiorino_kit::{backoff::Retry, error::chain, rpc};
use fiorino_proto::config::v1::Hello;
use sqlx::PgPool;
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    client::Options,
    copy::Saved,
    handle::Progress,
    holding::{Holding, State},
    metrics::Metrics,
    projection::Projection,
    session::{Error, Session},
};

/// How long reading the saved copy may hold up the start.
const LOAD_LIMIT: Duration = Duration::from_secs(2);

/// Nacks in one acknowledgement: as many as tenant takes.
const NACKS_MAX: usize = 1_000;

/// What follows tenant.
pub(crate) struct Follower<P: Projection> {
    pub(crate) options: Options,
    pub(crate) channel: rpc::Channel,
    pub(crate) pool: PgPool,
    pub(crate) boot_id: String,
    pub(crate) holding: Holding<P>,
    /// The saved copy was read, or is not needed any more.
    pub(crate) loaded: bool,
    pub(crate) view: Arc<ArcSwap<P::View>>,
    pub(crate) progress: watch::Sender<Progress>,
    pub(crate) states: watch::Sender<Arc<State<P::Item>>>,
    pub(crate) metrics: Arc<Metrics>,
}

// === impl Follower ===

impl<P: Projection> Follower<P> {
    /// Reads the saved copy.
    pub(crate) async fn load(&mut self) {
        match timeout(LOAD_LIMIT, Saved::load(&self.pool)).await {
            Ok(Ok(Some(saved))) => {
                self.holding.restore(saved.store_id, saved.config_seq, saved.resources);
                self.publish(|_| {});
                let Progress { config_seq, refused, .. } = *self.progress.borrow();
                tracing::info!(config_seq, refused, "saved configuration loaded");
                self.loaded = true;
            }
            Ok(Ok(None)) => self.loaded = true,
            Ok(Err(error)) => tracing::warn!(error = chain(&error), "failed to load the saved configuration"),
            Err(_) => tracing::warn!("failed to load the saved configuration in time"),
        }
    }

    /// Follows tenant until `token` is cancelled.
    pub(crate) async fn follow(mut self, token: &CancellationToken) {
        let mut retry = self.options.backoff.retry();
        while let Err(error) = self.session(&mut retry, token).await {
            self.metrics.stream_failed();
            let (error_chain, config_seq) = (chain(&error), self.holding.state().config_seq);
            tracing::warn!(error = error_chain, config_seq, "configuration stream failed, serving what is held");
            self.holding.abandon();
            if matches!(error, Error::Unusable(_)) {
                // What is held does not fit what tenant sends: ask for a snapshot.
                self.holding.distrust();
            }
            self.publish(|progress| progress.connected = false);
            let recover = async {
                if !self.loaded {
                    self.load().await;
                }
                retry.wait().await;
            };
            if token.run_until_cancelled(recover).await.is_none() {
                return;
            }
        }
    }

    /// One stream, until it breaks or `token` is cancelled.
    async fn session(&mut self, retry: &mut Retry, token: &CancellationToken) -> Result<(), Error> {
        let Options { silence, ref clock, .. } = self.options;
        let opening = Session::open(self.channel.clone(), self.hello(), silence, clock.clone());
        let Some(session) = token.run_until_cancelled(opening).await else { return Ok(()) };
        let mut session = session?;
        let mut heartbeat = interval(self.options.heartbeat);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut current = false;
        loop {
            tokio::select! {
                message = session.next() => {
                    let completed = self.holding.receive(message?)?;
                    self.apply(completed);
                    if completed {
                        current = true;
                        self.loaded = true; // nothing older is of use any more
                        retry.reset();
                        self.acknowledge(&session)?;
                    }
                }
                _ = heartbeat.tick() => if current {
                    self.acknowledge(&session)?;
                },
                () = token.cancelled() => {
                    session.leave().await;
                    return Ok(());
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
            progress.refused = state.nacks().count();
            change(progress);
            progress.settle();
        });
        self.metrics.progress(&self.progress.borrow());
    }

    fn acknowledge(&self, session: &Session) -> Result<(), Error> {
        let (acknowledged_seq, nacks) = self.holding.state().acknowledgement(NACKS_MAX);
        session.acknowledge(acknowledged_seq, nacks)
    }
}
