//! What is logged and traced: enough to follow a call, nothing personal.

use std::{
    io,
    sync::{Arc, LazyLock, Mutex},
};

use anyhow::ensure;
use fiorino_test_support::eventually;
use fiorino_wire::Version;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::{Layer as _, filter::LevelFilter, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use crate::rig::{
    Names, Rig, SOON,
    messages::{self, NOTICE, Receipt},
};

/// Every log line of this process, of whatever test, from when it is first asked for.
static LINES: LazyLock<Lines> = LazyLock::new(Lines::install);

#[derive(Debug, Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

// === impl Lines ===

impl Lines {
    /// Logs into memory; every span has its place in a trace, as with an exporter.
    fn install() -> Self {
        let lines = Self::default();
        let writer = lines.clone();
        let logs = tracing_subscriber::fmt::layer().json().with_writer(move || writer.clone());
        let tracer = SdkTracerProvider::builder().build().tracer("test");
        tracing_subscriber::registry()
            .with(logs.with_filter(LevelFilter::DEBUG))
            .with(tracing_opentelemetry::layer().with_tracer(tracer).with_filter(LevelFilter::INFO))
            .init();
        lines
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn logs_tell_the_call_and_no_personal_data() {
    let lines = LazyLock::force(&LINES);
    let (rig, node) = Rig::with_node().await;
    let station = &rig.names.station;
    node.call(station, messages::verify(&rig.names, NOTICE)).await.assert_ok();
    node.call(station, messages::get(Version::V2, &rig.names, NOTICE)).await.assert_ok();
    node.call(station, Receipt::new(&rig.names, "r1").write()).await.assert_ok();
    // Refused, broken, unreadable, unwritable: wherever an error is told.
    let receipt = Receipt::new(&rig.names, "r2").write();
    node.call(station, receipt.replace("<receiptId>r2</receiptId>", "")).await.assert_fault(500, "cannot be read");
    node.call(station, receipt.replace("RSSMRA80A01H501U", "RSSMRA80A01H501U0")).await.assert_ok();
    let stranger = Names { broker: "99999999990".into(), ..rig.names.clone() };
    node.call(station, Receipt { names: stranger, ..Receipt::new(&rig.names, "r3") }.write()).await;
    rig.tenant.script().payable.get_mut(NOTICE).unwrap().debtor.as_mut().unwrap().full_name = "Mario Rossi ".repeat(9);
    node.call(station, messages::get(Version::V2, &rig.names, NOTICE)).await;
    rig.tenant.script().payable.get_mut(NOTICE).unwrap().transfers[0].iban = "IT60X0542811101000000123457".into();
    node.call(station, messages::get(Version::V2, &rig.names, NOTICE)).await;
    for request_id in ["follow-me-1", "RSSMRA80A01H501U", "<Mario~Rossi>"] {
        for body in [messages::verify(&rig.names, NOTICE), "nothing".to_owned()] {
            let request = node.http.post(node.url(station)).header("X-Request-Id", request_id);
            request.header("Content-Type", "text/xml").body(body).send().await.unwrap();
        }
    }

    let text = lines.text();
    let call = text.lines().find(|line| line.contains("follow-me-1") && line.contains("answered the node")).unwrap();
    for told in ["paVerifyPaymentNotice", rig.names.institution.as_str(), "\"outcome\":\"OK\""] {
        assert!(call.contains(told), "{told} is missing in {call}");
    }
    for personal in
        ["RSSMRA80A01H501U", "Mario Rossi", "Mario~Rossi", "IT60X0542811101000000123456", "IT60X0542811101000000123457"]
    {
        let leak = text.lines().find(|line| line.contains(personal));
        assert!(leak.is_none(), "{personal} is logged: {leak:?}");
    }
}

#[tokio::test]
async fn applying_a_receipt_continues_the_trace_of_the_nodes_call() {
    LazyLock::force(&LINES);
    let (rig, node) = Rig::with_node().await;
    let (trace, caller) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
    let request = node.http.post(node.url(&rig.names.station)).header("traceparent", format!("00-{trace}-{caller}-01"));
    let request = request.header("Content-Type", "text/xml").body(Receipt::new(&rig.names, "r1").write());
    request.send().await.unwrap();
    let told = eventually(SOON, async || {
        let script = rig.tenant.script();
        ensure!(script.applied.len() == 1, "not applied yet");
        Ok(script.applied[0].traceparent.clone())
    })
    .await
    .unwrap();
    let stored: String =
        sqlx::query_scalar("select traceparent from receipt_inbox").fetch_one(&rig.db.pool).await.unwrap();
    for traceparent in [&told, &stored] {
        let place: Vec<&str> = traceparent.split('-').collect();
        assert_eq!((place[1], place[3]), (trace, "01"), "{traceparent}");
        assert_ne!(place[2], caller, "{traceparent}");
    }
    assert_ne!(told, stored, "applying has a span of its own");
}
