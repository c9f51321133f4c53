//! What was received is found.

use opentelemetry_proto::tonic::{
    common::v1::any_value::Value,
    metrics::v1::{
        Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, metric::Data,
        number_data_point,
    },
    trace::v1::{Status, span::Link},
};
use reqwest::Method;
use serde_json::json;

use crate::rig::{attribute, options, resource, span, start, text};

#[tokio::test]
async fn a_span_is_shown_as_it_was_sent() {
    let sink = start(options()).await;
    let mut sent = span(0xaa, 2, Some(1), "verify");
    sent.attributes = vec![text("http.route", "/node"), attribute("rows", Value::IntValue(3))];
    sent.trace_state = "vendor=1".to_owned();
    sent.status = Some(Status { message: "no".to_owned(), code: 2 });
    sent.links = vec![Link {
        trace_id: vec![0xbb; 16],
        span_id: vec![9; 8],
        attributes: vec![text("why", "shared")],
        ..Link::default()
    }];
    sink.send("tenant", vec![sent]).await;

    let expected = json!([{
        "trace_id": "aa".repeat(16), "span_id": "0202020202020202", "parent_span_id": "0101010101010101",
        "trace_state": "vendor=1",
        "service": "tenant", "instance": "", "resource": {"service.name": "tenant"}, "name": "verify", "kind": "server",
        "start_unix_ns": 2_000_000, "duration_ns": 2_500,
        "status": "error", "status_message": "no",
        "attributes": {"http.route": "/node", "rows": 3}, "events": [],
        "links": [{"trace_id": "bb".repeat(16), "span_id": "0909090909090909", "attributes": {"why": "shared"}}],
    }]);
    assert_eq!(sink.get("/spans").await, expected);
}

