//! Amounts, dates and numbers as people in Italy read them. Pure.

use fiorino_domain::{date::LegalDate, date::italian_clock, money::Cents, notice::NoticeNumber};
use jiff::{Timestamp, civil::Date};

const MONTHS: [&str; 12] = [
    "gennaio",
    "febbraio",
    "marzo",
    "aprile",
    "maggio",
    "giugno",
    "luglio",
    "agosto",
    "settembre",
    "ottobre",
    "novembre",
    "dicembre",
];

/// `1.234,56 €`, with a space that does not break.
pub(crate) fn amount(cents: Cents) -> String {
    let cents = cents.get();
    let euros = (cents / 100).to_string();
    let mut grouped = String::with_capacity(euros.len() + 8);
    for (at, digit) in euros.chars().enumerate() {
        if at > 0 && (euros.len() - at).is_multiple_of(3) {
            grouped.push('.');
        }
        grouped.push(digit);
    }
    format!("{grouped},{:02}\u{a0}€", cents % 100)
}

/// `16 giugno 2027`; the first of a month is `1º`.
pub(crate) fn day(date: LegalDate) -> String {
    spelled(date.date())
}

/// `alle 10:42`, and the day when it is another one than `now`'s: `alle 00:12 del 25 novembre 2026`.
pub(crate) fn time(moment: Timestamp, now: Timestamp) -> String {
    let local = italian_clock(moment);
    let clock = format!("alle {:02}:{:02}", local.hour(), local.minute());
    if local.date() == italian_clock(now).date() { clock } else { format!("{clock} del {}", spelled(local.date())) }
}

/// `10:42 del 25 novembre 2026`
pub(crate) fn moment(moment: Timestamp) -> String {
    let local = italian_clock(moment);
    format!("{:02}:{:02} del {}", local.hour(), local.minute(), spelled(local.date()))
}

/// In groups of four, as on paper: `3120 0000 0000 4711 79`.
pub(crate) fn notice_number(number: &NoticeNumber) -> String {
    number.as_str().as_bytes().chunks(4).map(String::from_utf8_lossy).collect::<Vec<_>>().join(" ")
}

fn spelled(date: Date) -> String {
    let month = usize::try_from(date.month()).ok().and_then(|month| MONTHS.get(month - 1)).copied().unwrap_or_default();
    let ordinal = if date.day() == 1 { "º" } else { "" };
    format!("{}{ordinal} {month} {}", date.day(), date.year())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(0, "0,00\u{a0}€")]
    #[case(5, "0,05\u{a0}€")]
    #[case(12_000, "120,00\u{a0}€")]
    #[case(99_999, "999,99\u{a0}€")]
    #[case(100_000, "1.000,00\u{a0}€")]
    #[case(123_456_789, "1.234.567,89\u{a0}€")]
    #[case(99_999_999_999, "999.999.999,99\u{a0}€")]
    fn amounts(#[case] cents: i64, #[case] shown: &str) {
        assert_eq!(amount(Cents::new(cents).unwrap()), shown);
    }

    #[rstest]
    #[case("2027-06-16", "16 giugno 2027")]
    #[case("2026-12-31", "31 dicembre 2026")]
    #[case("2027-01-01", "1º gennaio 2027")]
    fn days(#[case] date: &str, #[case] shown: &str) {
        assert_eq!(day(LegalDate::parse(date).unwrap()), shown);
    }

    #[rstest]
    #[case("2026-11-24T09:42:00Z", "2026-11-24T09:12:00Z", "alle 10:42")]
    #[case("2026-11-24T23:12:00Z", "2026-11-24T22:42:00Z", "alle 00:12 del 25 novembre 2026")] // midnight in Rome lies between
    #[case("2026-11-24T23:40:00Z", "2026-11-24T23:10:00Z", "alle 00:40")]
    #[case("2026-07-14T08:05:00Z", "2026-07-14T07:59:00Z", "alle 10:05")] // summer
    fn times(#[case] at: &str, #[case] now: &str, #[case] shown: &str) {
        assert_eq!(time(at.parse().unwrap(), now.parse().unwrap()), shown);
    }

    #[test]
    fn moments_and_numbers() {
        assert_eq!(moment("2026-10-01T07:09:00Z".parse().unwrap()), "09:09 del 1º ottobre 2026");
        let number = NoticeNumber::parse("312000000000471179").unwrap();
        assert_eq!(notice_number(&number), "3120 0000 0000 4711 79");
    }

    proptest! {
        #[test]
        fn an_amount_is_its_cents_in_another_dress(cents in 0..=Cents::MAX.get()) {
            let shown = amount(Cents::new(cents)?);
            let digits: String = shown.chars().filter(char::is_ascii_digit).collect();
            prop_assert_eq!(digits.parse::<i64>()?, cents);
            let (whole, _) = shown.split_once(',').unwrap();
            let mut groups = whole.split('.');
            prop_assert!((1..=3).contains(&groups.next().unwrap().len()));
            prop_assert!(groups.all(|group| group.len() == 3));
        }
    }
}
