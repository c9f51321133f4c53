//! Wall-clock time of the simulated world.

use jiff::{Timestamp, tz::TimeZone};

/// Now, in UTC.
#[expect(
    clippy::disallowed_methods,
    reason = "the simulator stands outside of the product and shares no clock with it"
)]
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// The zone in which pagoPA's dates are legal dates.
///
/// # Errors
/// When the time zone database lacks Europe/Rome.
pub fn rome() -> Result<TimeZone, jiff::Error> {
    TimeZone::get("Europe/Rome")
}
