//! Queries.
//!
//! | request | answer (JSON) |
//! |---|---|
//! | `GET /spans?trace_id=&name=&service=&attribute=key=value&limit=` | spans, in the order of arrival |
//! | `GET /traces?limit=` | summaries, newest first |
//! | `GET /traces/{trace_id}` | spans of a trace, by begin; 404 when there is none |
//! | `GET /metrics?name=&service=` | last value of each series |
//! | `GET /healthz` | counts |
//! | `DELETE /` | 204, and everything is forgotten |

use axum::{
    Json, Router,
    extract::{Path, Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{delete, get},
};
use serde::{Deserialize, Serialize};

use crate::{
    store::{MetricQuery, SpanQuery, Store},
    zipkin::Counts,
};

const TRACES_LIMIT: usize = 100;

#[derive(Debug, Clone)]
struct Queries {
    store: Store,
    forwarded: Option<Counts>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct TracesQuery {
    limit: Option<usize>,
}

#[derive(Debug, Serialize)]
struct Health {
    forwarded: Option<u64>,
    not_forwarded: Option<u64>,
}

pub(crate) fn router(store: Store, forwarded: Option<Counts>) -> Router {
    Router::new()
        .route("/spans", get(spans))
        .route("/traces", get(traces))
        .route("/traces/{trace_id}", get(trace))
        .route("/metrics", get(metrics))
        .route("/healthz", get(health))
        .route("/", delete(clear))
        .with_state(Queries { store, forwarded })
}

async fn spans(State(queries): State<Queries>, Query(query): Query<SpanQuery>) -> Response {
    let spans = queries.store.spans(&query);
    Json(spans.iter().map(AsRef::as_ref).collect::<Vec<&crate::Span>>()).into_response()
}

async fn traces(State(queries): State<Queries>, Query(query): Query<TracesQuery>) -> Response {
    Json(queries.store.traces(query.limit.unwrap_or(TRACES_LIMIT))).into_response()
}

async fn trace(State(queries): State<Queries>, Path(trace_id): Path<String>) -> Response {
    let query = SpanQuery { trace_id: Some(trace_id), limit: Some(usize::MAX), ..SpanQuery::default() };
    let mut spans = queries.store.spans(&query);
    if spans.is_empty() {
        return StatusCode::NOT_FOUND.into_response();
    }
    spans.sort_by_key(|span| span.start_unix_ns);
    Json(spans.iter().map(AsRef::as_ref).collect::<Vec<&crate::Span>>()).into_response()
}

async fn metrics(State(queries): State<Queries>, Query(query): Query<MetricQuery>) -> Response {
    Json(queries.store.metrics(&query)).into_response()
}

async fn health(State(queries): State<Queries>) -> Response {
    let forwarded = queries.forwarded.as_ref();
    Json(Health { forwarded: forwarded.map(Counts::sent), not_forwarded: forwarded.map(Counts::dropped) })
        .into_response()
}

async fn clear(State(queries): State<Queries>) -> StatusCode {
    queries.store.clear();
    StatusCode::NO_CONTENT
}
