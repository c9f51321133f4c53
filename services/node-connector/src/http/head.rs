//! What is asked of a request's head beyond what hyper asks, before its body is read.

use fiorino_kit::http::names_one_host;
use http::{
    HeaderMap, StatusCode, Version,
    header::{CONTENT_ENCODING, CONTENT_TYPE, TRANSFER_ENCODING},
};

/// Why a request is refused by its head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) status: StatusCode,
    pub(crate) reason: &'static str,
    pub(crate) rule: &'static str,
}

/// The charset that the content type tells, if it tells one.
///
/// # Errors
/// Two readers could understand the head differently (RFC 9112, 3.2 and 6.1), or the content is none that is read.
pub(crate) fn check(version: Version, headers: &HeaderMap) -> Result<Option<String>, Refused> {
    if !names_one_host(version, headers) {
        return Err(ambiguous("the header Host must be sent once"));
    }
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let (coding, more) = (codings.next(), codings.next());
    if more.is_some() || coding.is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"chunked")) {
        return Err(ambiguous("Transfer-Encoding must be absent, or chunked and sent once"));
    }
    let mut codings = headers.get_all(CONTENT_ENCODING).iter();
    if codings.any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(unsupported("Content-Encoding must be absent: bodies are sent as they are"));
    }
    charset(headers).map_err(unsupported)
}

const fn ambiguous(rule: &'static str) -> Refused {
    Refused { status: StatusCode::BAD_REQUEST, reason: "the request is ambiguous", rule }
}

const fn unsupported(rule: &'static str) -> Refused {
    Refused { status: StatusCode::UNSUPPORTED_MEDIA_TYPE, reason: "the content type is not supported", rule }
}

/// SOAP 1.1 is `text/xml` (pagopa.md 2.1).
fn charset(headers: &HeaderMap) -> Result<Option<String>, &'static str> {
    const RULE: &str = "Content-Type must be text/xml; charset=utf-8";
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return Err(RULE) };
    let mut parts = value.to_str().map_err(|_| RULE)?.split(';').map(str::trim);
    if !parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("text/xml")) {
        return Err(RULE);
    }
    let told = parts.filter_map(|part| part.split_once('='));
    let mut told = told.filter(|(name, _)| name.trim().eq_ignore_ascii_case("charset"));
    let (charset, more) = (told.next(), told.next());
    if more.is_some() {
        return Err("charset must be told once");
    }
    let charset = charset.map(|(_, charset)| charset.trim().trim_matches('"').to_ascii_lowercase());
    match charset.as_deref() {
        None | Some("utf-8" | "utf8" | "us-ascii" | "iso-8859-1") => Ok(charset),
        Some(_) => Err("charset must be utf-8 (us-ascii and iso-8859-1 are read too)"),
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};
    use rstest::rstest;

    use super::*;

    fn checked(version: Version, headers: &[(&str, &'static str)]) -> Result<Option<String>, Refused> {
        let header = |(name, value): &(&str, &'static str)| {
            (HeaderName::try_from(*name).unwrap(), HeaderValue::from_static(value))
        };
        check(version, &headers.iter().map(header).collect())
    }

    fn of_type(content_type: &'static str) -> Result<Option<String>, Refused> {
        checked(Version::HTTP_11, &[("host", "station"), ("content-type", content_type)])
    }

    #[rstest]
    #[case::usual("text/xml; charset=utf-8", Some("utf-8"))]
    #[case::upper_case_and_quotes("Text/XML;charset=\"UTF-8\"", Some("utf-8"))]
    #[case::no_charset("text/xml", None)]
    #[case::other_parameter("text/xml; action=\"x\"", None)]
    #[case::latin("text/xml; charset=ISO-8859-1", Some("iso-8859-1"))]
    fn soap_1_1_is_taken(#[case] content_type: &'static str, #[case] expected: Option<&str>) {
        assert_eq!(of_type(content_type).unwrap().as_deref(), expected);
    }

    #[rstest]
    #[case::soap_1_2("application/soap+xml; charset=utf-8")]
    #[case::multipart("multipart/related; type=\"text/xml\"")]
    #[case::json("application/json")]
    #[case::other_charset("text/xml; charset=utf-16")]
    #[case::two_charsets("text/xml; charset=utf-8; charset=iso-8859-1")]
    fn anything_else_is_not(#[case] content_type: &'static str) {
        assert_eq!(of_type(content_type).unwrap_err().status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }

    #[rstest]
    #[case::no_type(&[("host", "a")], 415)]
    #[case::two_types(&[("host", "a"), ("content-type", "text/xml"), ("content-type", "text/xml")], 415)]
    #[case::compressed(&[("host", "a"), ("content-type", "text/xml"), ("content-encoding", "gzip")], 415)]
    #[case::no_host(&[("content-type", "text/xml")], 400)]
    #[case::two_hosts(&[("host", "a"), ("host", "a"), ("content-type", "text/xml")], 400)]
    #[case::chunked_twice(&[("host", "a"), ("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")], 400)]
    #[case::compressed_chunks(&[("host", "a"), ("transfer-encoding", "gzip, chunked")], 400)]
    fn what_is_ambiguous_is_refused(#[case] headers: &[(&str, &'static str)], #[case] status: u16) {
        assert_eq!(checked(Version::HTTP_11, headers).unwrap_err().status.as_u16(), status);
    }

    #[test]
    fn chunks_are_taken() {
        let headers = [("host", "a"), ("content-type", "text/xml"), ("transfer-encoding", "Chunked")];
        assert_eq!(checked(Version::HTTP_11, &headers), Ok(None));
    }

    #[test]
    fn http_1_0_needs_no_host() {
        assert_eq!(checked(Version::HTTP_10, &[("content-type", "text/xml")]), Ok(None));
    }
}
