//! One trace leads from the node's call to the reported row; work for several at once is linked with each of them.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};
use fiorino_otlp_sink::Span;
use fiorino_test_support::eventually;
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};

use super::{PATIENCE, Town, sink::Sink};

/// A span's service, name and kind.
type Place = (&'static str, &'static str, &'static str);

const APPLY: &str = "fiorino.receipts.v1.Receipts/ApplyReceipts";
const PUBLISH: &str = "publish fiorino.payments.v1";

/// Statements of a receipt's transaction, in their order.
const STATEMENTS: [&str; 9] = [
    "find institutions",
    "take receipt keys",
    "find receipt versions",
    "find positions",
    "lock instalments",
    "find activations",
    "write states",
    "insert receipts",
    "insert events",
];

/// What a receipt's trace must lead to, whoever shared the work.
const SHARED: [Place; 4] = [
    ("node-connector", "insert receipts", "client"),
    ("tenant", APPLY, "server"),
    ("tenant", "insert receipts", "client"),
    ("reporting", "record payments", "client"),
];

/// Spans by their ids.
struct Spans(BTreeMap<String, Span>);

// === impl Spans ===

impl Spans {
    async fn of(sink: &Sink) -> Result<Self> {
        Ok(Self(sink.spans().await?.into_iter().map(|span| (span.span_id.clone(), span)).collect()))
    }

    fn root(&self, trace_id: &str, place: Place) -> Result<&Span> {
        let mut spans = self.0.values();
        spans.find(|span| span.trace_id == trace_id && is(span, place)).with_context(|| format!("no {place:?} yet"))
    }

    /// The end of a line of children; when one of them was tried again, of any line that is complete.
    fn below<'a>(&'a self, from: &'a Span, line: &[Place]) -> Result<&'a Span> {
        let Some((next, rest)) = line.split_first() else { return Ok(from) };
        let children = self.0.values().filter(|span| {
            span.trace_id == from.trace_id && span.parent_span_id.as_deref() == Some(&from.span_id) && is(span, *next)
        });
        let mut last = None;
        for child in children {
            match self.below(child, rest) {
                Ok(end) => return Ok(end),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| anyhow::anyhow!("no {next:?} below {} {}", from.service, from.name)))
    }

    /// The span and those that it is within.
    fn line_of<'a>(&'a self, span: &'a Span) -> impl Iterator<Item = &'a Span> {
        std::iter::successors(Some(span), |span| self.0.get(span.parent_span_id.as_ref()?))
    }

    /// Whether a trace leads to such a span: it is the trace's own, or within one that a span of the trace links to, and that links
    /// back to the trace.
    fn leads_to(&self, trace_id: &str, place: Place) -> bool {
        let own = || self.0.values().filter(|span| span.trace_id == trace_id);
        let linked: BTreeSet<&str> =
            own().flat_map(|span| span.links.iter().map(|link| link.span_id.as_str())).collect();
        let leads = |span: &Span| {
            span.trace_id == trace_id
                || linked.contains(span.span_id.as_str()) && span.links.iter().any(|link| link.trace_id == trace_id)
        };
        self.0.values().filter(|span| is(span, place)).any(|span| self.line_of(span).any(leads))
    }
}

fn is(span: &Span, (service, name, kind): Place) -> bool {
    (span.service.as_str(), span.name.as_str(), span.kind.as_str()) == (service, name, kind)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_trace_of_a_payment_span_by_span() {
    let town = Town::payable().await;
    let notice = town.create_debt("spans").await;
    let paid = town.simulator("psp/pay", &town.notice(&notice)).await.unwrap();
    town.reported(&notice).await;
    let delivered = town.simulator_list("deliveries").await[0]["traceId"].clone();
    let sink = Sink::of(&town);
    eventually(PATIENCE, async || {
        let spans = Spans::of(&sink).await?;
        let read = [("paVerifyPaymentNotice", "verified", "VerifyMany", "verify notices")];
        let activated = [
            ("paGetPaymentV2", "activated", "ActivateMany", "hold notices"),
            ("paGetPaymentV2", "activated", "ActivateMany", "read notices to activate"),
            ("paGetPaymentV2", "activated", "ActivateMany", "record activations"),
        ];
        for (op, step, method, statement) in read.into_iter().chain(activated) {
            notice_trace(&spans, text(&paid[step]["traceId"])?, op, method, statement)?;
        }
        receipt_trace(&spans, text(&delivered)?)
    })
    .await
    .unwrap();
}

/// Verify or activate: from the node's call to tenant's statement.
fn notice_trace(
    spans: &Spans,
    trace_id: &str,
    op: &'static str,
    method: &'static str,
    statement: &'static str,
) -> Result<()> {
    let call = spans.root(trace_id, ("node-connector", op, "server"))?;
    let method = match method {
        "VerifyMany" => "fiorino.notices.v1.Notices/VerifyMany",
        _ => "fiorino.notices.v1.Notices/ActivateMany",
    };
    let line = [
        ("node-connector", "batch", "internal"),
        ("node-connector", method, "client"),
        ("tenant", method, "server"),
        ("tenant", statement, "client"),
    ];
    spans.below(call, &line).map(drop)
}

/// A receipt: from the node's call to the reported row.
fn receipt_trace(spans: &Spans, trace_id: &str) -> Result<()> {
    let call = spans.root(trace_id, ("node-connector", "paSendRTV2", "server"))?;
    ensure!(call.attributes["http.response.status_code"] == 200 && call.attributes["outcome"] == "OK", "{call:?}");
    let insert = [("node-connector", "batch", "internal"), ("node-connector", "insert receipts", "client")];
    spans.below(call, &insert)?;
    let applying = ("node-connector", "apply receipt", "internal");
    spans.below(call, &[applying, ("node-connector", APPLY, "client"), ("tenant", APPLY, "server")])?;
    let applied = [applying, ("tenant", "apply receipt", "internal")];
    for statement in STATEMENTS {
        let sql = spans.below(call, &[applied[0], applied[1], ("tenant", statement, "client")])?;
        ensure!(sql.attributes["db.system.name"] == "postgresql", "{sql:?}");
    }
    let published = spans.below(call, &[applied[0], applied[1], ("tenant", PUBLISH, "producer")])?;
    let processed = spans.below(published, &[("reporting", "process payment", "consumer")])?;
    spans.below(processed, &[("reporting", "record payments", "client")])?;
    ensure!(
        published.attributes["messaging.message.id"] == processed.attributes["messaging.message.id"],
        "{published:?} is consumed by {processed:?}"
    );
    let trace = spans.0.values().filter(|span| span.trace_id == trace_id);
    let failed: Vec<_> = trace.filter(|span| span.status == fiorino_otlp_sink::Status::Error).collect();
    ensure!(failed.is_empty(), "{failed:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_receipt_of_a_batch_leads_to_the_work_that_it_shared() {
    let town = Town::payable().await;
    let mut notices = Vec::new();
    for number in 0..10 {
        notices.push(town.create_debt(&format!("batch-{number}")).await);
    }
    pay_while_nothing_is_applied(&town, &notices).await.unwrap();
    for notice in &notices {
        town.reported(notice).await;
    }
    let deliveries = town.simulator_list("deliveries").await;
    assert_eq!(deliveries.len(), notices.len());
    let sink = Sink::of(&town);
    eventually(PATIENCE, async || {
        let spans = Spans::of(&sink).await?;
        let together = ("node-connector", "apply receipts", "internal");
        let batches = spans.0.values().filter(|span| is(span, together));
        let largest = batches.filter_map(|span| span.attributes["batch.size"].as_i64()).max();
        ensure!(largest >= Some(2), "no batch: {largest:?}");
        for delivery in &deliveries {
            let trace_id = text(&delivery["traceId"])?;
            for place in SHARED {
                ensure!(spans.leads_to(trace_id, place), "{trace_id} does not lead to {place:?}");
            }
        }
        Ok(())
    })
    .await
    .unwrap();
}

/// Every receipt is acknowledged before the first one is applied, so that the others wait for each other.
async fn pay_while_nothing_is_applied(town: &Town, notices: &[String]) -> Result<()> {
    let mut tokens = Vec::new();
    for notice in notices {
        let activated = town.simulator("psp/activate", &town.notice(notice)).await?;
        tokens.push(text(&activated["paymentToken"])?.to_owned());
    }
    let mut tenant = PgConnection::connect(&town.world.addresses().database_urls["tenant"]).await?;
    let mut held = tenant.begin().await?;
    sqlx::query("lock table receipt_key in share row exclusive mode").execute(&mut *held).await?;
    for token in &tokens {
        town.simulator("psp/outcome", &json!({"paymentToken": token, "outcome": "OK"})).await?;
    }
    eventually(PATIENCE, async || {
        let deliveries = town.simulator_list("deliveries").await;
        let open = deliveries.iter().filter(|delivery| delivery["state"] != "notified").count();
        ensure!(open == 0, "{open} receipts are not acknowledged");
        Ok(())
    })
    .await?;
    held.rollback().await?;
    Ok(())
}

fn text(value: &Value) -> Result<&str> {
    value.as_str().with_context(|| format!("{value} is no text"))
}
