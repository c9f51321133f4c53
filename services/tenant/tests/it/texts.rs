//! No text of any call is answered with a fault of ours, and no status repeats one.

use std::time::Duration;

use fiorino_tenant::ALLOWED;
use fiorino_test_support::{TextField, text_fields};
use prost::bytes::{Buf, BufMut};
use tonic::{
    Code, Request, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    codegen::http::uri::PathAndQuery,
};

use crate::fixture::{ENVIRONMENT, PLATFORM, Tenant};

/// Texts with which a request comes as far as the one that is looked at.
const BESIDE: [(&str, &str); 8] = [
    ("platform", PLATFORM),
    ("environment", ENVIRONMENT),
    ("institution", "80012340560"),
    ("fiscal_code", "80012340560"),
    ("service_code", "MENSA"),
    ("client_reference", "a"),
    ("broker_fiscal_code", "15376371009"),
    ("read_at", "2026-07-14T10:00:00Z"),
];

/// Longest message of a status: it travels in headers.
const MESSAGE_MAX: usize = 1_024;

/// Messages as bytes.
struct Raw;

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

/// The first thing that is answered; a stream that stays open has taken the text.
async fn answer(tenant: &Tenant, field: &TextField, caller: &str, value: &str) -> Result<(), Status> {
    let mut grpc = Grpc::new(tenant.replica.channel(caller));
    grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let path: PathAndQuery = field.method.parse().unwrap();
    let request = Request::new(tokio_stream::once(field.request(value)));
    let first = async { grpc.streaming(request, path, Raw).await?.into_inner().message().await.map(drop) };
    tokio::time::timeout(Duration::from_secs(2), first).await.unwrap_or(Ok(()))
}

#[tokio::test]
async fn no_text_of_any_call_is_a_fault_of_ours() {
    let tenant = Tenant::start().await;
    let values =
        ["\0".to_owned(), "a\0b".to_owned(), "\u{ffff}".to_owned(), "x".repeat(100_000), "\u{1f4b6}".repeat(300)];
    let fields = text_fields(fiorino_proto::DESCRIPTORS, &BESIDE).unwrap();
    let mut asked = 0;
    let mut wrong = Vec::new();
    for field in &fields {
        let Some(allow) = ALLOWED.iter().find(|allow| allow.method == field.method) else { continue };
        for value in &values {
            asked += 1;
            let Err(status) = answer(&tenant, field, allow.callers[0], value).await else { continue };
            let ours = matches!(status.code(), Code::Internal | Code::Unknown | Code::Unavailable);
            let long = status.message().len() > MESSAGE_MAX || status.code() == Code::ResourceExhausted;
            if ours || long || (value.len() > 10 && status.message().contains(value.as_str())) {
                let (code, length) = (status.code(), status.message().len());
                wrong.push(format!("{} {}: {code:?}, {length} bytes", field.method, field.path));
            }
        }
    }
    assert!(asked > 300, "{asked}");
    wrong.dedup();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
