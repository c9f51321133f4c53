//! `X-Request-Id`: the node's correlation id, logged and echoed (pagopa.md 6.1). A caller may write anything there: logs mask what looks
//! like no identifier.

use std::sync::Arc;

use axum::{extract::Request, middleware::Next, response::Response};
use http::{HeaderName, HeaderValue};
use uuid::Uuid;

const HEADER: HeaderName = HeaderName::from_static("x-request-id");
/// Longer ones, and those that are no visible ASCII, are replaced.
const CHARACTERS_MAX: usize = 128;

/// Identifies one call, in the node's logs and in ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RequestId(Arc<str>);

/// Gives every request its id, and every response the request's.
pub(super) async fn layer(mut request: Request, next: Next) -> Response {
    let id = RequestId::of(request.headers().get(HEADER));
    request.extensions_mut().insert(id.clone());
    let mut response = next.run(request).await;
    if let Ok(value) = HeaderValue::from_str(&id.0) {
        response.headers_mut().insert(HEADER, value);
    }
    response
}

// === impl RequestId ===

impl RequestId {
    /// The caller's id if it is usable, else one that is made.
    pub(crate) fn of(header: Option<&HeaderValue>) -> Self {
        let told = header.and_then(|value| value.to_str().ok());
        let usable =
            |id: &&str| !id.is_empty() && id.len() <= CHARACTERS_MAX && id.bytes().all(|byte| byte.is_ascii_graphic());
        Self(told.filter(usable).map_or_else(|| Uuid::now_v7().to_string().into(), Into::into))
    }

    /// As it is stored and sent back; a log shows what is no identifier masked.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn the_callers_id_is_kept() {
        let id = RequestId::of(Some(&HeaderValue::from_static("4bf92f35-77b3")));
        assert_eq!(id.as_str(), "4bf92f35-77b3");
    }

    #[rstest]
    #[case::none(None)]
    #[case::empty(Some(HeaderValue::from_static("")))]
    #[case::space(Some(HeaderValue::from_static("a b")))]
    #[case::long(Some(HeaderValue::from_str(&"x".repeat(CHARACTERS_MAX + 1)).unwrap()))]
    #[case::not_ascii(Some(HeaderValue::from_bytes(&[0xe8]).unwrap()))]
    fn an_unusable_one_is_replaced(#[case] told: Option<HeaderValue>) {
        assert!(RequestId::of(told.as_ref()).as_str().parse::<Uuid>().is_ok());
    }
}
