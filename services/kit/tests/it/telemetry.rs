//! One trace through HTTP, gRPC, the outbox and Kafka; metrics by OTLP and as text.
//!
//! Telemetry belongs to a process, so these tests share one: it lives on a runtime of its own beside the tests'.

use std::{
    net::SocketAddr,
    sync::{Arc, LazyLock},
    time::Duration,
};

use axum::{Router, routing::get};
use fiorino_kit::{
    batch::Batcher,
    kafka::Envelope,
    options::{LogFormat, TelemetryOptions},
    outbox::{self, Message},
    store,
    telemetry::{self, Telemetry},
    trace,
};
use fiorino_otlp_sink::{MetricQuery, Options, Sink, Span, SpanQuery, Store};
use fiorino_test_support::{certs::Mesh, eventually, within};
use http::Request;
use tokio::{
    runtime::Runtime,
    sync::{Notify, Semaphore},
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;
use tracing::Instrument as _;
use uuid::Uuid;

use crate::{mesh, outbox as rig};

const SOON: Duration = Duration::from_secs(30);

struct Process {
    telemetry: Telemetry,
    store: Store,
    _runtime: Runtime,
}

static PROCESS: LazyLock<Process> = LazyLock::new(|| {
    let start = || {
        let runtime = Runtime::new().unwrap();
        let (telemetry, store) = runtime.block_on(async {
            let any = SocketAddr::from(([127, 0, 0, 1], 0));
            let options = Options {
                listen_grpc: any,
                listen_http: any,
                forward_zipkin: None,
                spans_max: 100_000,
                metrics_max: 1_000,
            };
            let sink = Sink::bind(&options).await.unwrap();
            let endpoint = format!("http://{}", sink.grpc_address().unwrap());
            let store = sink.store();
            tokio::spawn(sink.serve(CancellationToken::new()));
            let options = TelemetryOptions {
                otlp_endpoint: Some(endpoint),
                trace_ratio: 1.0,
                log_format: LogFormat::Json,
                log_filter: "off".to_owned(),
            };
            (telemetry::init("kit-tests", &options).unwrap(), store)
        });
        Process { telemetry, store, _runtime: runtime }
    };
    // A runtime cannot be entered from within another one.
    std::thread::spawn(start).join().unwrap()
});

/// Starts telemetry once: before any instrument is made.
pub(crate) fn start() {
    LazyLock::force(&PROCESS);
}

/// What `/metrics` answers.
pub(crate) fn metrics() -> String {
    PROCESS.telemetry.metrics_text().unwrap()
}

/// The trace id of a `traceparent`.
fn trace_id(traceparent: &str) -> &str {
    traceparent.split('-').nth(1).unwrap()
}

/// Until the trace has spans of all these names; answers them in that order.
async fn spans_of(trace_id: &str, names: &[&str]) -> Vec<Arc<Span>> {
    let query = SpanQuery { trace_id: Some(trace_id.to_owned()), ..SpanQuery::default() };
    let found = eventually(SOON, async || {
        let spans = PROCESS.store.spans(&query);
        let find = |name: &&str| spans.iter().find(|span| span.name == **name).cloned();
        let all: Option<Vec<_>> = names.iter().map(find).collect();
        all.ok_or_else(|| format!("only {:?}", spans.iter().map(|span| &span.name).collect::<Vec<_>>()))
    });
    found.await.unwrap()
}

fn is_child(child: &Span, parent: &Span) -> bool {
    child.parent_span_id.as_ref() == Some(&parent.span_id)
}

#[tokio::test]
async fn a_call_is_one_trace_on_both_sides() {
    start();
    let mesh = Mesh::new().unwrap();
    let replica = mesh::start(&mesh).await;
    let channel = mesh::channel(&mesh, "dev", &[replica.address]);
    let root = tracing::info_span!("root of a call");
    let answer = mesh::ask(&channel, "who").instrument(root.clone()).await.unwrap().into_inner();
    let traceparent = trace::traceparent(&root).unwrap();
    drop(root);
    let inside = answer.payment.unwrap().description;
    assert_eq!(trace_id(&inside), trace_id(&traceparent));

    let name = "fiorino.payments.v1.Payments/GetPayment";
    let query = SpanQuery {
        trace_id: Some(trace_id(&traceparent).to_owned()),
        name: Some(name.to_owned()),
        ..SpanQuery::default()
    };
    let spans = eventually(SOON, async || match PROCESS.store.spans(&query) {
        spans if spans.len() == 2 => Ok(spans),
        spans => Err(format!("{spans:?}")),
    });
    let mut spans = spans.await.unwrap();
    spans.sort_by(|a, b| a.kind.cmp(&b.kind));
    let (client, server) = (&spans[0], &spans[1]);
    assert_eq!((client.kind.as_str(), server.kind.as_str()), ("client", "server"));
    let root = &spans_of(trace_id(&traceparent), &["root of a call"]).await[0];
    assert!(is_child(server, client) && is_child(client, root));
    assert_eq!(server.attributes["peer"], "dev");
    for span in [client, server] {
        assert_eq!(span.attributes["rpc.grpc.status_code"], 0);
        assert_eq!((span.service.as_str(), span.status), ("kit-tests", fiorino_otlp_sink::Status::Unset));
    }
}

async fn log_and_tell() -> String {
    tracing::info!("a log line stays out of the trace");
    trace::current_traceparent().unwrap_or_default()
}

#[tokio::test]
async fn a_request_goes_on_with_its_callers_trace_and_decision() {
    start();
    let router = Router::new()
        .route("/node/v1/{station}", get(log_and_tell))
        .route("/broken", get(|| async { http::StatusCode::BAD_GATEWAY }))
        .layer(trace::http_layer("node"));
    let call = async |path: &str, trace_id: &str, flags: &str| {
        let traceparent = format!("00-{trace_id}-00f067aa0ba902b7-{flags}");
        let request =
            Request::get(path).header(trace::TRACEPARENT, traceparent).header("tracestate", "who=Ermenegilda");
        let request = request.body(axum::body::Body::empty());
        let response = router.clone().oneshot(request.unwrap()).await.unwrap();
        let body = axum::body::to_bytes(response.into_body(), 1_000).await.unwrap();
        String::from_utf8(body.to_vec()).unwrap()
    };
    let (unwanted, wanted) = ("11111111111111111111111111111111", "22222222222222222222222222222222");
    call("/node/v1/80000000000_01", unwanted, "00").await;
    let inside = call("/node/v1/80000000000_01", wanted, "01").await;
    assert_eq!(trace_id(&inside), wanted);
    call("/broken", wanted, "01").await;

    let spans = spans_of(wanted, &["GET /node/v1/{station}", "GET /broken"]).await;
    assert_eq!(spans[0].parent_span_id.as_deref(), Some("00f067aa0ba902b7"));
    assert_eq!(spans[0].attributes["http.response.status_code"], 200);
    assert_eq!(spans[0].trace_state, "", "what a caller writes there is his own");
    assert!(spans[0].events.is_empty());
    assert!(!format!("{:?}", spans[0]).contains("80000000000_01"), "paths are not recorded");
    assert_eq!(spans[1].status, fiorino_otlp_sink::Status::Error);
    let query = SpanQuery { trace_id: Some(unwanted.to_owned()), ..SpanQuery::default() };
    assert!(PROCESS.store.spans(&query).is_empty(), "the caller decided not to record");
}

#[tokio::test]
async fn a_stranger_neither_joins_a_trace_nor_names_a_span() {
    start();
    let router = Router::new().route("/strangers", get(log_and_tell)).layer(trace::public_http_layer("portal"));
    let call = async |method: &str, trace_id: &str, flags: &str| {
        let traceparent = format!("00-{trace_id}-00f067aa0ba902b7-{flags}");
        let request = Request::builder().method(method).uri("/strangers").header(trace::TRACEPARENT, traceparent);
        let response = router.clone().oneshot(request.body(axum::body::Body::empty()).unwrap()).await.unwrap();
        let body = axum::body::to_bytes(response.into_body(), 1_000).await.unwrap();
        String::from_utf8(body.to_vec()).unwrap()
    };
    let (forced, hidden) = ("33333333333333333333333333333333", "44444444444444444444444444444444");
    for (trace, flags) in [(forced, "01"), (hidden, "00")] {
        let inside = call("GET", trace, flags).await;
        assert_ne!(trace_id(&inside), trace);
        let span = &spans_of(trace_id(&inside), &["GET /strangers"]).await[0];
        assert_eq!(span.parent_span_id, None, "it is recorded though the caller said not to, and has no parent");
    }
    call("RSSMRA80A01H501U", forced, "01").await;
    let query = SpanQuery { name: Some("_OTHER /strangers".to_owned()), ..SpanQuery::default() };
    let invented = eventually(SOON, async || match PROCESS.store.spans(&query) {
        spans if spans.is_empty() => Err("no span"),
        spans => Ok(spans),
    });
    let invented = invented.await.unwrap();
    assert_eq!(invented[0].attributes["http.request.method"], "_OTHER");
    assert!(!format!("{invented:?}").contains("RSSMRA80A01H501U"), "{invented:?}");
    let joined = SpanQuery { trace_id: Some(forced.to_owned()), ..SpanQuery::default() };
    assert!(PROCESS.store.spans(&joined).is_empty());
}

#[tokio::test]
async fn an_event_carries_its_trace_to_the_consumer() {
    start();
    let (database, options) = (rig::database().await, rig::kafka_with_topic().await);
    let consumer = rig::subscribe(&options);
    let token = CancellationToken::new();
    let relaying = tokio::spawn(rig::relay(&database.pool, &options, "a").run(token.clone()));
    let root = tracing::info_span!("root of an event");
    let traceparent = trace::traceparent(&root).unwrap();
    async {
        let mut transaction = store::begin(&database.pool).await.unwrap();
        let messages = [Message::new(rig::TOPIC, "key", "type", vec![1])];
        outbox::insert(&mut transaction, &messages).instrument(store::span("insert events")).await.unwrap();
        transaction.commit().await.unwrap();
    }
    .instrument(root)
    .await;

    let message = within(SOON, consumer.recv()).await.unwrap().unwrap();
    let carried = Envelope::read(&message).unwrap().traceparent.unwrap();
    assert_eq!(trace_id(&carried), trace_id(&traceparent));
    async { trace::parent_from(&carried) }.instrument(tracing::info_span!(parent: None, "consume")).await;

    let publish = format!("publish {}", rig::TOPIC);
    let names = ["root of an event", "insert events", &publish, "consume"];
    let spans = spans_of(trace_id(&traceparent), &names).await;
    assert!(is_child(&spans[1], &spans[0]) && is_child(&spans[2], &spans[0]) && is_child(&spans[3], &spans[2]));
    assert_eq!((spans[1].kind.as_str(), spans[2].kind.as_str()), ("client", "producer"));
    token.cancel();
    relaying.await.unwrap();
}

#[tokio::test]
async fn every_trace_of_a_batch_leads_to_it() {
    start();
    let (gate, begun) = (Arc::new(Semaphore::new(0)), Arc::new(Notify::new()));
    let batcher = Batcher::<u32, u32, String>::new(1, 8, 16, {
        let (gate, begun) = (Arc::clone(&gate), Arc::clone(&begun));
        move |batch| {
            let (gate, begun) = (Arc::clone(&gate), Arc::clone(&begun));
            async move {
                begun.notify_one();
                drop(gate.acquire().await.unwrap());
                Ok(batch)
            }
        }
    });
    let call = |request: u32| {
        let (batcher, span) = (batcher.clone(), tracing::info_span!("caller", request));
        let traceparent = trace::traceparent(&span).unwrap();
        (tokio::spawn(async move { batcher.call(request).await }.instrument(span)), traceparent)
    };
    let (first, _) = call(1);
    begun.notified().await;
    let (second, second_trace) = call(2);
    let (third, third_trace) = call(3);
    eventually(SOON, async || if format!("{batcher:?}").contains("free: 14") { Ok(()) } else { Err("waiting") })
        .await
        .unwrap();
    gate.add_permits(10);
    for done in [first, second, third] {
        done.await.unwrap().unwrap();
    }

    let together = spans_of(trace_id(&second_trace), &["caller", "batch"]).await;
    let (caller, batch) = (&together[0], &together[1]);
    assert!(is_child(batch, caller));
    assert_eq!(batch.attributes["batch.size"], 2);
    let other = &spans_of(trace_id(&third_trace), &["caller"]).await[0];
    assert_eq!(batch.links[0].span_id, other.span_id);
    assert_eq!(other.links[0].span_id, batch.span_id);
}

#[tokio::test]
async fn shared_work_is_in_the_first_trace_that_is_sampled_and_linked_with_the_others() {
    start();
    let traces =
        [0, 1, 0, 1, 1].map(|sampled| format!("00-{:032x}-00f067aa0ba902b7-0{sampled}", Uuid::new_v4().as_u128()));
    let spans = traces.each_ref().map(|traceparent| {
        let span = tracing::info_span!(parent: None, "part");
        trace::set_parent(&span, traceparent);
        span
    });
    let nobody = trace::shared([&spans[0], &spans[2]], |_| panic!("nobody is sampled"));
    assert!(nobody.is_disabled());
    drop(trace::shared(&spans, |first| tracing::info_span!(parent: first, "work")));
    drop(spans);

    let first = spans_of(trace_id(&traces[1]), &["part", "work"]).await;
    let work = &first[1];
    assert!(is_child(work, &first[0]));
    assert_eq!(work.links.len(), 2, "{work:?}");
    for linked in [&traces[3], &traces[4]] {
        let part = &spans_of(trace_id(linked), &["part"]).await[0];
        assert_eq!((part.links.len(), &part.links[0].span_id), (1, &work.span_id));
        assert!(work.links.iter().any(|link| link.span_id == part.span_id));
    }
}

#[tokio::test]
async fn metrics_are_there_as_text_and_by_otlp() {
    start();
    let mesh = Mesh::new().unwrap();
    let replica = mesh::start(&mesh).await;
    let channel = mesh::channel(&mesh, "dev", &[replica.address]);
    mesh::ask(&channel, "who").await.unwrap();
    mesh::ask(&mesh::channel(&mesh, "operator", &[replica.address]), "who").await.unwrap_err();

    let text = metrics();
    let line = |parts: &[&str]| text.lines().any(|line| parts.iter().all(|part| line.contains(part)));
    let method = "rpc_method=\"fiorino.payments.v1.Payments/GetPayment\"";
    assert!(line(&["rpc_server_duration_seconds_count{", method, "rpc_grpc_status_code=\"0\""]), "{text}");
    assert!(line(&["rpc_client_duration_seconds_bucket{", method, "le=\"1.8\""]), "{text}");
    assert!(line(&["rpc_server_duration_seconds_count{", "rpc_method=\"refused\"", "rpc_grpc_status_code=\"7\""]));

    let query = MetricQuery { name: Some("rpc.server.duration".to_owned()), service: Some("kit-tests".to_owned()) };
    let received = eventually(SOON, async || match PROCESS.store.metrics(&query) {
        points if points.iter().any(|point| point.attributes["rpc.grpc.status_code"] == 0) => Ok(points),
        points => Err(format!("{points:?}")),
    });
    assert_eq!(received.await.unwrap()[0].unit, "s");
}

#[tokio::test]
async fn nonsense_from_a_caller_is_no_parent() {
    start();
    for nonsense in ["", "00-0-0-0", "zz-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "00-\u{e9}"] {
        let span = tracing::info_span!(parent: None, "nonsense");
        trace::set_parent(&span, nonsense);
        trace::link(&span, nonsense);
        let own = trace::traceparent(&span).unwrap();
        assert_ne!(trace_id(&own), "4bf92f3577b34da6a3ce929d0e0e4736");
    }
    assert_eq!(trace::traceparent(&tracing::Span::none()), None);
    assert!(telemetry::init("again", &TelemetryOptions::quiet()).is_err());
}
