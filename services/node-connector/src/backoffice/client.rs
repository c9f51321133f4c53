//! Reads pagoPA's Backoffice external API: complete listings, page by page, with the broker's subscription keys.

use std::time::Duration;

use http::{StatusCode, header::RETRY_AFTER};
use reqwest::{Url, redirect};
use secrecy::{ExposeSecret as _, SecretString};

use super::contract::{Listing, Page};

/// Elements per page: the contract's maximum.
const PAGE_LIMIT: u64 = 100;
/// A listing of more pages is not believed.
const PAGES_MAX: u64 = 1_000;
/// Longest body of one page.
const PAGE_BYTES_MAX: usize = 1024 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
const KEY_HEADER: &str = "Ocp-Apim-Subscription-Key";

/// The result of a reading.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// Why the registry could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("backoffice url must be https (http only to loopback): correct the broker's endpoint")]
    Url,
    #[error("no subscription key for the backoffice: set the broker's key")]
    NoKey,
    /// 401 with every key.
    #[error("backoffice refused every subscription key (401): renew the broker's keys")]
    Unauthorized,
    #[error("backoffice answered {status} for {listing}")]
    Status { listing: &'static str, status: StatusCode, retry_after: Option<Duration> },
    #[error("failed to reach the backoffice")]
    Http { source: reqwest::Error },
    #[error(
        "backoffice's page of {listing} is longer than {PAGE_BYTES_MAX} bytes or its listing than {PAGES_MAX} pages"
    )]
    TooLong { listing: &'static str },
    #[error("failed to read the backoffice's page of {listing}")]
    Body { listing: &'static str, source: serde_json::Error },
    #[error("backoffice has no page {page} of {listing} (404) after it told of one: read again")]
    Vanished { listing: &'static str, page: u64 },
    #[error("backoffice's listing of {listing} has {lines} lines and tells of {total}: read again")]
    Incomplete { listing: &'static str, lines: u64, total: u64 },
}

/// A client of the API, for every broker.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
}

/// Whose registry is read, and with what.
pub(crate) struct Access {
    pub(crate) url: String,
    pub(crate) broker: String,
    /// Primary first.
    pub(crate) keys: Vec<SecretString>,
}

// === impl Error ===

impl Error {
    /// What the registry asked to wait.
    pub(crate) const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            Self::Url
            | Self::NoKey
            | Self::Unauthorized
            | Self::Http { .. }
            | Self::TooLong { .. }
            | Self::Body { .. }
            | Self::Vanished { .. }
            | Self::Incomplete { .. } => None,
        }
    }
}

// === impl Client ===

impl Client {
    /// # Errors
    /// When TLS cannot be set up.
    pub(crate) fn new() -> Result<Self> {
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            .redirect(redirect::Policy::none())
            .build()
            .map_err(|source| Error::Http { source })?;
        Ok(Self { http })
    }

    /// A complete listing. A broker that the registry does not know (404 for the first page) has an empty one.
    ///
    /// # Errors
    /// When any page cannot be read, or there are not as many lines as the registry tells: half a listing is none.
    pub(crate) async fn list<P: Page>(&self, access: &Access) -> Result<Listing<P::Item>> {
        let mut listing = Listing::default();
        for page in 0..PAGES_MAX {
            let read = match self.page::<P>(access, page).await? {
                Some(read) => read,
                None if page == 0 => return Ok(listing),
                None => return Err(Error::Vanished { listing: P::LISTING, page }),
            };
            let told = read.page_info();
            read.add_to(&mut listing);
            if page + 1 >= told.total_pages {
                let (lines, total) = (listing.lines, told.total_elements);
                let incomplete = Error::Incomplete { listing: P::LISTING, lines, total };
                return if lines == total { Ok(listing) } else { Err(incomplete) };
            }
        }
        Err(Error::TooLong { listing: P::LISTING })
    }

    async fn page<P: Page>(&self, access: &Access, page: u64) -> Result<Option<P>> {
        let url = page_url(access, P::LISTING)?;
        let mut refused = Error::NoKey;
        for key in &access.keys {
            let response = self
                .http
                .get(url.clone())
                .query(&[("page", page), ("limit", PAGE_LIMIT)])
                .header(KEY_HEADER, key.expose_secret())
                .send()
                .await
                .map_err(|source| Error::Http { source: source.without_url() })?;
            match response.status() {
                StatusCode::OK => return read_page(response, P::LISTING).await.map(Some),
                StatusCode::NOT_FOUND => return Ok(None),
                StatusCode::UNAUTHORIZED => refused = Error::Unauthorized,
                status => {
                    let retry_after = retry_after(&response);
                    return Err(Error::Status { listing: P::LISTING, status, retry_after });
                }
            }
        }
        Err(refused)
    }
}

fn page_url(access: &Access, listing: &str) -> Result<Url> {
    let mut url = Url::parse(&access.url).map_err(|_| Error::Url)?;
    let loopback = match url.host_str() {
        Some("localhost") => true,
        Some(host) => {
            host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        }
        None => false,
    };
    if url.scheme() != "https" && !(url.scheme() == "http" && loopback) {
        return Err(Error::Url);
    }
    url.path_segments_mut().map_err(|()| Error::Url)?.pop_if_empty().extend([
        "brokers",
        access.broker.as_str(),
        listing,
    ]);
    Ok(url)
}

async fn read_page<P: Page>(mut response: reqwest::Response, listing: &'static str) -> Result<P> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|source| Error::Http { source: source.without_url() })? {
        if body.len() + chunk.len() > PAGE_BYTES_MAX {
            return Err(Error::TooLong { listing });
        }
        body.extend_from_slice(&chunk);
    }
    serde_json::from_slice(&body).map_err(|source| Error::Body { listing, source })
}

fn retry_after(response: &reqwest::Response) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn access(url: &str) -> Access {
        Access { url: url.into(), broker: "88888888888".into(), keys: Vec::new() }
    }

    #[rstest]
    #[case::production("https://api.platform.pagopa.it/backoffice/external/ec/v1")]
    #[case::simulator("http://127.0.0.1:8080")]
    #[case::simulator_by_name("http://localhost:8080")]
    #[case::simulator_by_ipv6("http://[::1]:8080")]
    fn the_listing_is_below_the_base_url(#[case] base: &str) {
        let url = page_url(&access(base), "ibans").unwrap();
        assert_eq!(url.as_str(), format!("{base}/brokers/88888888888/ibans"));
    }

    #[rstest]
    #[case::clear_text("http://api.platform.pagopa.it")]
    #[case::other_scheme("ftp://127.0.0.1")]
    #[case::no_url("nonsense")]
    fn a_key_never_travels_in_clear(#[case] base: &str) {
        assert!(matches!(page_url(&access(base), "ibans"), Err(Error::Url)));
    }
}
