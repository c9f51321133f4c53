//! What is to be reconciled: filled by watches and by tenant, emptied by the leader's controller.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use fiorino_crds::CreditorInstitution;
use kube::runtime::reflector::{ObjectRef, Store};
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
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).clear();
        *self.sender.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
        receiver
    }

    /// Asks for a reconcile because a manifest changed: one that is under way and waits for tenant need not be waited for.
    pub async fn push_changed(&self, institution: InstitutionRef) {
        // Nobody may be reconciling at the moment.
        self.changes.send(institution.clone()).unwrap_or_default();
        self.push(institution).await;
    }

    /// Begins the reconcile of an object that the controller has read from the store: the object as it is now, and a future that ends when
    /// its manifest changes from now on. What changed between that reading and now waited already, and was not asked for again.
    pub fn begin(
        &self,
        store: &Store<Guarded<CreditorInstitution>>,
        read: Arc<Guarded<CreditorInstitution>>,
    ) -> (Arc<Guarded<CreditorInstitution>>, impl Future<Output = ()> + Send + use<>) {
        let reference = ObjectRef::from_obj(&*read);
        // In this order: what changes after the first line is asked for, and what changed before the last one is seen.
        self.begun(&reference);
        let superseded = self.superseded(&reference);
        (store.get(&reference).unwrap_or(read), superseded)
    }

    /// Whether this institution's manifest changes from now on; ends when it does.
    fn superseded(&self, institution: &InstitutionRef) -> impl Future<Output = ()> + Send + use<> {
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

    /// Asks for a reconcile. Who waits already waits no longer for it: the controller counts its pause from the last request, so that
    /// changes that keep coming would postpone the reconcile until they end.
    pub async fn push(&self, institution: InstitutionRef) {
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(sender) = sender else { return };
        if !self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(institution.clone()) {
            return;
        }
        if let Err(mpsc::error::SendError(institution)) = sender.send(institution).await {
            // A leader on its way out: the next one looks at everything.
            self.begun(&institution);
        }
    }

    /// Takes an institution off the list of those that wait: its reconcile begins, or its object is gone.
    pub fn begun(&self, institution: &InstitutionRef) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(institution);
    }

    /// Institutions that wait for a reconcile.
    pub fn depth(&self) -> usize {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

#[cfg(test)]
mod tests {
    use kube::{
        core::DeserializeGuard,
        runtime::{reflector, watcher},
    };

    use super::*;

    fn institution(name: &str) -> InstitutionRef {
        ObjectRef::new(name).within("comune")
    }

    #[tokio::test]
    async fn who_waits_is_asked_for_once_until_it_begins() {
        let queue = Queue::default();
        queue.push(institution("early")).await;
        assert_eq!(queue.depth(), 0, "nobody leads");
        let mut requests = queue.open();
        for _ in 0..3 {
            queue.push_changed(institution("a")).await;
        }
        queue.push(institution("b")).await;
        assert_eq!((queue.depth(), requests.len()), (2, 2));
        queue.begun(&requests.recv().await.unwrap());
        queue.push(institution("a")).await;
        assert_eq!((queue.depth(), requests.len()), (2, 2), "what changes from here on is another reconcile");
    }

    fn object(legal_name: &str) -> Guarded<CreditorInstitution> {
        let object = serde_json::from_value(serde_json::json!({
            "apiVersion": "fiorino.dev/v1alpha1", "kind": "CreditorInstitution",
            "metadata": {"name": "a", "namespace": "comune"},
            "spec": {"fiscalCode": "80012340560", "legalName": legal_name, "kind": "Municipality", "adhesion": {"date": "2026-10-05"}},
        }));
        DeserializeGuard(Ok(object.unwrap()))
    }

    /// The controller has read the object, its reconcile has not begun: a change is not asked for again, and must be seen.
    #[tokio::test]
    async fn what_changes_just_before_a_reconcile_begins_is_seen() {
        let queue = Queue::default();
        let mut requests = queue.open();
        let (store, mut writer) = reflector::store();
        writer.apply_watcher_event(&watcher::Event::Apply(object("Before")));
        queue.push_changed(institution("a")).await;
        let read = store.get(&requests.recv().await.unwrap()).unwrap();
        writer.apply_watcher_event(&watcher::Event::Apply(object("After")));
        queue.push_changed(institution("a")).await;
        assert_eq!(requests.len(), 0, "it waits already");
        let (seen, superseded) = queue.begin(&store, read);
        assert_eq!(seen.0.as_ref().unwrap().spec.legal_name, "After");
        queue.push_changed(institution("a")).await;
        assert_eq!(requests.len(), 1, "what changes from here on is another reconcile");
        superseded.await;
    }

    #[tokio::test]
    async fn a_new_leader_starts_with_an_empty_queue() {
        let queue = Queue::default();
        let before = queue.open();
        queue.push(institution("a")).await;
        drop(before);
        let requests = queue.open();
        assert_eq!(queue.depth(), 0);
        queue.push(institution("a")).await;
        assert_eq!((queue.depth(), requests.len()), (1, 1));
    }
}
