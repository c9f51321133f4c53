//! Every method of a service is asked with odd texts: none is answered with a fault of the service, and no status repeats one.

use std::time::Duration;

use anyhow::Result;
use prost::bytes::{Buf, BufMut, Bytes};
use tonic::{
    Code, Request, Status,
    body::Body,
    client::{Grpc, GrpcService},
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    codegen::{Body as HttpBody, StdError, http::uri::PathAndQuery},
};

use super::{TextField, text_fields};
use crate::within;

/// Longest message of a status: it travels in headers.
const MESSAGE_MAX: usize = 1_024;

/// A stream that stays open that long has taken the text.
const TAKEN: Duration = Duration::from_secs(2);

/// What the methods of a service answered.
#[derive(Debug, Default)]
pub struct Judged {
    /// How many requests were made.
    pub asked: usize,
    /// Method, field, and what is wrong with the answer.
    pub wrong: Vec<String>,
}

/// Messages as bytes.
struct Raw;

/// Asks each method for which `channel` has a channel, with every text field of `descriptors` in turn; `beside` as in [`text_fields`].
///
/// # Errors
/// When the descriptors cannot be read.
pub async fn judge_texts<T>(
    descriptors: &[u8],
    beside: &[(&str, &'static str)],
    channel: impl Fn(&str) -> Option<T>,
) -> Result<Judged>
where
    T: GrpcService<Body> + Clone,
    T::Error: Into<StdError>,
    T::ResponseBody: HttpBody<Data = Bytes> + Send + 'static,
    <T::ResponseBody as HttpBody>::Error: Into<StdError> + Send,
{
    let values =
        ["\0".to_owned(), "a\0b".to_owned(), "\u{ffff}".to_owned(), "x".repeat(100_000), "\u{1f4b6}".repeat(300)];
    let mut judged = Judged::default();
    for field in text_fields(descriptors, beside)? {
        let Some(channel) = channel(&field.method) else { continue };
        for value in &values {
            judged.asked += 1;
            let Err(status) = answer(channel.clone(), &field, value).await else { continue };
            let ours = matches!(status.code(), Code::Internal | Code::Unknown | Code::Unavailable);
            let long = status.message().len() > MESSAGE_MAX || status.code() == Code::ResourceExhausted;
            if ours || long || (value.len() > 10 && status.message().contains(value.as_str())) {
                let (code, length) = (status.code(), status.message().len());
                judged.wrong.push(format!("{} {}: {code:?}, {length} bytes", field.method, field.path));
            }
        }
    }
    judged.wrong.dedup();
    Ok(judged)
}

/// The first thing that is answered.
async fn answer<T>(channel: T, field: &TextField, value: &str) -> Result<(), Status>
where
    T: GrpcService<Body> + Clone,
    T::Error: Into<StdError>,
    T::ResponseBody: HttpBody<Data = Bytes> + Send + 'static,
    <T::ResponseBody as HttpBody>::Error: Into<StdError> + Send,
{
    let mut grpc = Grpc::new(channel);
    grpc.ready().await.map_err(|error| Status::unavailable(error.into().to_string()))?;
    let path = PathAndQuery::try_from(field.method.as_str()).map_err(|error| Status::internal(error.to_string()))?;
    let request = Request::new(tokio_stream::once(field.request(value)));
    let first = async { grpc.streaming(request, path, Raw).await?.into_inner().message().await.map(drop) };
    within(TAKEN, first).await.unwrap_or(Ok(()))
}

// === impl Raw ===

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining()).to_vec()))
    }
}
