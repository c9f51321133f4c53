//! Faults that tests plant in a process by its environment: death at a named point, and a clock that is wrong.
//!
//! They exist in debug builds alone: in a release this module does nothing and reads nothing. `docs/chaos.md` lists the points.

use jiff::SignedDuration;

/// Ends the process here, without a word to anybody, if `FIORINO_FAULT_POINT` says so: `<name>`, or `<name>@<n>` for the nth time.
#[cfg(debug_assertions)]
pub fn point(name: &str) {
    planted::POINT.come_by(name);
}

/// Ends the process in debug builds; nothing here.
#[cfg(not(debug_assertions))]
pub const fn point(_name: &str) {}

/// How wrong the wall clock is: `FIORINO_FAULT_CLOCK_S`, in seconds.
#[cfg(debug_assertions)]
pub(crate) fn clock() -> SignedDuration {
    *planted::CLOCK
}

/// Wrong in debug builds alone.
#[cfg(not(debug_assertions))]
pub(crate) const fn clock() -> SignedDuration {
    SignedDuration::ZERO
}

#[cfg(debug_assertions)]
mod planted {
    use std::sync::{
        LazyLock,
        atomic::{AtomicU32, Ordering},
    };

    use jiff::SignedDuration;

    pub(super) static POINT: LazyLock<Point> = LazyLock::new(|| Point::parse(&variable("FIORINO_FAULT_POINT")));
    pub(super) static CLOCK: LazyLock<SignedDuration> =
        LazyLock::new(|| SignedDuration::from_secs(variable("FIORINO_FAULT_CLOCK_S").parse().unwrap_or(0)));

    /// Where the process is to end; nowhere when the name is empty.
    #[derive(Debug)]
    pub(super) struct Point {
        name: String,
        /// Times that it is still passed.
        left: AtomicU32,
    }

    // === impl Point ===

    impl Point {
        pub(super) fn parse(text: &str) -> Self {
            let (name, times) = text.split_once('@').unwrap_or((text, "1"));
            Self { name: name.to_owned(), left: AtomicU32::new(times.parse().unwrap_or(1)) }
        }

        pub(super) fn come_by(&self, name: &str) {
            if self.ends_at(name) {
                std::process::abort();
            }
        }

        pub(super) fn ends_at(&self, name: &str) -> bool {
            self.name == name && self.left.fetch_sub(1, Ordering::Relaxed) == 1
        }
    }

    fn variable(name: &str) -> String {
        std::env::var_os(name).and_then(|value| value.into_string().ok()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::planted::Point;

    #[test]
    fn a_point_is_met_the_time_that_was_asked_for() {
        let met = |text: &str| {
            let point = Point::parse(text);
            (0..4).map(|_| point.ends_at("committed")).collect::<Vec<_>>()
        };
        assert_eq!(met("committed"), [true, false, false, false]);
        assert_eq!(met("committed@3"), [false, false, true, false]);
        assert_eq!(met("other"), [false; 4]);
        assert_eq!(met(""), [false; 4]);
    }
}
