//! The Backoffice external API for institutions, as pagoPA publishes it (`openapi_backoffice_external_ec.json` 1.6.9):
//! read only, paged, authenticated by subscription key.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::get,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::registry::{Contents, Registry};

const KEY_HEADER: &str = "Ocp-Apim-Subscription-Key";
const LIMIT_MAX: usize = 100;

#[derive(Debug, Deserialize)]
struct Page {
    page: Option<usize>,
    limit: Option<usize>,
}

/// `PageInfo` of the contract.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PageInfo {
    page: usize,
    limit: usize,
    total_elements: usize,
    total_pages: usize,
}

/// The routes under `/backoffice/external/ec/v1`.
pub fn router(registry: Arc<Registry>) -> Router {
    Router::new()
        .route("/backoffice/external/ec/v1/brokers/{broker}/creditor_institutions", get(creditor_institutions))
        .route("/backoffice/external/ec/v1/brokers/{broker}/ibans", get(ibans))
        .with_state(registry)
}

async fn creditor_institutions(
    State(registry): State<Arc<Registry>>,
    Path(broker): Path<String>,
    Query(page): Query<Page>,
    headers: HeaderMap,
) -> Response {
    answer(&registry, &broker, &page, &headers, "creditorInstitutions", institutions_of)
}

async fn ibans(
    State(registry): State<Arc<Registry>>,
    Path(broker): Path<String>,
    Query(page): Query<Page>,
    headers: HeaderMap,
) -> Response {
    answer(&registry, &broker, &page, &headers, "ibans", ibans_of)
}

fn answer(
    registry: &Registry,
    broker: &str,
    page: &Page,
    headers: &HeaderMap,
    field: &str,
    rows: fn(&Contents, &str) -> Vec<serde_json::Value>,
) -> Response {
    let contents = registry.lock();
    let key = headers.get(KEY_HEADER).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let Some(owner) = contents.brokers.values().find(|b| b.subscription_keys.iter().any(|k| k == key)) else {
        let message = "Access denied due to missing or invalid subscription key";
        return (StatusCode::UNAUTHORIZED, Json(json!({"statusCode": 401, "message": message}))).into_response();
    };
    if owner.fiscal_code != broker {
        return StatusCode::FORBIDDEN.into_response();
    }
    let limit = page.limit.unwrap_or(10);
    let Some(number) = page.page.filter(|_| (1..=LIMIT_MAX).contains(&limit)) else {
        let detail = "page is required and limit must be between 1 and 100";
        return (StatusCode::BAD_REQUEST, Json(json!({"title": "Bad Request", "status": 400, "detail": detail})))
            .into_response();
    };
    let rows = rows(&contents, broker);
    let info = PageInfo { page: number, limit, total_elements: rows.len(), total_pages: rows.len().div_ceil(limit) };
    let shown: Vec<_> = rows.into_iter().skip(number.saturating_mul(limit)).take(limit).collect();
    Json(json!({field: shown, "pageInfo": info})).into_response()
}

fn institutions_of(contents: &Contents, broker: &str) -> Vec<serde_json::Value> {
    let rows = contents.associations.iter().filter_map(|association| {
        let station = contents.stations.get(&association.station_id)?;
        let institution = contents.institutions.get(&association.fiscal_code)?;
        (station.broker_fiscal_code == broker).then(|| {
            json!({
                "taxCode": institution.fiscal_code,
                "companyName": institution.company_name,
                "brokerTaxCode": broker,
                "brokerCompanyName": "Intermediario",
                "intermediated": true,
                "model": 1,
                "auxDigit": association.aux_digit.to_string(),
                "segregationCode": association.segregation_code,
                "applicationCode": association.application_code,
                "broadcast": association.broadcast,
                "stationId": station.station_id,
                "stationState": if station.enabled { "enabled" } else { "disabled" },
                "version": station.primitive_version.to_string(),
                "primitiveVersion": station.primitive_version,
                "ciStatus": institution.enabled,
                "pspPayment": true,
                "endpointMU": station.urls.first(),
            })
        })
    });
    rows.collect()
}

fn ibans_of(contents: &Contents, broker: &str) -> Vec<serde_json::Value> {
    let served = |code: &str| {
        contents.associations.iter().any(|a| {
            a.fiscal_code == code
                && contents.stations.get(&a.station_id).is_some_and(|s| s.broker_fiscal_code == broker)
        })
    };
    let rows = contents.ibans.iter().filter(|i| served(&i.fiscal_code)).map(|iban| {
        json!({
            "ciFiscalCode": iban.fiscal_code,
            "ciName": contents.institutions.get(&iban.fiscal_code).map(|i| i.company_name.as_str()).unwrap_or_default(),
            "iban": iban.iban,
            "status": if iban.enabled { "ENABLED" } else { "DISABLED" },
            "validityDate": iban.validity_date,
        })
    });
    rows.collect()
}
