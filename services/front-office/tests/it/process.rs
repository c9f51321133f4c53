//! The binary.

use std::{net::SocketAddr, time::Duration};

use anyhow::ensure;
use fiorino_otlp_sink::{Options, Sink, SpanQuery};
use fiorino_test_support::{Process, Spec, eventually, free_port};
use reqwest::header::HOST;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::support::{HOST_OF_TOWN, NUMBER, SOON, TOWN, World, lookup};

/// The process, ready, and where it is.
struct Running {
    process: Process,
    port: u16,
    admin: u16,
    logs: TempDir,
    http: reqwest::Client,
}

// === impl Running ===

impl Running {
    async fn start(world: &World, more: &[String]) -> Self {
        let (port, admin) = (free_port().unwrap(), free_port().unwrap());
        let logs = tempfile::tempdir().unwrap();
        let spec = Spec::new(env!("CARGO_BIN_EXE_fiorino-front-office"), logs.path().join("log"))
            .args(world.arguments().into_iter().skip(1).filter(|argument| !argument.starts_with("--listen")))
            .args([format!("--listen=127.0.0.1:{port}"), format!("--admin-listen=127.0.0.1:{admin}")])
            .args(more);
        let mut running =
            Self { process: Process::spawn(&spec).unwrap(), port, admin, logs, http: reqwest::Client::new() };
        let (http, ready) = (running.http.clone(), format!("http://127.0.0.1:{admin}/readyz"));
        let ready = async || {
            let status = http.get(&ready).send().await?.status();
            ensure!(status.is_success(), "{status}");
            Ok(())
        };
        running.process.wait_ready(Duration::from_mins(1), ready).await.unwrap();
        running
    }

    async fn page(&self, path: &str, headers: &[(&str, &str)]) -> String {
        let mut request = self.http.get(format!("http://127.0.0.1:{}{path}", self.port)).header(HOST, HOST_OF_TOWN);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.unwrap().text().await.unwrap()
    }

    async fn metrics(&self) -> String {
        let url = format!("http://127.0.0.1:{}/metrics", self.admin);
        self.http.get(url).send().await.unwrap().text().await.unwrap()
    }

    /// Stops in order; answers what was logged.
    fn stop(mut self) -> String {
        let ended = self.process.stop().unwrap();
        assert!(ended.success(), "{ended}: {}", self.process.log_tail(20));
        fs_err::read_to_string(self.logs.path().join("log")).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_serves_tells_how_it_is_and_ends_in_order() {
    let world = World::start().await;
    let running = Running::start(&world, &[]).await;
    assert!(running.page("/", &[]).await.contains("Comune di Roccafiorina"));
    assert!(running.page(&lookup(NUMBER, TOWN), &[]).await.contains("120,00"));
    let metrics = running.metrics().await;
    assert!(metrics.contains("http_server_request_duration") && metrics.contains("http_route=\"/\""), "{metrics}");
    assert!(!metrics.contains(NUMBER), "{metrics}");
    let log = running.stop();
    assert!(log.contains("front-office") && !log.contains(NUMBER) && !log.contains("trusted-proxies"), "{log}");
}

/// Behind an ingress that nobody named all visitors are one: that is told, once.
#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_is_not_trusted_is_told_of_once() {
    let world = World::start().await;
    let running = Running::start(&world, &[]).await;
    for visitor in ["203.0.113.1", "203.0.113.2"] {
        running.page(&lookup(NUMBER, TOWN), &[("x-forwarded-for", visitor)]).await;
    }
    let metrics = running.metrics().await;
    let counted = metrics.lines().find(|line| line.starts_with("fiorino_front_office_forwarded_ignored_total"));
    assert!(counted.is_some_and(|line| line.ends_with(" 2")), "{metrics}");
    let log = running.stop();
    let told: Vec<&str> = log.lines().filter(|line| line.contains("--trusted-proxies")).collect();
    assert!(told.len() == 1 && told[0].contains("127.0.0.0/24"), "{log}");
    assert!(!log.contains("203.0.113"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_s_traceparent_is_not_believed() {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let options =
        Options { listen_grpc: any, listen_http: any, forward_zipkin: None, spans_max: 1_000, metrics_max: 1_000 };
    let sink = Sink::bind(&options).await.unwrap();
    let (store, endpoint) = (sink.store(), format!("http://{}", sink.grpc_address().unwrap()));
    let token = CancellationToken::new();
    let serving = tokio::spawn(sink.serve(token.clone()));
    let world = World::start().await;
    let flags = [format!("--otlp-endpoint={endpoint}"), "--trace-ratio=1".to_owned()];
    let running = Running::start(&world, &flags).await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let told = format!("00-{trace}-00f067aa0ba902b7-01");
    running.page("/come-pagare", &[("traceparent", &told)]).await;
    let named = SpanQuery { name: Some("GET /come-pagare".to_owned()), ..SpanQuery::default() };
    let span = eventually(SOON, async || store.spans(&named).first().cloned().ok_or("no span")).await.unwrap();
    assert_eq!(span.parent_span_id, None);
    let joined = SpanQuery { trace_id: Some(trace.to_owned()), ..SpanQuery::default() };
    assert!(store.spans(&joined).is_empty(), "{:?}", store.spans(&joined));
    running.stop();
    token.cancel();
    serving.await.unwrap().unwrap();
}