#[rstest::rstest]
#[case("", &[1, 2, 3])]
#[case("?name=apply", &[2])]
#[case("?service=tenant", &[2, 3])]
#[case("?service=node-connector&name=apply", &[])]
#[case("?attribute=rows=3", &[2])]
#[case("?attribute=table=notice", &[3])]
#[case("?attribute=table=notices", &[])]
#[case("?limit=2", &[2, 3])]
#[case("?trace_id=cccccccccccccccccccccccccccccccc", &[3])]
#[case("?trace_id=dddddddddddddddddddddddddddddddd", &[])]
#[tokio::test]
async fn spans_are_found_by_what_they_have(#[case] query: &str, #[case] ids: &[u8]) {
    let sink = start(options()).await;
    sink.send("node-connector", vec![span(0xaa, 1, None, "receive")]).await;
    let mut applied = span(0xaa, 2, Some(1), "apply");
    applied.attributes = vec![attribute("rows", Value::IntValue(3))];
    let mut other = span(0xcc, 3, None, "other");
    other.attributes = vec![text("table", "notice")];
    sink.send("tenant", vec![applied, other]).await;

    let found = sink.get(&format!("/spans{query}")).await;
    let found: Vec<_> = found.as_array().unwrap().iter().map(|span| span["span_id"].as_str().unwrap()).collect();
    let expected: Vec<_> = ids.iter().map(|id| format!("{id:02x}").repeat(8)).collect();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn a_trace_is_whole_over_services() {
    let sink = start(options()).await;
    sink.send("tenant", vec![span(0xaa, 2, Some(1), "apply")]).await;
    sink.send("node-connector", vec![span(0xaa, 1, None, "receive")]).await;
    sink.send("tenant", vec![span(0xcc, 3, Some(7), "orphan")]).await;

    let traces = sink.get("/traces").await;
    let expected = json!([
        {"trace_id": "cc".repeat(16), "root": null, "services": ["tenant"], "spans": 1,
         "start_unix_ns": 3_000_000, "duration_ns": 2_500},
        {"trace_id": "aa".repeat(16), "root": "receive", "services": ["node-connector", "tenant"], "spans": 2,
         "start_unix_ns": 1_000_000, "duration_ns": 1_002_500},
    ]);
    assert_eq!(traces, expected);
    assert_eq!(sink.get("/traces?limit=1").await.as_array().unwrap().len(), 1);

    let trace = sink.get(&format!("/traces/{}", "aa".repeat(16))).await;
    let names: Vec<_> = trace.as_array().unwrap().iter().map(|span| &span["name"]).collect();
    assert_eq!(names, ["receive", "apply"]);
    assert_eq!(sink.request(Method::GET, "/traces/00").await.status(), 404);
    assert_eq!(sink.request(Method::GET, "/spans?nme=typo").await.status(), 400);
}

#[tokio::test]
async fn the_oldest_spans_make_room() {
    let sink = start(fiorino_otlp_sink::Options { spans_max: 2, ..options() }).await;
    sink.send("a", vec![span(0xaa, 1, None, "1"), span(0xbb, 2, None, "2"), span(0xbb, 3, None, "3")]).await;
    let names = |spans: serde_json::Value| -> Vec<_> {
        spans.as_array().unwrap().iter().map(|span| span["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(sink.get("/spans").await), ["2", "3"]);
    assert_eq!(sink.request(Method::GET, &format!("/traces/{}", "aa".repeat(16))).await.status(), 404);
    sink.send("a", vec![span(0xcc, 4, None, "4")]).await;
    assert_eq!(names(sink.get("/spans").await), ["3", "4"]);
    assert_eq!(sink.request(Method::DELETE, "/").await.status(), 204);
    assert_eq!(sink.get("/traces").await, json!([]));
}

fn metric(name: &str, data: Data) -> Vec<ResourceMetrics> {
    let metrics = vec![Metric { name: name.to_owned(), unit: "s".to_owned(), data: Some(data), ..Metric::default() }];
    let scope_metrics = vec![ScopeMetrics { metrics, ..ScopeMetrics::default() }];
    vec![ResourceMetrics { resource: Some(resource("tenant")), scope_metrics, ..ResourceMetrics::default() }]
}

fn gauge(value: f64, shard: i64) -> Data {
    let point = NumberDataPoint {
        attributes: vec![attribute("shard", Value::IntValue(shard))],
        value: Some(number_data_point::Value::AsDouble(value)),
        time_unix_nano: 7,
        ..NumberDataPoint::default()
    };
    Data::Gauge(Gauge { data_points: vec![point] })
}

#[tokio::test]
async fn each_series_keeps_its_last_value() {
    let sink = start(fiorino_otlp_sink::Options { metrics_max: 3, ..options() }).await;
    sink.send_metrics(metric("age", gauge(1.5, 1))).await;
    sink.send_metrics(metric("age", gauge(2.5, 1))).await;
    sink.send_metrics(metric("age", gauge(9.0, 2))).await;
    let point =
        HistogramDataPoint { count: 4, sum: Some(0.5), explicit_bounds: vec![2.0], ..HistogramDataPoint::default() };
    let histogram = Histogram { data_points: vec![point], aggregation_temporality: 2 };
    sink.send_metrics(metric("duration", Data::Histogram(histogram))).await;
    // A fourth series does not fit.
    sink.send_metrics(metric("age", gauge(1.0, 3))).await;

    let point = |shard: i64, value: f64| {
        json!({"service": "tenant", "instance": "", "resource": {"service.name": "tenant"}, "name": "age", "unit": "s",
               "attributes": {"shard": shard}, "unix_ns": 7, "value": {"number": value}})
    };
    assert_eq!(sink.get("/metrics?name=age&service=tenant").await, json!([point(1, 2.5), point(2, 9.0)]));
    let durations = sink.get("/metrics?name=duration").await;
    assert_eq!(durations[0]["value"], json!({"histogram": {"count": 4, "sum": 0.5, "bounds": [2.0]}}));
    assert_eq!(sink.get("/metrics?service=nobody").await, json!([]));
}
