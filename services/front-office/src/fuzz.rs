//! Readers of what visitors send that nothing else needs to see: for the fuzz targets (docs/fuzzing.md).

use std::{net::IpAddr, num::NonZeroU32};

use axum::extract::Query;
use fiorino_domain::{institution::InstitutionCode, notice::NoticeNumber};
use http::{HeaderMap, Uri};
use ipnet::IpNet;

use crate::{
    asked::{Asked, Form, Reading},
    http::limit::Limits,
};

/// What came of reading a query of `/avviso`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    /// Nothing was written yet.
    Blank,
    /// What he must correct, in his words.
    Wrong(Vec<String>),
    /// The check digits do not fit.
    Doubtful(NoticeNumber),
    /// It can be looked up.
    Asked(NoticeNumber, InstitutionCode),
}

/// Reads the query of an address; `None`: it is none.
pub fn query(uri: &Uri) -> Option<Read> {
    let Query(form) = Query::<Form>::try_from_uri(uri).ok()?;
    Some(match form.read() {
        Reading::Blank => Read::Blank,
        Reading::Wrong(wrong) => Read::Wrong([wrong.number, wrong.institution].into_iter().flatten().collect()),
        Reading::Doubtful(number) => Read::Doubtful(number),
        Reading::Asked(Asked { number, institution }) => Read::Asked(number, institution),
    })
}

/// Whose allowance a request is taken from that comes from `peer`.
pub fn visitor(trusted: Vec<IpNet>, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
    Limits::new(NonZeroU32::MIN, trusted).visitor(peer, headers)
}
