//! A connection's bytes, with what HTTP's own timers leave open: a head that trickles, a peer that does not take its answer.

use std::{
    io::{Error, ErrorKind, IoSlice, Result},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

use super::connections::{Bounds, Progress};

/// Below TLS, so that it sees what the peer really takes.
#[derive(Debug)]
pub struct Guard<S> {
    inner: S,
    bounds: Bounds,
    progress: Arc<Progress>,
    /// After the handshake, which has a limit of its own.
    armed: bool,
    /// The head that is arriving: how many were whole when it began, and when it must be.
    head: Option<(u64, Pin<Box<Sleep>>)>,
    sending: Option<Pin<Box<Sleep>>>,
}

// === impl Guard ===

impl<S> Guard<S> {
    pub(super) const fn new(inner: S, bounds: Bounds, progress: Arc<Progress>) -> Self {
        Self { inner, bounds, progress, armed: false, head: None, sending: None }
    }

    /// Requests begin.
    pub const fn arm(&mut self) {
        self.armed = true;
    }

    /// The time of an answer runs while not all of it could be handed over: who takes a byte now and then does not stop it.
    fn sent(&mut self, cx: &mut Context<'_>, wrote: Poll<Result<usize>>, all: usize) -> Poll<Result<usize>> {
        match &wrote {
            Poll::Ready(Ok(written)) if *written == all => self.sending = None,
            Poll::Ready(Err(_)) => {}
            Poll::Ready(Ok(_)) => {
                let _running = begin(&mut self.sending, self.bounds.send_within);
            }
            Poll::Pending => {
                ready!(begin(&mut self.sending, self.bounds.send_within).poll(cx));
                return Poll::Ready(Err(Error::new(ErrorKind::TimedOut, "the peer does not take the answer")));
            }
        }
        wrote
    }
}

fn begin(timer: &mut Option<Pin<Box<Sleep>>>, within: Duration) -> Pin<&mut Sleep> {
    timer.get_or_insert_with(|| Box::pin(sleep(within))).as_mut()
}

impl<S: AsyncRead + Unpin> AsyncRead for Guard<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        let read = Pin::new(&mut this.inner).poll_read(cx, buf);
        let whole = this.progress.whole_heads();
        this.head.take_if(|(begun, _)| *begun != whole);
        if !this.armed || this.progress.is_in_request() {
            return read;
        }
        if read.is_ready() {
            if buf.filled().len() > before {
                this.head.get_or_insert_with(|| (whole, Box::pin(sleep(this.bounds.head_within))));
            }
            return read;
        }
        match &mut this.head {
            Some((_, head)) => {
                ready!(head.as_mut().poll(cx));
                Poll::Ready(Err(Error::new(ErrorKind::TimedOut, "the head of a request took too long")))
            }
            None => Poll::Pending,
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guard<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<Result<usize>> {
        let wrote = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.sent(cx, wrote, buf.len())
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let wrote = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.sent(cx, wrote, bufs.iter().map(|buf| buf.len()).sum())
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
        time::timeout,
    };

    use super::*;
    use crate::{clock::Clock, http::connections::Connections};

    const SHORT: Duration = Duration::from_millis(200);
    const BYTE_EVERY: Duration = Duration::from_millis(20);

    /// A guarded end whose pipe holds 16 bytes, its peer, and how far it is.
    async fn guarded(within: Duration) -> (Guard<DuplexStream>, DuplexStream, Arc<Progress>) {
        let (ours, peers) = duplex(16);
        let bounds = Bounds { head_within: within, send_within: within, ..Bounds::default() };
        let (slot, _) = Connections::new(&bounds, Clock::system()).admit().await;
        let mut guard = Guard::new(ours, bounds, Arc::clone(&slot.progress));
        guard.arm();
        (guard, peers, Arc::clone(&slot.progress))
    }

    #[tokio::test]
    async fn silence_is_no_head() {
        let (mut guard, _peer, _) = guarded(SHORT).await;
        assert!(timeout(SHORT * 3, guard.read_u8()).await.is_err(), "hyper's own timer ends it, not this one");
    }

    #[tokio::test]
    async fn a_head_that_trickles_ends() {
        let (mut guard, mut peer, _) = guarded(SHORT).await;
        let trickle = async {
            while peer.write_all(b"x").await.is_ok() {
                tokio::time::sleep(BYTE_EVERY).await;
            }
        };
        let read = async {
            loop {
                if let Err(error) = guard.read_u8().await {
                    return error.kind();
                }
            }
        };
        tokio::select! {
            kind = read => assert_eq!(kind, ErrorKind::TimedOut),
            () = trickle => panic!("the peer was cut first"),
        }
    }

    #[tokio::test]
    async fn a_body_is_no_head() {
        let (mut guard, mut peer, progress) = guarded(SHORT).await;
        peer.write_all(b"x").await.unwrap();
        guard.read_u8().await.unwrap();
        progress.head_is_whole();
        // Nothing is read meanwhile: the body came with the head.
        tokio::time::sleep(SHORT * 2).await;
        progress.answered();
        assert!(timeout(SHORT * 3, guard.read_u8()).await.is_err(), "the next head has not begun");
        peer.write_all(b"x").await.unwrap();
        guard.read_u8().await.unwrap();
        progress.head_is_whole();
        assert!(timeout(SHORT * 3, guard.read_u8()).await.is_err(), "bodies have their own limit");
        progress.answered();
        assert!(timeout(SHORT * 3, guard.read_u8()).await.is_err(), "the next head has not begun");
    }

    #[tokio::test]
    async fn an_answer_that_is_taken_by_the_byte_ends() {
        let (mut guard, mut peer, _) = guarded(SHORT).await;
        let sip = async {
            loop {
                tokio::time::sleep(BYTE_EVERY).await;
                peer.read_u8().await.unwrap();
            }
        };
        tokio::select! {
            written = guard.write_all(&[0; 4096]) => assert_eq!(written.unwrap_err().kind(), ErrorKind::TimedOut),
            () = sip => {}
        }
    }

    #[tokio::test]
    async fn an_answer_that_is_taken_late_arrives() {
        let (mut guard, mut peer, _) = guarded(Duration::from_secs(10)).await;
        let answer = [7; 4096];
        let take = async {
            tokio::time::sleep(SHORT).await;
            let mut taken = [0; 4096];
            peer.read_exact(&mut taken).await.unwrap();
            taken
        };
        let (written, taken) = tokio::join!(guard.write_all(&answer), take);
        written.unwrap();
        assert_eq!(taken, answer);
    }
}
