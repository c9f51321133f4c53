//! Calls a station as the node's forwarder does: TLS with a client certificate, `SOAPAction`, a time limit per operation.

use std::{
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use anyhow::Context;
use serde::Serialize;

use crate::{
    Options, clock,
    judge::{self, Operation, Verdict},
    node::oddity::Way,
    registry::Station,
};

/// Answers beyond this are cut and refused; the largest valid one is about 20 KiB.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// PEM files.
#[derive(Debug, Clone)]
pub struct ClientIdentity {
    /// Client certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Authority that signed the stations' server certificates.
    pub authority: PathBuf,
}

/// The node's HTTP client.
#[derive(Debug)]
pub struct StationClient {
    http: reqwest::Client,
    next: AtomicUsize,
    notice_timeout: Duration,
    receipt_timeout: Duration,
}

/// What came of a call.
#[derive(Debug)]
pub struct Call {
    /// W3C trace id that was sent along.
    pub trace_id: String,
    /// Milliseconds until the answer was complete.
    pub elapsed_ms: u64,
    /// What the node makes of it.
    pub result: Result<Verdict, Unreachable>,
}

/// No answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Unreachable {
    /// No connection or TLS.
    Connection,
    /// No complete answer in time.
    Timeout,
}

// === impl StationClient ===

impl StationClient {
    /// A client with the node's time limits, and its certificate if there is one.
    ///
    /// # Errors
    /// When a file of the identity cannot be read or is no PEM.
    pub fn new(options: &Options) -> anyhow::Result<Self> {
        // Whoever comes first installs it; a second installation is the same provider.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(2))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy();
        if let Some(identity) = &options.client_identity {
            let read =
                |path: &PathBuf| std::fs::read(path).with_context(|| format!("failed to read {}", path.display()));
            let mut pem = read(&identity.certificate)?;
            pem.extend(read(&identity.key)?);
            builder = builder
                .identity(reqwest::Identity::from_pem(&pem).context("failed to parse the client certificate")?)
                .tls_certs_only(reqwest::Certificate::from_pem_bundle(&read(&identity.authority)?)?);
        }
        Ok(Self {
            http: builder.build().context("failed to build the http client")?,
            next: AtomicUsize::new(0),
            notice_timeout: options.notice_timeout,
            receipt_timeout: options.receipt_timeout,
        })
    }

    /// Sends `request` and judges the answer.
    pub async fn call(&self, station: &Station, operation: Operation, request: String) -> Call {
        self.call_by(station, operation, request, &Way::default()).await
    }

    /// The same, by another path or method than the station's.
    pub async fn call_by(&self, station: &Station, operation: Operation, request: String, way: &Way) -> Call {
        let trace_id = uuid::Uuid::new_v4().simple().to_string();
        let started = clock::monotonic();
        let limit = match operation {
            Operation::Verify | Operation::GetPayment | Operation::GetPaymentV2 => self.notice_timeout,
            Operation::SendRt | Operation::SendRtV2 => self.receipt_timeout,
        };
        let attempt = self.attempt((station, way), operation, &request, &trace_id);
        let result = tokio::time::timeout(limit, attempt).await.unwrap_or(Err(Unreachable::Timeout));
        let elapsed_ms = u64::try_from(clock::monotonic().saturating_sub(started).as_millis()).unwrap_or(u64::MAX);
        Call { trace_id, elapsed_ms, result }
    }

    /// Goes round the addresses behind the station's URL; a refused connection moves on, as a load balancer would.
    async fn attempt(
        &self,
        (station, way): (&Station, &Way),
        operation: Operation,
        request: &str,
        trace_id: &str,
    ) -> Result<Verdict, Unreachable> {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        for turn in 0..station.urls.len() {
            let Some(url) = station.urls.get((first + turn) % station.urls.len()) else { break };
            let span = &uuid::Uuid::new_v4().simple().to_string()[..16];
            let sent = self
                .http
                .request(
                    method(way),
                    way.path.as_ref().map_or_else(|| url.clone(), |path| format!("{}{path}", origin(url))),
                )
                .header("Content-Type", "text/xml; charset=utf-8")
                .header("SOAPAction", operation.soap_action())
                .header("X-Request-Id", uuid::Uuid::new_v4().to_string())
                .header("traceparent", format!("00-{trace_id}-{span}-01"))
                .body(request.to_owned())
                .send()
                .await;
            match sent {
                Ok(response) => return read(operation, response).await,
                Err(error) if error.is_connect() => {}
                Err(error) if error.is_timeout() => return Err(Unreachable::Timeout),
                Err(_) => return Err(Unreachable::Connection),
            }
        }
        Err(Unreachable::Connection)
    }
}

/// A method that HTTP does not know is sent as POST.
fn method(way: &Way) -> reqwest::Method {
    way.method.as_ref().and_then(|method| method.parse().ok()).unwrap_or(reqwest::Method::POST)
}

/// Scheme and host of a URL.
fn origin(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + 3);
    url.get(host..).and_then(|rest| rest.find('/')).and_then(|at| url.get(..host + at)).unwrap_or(url)
}

async fn read(operation: Operation, mut response: reqwest::Response) -> Result<Verdict, Unreachable> {
    let status = response.status().as_u16();
    let content_type = response.headers().get("content-type").and_then(|v| v.to_str().ok()).map(str::to_owned);
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|_| Unreachable::Connection)? {
        body.extend_from_slice(&chunk);
        if body.len() > ANSWER_BYTES_MAX {
            body.truncate(ANSWER_BYTES_MAX);
            break;
        }
    }
    Ok(judge::judge(operation, status, content_type.as_deref(), &body))
}
