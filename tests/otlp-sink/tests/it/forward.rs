//! What was received reaches the viewer, whenever that starts.

use std::{sync::Arc, time::Duration};

use axum::{Json, Router, extract::State, http::StatusCode, routing::post};
use fiorino_otlp_sink::Options;
use opentelemetry_proto::tonic::trace::v1::{Status, span::Event};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::Mutex};

use crate::rig::{Running, options, span, start, text};

/// A viewer that answers with the given statuses, then takes everything.
#[derive(Clone, Default)]
struct Viewer {
    answers: Arc<Mutex<Vec<StatusCode>>>,
    taken: Arc<Mutex<Vec<Value>>>,
}

impl Viewer {
    fn answering(answers: &[StatusCode]) -> Self {
        let answers = answers.iter().rev().copied().collect();
        Self { answers: Arc::new(Mutex::new(answers)), taken: Arc::default() }
    }

    fn serve(&self, listener: TcpListener) {
        let router = Router::new().route("/api/v2/spans", post(take)).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
    }
}

async fn take(State(viewer): State<Viewer>, Json(spans): Json<Vec<Value>>) -> StatusCode {
    if let Some(answer) = viewer.answers.lock().await.pop() {
        return answer;
    }
    viewer.taken.lock().await.extend(spans);
    StatusCode::ACCEPTED
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(20), async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert!(waited.await.is_ok(), "{what}");
}

async fn forwarding_to(address: std::net::SocketAddr) -> Running {
    let url = format!("http://{address}/api/v2/spans").parse().unwrap();
    start(Options { forward_zipkin: Some(url), ..options() }).await
}

#[tokio::test]
async fn a_viewer_that_starts_later_gets_everything() {
    // Bound, but nobody listens yet: connections are refused.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let sink = forwarding_to(socket.local_addr().unwrap()).await;
    let mut failed = span(0xaa, 2, Some(1), "apply");
    failed.attributes = vec![text("table", "notice")];
    failed.status = Some(Status { message: "broken".to_owned(), code: 2 });
    failed.events = vec![Event { time_unix_nano: 5_000, name: "retried".to_owned(), ..Event::default() }];
    sink.send("tenant", vec![span(0xaa, 1, None, "receive"), failed]).await;

    let viewer = Viewer::answering(&[StatusCode::SERVICE_UNAVAILABLE, StatusCode::TOO_MANY_REQUESTS]);
    viewer.serve(socket.listen(16).unwrap());
    until("the viewer has both spans", async || viewer.taken.lock().await.len() == 2).await;
    let taken = viewer.taken.lock().await;
    let expected = json!({
        "traceId": "aa".repeat(16), "id": "0202020202020202", "parentId": "0101010101010101", "name": "apply",
        "kind": "SERVER", "timestamp": 2_000, "duration": 2, "localEndpoint": {"serviceName": "tenant"},
        "annotations": [{"timestamp": 5, "value": "retried"}], "tags": {"table": "notice", "error": "broken"},
    });
    assert_eq!(taken[1], expected);
    assert!(taken[0].get("parentId").is_none());
    until("they are counted", async || sink.get("/healthz").await == json!({"forwarded": 2, "not_forwarded": 0})).await;
}

#[tokio::test]
async fn what_a_viewer_refuses_is_given_up_and_holds_nothing_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let sink = forwarding_to(listener.local_addr().unwrap()).await;
    let viewer = Viewer::answering(&[StatusCode::BAD_REQUEST]);
    viewer.serve(listener);
    sink.send("tenant", vec![span(0xaa, 1, None, "refused")]).await;
    until("it is given up", async || sink.get("/healthz").await["not_forwarded"] == 1).await;
    sink.send("tenant", vec![span(0xaa, 2, None, "taken")]).await;
    until("the next one arrives", async || viewer.taken.lock().await.len() == 1).await;
    assert_eq!(viewer.taken.lock().await[0]["name"], "taken");
    assert_eq!(sink.get("/spans").await.as_array().unwrap().len(), 2);
}
