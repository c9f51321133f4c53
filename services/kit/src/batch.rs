//! Natural batching: while one call is in flight the next batch fills; no timer (ARCHITECTURE.md 5.2).
//!
//! ```text
//!  call, call, call ...  -> queue (bounded) -> lane: takes what waits, at most `max_batch` -> f(batch) -> answers
//!                                           -> lane: the same, at the same time
//! ```
//! Under no load a request goes alone and at once; under load batches grow by themselves. A batch that fails is tried once more, each
//! request alone, so that one poisoned request hurts nobody else. What is nobody's fault (the database is away) fails them together:
//! trying each alone would multiply the load on what has no room.

use std::{fmt, future::Future, iter, panic::AssertUnwindSafe, sync::Arc};

use futures::FutureExt as _;
use tokio::sync::{Mutex, mpsc, oneshot};
use tracing::{Instrument as _, Span};

use crate::trace;

/// Why a request was not answered.
#[derive(Debug, thiserror::Error)]
pub enum BatchError<E> {
    /// The queue is full: nothing was done.
    #[error("failed to take the request: the queue is full")]
    Overloaded,
    /// The request failed, alone.
    #[error("failed to run the request")]
    Failed(#[source] E),
    /// The whole batch failed for a reason that is not the request's; it is told to one of the batch.
    #[error("failed to run the request: its whole batch failed")]
    Together,
    /// The work panicked, also when the request was tried alone. What was done is unknown.
    #[error("failed to run the request: the work panicked")]
    Panicked,
    /// The work gave another number of answers than it got requests. What was done is unknown.
    #[error("failed to run the request: {answers} answers for {requests} requests")]
    Miscounted {
        /// Requests given.
        requests: usize,
        /// Answers got.
        answers: usize,
    },
    /// The runtime is shutting down.
    #[error("failed to run the request: the batcher ended")]
    Ended,
}

/// Gathers calls into batches for a function over a few lanes; cheap to clone. The lanes end, after draining, with its last clone.
pub struct Batcher<Req, Res, E> {
    queue: mpsc::Sender<Waiting<Req, Res, E>>,
}

/// A request whose caller waits.
struct Waiting<Req, Res, E> {
    request: Req,
    caller: Span,
    answer: oneshot::Sender<Result<Res, BatchError<E>>>,
}

/// One worker: one batch at a time.
struct Lane<Req, Res, E, F> {
    queue: Arc<Mutex<mpsc::Receiver<Waiting<Req, Res, E>>>>,
    work: Arc<F>,
    max_batch: usize,
    hits_all: fn(&E) -> bool,
}

// === impl Batcher ===

impl<Req, Res, E> Batcher<Req, Res, E>
where
    Req: Clone + Send + 'static,
    Res: Send + 'static,
    E: Send + 'static,
{
    /// `lanes` batches of at most `max_batch` requests at once, `queue` requests waiting (each at least 1).
    ///
    /// `work` answers a batch in its order with as many results. Must be called inside a Tokio runtime.
    pub fn new<F, Fut>(lanes: usize, max_batch: usize, queue: usize, work: F) -> Self
    where
        F: Fn(Vec<Req>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Vec<Res>, E>> + Send + 'static,
    {
        Self::failing_together(lanes, max_batch, queue, |_| false, work)
    }

    /// As [`Batcher::new`]; a batch that fails with an error that `hits_all` is not tried again: one request is told the error, the others
    /// [`BatchError::Together`].
    pub fn failing_together<F, Fut>(
        lanes: usize,
        max_batch: usize,
        queue: usize,
        hits_all: fn(&E) -> bool,
        work: F,
    ) -> Self
    where
        F: Fn(Vec<Req>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Vec<Res>, E>> + Send + 'static,
    {
        let (sender, receiver) = mpsc::channel(queue.max(1));
        let (receiver, work) = (Arc::new(Mutex::new(receiver)), Arc::new(work));
        for _ in 0..lanes.max(1) {
            let (queue, work) = (Arc::clone(&receiver), Arc::clone(&work));
            tokio::spawn(Lane { queue, work, max_batch: max_batch.max(1), hits_all }.run());
        }
        Self { queue: sender }
    }

    /// Runs one request within the next batch. Dropping the future gives the request up: it may or may not have been done.
    ///
    /// # Errors
    /// See [`BatchError`].
    pub async fn call(&self, request: Req) -> Result<Res, BatchError<E>> {
        let (answer, answered) = oneshot::channel();
        self.queue.try_send(Waiting { request, caller: Span::current(), answer }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => BatchError::Overloaded,
            mpsc::error::TrySendError::Closed(_) => BatchError::Ended,
        })?;
        answered.await.unwrap_or(Err(BatchError::Ended))
    }
}

impl<Req, Res, E> Clone for Batcher<Req, Res, E> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone() }
    }
}

