//! What a call of the node brings to light besides its answer, written when it was given: the hot path only reads.

use std::collections::{BTreeSet, HashSet};

use fiorino_kit::{clock::Clock, store};
use sqlx::PgPool;
use tokio::sync::mpsc;

use crate::{
    cases::{self, NewCase},
    configuration,
};

/// Notes waiting. What does not fit is dropped: the next call brings it again.
const QUEUE: usize = 256;

/// Something to write.
#[derive(Debug)]
pub(super) enum Note {
    /// The node calls this institution, for the first time as far as the row told.
    Connected(i32),
    /// A number of this institution was answered for the first time: the operator's watch tells of it.
    NumberUsed(i32),
    /// A payable notice has no account number.
    NoAccount(Box<NewCase>),
}

/// Takes notes for a task that ends with its last clone.
#[derive(Debug, Clone)]
pub(super) struct Aftermath {
    notes: mpsc::Sender<Note>,
}

// === impl Aftermath ===

impl Aftermath {
    /// Starts the task; must be called inside a runtime.
    pub(super) fn start(pool: PgPool, clock: Clock) -> Self {
        let (notes, mut queue) = mpsc::channel(QUEUE);
        tokio::spawn(async move {
            let mut connected = HashSet::new();
            let mut batch = Vec::with_capacity(QUEUE);
            while queue.recv_many(&mut batch, QUEUE).await > 0 {
                write(&pool, &clock, &mut connected, batch.drain(..)).await;
            }
        });
        Self { notes }
    }

    /// Leaves a note, or drops it when there are too many.
    pub(super) fn note(&self, note: Note) {
        if self.notes.try_send(note).is_err() {
            tracing::debug!("too many notes, this one comes again");
        }
    }
}

/// `connected`: institutions that this process marked already.
async fn write(pool: &PgPool, clock: &Clock, connected: &mut HashSet<i32>, notes: impl Iterator<Item = Note>) {
    let (mut seen, mut used, mut found) = (HashSet::new(), BTreeSet::new(), Vec::new());
    for note in notes {
        match note {
            Note::Connected(id) if !connected.contains(&id) => _ = seen.insert(id),
            Note::Connected(_) => {}
            Note::NumberUsed(id) => _ = used.insert(id),
            Note::NoAccount(case) => found.push(*case),
        }
    }
    if !seen.is_empty() {
        let ids: Vec<_> = seen.iter().copied().collect();
        match configuration::mark_node_connected(pool, &ids, clock.now()).await {
            Ok(()) => connected.extend(seen),
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "failed to mark institutions as connected, the next call tries again"
                );
            }
        }
    }
    if !used.is_empty()
        && let Err(error) = configuration::mark_status_changed(pool, &used.into_iter().collect::<Vec<_>>()).await
    {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "failed to tell that account numbers are used, the operator's next look finds it"
        );
    }
    if !found.is_empty()
        && let Err(error) = open(pool, &found).await
    {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "failed to open cases of missing accounts, the next call tries again"
        );
    }
}

async fn open(pool: &PgPool, found: &[NewCase]) -> sqlx::Result<()> {
    let mut tx = store::begin(pool).await?;
    cases::open(&mut tx, found).await?;
    tx.commit().await
}
