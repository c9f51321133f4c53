//! Whether numbers may be issued, and who else knows of them.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use fiorino_kit::{clock::Clock, store};
use jiff::Timestamp;
use sqlx::PgPool;
use tokio::{sync::watch, time::timeout};
use tracing::Instrument as _;

use super::{origin, points::Stated};
use crate::{context::Context, nav::Point};

/// How long a block waits for a node-connector that keeps its end.
const BLOCK_WAIT: Duration = Duration::from_secs(1);

/// Between looks for what a node-connector of another replica has kept.
const LOOK: Duration = Duration::from_millis(100);

/// What this process knows of the store and of its witnesses; cheap to clone.
#[derive(Debug, Clone)]
pub struct Witness {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    context: Context,
    /// Longest wait for a node-connector, after a start.
    patience: Duration,
    /// When this process looked at the store first, by the database's time: before anybody could compare with it.
    started: OnceLock<Timestamp>,
    state: watch::Sender<State>,
    reserved: watch::Sender<()>,
    kept: watch::Sender<()>,
}

/// Whether numbers may be issued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    /// Of the store; blocks of another one are not used any more.
    origin: i64,
    restored: bool,
    /// Nothing that was paid can be missing.
    serves: bool,
    /// A node-connector has compared since the database was last reached.
    compared: bool,
    /// When nobody is waited for any longer, in monotonic time.
    deadline: Duration,
}

// === impl Witness ===

impl Witness {
    /// Nothing is known yet; waits `patience` at most for the first comparison.
    pub fn new(context: Context, patience: Duration) -> Self {
        let deadline = context.clock.monotonic() + patience;
        let state = watch::Sender::new(State { origin: 0, restored: false, serves: true, compared: false, deadline });
        let (reserved, kept) = (watch::Sender::new(()), watch::Sender::new(()));
        Self { inner: Arc::new(Inner { context, patience, started: OnceLock::new(), state, reserved, kept }) }
    }

    /// Waits until a node-connector has compared, or was waited for long enough; `false`: the store may be a restored one.
    pub(crate) async fn permits(&self) -> bool {
        let mut state = self.inner.state.subscribe();
        let left = state.borrow().deadline.saturating_sub(self.clock().monotonic());
        // Nobody compared in time: the numbers are used, and stay marked until somebody keeps their end.
        drop(timeout(left, state.wait_for(|state| state.compared || state.restored)).await);
        !state.borrow().restored
    }

    pub(super) fn started(&self) -> Option<Timestamp> {
        self.inner.started.get().copied()
    }

    /// Whether it may be answered what can be paid.
    pub(super) fn serves(&self) -> bool {
        self.inner.state.borrow().serves
    }

    /// The store that blocks belong to.
    pub(crate) fn origin(&self) -> i64 {
        self.inner.state.borrow().origin
    }

    /// Waits for a while until a node-connector has kept the end of a block.
    pub(crate) async fn keeps(&self, pool: &PgPool, point: &Point, end: i64) {
        let limit = BLOCK_WAIT.min(self.inner.patience);
        let mut news = self.inner.kept.subscribe();
        self.inner.reserved.send_replace(());
        let kept = async {
            loop {
                match witnessed(pool, point).await {
                    Ok(witnessed) if witnessed >= end => return,
                    Ok(_) => {}
                    Err(error) => {
                        tracing::warn!(error = &error as &dyn std::error::Error, "failed to look for a witness");
                    }
                }
                drop(timeout(LOOK, news.changed()).await);
            }
        };
        if timeout(limit, kept).await.is_err() && !limit.is_zero() {
            tracing::warn!(code = %point.code, end, "no node-connector has kept the end of a block: its numbers have no witness");
        }
    }

    /// Numbers of this process's blocks are not used any more, whatever the store says next.
    pub(crate) async fn suspect(&self, reason: &str) -> sqlx::Result<()> {
        self.suspect_by(reason, None).await
    }

    /// The same, by what a node-connector states.
    pub(super) async fn suspect_by(&self, reason: &str, stated: Option<&Stated>) -> sqlx::Result<()> {
        self.inner.state.send_modify(|state| (state.restored, state.serves) = (true, false));
        origin::suspect(self.context(), reason, stated).await
    }

    /// Looks at the store before anybody is served.
    ///
    /// # Errors
    /// What the database says; also where PostgreSQL only reads.
    pub async fn settle(&self) -> sqlx::Result<()> {
        let pool = &self.context().pools.config;
        let now: jiff_sqlx::Timestamp = sqlx::query_scalar("select now()").fetch_one(pool).await?;
        origin::settle(self.context()).await?;
        let started = *self.inner.started.get_or_init(|| now.to_jiff());
        let origin = origin::look(pool, started).await?;
        self.seen(origin);
        Ok(())
    }

    /// What the store says now.
    pub(super) fn seen(&self, origin: origin::Origin) {
        let origin::Origin { restored, serves, compared, .. } = origin;
        self.inner.state.send_if_modified(|state| {
            let now = State { origin: origin.id, restored, serves, compared, ..*state };
            std::mem::replace(state, now) != now
        });
    }

    /// The server is another one, or was started again: what was compared before says nothing of it.
    pub(super) fn lost(&self) {
        let deadline = self.clock().monotonic() + self.inner.patience;
        self.inner.state.send_modify(|state| (state.compared, state.deadline) = (false, deadline));
    }

    /// Sees every reservation of this process from now on.
    pub(super) fn reservations(&self) -> watch::Receiver<()> {
        self.inner.reserved.subscribe()
    }

    /// A node-connector has kept something.
    pub(super) fn kept(&self) {
        self.inner.kept.send_replace(());
    }

    pub(super) fn context(&self) -> &Context {
        &self.inner.context
    }

    fn clock(&self) -> &Clock {
        &self.inner.context.clock
    }
}

async fn witnessed(pool: &PgPool, point: &Point) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "select witnessed from nav_sequence where institution_id = $1 and aux_digit = $2 and code = $3 and prefix = $4",
    )
    .bind(point.institution_id)
    .bind(i16::from(point.aux_digit.number()))
    .bind(point.code.as_str())
    .bind(&point.prefix)
    .fetch_one(pool)
    .instrument(store::span("look for a witness"))
    .await
}
