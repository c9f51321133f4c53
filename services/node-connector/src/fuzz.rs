//! Readers of bytes from outside that nothing else needs to see: for the fuzz targets (docs/fuzzing.md).

use rustls_pki_types::CertificateDer;

use crate::{
    backoffice::contract::{IbansPage, InstitutionsPage, Listing, Page},
    http::{client_auth, head, request_id::RequestId},
};

/// A page of pagoPA's registry, as either listing: how many entries tenant would be told of.
pub fn registry(json: &[u8]) -> [Option<usize>; 2] {
    fn entries<P: Page>(json: &[u8]) -> Option<usize> {
        let page: P = serde_json::from_slice(json).ok()?;
        let mut listing = Listing::default();
        page.add_to(&mut listing);
        Some(listing.items.len())
    }
    [entries::<InstitutionsPage>(json), entries::<IbansPage>(json)]
}

/// The head of a request: the charset if it is taken, and the id that the call is known by.
pub fn head(version: http::Version, headers: &http::HeaderMap) -> (Result<Option<String>, u16>, String) {
    let checked = head::check(version, headers).map_err(|refused| refused.status.as_u16());
    (checked, RequestId::of(headers.get("x-request-id")).as_str().to_owned())
}

/// What is read of a certificate before and after it was verified: its end, and who it names.
pub fn certificate(der: &[u8]) -> (Option<client_auth::Expiring>, String) {
    let certificate = CertificateDer::from(der);
    (client_auth::expiry(&certificate), client_auth::client_name(&certificate))
}
