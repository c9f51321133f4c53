//! A whole pass: every institution was looked at since tenant's store began. A store that was restored believes that what it does not know
//! was never ours only when it was told so (ARCHITECTURE.md 4.2).

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use fiorino_kit::{backoff::Backoff, error::chain};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{Error, Tenant};
use crate::runtime::queue::InstitutionRef;

/// Between attempts to tell tenant.
const RETRY: Backoff =
    Backoff { min: std::time::Duration::from_millis(500), max: std::time::Duration::from_secs(10), jitter: 25 };

/// The pass over all institutions that goes on; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Passes {
    pass: Arc<Mutex<Option<Pass>>>,
    whole: Arc<Notify>,
}

#[derive(Debug)]
struct Pass {
    store_id: String,
    /// Not looked at yet.
    open: HashSet<InstitutionRef>,
    held_back: u32,
    told: bool,
}

/// A pass that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whole {
    /// Tenant's store when it began.
    pub store_id: String,
    /// Institutions whose manifest could not be applied as it is.
    pub held_back: u32,
}

// === impl Passes ===

impl Passes {
    /// Tenant says which store it is, and these institutions are there; `true`: it is another one, and a pass begins.
    pub fn begin(&self, store_id: &str, institutions: impl IntoIterator<Item = InstitutionRef>) -> bool {
        let mut pass = self.lock();
        if store_id.is_empty() || pass.as_ref().is_some_and(|pass| pass.store_id == store_id) {
            return false;
        }
        let open: HashSet<_> = institutions.into_iter().collect();
        if open.is_empty() {
            self.whole.notify_one();
        }
        *pass = Some(Pass { store_id: store_id.to_owned(), open, held_back: 0, told: false });
        true
    }

    /// The store that a look which begins now is about.
    pub fn store(&self) -> Option<String> {
        self.lock().as_ref().map(|pass| pass.store_id.clone())
    }

    /// A look at an institution ended, and need not be repeated. One that began before the store did says nothing of it.
    pub fn looked_at(&self, institution: &InstitutionRef, store: Option<&str>, held_back: bool) {
        let mut guard = self.lock();
        let Some(pass) = guard.as_mut().filter(|pass| store == Some(&pass.store_id)) else { return };
        if pass.open.remove(institution) {
            pass.held_back += u32::from(held_back);
            if pass.open.is_empty() {
                self.whole.notify_one();
            }
        }
    }

    /// The object is gone: nobody looks at it any more.
    pub fn gone(&self, institution: &InstitutionRef) {
        let store = self.store();
        self.looked_at(institution, store.as_deref(), false);
    }

    /// What is to be told to tenant.
    fn whole(&self) -> Option<Whole> {
        let guard = self.lock();
        let pass = guard.as_ref().filter(|pass| pass.open.is_empty() && !pass.told)?;
        Some(Whole { store_id: pass.store_id.clone(), held_back: pass.held_back })
    }

    fn told(&self, store_id: &str) {
        if let Some(pass) = self.lock().as_mut().filter(|pass| pass.store_id == store_id) {
            pass.told = true;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Pass>> {
        self.pass.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells tenant of each pass that ended, until `token` is cancelled.
pub async fn run(tenant: Tenant, passes: Passes, token: CancellationToken) {
    let mut retry = RETRY.retry();
    let tell = async {
        loop {
            let Some(whole) = passes.whole() else {
                passes.whole.notified().await;
                continue;
            };
            match tenant.complete(&whole).await {
                Ok(()) => {
                    tracing::info!(
                        held_back = whole.held_back,
                        "looked at every institution since tenant's store began"
                    );
                    passes.told(&whole.store_id);
                    retry.reset();
                }
                // A tenant of before knows nothing of passes; of another store the watch tells.
                Err(Error::Refused(_)) => passes.told(&whole.store_id),
                Err(error) => {
                    tracing::warn!(error = chain(&error), "failed to tell tenant of a whole pass, trying again");
                    retry.wait().await;
                }
            }
        }
    };
    token.run_until_cancelled(tell).await;
}

#[cfg(test)]
mod tests {
    use kube::runtime::reflector::ObjectRef;

    use super::*;

    fn institution(name: &str) -> InstitutionRef {
        ObjectRef::new(name).within("comune")
    }

    #[test]
    fn a_pass_is_whole_when_everything_was_looked_at_since_the_store_began() {
        let passes = Passes::default();
        assert!(passes.begin("a", [institution("one"), institution("two"), institution("three")]));
        assert!(!passes.begin("a", [institution("one")]), "of one store there is one pass");
        passes.looked_at(&institution("one"), Some("a"), false);
        passes.looked_at(&institution("two"), None, false);
        passes.looked_at(&institution("three"), Some("a"), true);
        assert_eq!(passes.whole(), None, "a look that began before the store counts nothing");
        passes.gone(&institution("two"));
        assert_eq!(passes.whole(), Some(Whole { store_id: "a".into(), held_back: 1 }));
        passes.told("a");
        assert_eq!(passes.whole(), None);
        assert!(passes.begin("b", []));
        assert_eq!(passes.whole(), Some(Whole { store_id: "b".into(), held_back: 0 }), "there is nothing to look at");
    }

    #[test]
    fn an_older_tenant_says_nothing_of_its_store() {
        let passes = Passes::default();
        assert!(!passes.begin("", [institution("one")]));
        passes.looked_at(&institution("one"), None, false);
        assert_eq!((passes.store(), passes.whole()), (None, None));
    }
}
