//! What the rest of the service holds of the configuration: reading and readiness.

use std::{fmt, sync::Arc};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::projection::Projection;

/// Reads the configuration; cheap to clone.
pub struct Handle<P: Projection> {
    view: Arc<ArcSwap<P::View>>,
    progress: watch::Receiver<Progress>,
}

/// How far a replica is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// The store that the sequence belongs to; empty = nothing is held.
    pub store_id: String,
    /// Everything up to here is in effect, apart from what is refused.
    pub config_seq: i64,
    /// tenant answers on the present stream.
    pub connected: bool,
    /// Resources that this replica refuses.
    pub refused: usize,
    /// The replica may become ready: it holds a whole snapshot. Never taken back.
    pub whole: bool,
    /// tenant was waited for long enough.
    pub(crate) late: bool,
}

// === impl Progress ===

impl Progress {
    /// Without tenant's answer, what is held (a saved copy) is whole once tenant was waited for.
    pub(crate) fn settle(&mut self) {
        self.whole |= self.late && !self.store_id.is_empty() && !self.connected;
    }
}

// === impl Handle ===

impl<P: Projection> Handle<P> {
    pub(crate) fn new(view: Arc<ArcSwap<P::View>>, progress: watch::Receiver<Progress>) -> Self {
        Self { view, progress }
    }

    /// The configuration in effect: one atomic load.
    pub fn current(&self) -> Arc<P::View> {
        self.view.load_full()
    }

    /// Waits until the replica may become ready: at the head's sequence when tenant answers soon after the start, else from
    /// the saved copy (ARCHITECTURE.md 3.3). Never returns when neither is to be had.
    pub async fn whole(&self) {
        let mut progress = self.progress.clone();
        if progress.wait_for(|progress| progress.whole).await.is_err() {
            // The client ended without it: nothing will make the replica ready.
            std::future::pending::<()>().await;
        }
    }

    /// Whether [`Handle::whole`] would return at once.
    pub fn is_whole(&self) -> bool {
        self.progress.borrow().whole
    }

    /// How far the replica is, told at each change.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }
}

impl<P: Projection> Clone for Handle<P> {
    fn clone(&self) -> Self {
        Self { view: Arc::clone(&self.view), progress: self.progress.clone() }
    }
}

impl<P: Projection> fmt::Debug for Handle<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("progress", &*self.progress.borrow()).finish_non_exhaustive()
    }
}
