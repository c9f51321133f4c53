//! What browsers ask for: routes, and what holds for every answer.

mod assets;
pub(crate) mod limit;
pub(crate) mod listener;
mod pages;
mod views;

use std::sync::Arc;

use axum::{
    Router,
    extract::{Request, State},
    middleware::{self, Next},
    response::Response,
    routing::get,
};
use fiorino_config_client::Handle;
use fiorino_kit::{clock::Clock, http::names_one_host, trace};
use http::{HeaderName, HeaderValue, StatusCode, header};

use self::limit::Limits;
use crate::{debt::Debts, metrics::Metrics, site::Sites};

/// What pages are made of.
#[derive(Debug)]
pub(crate) struct Portal {
    pub(crate) sites: Handle<Sites>,
    pub(crate) debts: Debts,
    pub(crate) limits: Limits,
    pub(crate) clock: Clock,
    pub(crate) metrics: Metrics,
}

/// Nothing but our own style, fonts and icons; no script at all, no frame, no form that leads elsewhere.
const POLICY: &str = "default-src 'none'; style-src 'self'; font-src 'self'; img-src 'self'; form-action 'self'; \
                      base-uri 'none'; frame-ancestors 'none'";

/// On every answer.
const HEADERS: [(HeaderName, HeaderValue); 8] = [
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
    (header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000")),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    // The address of a page may hold a notice's number.
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (
        HeaderName::from_static("permissions-policy"),
        HeaderValue::from_static("camera=(), geolocation=(), microphone=(), payment=()"),
    ),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
];

/// The routes of every institution's site.
pub(crate) fn router(portal: Arc<Portal>) -> Router {
    let pages = Router::new()
        .route("/", get(pages::home))
        .route("/avviso", get(pages::notice))
        .route("/come-pagare", get(pages::how))
        .route("/informazioni", get(pages::about))
        .fallback(pages::not_found)
        .method_not_allowed_fallback(pages::not_allowed)
        .layer(middleware::from_fn_with_state(Arc::clone(&portal), pages::admit))
        .layer(middleware::map_response(not_kept))
        .with_state(portal);
    Router::new()
        .route("/assets/{name}", get(assets::get))
        .merge(pages)
        .layer(middleware::from_fn(guarded))
        .layer(trace::public_http_layer("portal"))
}

/// A debt is shown as it is now: no copy of a page lives on, least of all on a shared computer.
async fn not_kept(mut response: Response) -> Response {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn guarded(request: Request, next: Next) -> Response {
    let mut response = if is_clear(&request) { next.run(request).await } else { unclear().await };
    response.headers_mut().extend(HEADERS);
    response
}

/// Whether whatever stands in front of us reads the same in it: one host, and an end that nobody can see elsewhere (RFC 9112, 6.1).
fn is_clear(request: &Request) -> bool {
    names_one_host(request.version(), request.headers()) && !request.headers().contains_key(header::TRANSFER_ENCODING)
}

/// What follows on the connection would be as doubtful: it ends.
async fn unclear() -> Response {
    let mut response = not_kept(views::unclear().with_status(StatusCode::BAD_REQUEST)).await;
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// For handlers.
type Here = State<Arc<Portal>>;
