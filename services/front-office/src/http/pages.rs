//! The pages: who asks which institution for what, and what he is shown.

use std::{net::IpAddr, sync::Arc};

use axum::{
    Extension,
    extract::{Query, Request, State, rejection::QueryRejection},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use http::{HeaderValue, StatusCode, header};

use super::{
    Here, Portal,
    limit::{Kind, TooOften},
    listener::Peer,
    views::{self, Frame},
};
use crate::{
    asked::{Asked, Form, Reading, Wrong},
    debt::Away,
    metrics::Lookup,
    site::Site,
};

/// When to come again while tenant is away, in seconds.
const AWAY_SECONDS: u64 = 30;

/// Whose site it is.
type Whose = Extension<Arc<Site>>;

/// Lets a request in whose host is an institution's and whose sender does not ask too often.
pub(super) async fn admit(State(portal): Here, mut request: Request, next: Next) -> Response {
    let visitor = portal.visitor(&request);
    if let Err(too_often) = portal.take(Kind::Page, visitor) {
        return limited(None, too_often);
    }
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    match portal.sites.current().of_host(host) {
        Some(site) => {
            let lookup = request.uri().path() == "/avviso" && request.uri().query().is_some();
            if lookup && let Err(too_often) = portal.take(Kind::Lookup, visitor) {
                return limited(Some(&site), too_often);
            }
            request.extensions_mut().insert(site);
            next.run(request).await
        }
        // Without a whole configuration nobody can say that the host is unknown.
        None if !portal.sites.is_whole() => away(None, None),
        None => views::unknown_host().with_status(StatusCode::NOT_FOUND),
    }
}

/// `GET /`
pub(super) async fn home(Extension(site): Whose) -> Response {
    views::home(Frame::of(&site)).with_status(StatusCode::OK)
}

/// `GET /come-pagare`
pub(super) async fn how(Extension(site): Whose) -> Response {
    views::how(Frame::of(&site)).with_status(StatusCode::OK)
}

/// `GET /informazioni`
pub(super) async fn about(Extension(site): Whose) -> Response {
    views::about(Frame::of(&site)).with_status(StatusCode::OK)
}

/// No such page.
pub(super) async fn not_found(Extension(site): Whose) -> Response {
    views::no_page(Frame::of(&site)).with_status(StatusCode::NOT_FOUND)
}

/// Another method than GET: the portal takes nothing in.
pub(super) async fn not_allowed(Extension(site): Whose) -> Response {
    views::no_page(Frame::of(&site)).with_status(StatusCode::METHOD_NOT_ALLOWED)
}

/// `GET /avviso`: the form; `GET /avviso?codice=..&ente=..`: the notice.
pub(super) async fn notice(
    State(portal): Here,
    Extension(site): Whose,
    form: Result<Query<Form>, QueryRejection>,
) -> Response {
    // A query that is none: as if nothing were written.
    let form = form.map(|Query(form)| form).unwrap_or_default();
    let frame = Frame::of(&site);
    match form.read() {
        Reading::Blank => views::form(frame, &form, Wrong::default()).with_status(StatusCode::OK),
        Reading::Wrong(wrong) => views::form(frame, &form, wrong).with_status(StatusCode::BAD_REQUEST),
        Reading::Doubtful(number) => views::doubtful(frame, &form, number).with_status(StatusCode::OK),
        Reading::Asked(asked) => look_up(&portal, &site, &form, asked).await,
    }
}

async fn look_up(portal: &Portal, site: &Site, form: &Form, asked: Asked) -> Response {
    match portal.debts.find(&asked).await {
        Ok(Some(debt)) => {
            portal.metrics.looked_up(Lookup::Found);
            let issuer = portal.sites.current().of_code(&asked.institution);
            let cbill = issuer.as_deref().map_or("", |issuer| &issuer.cbill_code);
            views::debt(Frame::of(site), asked, &debt, cbill, portal.clock.now()).with_status(StatusCode::OK)
        }
        Ok(None) => {
            portal.metrics.looked_up(Lookup::Unknown);
            views::unknown_notice(Frame::of(site), form).with_status(StatusCode::NOT_FOUND)
        }
        Err(Away) => {
            portal.metrics.looked_up(Lookup::Away);
            away(Some(site), Some(form))
        }
    }
}

/// Nobody can say at present.
fn away(site: Option<&Site>, form: Option<&Form>) -> Response {
    let response = views::away(Frame::maybe(site), form).with_status(StatusCode::SERVICE_UNAVAILABLE);
    later(response, AWAY_SECONDS)
}

fn limited(site: Option<&Site>, TooOften { seconds }: TooOften) -> Response {
    let response = views::limited(Frame::maybe(site), seconds).with_status(StatusCode::TOO_MANY_REQUESTS);
    later(response, seconds)
}

fn later(mut response: Response, seconds: u64) -> Response {
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    response
}

// === impl Portal ===

impl Portal {
    /// Who asks. The listener tells the peer of every connection.
    fn visitor(&self, request: &Request) -> Option<IpAddr> {
        let (Peer(peer), headers) = (request.extensions().get::<Peer>()?, request.headers());
        if self.limits.ignores(peer.ip(), headers) {
            self.metrics.forwarded_ignored();
        }
        Some(self.limits.visitor(peer.ip(), headers))
    }

    fn take(&self, kind: Kind, visitor: Option<IpAddr>) -> Result<(), TooOften> {
        let Some(visitor) = visitor else { return Ok(()) };
        self.limits.take(kind, visitor).inspect_err(|_| self.metrics.limited())
    }
}

// === impl Page ===

impl views::Page {
    pub(super) fn with_status(self, status: StatusCode) -> Response {
        match self.0 {
            Ok(html) => {
                let language = (header::CONTENT_LANGUAGE, HeaderValue::from_static("it"));
                (status, [(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")), language], html)
                    .into_response()
            }
            Err(error) => {
                tracing::error!(error = %error, "failed to render a page");
                (StatusCode::INTERNAL_SERVER_ERROR, "Errore del sito: riprova più tardi.").into_response()
            }
        }
    }
}
