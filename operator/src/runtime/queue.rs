//! What is to be reconciled: filled by watches and by tenant, emptied by the leader's controller.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use fiorino_crds::CreditorInstitution;
use kube::runtime::reflector::ObjectRef;
use tokio::sync::{broadcast, mpsc};

use super::cache::Guarded;

/// Names one institution.
pub type InstitutionRef = ObjectRef<Guarded<CreditorInstitution>>;

/// Requests that wait at once; who fills it waits when it is full.
const CAPACITY: usize = 4_096;

/// The way into the controller; cheap to clone. While nobody leads, what is pushed is dropped: a new leader looks at everything.
#[derive(Debug, Clone)]
pub struct Queue {
    sender: Arc<Mutex<Option<mpsc::Sender<InstitutionRef>>>>,
    waiting: Arc<Mutex<HashSet<InstitutionRef>>>,
    changes: broadcast::Sender<InstitutionRef>,
}

/// Changes that one reconcile may miss while it looks elsewhere.
const CHANGES: usize = 1_024;

// === impl Queue ===

impl Default for Queue {
    fn default() -> Self {
        Self { sender: Arc::default(), waiting: Arc::default(), changes: broadcast::channel(CHANGES).0 }
    }
}

impl Queue {
    /// Opens the queue for the leader.
    pub fn open(&self) -> mpsc::Receiver<InstitutionRef> {
        let (sender, receiver) = mpsc::channel(CAPACITY);
        *self.sender.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
        receiver
    }

    /// Asks for a reconcile because a manifest changed: one that is under way and waits for tenant need not be waited for.
    pub async fn push_changed(&self, institution: InstitutionRef) {
        // Nobody may be reconciling at the moment.
        self.changes.send(institution.clone()).unwrap_or_default();
        self.push(institution).await;
    }

    /// Whether this institution's manifest changes from now on; ends when it does.
    pub fn superseded(&self, institution: &InstitutionRef) -> impl Future<Output = ()> + Send + use<> {
        let (mut changes, institution) = (self.changes.subscribe(), institution.clone());
        async move {
            loop {
                match changes.recv().await {
                    Ok(other) if other == institution => return,
                    Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
                }
            }
        }
    }

    /// Asks for a reconcile.
    pub async fn push(&self, institution: InstitutionRef) {
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(sender) = sender else { return };
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(institution.clone());
        // A closed channel is a leader on its way out: the next one looks at everything.
        sender.send(institution).await.unwrap_or_default();
    }

    /// Notes that a reconcile begins, or that its object is gone.
    pub fn begun(&self, institution: &InstitutionRef) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(institution);
    }

    /// Institutions that wait for a reconcile.
    pub fn depth(&self) -> usize {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}
