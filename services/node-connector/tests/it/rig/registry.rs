//! A fake of pagoPA's Backoffice external API: pages, keys, refusals.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::get,
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;

#[derive(Debug, Default)]
pub(crate) struct Registry {
    /// Lines of `creditor_institutions` and `ibans`.
    pub(crate) institutions: Vec<Value>,
    pub(crate) ibans: Vec<Value>,
    /// Keys that are taken; empty: any.
    pub(crate) keys: Vec<String>,
    /// Answered instead of a page.
    pub(crate) refuse: Option<(StatusCode, Option<u64>)>,
    /// From this page on there is none (404), whatever the pages before told.
    pub(crate) cut_at: Option<u64>,
    /// Lines more than there are, as told.
    pub(crate) overstated: usize,
    /// How long a page takes.
    pub(crate) takes: Duration,

    /// Every request: listing, page, key.
    pub(crate) seen: Vec<(String, u64, String)>,
}

/// The registry, served.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    registry: Arc<Mutex<Registry>>,
}

#[derive(Debug, Deserialize)]
struct Paging {
    page: u64,
    limit: u64,
}

// === impl Server ===

impl Server {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind(super::loopback()).await.unwrap();
        let server = Self { address: listener.local_addr().unwrap(), registry: Arc::default() };
        let router = Router::new().route("/base/brokers/{broker}/{listing}", get(list)).with_state(server.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/base", self.address)
    }

    pub(crate) fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap()
    }
}

pub(crate) fn institution(fiscal_code: &str, station: &str) -> Value {
    json!({
        "taxCode": fiscal_code, "companyName": "Comune", "brokerTaxCode": "0", "brokerCompanyName": "Regione", "model": 4,
        "auxDigit": "3", "segregationCode": "12", "ciStatus": true, "stationId": station, "stationState": "enabled",
        "version": "1", "intermediated": true, "broadcast": false, "primitiveVersion": 2,
    })
}

pub(crate) fn iban(fiscal_code: &str, iban: &str) -> Value {
    json!({
        "ciFiscalCode": fiscal_code, "ciName": "Comune", "iban": iban, "status": "ENABLED",
        "validityDate": "2026-01-01T00:00:00Z",
    })
}

async fn list(
    State(server): State<Server>,
    Path((_broker, listing)): Path<(String, String)>,
    Query(paging): Query<Paging>,
    headers: HeaderMap,
) -> Response {
    let takes = server.registry().takes;
    tokio::time::sleep(takes).await;
    let key = headers["Ocp-Apim-Subscription-Key"].to_str().unwrap().to_owned();
    let mut registry = server.registry();
    registry.seen.push((listing.clone(), paging.page, key.clone()));
    if let Some((status, retry_after)) = registry.refuse {
        let headers = retry_after.map(|seconds| [("Retry-After", seconds.to_string())]);
        return headers.map_or_else(|| status.into_response(), |headers| (status, headers).into_response());
    }
    if !registry.keys.is_empty() && !registry.keys.contains(&key) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    if registry.cut_at.is_some_and(|page| paging.page >= page) {
        return StatusCode::NOT_FOUND.into_response();
    }
    let (field, lines) = match listing.as_str() {
        "creditor_institutions" => ("creditorInstitutions", &registry.institutions),
        "ibans" => ("ibans", &registry.ibans),
        _ => return StatusCode::BAD_REQUEST.into_response(),
    };
    let size = usize::try_from(paging.limit).unwrap();
    let pages: Vec<&[Value]> = lines.chunks(size).collect();
    let page = pages.get(usize::try_from(paging.page).unwrap()).copied().unwrap_or_default();
    let total = lines.len() + registry.overstated;
    let info = json!({"page": paging.page, "limit": paging.limit, "totalElements": total, "totalPages": pages.len()});
    Json(json!({field: page, "pageInfo": info})).into_response()
}
