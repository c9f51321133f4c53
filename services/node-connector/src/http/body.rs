//! What is accepted as a request's body, before anybody looks into it.

use std::{sync::Arc, time::Duration};

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use fiorino_wire::{Limits, Operation, operation_of};
use http_body_util::BodyExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::parse::SMALL_BYTES;

/// Bodies longer than [`SMALL_BYTES`] in memory at once: with the connections' own small ones they bound what a caller can fill.
const LARGE_BODIES_MAX: usize = 32;

/// Why a body was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    #[error("the body is longer than {limit} bytes, the most that is read of this operation")]
    TooLong { limit: usize, operation: Option<Operation> },
    #[error("the body did not arrive within {} s: send it at once", limit.as_secs())]
    TooSlow { limit: Duration },
    #[error("the body ended early: send as many bytes as Content-Length says")]
    Broken,
    #[error("too many long bodies at once: try again")]
    Overloaded,
}

/// Reads bodies within the limits; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Reader {
    limits: Limits,
    large: Arc<Semaphore>,
    time: Duration,
}

/// A whole body; a long one holds its slot.
#[derive(Debug)]
pub(crate) struct Whole {
    pub(crate) bytes: Bytes,
    _slot: Option<OwnedSemaphorePermit>,
}

// === impl Error ===

impl Error {
    /// Why a body was not taken that may be a receipt, for the alarm; `None`: it is none, or comes again.
    pub(crate) const fn alarm(&self) -> Option<&'static str> {
        match self {
            Self::TooLong { operation: Some(operation), .. } if !operation.is_receipt() => None,
            Self::TooLong { .. } => Some("too_long"),
            Self::TooSlow { .. } => Some("too_slow"),
            Self::Broken => Some("broken"),
            Self::Overloaded => None,
        }
    }
}

// === impl Reader ===

impl Reader {
    /// `time` for a whole body.
    pub(crate) fn new(limits: Limits, time: Duration) -> Self {
        Self { limits, large: Arc::new(Semaphore::new(LARGE_BODIES_MAX)), time }
    }

    /// # Errors
    /// See [`Error`].
    pub(crate) async fn read(&self, body: Body, charset: Option<&str>) -> Result<Whole, Error> {
        match tokio::time::timeout(self.time, self.collect(body, charset)).await {
            Ok(read) => read,
            Err(_) => Err(Error::TooSlow { limit: self.time }),
        }
    }

    async fn collect(&self, mut body: Body, charset: Option<&str>) -> Result<Whole, Error> {
        let mut bytes = BytesMut::new();
        let mut slot = None;
        let (mut limit, mut operation) = (self.limits.request_bytes, None);
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(|_| Error::Broken)?.into_data() else { continue };
            let length = bytes.len() + data.len();
            if length > limit {
                operation = operation_of(&bytes, charset, &self.limits);
                limit = self.long_limit(operation);
            }
            if length > limit {
                return Err(Error::TooLong { limit, operation });
            }
            if length > SMALL_BYTES && slot.is_none() {
                slot = Some(Arc::clone(&self.large).try_acquire_owned().map_err(|_| Error::Overloaded)?);
            }
            bytes.extend_from_slice(&data);
        }
        Ok(Whole { bytes: bytes.freeze(), _slot: slot })
    }

    /// What a body of this operation may become: only a receipt may be long.
    fn long_limit(&self, operation: Option<Operation>) -> usize {
        match operation {
            Some(operation) if operation.is_receipt() => self.limits.receipt_bytes,
            _ => self.limits.request_bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use rstest::rstest;

    use super::*;

    fn reader() -> Reader {
        Reader::new(Limits::default(), Duration::from_secs(5))
    }

    /// As it comes from the network: in pieces.
    fn body(operation: &str, length: usize) -> Body {
        let mut bytes = format!(
            "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body>\
             <p:{operation} xmlns:p=\"http://pagopa-api.pagopa.gov.it/pa/paForNode.xsd\">"
        )
        .into_bytes();
        bytes.resize(length, b' ');
        let pieces: Vec<_> = bytes.chunks(16 * 1024).map(|piece| Ok::<_, Infallible>(piece.to_vec())).collect();
        Body::from_stream(futures::stream::iter(pieces))
    }

    #[rstest]
    #[case::verify("paVerifyPaymentNoticeReq", Limits::default().request_bytes, None)]
    #[case::receipt("paSendRTV2Request", Limits::default().receipt_bytes, Some("too_long"))]
    #[case::unknown("nonsense", Limits::default().request_bytes, Some("too_long"))]
    #[tokio::test]
    async fn a_body_has_the_limit_of_its_operation(
        #[case] operation: &str,
        #[case] most: usize,
        #[case] alarm: Option<&str>,
    ) {
        assert_eq!(reader().read(body(operation, most), None).await.unwrap().bytes.len(), most);
        let error = reader().read(body(operation, most + 1), None).await.unwrap_err();
        assert!(matches!(error, Error::TooLong { limit, .. } if limit == most), "{error:?}");
        assert_eq!(error.alarm(), alarm);
    }

    #[tokio::test]
    async fn long_bodies_are_bounded_and_short_ones_go_on() {
        let reader = reader();
        let long = || reader.read(body("paSendRTReq", SMALL_BYTES + 1), None);
        let mut held = Vec::new();
        for _ in 0..LARGE_BODIES_MAX {
            held.push(long().await.unwrap());
        }
        assert_eq!(long().await.unwrap_err(), Error::Overloaded);
        assert!(reader.read(body("paVerifyPaymentNoticeReq", SMALL_BYTES), None).await.is_ok());
        held.pop();
        assert!(long().await.is_ok());
    }

    #[tokio::test]
    async fn a_body_that_does_not_arrive_is_given_up() {
        let reader = Reader::new(Limits::default(), Duration::from_millis(20));
        let stuck = Body::from_stream(futures::stream::pending::<Result<Vec<u8>, Infallible>>());
        assert!(matches!(reader.read(stuck, None).await, Err(Error::TooSlow { .. })));
    }
}
