//! Messages out of bodies. What is long is read beside the runtime's workers, which answer everybody else meanwhile.

use std::{panic::resume_unwind, sync::Arc, time::Duration};

use bytes::Bytes;
use fiorino_wire::{Limits, ReadError, Request, read_with_charset};
use tokio::{sync::Semaphore, task::spawn_blocking, time::timeout};

/// Longest body that is read at once and by whoever has it, in bytes.
pub(crate) const SMALL_BYTES: usize = 64 * 1024;

/// Long bodies that are parsed at once: each takes a processor for as long as it lasts, and memory of several times its length.
const LONG_AT_ONCE: usize = 2;

/// A long body had no turn in time, and nobody has looked into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many long messages at once")]
pub(crate) struct NoTurn;

/// Reads messages within the limits.
#[derive(Debug)]
pub(crate) struct Parser {
    limits: Limits,
    long: Arc<Semaphore>,
}

// === impl Parser ===

impl Parser {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, long: Arc::new(Semaphore::new(LONG_AT_ONCE)) }
    }

    /// What the body says, if it can be read. A long one waits for its turn, `within` at most.
    ///
    /// # Errors
    /// [`NoTurn`].
    pub(crate) async fn parse(
        &self,
        body: &Bytes,
        charset: Option<&str>,
        within: Duration,
    ) -> Result<Result<Request, ReadError>, NoTurn> {
        if body.len() <= SMALL_BYTES {
            return Ok(read_with_charset(body, charset, &self.limits));
        }
        let Ok(Ok(turn)) = timeout(within, Arc::clone(&self.long).acquire_owned()).await else {
            return Err(NoTurn);
        };
        let (body, charset, limits) = (body.clone(), charset.map(str::to_owned), self.limits);
        let read = spawn_blocking(move || {
            // Also when the caller has gone: it ends with the work.
            let _turn = turn;
            read_with_charset(&body, charset.as_deref(), &limits)
        });
        read.await.map_err(|broken| resume_unwind(broken.into_panic()))
    }
}

#[cfg(test)]
mod tests {
    use std::{pin::pin, sync::mpsc};

    use futures::poll;
    use tokio::runtime::Builder;

    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    fn body(length: usize) -> Bytes {
        Bytes::from(vec![b' '; length])
    }

    #[test]
    fn a_long_body_keeps_no_worker() {
        let runtime = Builder::new_current_thread().enable_all().max_blocking_threads(1).build().unwrap();
        runtime.block_on(async {
            let parser = Parser::new(Limits::default());
            let (release, busy) = mpsc::channel::<()>();
            let elsewhere = spawn_blocking(move || busy.recv());
            let long = body(SMALL_BYTES + 1);
            let mut parsing = pin!(parser.parse(&long, None, SOON));
            assert!(poll!(&mut parsing).is_pending(), "it is parsed by the only worker");
            assert!(parser.parse(&body(SMALL_BYTES), None, SOON).await.unwrap().is_err());
            assert!(poll!(&mut parsing).is_pending());
            drop(release);
            assert!(parsing.await.unwrap().is_err(), "spaces are no message");
            assert!(elsewhere.await.unwrap().is_err());
        });
    }

    #[tokio::test]
    async fn long_bodies_take_turns_and_short_ones_do_not() {
        let parser = Parser::new(Limits::default());
        let (short, long) = (body(SMALL_BYTES), body(SMALL_BYTES + 1));
        let turns = parser.long.acquire_many(u32::try_from(LONG_AT_ONCE).unwrap()).await.unwrap();
        let refused = parser.parse(&long, None, Duration::from_millis(20)).await;
        assert_eq!(refused.unwrap_err(), NoTurn);
        assert!(parser.parse(&short, None, SOON).await.is_ok());
        let waiting = parser.parse(&long, None, SOON);
        let (read, ()) = tokio::join!(waiting, async { drop(turns) });
        assert!(read.is_ok());
    }
}