impl<Req, Res, E> fmt::Debug for Batcher<Req, Res, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batcher").field("free", &self.queue.capacity()).finish_non_exhaustive()
    }
}

// === impl Lane ===

impl<Req, Res, E, F, Fut> Lane<Req, Res, E, F>
where
    Req: Clone + Send + 'static,
    Res: Send + 'static,
    E: Send + 'static,
    F: Fn(Vec<Req>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Vec<Res>, E>> + Send + 'static,
{
    async fn run(self) {
        let mut batch = Vec::with_capacity(self.max_batch);
        // The lock is held only while waiting: the lane that has it takes what is there and lets the next one in.
        while self.queue.lock().await.recv_many(&mut batch, self.max_batch).await > 0 {
            batch.retain(|waiting| !waiting.answer.is_closed());
            let full = std::mem::replace(&mut batch, Vec::with_capacity(self.max_batch));
            self.serve(full).await;
        }
    }

    /// Answers everybody in `batch`: together, else one by one.
    async fn serve(&self, batch: Vec<Waiting<Req, Res, E>>) {
        if batch.is_empty() {
            return;
        }
        let requests = batch.iter().map(|waiting| waiting.request.clone()).collect();
        let span = span_of(&batch);
        match self.attempt(requests).instrument(span).await {
            Ok(answers) => batch.into_iter().zip(answers).for_each(|(waiting, answer)| waiting.answer(Ok(answer))),
            Err(error) if batch.len() == 1 || self.hits_all(&error) => {
                let errors = iter::once(error).chain(iter::repeat_with(|| BatchError::Together));
                batch.into_iter().zip(errors).for_each(|(waiting, error)| waiting.answer(Err(error)));
            }
            Err(_) => self.serve_singly(batch).await,
        }
    }

    fn hits_all(&self, error: &BatchError<E>) -> bool {
        matches!(error, BatchError::Failed(error) if (self.hits_all)(error))
    }

    /// Those who stopped waiting meanwhile are passed over, so that their deadlines bound how long the others are held up.
    async fn serve_singly(&self, batch: Vec<Waiting<Req, Res, E>>) {
        for waiting in batch.into_iter().filter(|waiting| !waiting.answer.is_closed()) {
            let alone = self.attempt(vec![waiting.request.clone()]).instrument(waiting.caller.clone()).await;
            waiting.answer(alone.and_then(|answers| {
                let answers_count = answers.len();
                let miscounted = BatchError::Miscounted { requests: 1, answers: answers_count };
                answers.into_iter().next().ok_or(miscounted)
            }));
        }
    }

    /// As many answers as requests, or an error; a panic is one.
    async fn attempt(&self, requests: Vec<Req>) -> Result<Vec<Res>, BatchError<E>> {
        let count = requests.len();
        let work = async { (self.work)(requests).await };
        match AssertUnwindSafe(work).catch_unwind().await {
            Ok(Ok(answers)) if answers.len() == count => Ok(answers),
            Ok(Ok(answers)) => Err(BatchError::Miscounted { requests: count, answers: answers.len() }),
            Ok(Err(error)) => Err(BatchError::Failed(error)),
            Err(_) => {
                tracing::error!(requests = count, "batch panicked");
                Err(BatchError::Panicked)
            }
        }
    }
}

// === impl Waiting ===

impl<Req, Res, E> Waiting<Req, Res, E> {
    fn answer(self, answer: Result<Res, BatchError<E>>) {
        // A caller that went away needs no answer.
        drop(self.answer.send(answer));
    }
}

/// A span for the batch, in the trace of the first caller who is traced.
fn span_of<Req, Res, E>(batch: &[Waiting<Req, Res, E>]) -> Span {
    let size = i64::try_from(batch.len()).unwrap_or(i64::MAX);
    trace::shared(
        batch.iter().map(|waiting| &waiting.caller),
        |first| tracing::info_span!(parent: first, "batch", batch.size = size),
    )
}
