//! Time of the simulated world.

use std::{sync::LazyLock, time::Duration};

use jiff::{Timestamp, tz::TimeZone};

#[expect(clippy::disallowed_types, reason = "the simulator stands outside of the product and shares no clock with it")]
static STARTED: LazyLock<std::time::Instant> = LazyLock::new(std::time::Instant::now);

/// Now, in UTC.
#[expect(
    clippy::disallowed_methods,
    reason = "the simulator stands outside of the product and shares no clock with it"
)]
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// Time since the first one asked; never goes back.
pub fn monotonic() -> Duration {
    STARTED.elapsed()
}

/// The zone in which pagoPA's dates are legal dates.
///
/// # Errors
/// When the time zone database lacks Europe/Rome.
pub fn rome() -> Result<TimeZone, jiff::Error> {
    TimeZone::get("Europe/Rome")
}
