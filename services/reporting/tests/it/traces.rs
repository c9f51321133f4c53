//! A payment's trace goes on from its producer to its row.

use std::sync::OnceLock;

use fiorino_test_support::eventually;
use opentelemetry::trace::{SpanKind, TracerProvider as _};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
use tracing_subscriber::layer::SubscriberExt as _;

use crate::support::{DEADLINE, Produced, World, payment};

#[tokio::test(flavor = "multi_thread")]
async fn the_row_belongs_to_the_trace_of_its_producer() {
    let exporter = exporter();
    let world = World::new().await;
    let traces =
        [format!("{:032x}", uuid::Uuid::new_v4().as_u128()), format!("{:032x}", uuid::Uuid::new_v4().as_u128())];
    let messages = traces.iter().enumerate().map(|(number, trace)| {
        let mut message = Produced::from(payment(&world.institution, &format!("r{number}")));
        message.headers.push(("traceparent", format!("00-{trace}-00f067aa0ba902b7-01")));
        message
    });
    world.produce(messages).await;
    let service = world.start("reporting-0").await;
    world.wait_for(2).await;
    let spans = eventually(DEADLINE, async || {
        let spans = exporter.get_finished_spans()?;
        let ours: Vec<SpanData> =
            spans.into_iter().filter(|span| traces.contains(&span.span_context.trace_id().to_string())).collect();
        anyhow::ensure!(ours.len() >= 3, "{} spans", ours.len());
        Ok(ours)
    })
    .await
    .unwrap();
    for trace in &traces {
        let message = spans.iter().find(|span| span.name == "process payment" && in_trace(span, trace)).unwrap();
        assert_eq!(message.parent_span_id.to_string(), "00f067aa0ba902b7");
        assert_eq!(message.span_kind, SpanKind::Consumer);
    }
    let statement =
        spans.iter().find(|span| span.name == "record payments").expect("the transaction is in the first trace");
    assert!(in_trace(statement, &traces[0]));
    assert!(
        statement.links.iter().any(|link| link.span_context.trace_id().to_string() == traces[1]),
        "the others of the batch are linked"
    );
    service.stop().await;
}

fn in_trace(span: &SpanData, trace: &str) -> bool {
    span.span_context.trace_id().to_string() == trace
}

/// Every span of this process.
fn exporter() -> &'static InMemorySpanExporter {
    static EXPORTER: OnceLock<InMemorySpanExporter> = OnceLock::new();
    EXPORTER.get_or_init(|| {
        let exporter = InMemorySpanExporter::default();
        let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layer)).unwrap();
        exporter
    })
}
