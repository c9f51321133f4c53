//! Attempts to pay: a PSP asked for a notice and may pay it soon (ARCHITECTURE.md 4.3).

use jiff::{SignedDuration, Timestamp};

/// How long after an activation a change or cancellation needs force: 30 minutes, the life of a payment token.
pub const WINDOW: SignedDuration = SignedDuration::from_mins(30);

/// Until when the attempt that began at `activated_at` may be in progress.
pub fn attempt_until(activated_at: Timestamp) -> Timestamp {
    activated_at.saturating_add(WINDOW).unwrap_or(Timestamp::MAX)
}

/// Whether the attempt may still be in progress: exactly 30 minutes later it is not.
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
    #[case("2026-01-01T10:42:00Z", false)]
    fn thirty_minutes(#[case] now: Timestamp, #[case] expect: bool) {
        assert_eq!(in_progress("2026-01-01T10:12:00Z".parse().unwrap(), now), expect);
    }

    #[test]
    fn at_the_end_of_time() {
        assert_eq!(attempt_until(Timestamp::MAX), Timestamp::MAX);
    }
}
