//! A service of the mesh for tests: it does what the receipt id of a request says.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use fiorino_kit::{
    crypto,
    options::TlsOptions,
    rpc::{self, Allow, Limits},
    tls::Identity,
    trace,
};
use fiorino_proto::{
    config::v1::{
        StreamRequest, StreamResponse,
        config_stream_client::ConfigStreamClient,
        config_stream_server::{ConfigStream, ConfigStreamServer},
        stream_request,
    },
    payments::v1::{
        GetPaymentRequest, GetPaymentResponse, ListNumbersRequest, ListNumbersResponse, ListPaymentsRequest,
        ListPaymentsResponse, PaymentRecorded,
        payments_client::PaymentsClient,
        payments_server::{Payments, PaymentsServer},
    },
};
use fiorino_test_support::certs;
use futures::{Stream, StreamExt as _, stream::BoxStream};
use tokio::{net::TcpListener, sync::Notify, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

pub(crate) const ALLOW: &[Allow] = &[
    Allow { method: "/fiorino.payments.v1.Payments/GetPayment", callers: &["node-connector", "dev"] },
    Allow { method: "/fiorino.config.v1.ConfigStream/Stream", callers: &["node-connector"] },
];

pub(crate) type Payment = Result<Response<GetPaymentResponse>, Status>;

/// What the tests see of a service.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Calls that reached the service.
    pub(crate) calls: AtomicUsize,
    /// Calls that were given up while they hung.
    pub(crate) given_up: AtomicUsize,
    /// Lets calls that wait go on.
    pub(crate) gate: Notify,
}

#[derive(Clone)]
struct Service {
    replica: String,
    seen: Arc<Seen>,
}

/// A running server.
pub(crate) struct Replica {
    pub(crate) address: SocketAddr,
    pub(crate) seen: Arc<Seen>,
    pub(crate) token: CancellationToken,
    pub(crate) ended: JoinHandle<rpc::Result<()>>,
}

struct GivenUp(Arc<Seen>);

impl Drop for GivenUp {
    fn drop(&mut self) {
        self.0.given_up.fetch_add(1, Ordering::SeqCst);
    }
}

pub(crate) fn options(files: &certs::Identity) -> TlsOptions {
    TlsOptions { tls_cert: files.cert.clone(), tls_key: files.key.clone(), tls_ca: files.ca.clone() }
}

pub(crate) fn identity(mesh: &certs::Mesh, name: &str) -> Identity {
    crypto::install_ring();
    crate::telemetry::start();
    Identity::load(&options(&mesh.identity(name))).unwrap()
}

pub(crate) async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

pub(crate) fn start_on(listener: TcpListener, mesh: &certs::Mesh, replica: &str, limits: Limits) -> Replica {
    let (address, seen, token) = (listener.local_addr().unwrap(), Arc::new(Seen::default()), CancellationToken::new());
    let service = Service { replica: replica.to_owned(), seen: Arc::clone(&seen) };
    let server = rpc::Server::new(&identity(mesh, "tenant"), ALLOW)
        .limits(limits)
        .reflection(fiorino_proto::DESCRIPTORS)
        .add(PaymentsServer::new(service.clone()))
        .add(ConfigStreamServer::new(service));
    let ended = tokio::spawn(server.serve(listener, token.clone()));
    Replica { address, seen, token, ended }
}

pub(crate) async fn start(mesh: &certs::Mesh) -> Replica {
    start_on(listener().await, mesh, "a", Limits::default())
}

pub(crate) fn channel(mesh: &certs::Mesh, caller: &str, addresses: &[SocketAddr]) -> rpc::Channel {
    let endpoints: Vec<_> = addresses.iter().map(|address| format!("https://{address}")).collect();
    rpc::connect(&endpoints, "tenant", &identity(mesh, caller), caller).unwrap()
}

/// Asks with a deadline, so that no test hangs.
pub(crate) async fn ask(channel: &rpc::Channel, what: &str) -> Payment {
    ask_within(channel, what, Duration::from_secs(10)).await
}

pub(crate) async fn ask_within(channel: &rpc::Channel, what: &str, deadline: Duration) -> Payment {
    let mut request = Request::new(GetPaymentRequest { receipt_id: what.to_owned(), ..GetPaymentRequest::default() });
    request.set_timeout(deadline);
    PaymentsClient::new(channel.clone()).get_payment(request).await
}

/// Which replica answers.
pub(crate) async fn who(channel: &rpc::Channel) -> Result<String, Status> {
    ask(channel, "who").await.map(|response| response.into_inner().payment.unwrap().event_id)
}

/// Opens a stream that sends `acks` and answers each nonce.
pub(crate) async fn stream(
    channel: &rpc::Channel,
    requests: impl Stream<Item = StreamRequest> + Send + 'static,
) -> Result<Streaming<StreamResponse>, Status> {
    ConfigStreamClient::new(channel.clone()).stream(requests).await.map(Response::into_inner)
}

pub(crate) fn ack(nonce: &str) -> StreamRequest {
    let ack = fiorino_proto::config::v1::Ack { nonce: nonce.to_owned(), ..Default::default() };
    StreamRequest { message: Some(stream_request::Message::Ack(ack)) }
}

#[tonic::async_trait]
impl Payments for Service {
    async fn get_payment(&self, request: Request<GetPaymentRequest>) -> Payment {
        self.seen.calls.fetch_add(1, Ordering::SeqCst);
        match request.get_ref().receipt_id.as_str() {
            "hang" => {
                let _given_up = GivenUp(Arc::clone(&self.seen));
                std::future::pending::<()>().await;
            }
            "wait" => self.seen.gate.notified().await,
            "unavailable" => return Err(Status::unavailable("asked for")),
            _ => {}
        }
        let payment = PaymentRecorded {
            event_id: self.replica.clone(),
            issuer: rpc::peer(&request).name,
            client_reference: rpc::actor(&request),
            description: trace::current_traceparent().unwrap_or_default(),
            ..PaymentRecorded::default()
        };
        Ok(Response::new(GetPaymentResponse { payment: Some(payment) }))
    }

    async fn list_payments(&self, _: Request<ListPaymentsRequest>) -> Result<Response<ListPaymentsResponse>, Status> {
        self.seen.calls.fetch_add(1, Ordering::SeqCst);
        Ok(Response::new(ListPaymentsResponse::default()))
    }

    async fn list_numbers(&self, _: Request<ListNumbersRequest>) -> Result<Response<ListNumbersResponse>, Status> {
        self.seen.calls.fetch_add(1, Ordering::SeqCst);
        Ok(Response::new(ListNumbersResponse::default()))
    }
}

#[tonic::async_trait]
impl ConfigStream for Service {
    type StreamStream = BoxStream<'static, Result<StreamResponse, Status>>;

    async fn stream(&self, request: Request<Streaming<StreamRequest>>) -> Result<Response<Self::StreamStream>, Status> {
        let answers = request.into_inner().map(|request| {
            let Some(stream_request::Message::Ack(ack)) = request?.message else {
                return Err(Status::invalid_argument("no ack"));
            };
            Ok(StreamResponse { nonce: ack.nonce, ..StreamResponse::default() })
        });
        Ok(Response::new(answers.boxed()))
    }
}
