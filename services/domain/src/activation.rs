//! Attempts to pay: a PSP asked for a notice and may pay it soon (ARCHITECTURE.md 4.3).

use jiff::{SignedDuration, Timestamp};

/// The life of a payment token, which begins when the node has our answer.
const TOKEN: SignedDuration = SignedDuration::from_mins(30);

/// How much later than our record the token may begin: the node waits 7 s for an answer (pagopa.md 2.11), the answer has a way to go,
/// and two clocks are never the same.
const MARGIN: SignedDuration = SignedDuration::from_secs(15);

/// Until when the attempt that began at `activated_at` may be in progress: so long a change, a cancellation or a restoration needs force.
pub fn attempt_until(activated_at: Timestamp) -> Timestamp {
    let until = activated_at.saturating_add(TOKEN).and_then(|end| end.saturating_add(MARGIN));
    until.unwrap_or(Timestamp::MAX)
}

/// Whether the attempt may still be in progress: 30 minutes and 15 seconds later it is not.
pub fn in_progress(activated_at: Timestamp, now: Timestamp) -> bool {
    now < attempt_until(activated_at)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("2026-01-01T10:12:00Z", true)]
    #[case("2026-01-01T10:41:59.999Z", true)]
    // The node got the answer after 7 s: its token lives until 10:42:07.
    #[case("2026-01-01T10:42:07Z", true)]
    #[case("2026-01-01T10:42:14.999Z", true)]
    #[case("2026-01-01T10:42:15Z", false)]
    fn as_long_as_a_token_that_began_late(#[case] now: Timestamp, #[case] expect: bool) {
        assert_eq!(in_progress("2026-01-01T10:12:00Z".parse().unwrap(), now), expect);
    }

    #[test]
    fn at_the_end_of_time() {
        assert_eq!(attempt_until(Timestamp::MAX), Timestamp::MAX);
    }
}
