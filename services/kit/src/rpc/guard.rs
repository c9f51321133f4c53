//! What a call must pass before it reaches its service: the allow-list, its actor, the concurrency limit, the deadline.

use std::{collections::HashMap, sync::Arc, time::Duration};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use http::HeaderMap;
use tokio::sync::Semaphore;
use tonic::Status;

use super::{ACTOR, ACTOR_MAX, Limits, Peer};

const GRPC_TIMEOUT: &str = "grpc-timeout";
const HEALTH: &str = "/grpc.health.v1.Health/";

/// Decides on calls; one per server.
#[derive(Debug)]
pub(super) struct Guard {
    allow: HashMap<&'static str, &'static [&'static str]>,
    /// By gRPC service: a full one refuses its own calls, and takes nothing from another (ARCHITECTURE.md 5.3).
    slots: HashMap<&'static str, Semaphore>,
    /// Of health and reflection.
    others: Semaphore,
    limits: Limits,
}

/// axum middleware around every service, and around methods that do not exist.
pub(super) async fn guard(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    guard.run(request, next).await.unwrap_or_else(Status::into_http)
}

/// The caller's deadline (gRPC over HTTP/2, "Timeout": at most 8 digits and a unit); nonsense counts as none.
pub(super) fn deadline(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(GRPC_TIMEOUT)?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let value = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_hours(value)),
        "M" => Some(Duration::from_mins(value)),
        "S" => Some(Duration::from_secs(value)),
        "m" => Some(Duration::from_millis(value)),
        "u" => Some(Duration::from_micros(value)),
        "n" => Some(Duration::from_nanos(value)),
        _ => None,
    }
}

/// `package.Service` of `/package.Service/Method`.
fn service(path: &str) -> &str {
    path.split('/').nth(1).unwrap_or_default()
}

/// What is recorded of every change must fit its columns, and their indexes.
fn check_actor(headers: &HeaderMap) -> Result<(), Status> {
    let fits = |actor: &http::HeaderValue| actor.len() <= ACTOR_MAX && actor.to_str().is_ok();
    if headers.get(ACTOR).is_none_or(fits) {
        return Ok(());
    }
    Err(Status::invalid_argument(format!("{ACTOR}: must be at most {ACTOR_MAX} visible ASCII characters")))
}

// === impl Guard ===

impl Guard {
    /// `services` are the full names of those that have slots of their own.
    pub(super) fn new(
        allow: HashMap<&'static str, &'static [&'static str]>,
        services: &[&'static str],
        limits: Limits,
    ) -> Self {
        let slots = || Semaphore::new(limits.concurrency);
        Self { allow, slots: services.iter().map(|&service| (service, slots())).collect(), others: slots(), limits }
    }

    async fn run(&self, request: Request, next: Next) -> Result<Response, Status> {
        let peer = request.extensions().get::<Peer>();
        self.admit(request.uri().path(), peer.map_or("", |peer| &peer.name))?;
        check_actor(request.headers())?;
        let service = service(request.uri().path());
        let _slot = self.slots.get(service).unwrap_or(&self.others).try_acquire().map_err(|_| {
            Status::resource_exhausted(format!("{} calls of {service} are in work already", self.limits.concurrency))
        })?;
        let timeout = deadline(request.headers()).map_or(self.limits.timeout, |own| own.min(self.limits.timeout));
        tokio::time::timeout(timeout, next.run(request))
            .await
            .map_err(|_| Status::deadline_exceeded(format!("not done within {} ms", timeout.as_millis())))
    }

    /// Whether `caller` may call `method`; a method without an entry may be called by nobody.
    fn admit(&self, method: &str, caller: &str) -> Result<(), Status> {
        let allowed = match self.allow.get(method) {
            Some(callers) => callers.contains(&caller),
            None => method.starts_with(HEALTH) && !caller.is_empty(),
        };
        if allowed {
            return Ok(());
        }
        let caller = if caller.is_empty() { "a caller without a DNS name in its certificate" } else { caller };
        tracing::warn!(method, caller, "call refused");
        Err(Status::permission_denied(format!("{method} is not allowed to {caller}")))
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn guard() -> Guard {
        let allow = HashMap::from([("/a.B/C", ["operator", "dev"].as_slice())]);
        Guard::new(allow, &["a.B"], Limits::default())
    }

    #[rstest::rstest]
    #[case("/a.B/C", "operator", true)]
    #[case("/a.B/C", "dev", true)]
    #[case("/a.B/C", "tenant", false)]
    #[case("/a.B/C", "", false)]
    #[case("/a.B/D", "operator", false)]
    #[case("/a.B/C/", "operator", false)]
    #[case("/grpc.health.v1.Health/Check", "tenant", true)]
    #[case("/grpc.health.v1.Health/Check", "", false)]
    #[case("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", "dev", false)]
    fn only_who_is_listed_is_admitted(#[case] method: &str, #[case] caller: &str, #[case] admitted: bool) {
        let outcome = guard().admit(method, caller);
        assert_eq!(outcome.is_ok(), admitted);
        if let Err(status) = outcome {
            assert_eq!(status.code(), tonic::Code::PermissionDenied);
            assert!(status.message().contains(method) && status.message().contains(caller), "{status}");
        }
    }

    #[rstest::rstest]
    #[case::nobody(None, true)]
    #[case::person(Some("mario.rossi@comune.example"), true)]
    #[case::longest(Some(&*"a".repeat(ACTOR_MAX)), true)]
    #[case::too_long(Some(&*"a".repeat(ACTOR_MAX + 1)), false)]
    #[case::unreadable(Some("Niccol\u{f2}"), false)]
    fn actors_fit_their_columns(#[case] actor: Option<&str>, #[case] fits: bool) {
        let actor =
            actor.map(|actor| (http::HeaderName::from_static(ACTOR), HeaderValue::from_bytes(actor.as_bytes())));
        let headers = actor.into_iter().map(|(name, actor)| (name, actor.unwrap())).collect();
        let outcome = check_actor(&headers);
        assert_eq!(outcome.is_ok(), fits);
        if let Err(status) = outcome {
            assert_eq!(status.code(), tonic::Code::InvalidArgument);
        }
    }

    fn parsed(text: &str) -> Option<Duration> {
        deadline(&HeaderMap::from_iter([(
            http::HeaderName::from_static(GRPC_TIMEOUT),
            HeaderValue::from_str(text).unwrap(),
        )]))
    }

    #[rstest::rstest]
    #[case("1S", Some(Duration::from_secs(1)))]
    #[case("800m", Some(Duration::from_millis(800)))]
    #[case("99999999H", Some(Duration::from_hours(99_999_999)))]
    #[case("2M", Some(Duration::from_mins(2)))]
    #[case("7u", Some(Duration::from_micros(7)))]
    #[case("7n", Some(Duration::from_nanos(7)))]
    #[case("123456789S", None)]
    #[case("+1S", None)]
    #[case("S", None)]
    #[case("1", None)]
    #[case("1s", None)]
    fn deadlines_are_read_as_grpc_writes_them(#[case] text: &str, #[case] expected: Option<Duration>) {
        assert_eq!(parsed(text), expected);
    }

    proptest! {
        #[test]
        fn no_header_breaks_it(text in "[ -~]{0,12}") {
            let _ = parsed(&text);
        }
    }
}
