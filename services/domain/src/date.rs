//! Legal dates: days of Europe/Rome, whatever the clock of the machine says (ARCHITECTURE.md 4.1).

use std::{fmt, str::FromStr};

use jiff::{
    Timestamp,
    civil::{Date, DateTime},
    tz::TimeZone,
};
use serde::{Deserialize, Serialize};

/// Result of this module.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A day in Italy, 1900-01-01..=2999-12-31 where it was told from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Date", into = "Date")]
pub struct LegalDate(Date);

/// Why a text is no legal date.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Another form, or a day that does not exist.
    #[error("a date is written YYYY-MM-DD and exists in the calendar")]
    Format,
    /// A typing error rather than a date.
    #[error("the year of a date is between 1900 and 2999")]
    Year,
}

/// Compiled in: no file of the host decides when a debt is due.
static ROME: TimeZone = jiff::tz::get!("Europe/Rome");

/// The moment at which clocks in Italy show this: how a time that was told without a zone is read. In the hour that comes twice it
/// is the first one, in the hour that is left out one hour later.
///
/// # Errors
/// Before 1900 or after 2999.
pub fn italian_time(local: DateTime) -> Result<Timestamp> {
    LegalDate::new(local.date())?;
    local.to_zoned(ROME.clone()).map(|zoned| zoned.timestamp()).map_err(|_| Error::Year)
}

/// What clocks in Italy show at this moment: the inverse of [`italian_time`], for whoever reads it.
pub fn italian_clock(moment: Timestamp) -> DateTime {
    moment.to_zoned(ROME.clone()).datetime()
}

// === impl LegalDate ===

impl LegalDate {
    /// A day told from outside.
    ///
    /// # Errors
    /// Before 1900 or after 2999.
    pub fn new(date: Date) -> Result<Self> {
        match date.year() {
            1900..=2999 => Ok(Self(date)),
            _ => Err(Error::Year),
        }
    }

    /// Reads `YYYY-MM-DD`, nothing else.
    ///
    /// # Errors
    /// Another form, no such day, or a year outside 1900-2999.
    pub fn parse(text: &str) -> Result<Self> {
        // jiff also reads times, week dates and years with a sign.
        let shape_ok = text.len() == 10
            && text.bytes().enumerate().all(|(place, byte)| match place {
                4 | 7 => byte == b'-',
                _ => byte.is_ascii_digit(),
            });
        if !shape_ok {
            return Err(Error::Format);
        }
        Self::new(Date::from_str(text).map_err(|_| Error::Format)?)
    }

    /// The day that it is in Italy at this moment.
    pub fn today(now: Timestamp) -> Self {
        Self(now.to_zoned(ROME.clone()).date())
    }

    /// The moment at which the day is over: the first one that is no longer in it. Payable to the end of the due day means
    /// `now < due.end_of_day()`.
    pub fn end_of_day(self) -> Timestamp {
        self.0
            .tomorrow()
            .and_then(|tomorrow| tomorrow.to_zoned(ROME.clone()))
            .map_or(Timestamp::MAX, |midnight| midnight.timestamp())
    }

    /// Whether the day is over.
    pub fn is_over(self, now: Timestamp) -> bool {
        now >= self.end_of_day()
    }

    /// 31 December of the fifth year after this one: what the node is told for a debt without due date (ARCHITECTURE.md 4.3).
    #[must_use]
    pub fn fifth_year_end(self) -> Self {
        Self(Date::new(self.0.year().saturating_add(5), 12, 31).unwrap_or(Date::MAX))
    }

    /// The day itself, for the database.
    pub const fn date(self) -> Date {
        self.0
    }
}

impl fmt::Display for LegalDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for LegalDate {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

impl TryFrom<Date> for LegalDate {
    type Error = Error;

