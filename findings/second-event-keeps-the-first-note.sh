#!/usr/bin/env bash
# Needs: Rust.
#
# Guess: kube's Recorder publishes an Event whose note says something else as an Event of its own; only equal ones are counted together.
# Seen:  kube-runtime 5.0.0. An Event of the same type, reason and action about the same object is taken for a repetition, whatever its note: the
#        first one's series is counted up, and the second note never reaches the API server, for six minutes after the last one.
# Why it matters: an operator tells "field A is wrong", the manifest is mended, "field B is wrong" follows under the same reason, and `kubectl
#        events` shows A for as long as anybody looks.
# Ours:  the operator writes its Events itself: operator/src/events.rs, operator/tests/it/publishing.rs.
set -euo pipefail
work=$(mktemp -d); cd "$work"
trap 'rm -rf "$work"' EXIT
mkdir src
cat > Cargo.toml <<'X'
[package]
name = "seen"
version = "0.0.0"
edition = "2024"
[dependencies]
kube = { version = "=5.0.0", default-features = false, features = ["client", "runtime"] }
k8s-openapi = { version = "=0.29.0", features = ["v1_37"] }
http = "1"
http-body-util = "0.1"
serde_json = "1"
tokio = { version = "1", features = ["macros", "rt"] }
tower = { version = "0.5", features = ["util"] }
X
cat > src/main.rs <<'X'
use std::convert::Infallible;
use http_body_util::BodyExt as _;
use kube::{Client, client::Body, runtime::events::{Event, EventType, Recorder, Reporter}};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    // An API server that takes every Event and says what came.
    let server = tower::service_fn(|request: http::Request<Body>| async move {
        let (head, body) = request.into_parts();
        let event: serde_json::Value = serde_json::from_slice(&body.collect().await.unwrap().to_bytes()).unwrap();
        println!("{} note={} count={}", head.method, event["note"], event["series"]["count"]);
        Ok::<_, Infallible>(http::Response::new(Body::from(serde_json::to_vec(&event).unwrap())))
    });
    let recorder = Recorder::new(Client::new(server, "default"), Reporter::from("a-controller"));
    let about = k8s_openapi::api::core::v1::ObjectReference {
        namespace: Some("default".into()), name: Some("a".into()), uid: Some("u".into()), ..Default::default()
    };
    for note in ["field A is wrong", "field B is wrong"] {
        let event = Event {
            type_: EventType::Warning, reason: "Invalid".into(), note: Some(note.into()), action: "Validate".into(), secondary: None,
        };
        recorder.publish(&event, &about).await.unwrap();
    }
}
X
cargo run --quiet > seen
cat seen
cat > expected <<'X'
POST note="field A is wrong" count=null
PATCH note="field A is wrong" count=2
X
diff expected seen && echo "as it was seen"
