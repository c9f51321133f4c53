//! Heads of requests with their trace context, and pages of pagoPA's registry.

use fiorino_kit::trace;
use http::{HeaderMap, HeaderName, HeaderValue, Version};

pub(crate) const HEADS: &[&str] = &[
    "host: a\n",
    "content-type: text/xml",
    "; charset=\"utf-8\"",
    "; charset=iso-8859-1",
    "content-encoding: gzip\n",
    "x-request-id: ",
    "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\n",
    "tracestate: a=b,c=d\n",
    "00-00000000000000000000000000000000-0000000000000000-ff",
    "=",
    ";",
    ",",
    "\"",
];

pub(crate) const REGISTRY: &[&str] = &[
    "null",
    "true",
    "\"ibans\":[",
    "\"pageInfo\":{",
    "{}",
    "[]",
    "-1",
    "1e999",
    "18446744073709551616",
    "\\ud800",
    "[[[[[[[",
];

/// Lines of `name: value`.
pub(crate) fn headers(data: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n') {
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let (name, value) = line.split_at(colon);
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    headers
}

/// As the node's callers send it.
pub(crate) fn head(data: &[u8]) {
    let headers = headers(data);
    let (checked, request_id) = fiorino_node_connector::fuzz::head(Version::HTTP_11, &headers);
    if let Ok(charset) = checked {
        assert!(headers.contains_key("host") && headers.contains_key("content-type"));
        assert!(charset.is_none_or(|charset| charset.is_ascii()));
    }
    assert!(HeaderValue::try_from(&request_id).is_ok() && (1..=128).contains(&request_id.len()), "{request_id:?}");
    let span = tracing::info_span!("fuzz");
    trace::set_parent_from_headers(&span, &headers);
    let text = String::from_utf8_lossy(data);
    trace::set_parent(&span, &text);
    trace::link(&span, &text);
    let mut outgoing = HeaderMap::new();
    trace::inject(&mut outgoing);
}

pub(crate) fn head_seeds() -> Vec<Vec<u8>> {
    let heads = [
        "host: station\ncontent-type: text/xml; charset=utf-8\nx-request-id: 4bf92f35-77b3",
        "host: station\ncontent-type: Text/XML;charset=\"ISO-8859-1\"\ncontent-encoding: identity",
        "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\ntracestate: vendor=1,other=2",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    ];
    heads.map(|head| head.as_bytes().to_vec()).into()
}

/// What pagoPA's Backoffice answers.
pub(crate) fn registry(data: &[u8]) {
    let [institutions, ibans] = fiorino_node_connector::fuzz::registry(data);
    // One entry takes more than two bytes: a page cannot hold more than it has.
    assert!(institutions.max(ibans).is_none_or(|entries| entries <= data.len() / 2));
}

pub(crate) fn registry_seeds() -> Vec<Vec<u8>> {
    let pages = [
        r#"{"creditorInstitutions":[{"taxCode":"77777777777","companyName":"Comune","brokerTaxCode":"88888888888",
        "model":4,"auxDigit":"3","segregationCode":"12","applicationCode":null,"ciStatus":true,"stationId":"88888888888_01",
        "stationState":"enabled","version":"1","broadcast":false,"primitiveVersion":2}],
        "pageInfo":{"limit":100,"page":0,"totalElements":1,"totalPages":1}}"#,
        r#"{"ibans":[{"ciFiscalCode":"77777777777","ciName":"Comune","iban":"IT60X0542811101000000123456",
        "status":"ENABLED","validityDate":"2026-01-01T00:00:00Z"}],
        "pageInfo":{"limit":100,"page":0,"totalElements":1,"totalPages":1}}"#,
        r#"{"creditorInstitutions":[],"ibans":[],"pageInfo":{"totalElements":0,"totalPages":0}}"#,
    ];
    pages.map(|page| page.as_bytes().to_vec()).into()
}