    fn try_from(date: Date) -> Result<Self> {
        Self::new(date)
    }
}

impl From<LegalDate> for Date {
    fn from(day: LegalDate) -> Self {
        day.date()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[rstest]
    #[case("2026-07-31T21:59:59.999Z", "2026-07-31")] // summer: midnight is 22:00 UTC
    #[case("2026-07-31T22:00:00Z", "2026-08-01")]
    #[case("2026-12-31T22:59:59Z", "2026-12-31")] // winter: midnight is 23:00 UTC
    #[case("2026-12-31T23:00:00Z", "2027-01-01")]
    fn today(#[case] now: &str, #[case] day: &str) {
        assert_eq!(LegalDate::today(at(now)).to_string(), day);
    }

    #[rstest]
    #[case("2026-03-28", "2026-03-28T23:00:00Z")]
    #[case("2026-03-29", "2026-03-29T22:00:00Z")] // 23 hours long
    #[case("2026-10-24", "2026-10-24T22:00:00Z")]
    #[case("2026-10-25", "2026-10-25T23:00:00Z")] // 25 hours long
    #[case("2100-07-01", "2100-07-01T22:00:00Z")] // beyond the table of transitions
    fn ends(#[case] day: &str, #[case] end: &str) {
        let day = LegalDate::parse(day).unwrap();
        assert_eq!(day.end_of_day(), at(end));
        assert!(day.is_over(at(end)));
        assert!(!day.is_over(at(end) - jiff::SignedDuration::from_nanos(1)));
    }

    #[rstest]
    #[case("2026-02-28", Ok(()))]
    #[case("2028-02-29", Ok(()))]
    #[case("2026-02-29", Err(Error::Format))]
    #[case("2026-2-28", Err(Error::Format))]
    #[case("20260228", Err(Error::Format))]
    #[case("2026-02-28Z", Err(Error::Format))]
    #[case("2026-02-28T00:00", Err(Error::Format))]
    #[case("28/02/2026", Err(Error::Format))]
    #[case("", Err(Error::Format))]
    #[case("1800-12-31", Err(Error::Year))]
    #[case("3000-01-01", Err(Error::Year))]
    fn parsing(#[case] text: &str, #[case] expect: Result<()>) {
        assert_eq!(LegalDate::parse(text).map(|day| assert_eq!(day.to_string(), text)), expect);
    }

    #[rstest]
    #[case("2026-01-15T12:00:00", "2026-01-15T11:00:00Z")]
    #[case("2026-07-15T12:00:00", "2026-07-15T10:00:00Z")]
    #[case("2026-10-25T02:30:00", "2026-10-25T00:30:00Z")] // twice
    #[case("2026-03-29T02:30:00", "2026-03-29T01:30:00Z")] // never
    fn times_without_a_zone(#[case] local: DateTime, #[case] moment: Timestamp) {
        assert_eq!(italian_time(local), Ok(moment));
    }

    #[rstest]
    #[case("2026-01-15T11:00:00Z", "2026-01-15T12:00:00")]
    #[case("2026-07-31T22:30:00Z", "2026-08-01T00:30:00")]
    fn what_clocks_show(#[case] moment: &str, #[case] local: DateTime) {
        assert_eq!(italian_clock(at(moment)), local);
    }

    #[test]
    fn without_due_date() {
        assert_eq!(LegalDate::parse("2026-01-01").unwrap().fifth_year_end().to_string(), "2031-12-31");
    }

    #[test]
    fn json() {
        let day = LegalDate::parse("2026-01-01").unwrap();
        assert_eq!(serde_json::to_string(&day).unwrap(), "\"2026-01-01\"");
        assert_eq!(serde_json::from_str::<LegalDate>("\"2026-01-01\"").unwrap(), day);
        assert!(serde_json::from_str::<LegalDate>("\"1800-01-01\"").is_err());
    }

    proptest! {
        /// A moment belongs to the day that began and is not over.
        #[test]
        fn every_moment_has_its_day(seconds in -2_000_000_000i64..30_000_000_000) {
            let now = Timestamp::from_second(seconds)?;
            let day = LegalDate::today(now);
            prop_assert!(!day.is_over(now));
            prop_assert!(LegalDate(day.date().yesterday()?).is_over(now));
        }
    }
}
