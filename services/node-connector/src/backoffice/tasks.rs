//! One task per broker: started, ended, and started anew when it breaks.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
};

use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

/// The tasks that run, by broker.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    running: BTreeMap<String, (Id, CancellationToken)>,
    set: JoinSet<()>,
}

// === impl Tasks ===

impl Tasks {
    /// Starts what is new, ends what is gone. A task gets its broker and a token that is cancelled when it is to end.
    pub(super) fn align<Task>(
        &mut self,
        wanted: &BTreeSet<&str>,
        token: &CancellationToken,
        task: impl Fn(String, CancellationToken) -> Task,
    ) where
        Task: Future<Output = ()> + Send + 'static,
    {
        self.running.retain(|code, (_, stop)| {
            let stays = wanted.contains(code.as_str());
            if !stays {
                stop.cancel();
            }
            stays
        });
        for code in wanted {
            if !self.running.contains_key(*code) {
                let stop = token.child_token();
                let id = self.set.spawn(task((*code).to_owned(), stop.clone())).id();
                self.running.insert((*code).to_owned(), (id, stop));
            }
        }
    }

    /// Waits until a task ends, and forgets it: the next [`align`](Self::align) starts it anew if it is still wanted. Gives the
    /// error of one that broke; `None` when nothing runs.
    pub(super) async fn ended(&mut self) -> Option<Result<(), JoinError>> {
        let ended = self.set.join_next_with_id().await?;
        let id = match &ended {
            Ok((id, ())) => *id,
            Err(error) => error.id(),
        };
        self.running.retain(|_, (running, _)| *running != id);
        Some(ended.map(drop))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use super::*;

    #[tokio::test]
    async fn a_task_that_breaks_is_started_anew_and_one_that_runs_is_not() {
        let (token, mut tasks, started) = (CancellationToken::new(), Tasks::default(), Arc::new(AtomicUsize::new(0)));
        let task = |code: String, stop: CancellationToken| {
            let first = started.fetch_add(1, Ordering::SeqCst) == 0;
            async move {
                assert!(!first, "{code} breaks");
                stop.cancelled().await;
            }
        };
        let wanted = BTreeSet::from(["88888888888"]);
        tasks.align(&wanted, &token, task);
        assert!(tasks.ended().await.unwrap().unwrap_err().is_panic());
        for _ in 0..2 {
            tasks.align(&wanted, &token, task);
        }
        assert_eq!(started.load(Ordering::SeqCst), 2);
        // Gone, and wanted again before the first one has ended: the end of the old one does not hide the new one.
        tasks.align(&BTreeSet::new(), &token, task);
        tasks.align(&wanted, &token, task);
        assert!(tasks.ended().await.unwrap().is_ok());
        tasks.align(&wanted, &token, task);
        assert_eq!(started.load(Ordering::SeqCst), 3);
        token.cancel();
        assert!(tasks.ended().await.unwrap().is_ok());
        assert!(tasks.ended().await.is_none());
    }
}
