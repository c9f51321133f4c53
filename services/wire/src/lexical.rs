//! The simple types of `paForNode.xsd` and `sac-common-types-1.0.xsd`, and what of them the writer shares.
//!
//! A function reads one type: the text is as it stands between the tags, and white space around it counts only where XML Schema
//! collapses it (numbers, booleans, dates, base64).

use std::borrow::Cow;

use base64::{Engine, prelude::BASE64_STANDARD};
use fiorino_domain::{date::italian_time, institution::InstitutionCode, money::Cents};
use jiff::{
    Timestamp,
    civil::{Date, DateTime, Time},
    tz::Offset,
};

use crate::{answer::EntityKind, receipt::Outcome, request::TransferType, rule::Rule};

type Result<T, E = Rule> = std::result::Result<T, E>;

/// White space of XML.
pub(crate) const WHITE_SPACE: [char; 4] = [' ', '\t', '\n', '\r'];

/// Whether XML 1.0 can carry the character at all (production `Char`).
pub(crate) const fn is_xml_char(char: char) -> bool {
    matches!(char, '\t' | '\n' | '\r' | '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

/// The text without the characters that XML 1.0 cannot carry: a control character in a name must not make a notice unpayable.
pub(crate) fn clean(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_xml_char) {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(text.chars().filter(|char| is_xml_char(*char)).collect())
    }
}

/// At most `max` characters of it.
pub(crate) fn cut(text: &str, max: u16) -> &str {
    text.char_indices().nth(usize::from(max)).map_or(text, |(end, _)| text.get(..end).unwrap_or(text))
}

/// The longest beginning of it that has at most `max` characters as Java's validators count them: one above U+FFFF is two.
pub(crate) fn cut_units(text: &str, max: u16) -> &str {
    let mut units = 0;
    let end = text.char_indices().find(|(_, char)| {
        units += char.len_utf16();
        units > usize::from(max)
    });
    end.map_or(text, |(end, _)| text.get(..end).unwrap_or(text))
}

/// `stText16` to `stText210`, `stIBAN`: characters, not bytes.
pub(crate) fn length(text: &str, min: u16, max: u16) -> Result<()> {
    let chars = text.chars().take(usize::from(max) + 1).count();
    if (usize::from(min)..=usize::from(max)).contains(&chars) { Ok(()) } else { Err(Rule::Length { min, max }) }
}

/// `stFiscalCodePA`.
pub(crate) fn institution(text: &str) -> Result<InstitutionCode> {
    InstitutionCode::parse(text).map_err(|_| Rule::Pattern("[0-9]{11}"))
}

/// `stNoticeNumber`.
pub(crate) fn notice_number(text: &str) -> Result<String> {
    let digits = text.len() == 18 && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { Ok(text.to_owned()) } else { Err(Rule::Pattern("[0-9]{18}")) }
}

/// `stAmount`.
pub(crate) fn amount(text: &str) -> Result<Cents> {
    Cents::parse_decimal(text.trim_matches(WHITE_SPACE)).map_err(|_| Rule::Amount)
}

/// `stAmountNotZero`.
pub(crate) fn amount_not_zero(text: &str) -> Result<Cents> {
    amount(text).and_then(|amount| if amount.is_zero() { Err(Rule::AmountNotZero) } else { Ok(amount) })
}

/// `stIdTransfer`: an `xsd:int`, so that `01` and `+1` are 1.
pub(crate) fn id_transfer(text: &str) -> Result<u8> {
    let id = text.trim_matches(WHITE_SPACE).parse::<i32>().ok().and_then(|id| u8::try_from(id).ok());
    id.filter(|id| (1..=5).contains(id)).ok_or(Rule::Enumeration("1, 2, 3, 4, 5"))
}

/// `stEntityUniqueIdentifierType`.
pub(crate) fn entity_kind(text: &str) -> Result<EntityKind> {
    EntityKind::parse(text).ok_or(Rule::Enumeration("F, G"))
}

/// `stOutcome`.
pub(crate) fn outcome(text: &str) -> Result<Outcome> {
    match text {
        "OK" => Ok(Outcome::Ok),
        "KO" => Ok(Outcome::Ko),
        _ => Err(Rule::Enumeration("OK, KO")),
    }
}

/// `stTransferType`.
pub(crate) fn transfer_type(text: &str) -> Result<TransferType> {
    match text {
        "POSTAL" => Ok(TransferType::Postal),
        "PAGOPA" => Ok(TransferType::Pagopa),
        _ => Err(Rule::Enumeration("POSTAL, PAGOPA")),
    }
}

/// `stNazioneProvincia`.
pub(crate) fn two_capitals(text: &str) -> Result<()> {
    let capitals = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_uppercase());
    if capitals { Ok(()) } else { Err(Rule::Pattern("[A-Z]{2}")) }
}

/// `stEMail`: `[a-zA-Z0-9_\.\+\-]+@[a-zA-Z0-9\-]+(\.[a-zA-Z0-9\-]+)*`, at most 256 characters.
pub(crate) fn email(text: &str) -> Result<()> {
    let label =
        |label: &str| !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let local = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'+' | b'-');
    let (name, domain) = text.split_once('@').unwrap_or_default();
    if name.is_empty() || !name.bytes().all(local) || !domain.split('.').all(label) {
        return Err(Rule::Pattern(r"[a-zA-Z0-9_\.\+\-]+@[a-zA-Z0-9\-]+(\.[a-zA-Z0-9\-]+)*"));
    }
    length(text, 1, 256)
}

/// `xsd:boolean`.
pub(crate) fn boolean(text: &str) -> Result<bool> {
    match text.trim_matches(WHITE_SPACE) {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(Rule::Boolean),
    }
}

/// `xsd:base64Binary`, which allows white space anywhere: given back without it.
pub(crate) fn base64(text: &str) -> Result<String> {
    let packed: String = text.split(WHITE_SPACE).collect();
    BASE64_STANDARD.decode(&packed).map(|_| packed).map_err(|_| Rule::Base64)
}

/// `xsd:date`; a zone is read and dropped, the day is the one that is written.
pub(crate) fn date(text: &str) -> Result<Date> {
    let text = text.trim_matches(WHITE_SPACE);
    let (date, zone) = split_zone(text);
    zone.map_or(Ok(()), |zone| offset(zone).map(drop).ok_or(Rule::Date))?;
    civil_date(date, Rule::Date)
}

/// `xsd:dateTime`; without a zone it is Italian time (pagopa.md 2.1).
pub(crate) fn date_time(text: &str) -> Result<Timestamp> {
    let text = text.trim_matches(WHITE_SPACE);
    let (day, rest) = text.split_once('T').ok_or(Rule::DateTime)?;
    let (time, zone) = split_zone(rest);
    let (time, next_day) = civil_time(time).ok_or(Rule::DateTime)?;
    let mut day = civil_date(day, Rule::DateTime)?;
    if next_day {
        day = day.tomorrow().map_err(|_| Rule::Year)?;
    }
    let local = DateTime::from_parts(day, time);
    match zone {
        Some(zone) => offset(zone).ok_or(Rule::DateTime)?.to_timestamp(local).map_err(|_| Rule::Year),
        None => italian_time(local).map_err(|_| Rule::Year),
    }
}

/// The value and its zone, if it has one: `Z` or six characters such as `+02:00`.
fn split_zone(text: &str) -> (&str, Option<&str>) {
    if let Some(value) = text.strip_suffix('Z') {
        return (value, Some("Z"));
    }
    match text.len().checked_sub(6).and_then(|at| text.split_at_checked(at)) {
        Some((value, zone)) if zone.starts_with(['+', '-']) && zone.as_bytes().get(3) == Some(&b':') => {
            (value, Some(zone))
        }
        _ => (text, None),
    }
}

/// At most 14 hours from UTC.
fn offset(zone: &str) -> Option<Offset> {
    if zone == "Z" {
        return Some(Offset::UTC);
    }
    let hours: i32 = two_digits(zone.get(1..3)?)?.into();
    let minutes: i32 = two_digits(zone.get(4..6)?)?.into();
    if minutes > 59 || hours * 60 + minutes > 14 * 60 {
        return None;
    }
    let seconds = (hours * 60 + minutes) * 60;
    Offset::from_seconds(if zone.starts_with('-') { -seconds } else { seconds }).ok()
}

/// A date of the years 1 to 9999; `malformed` when it is none at all.
fn civil_date(text: &str, malformed: Rule) -> Result<Date> {
    let mut parts = text.strip_prefix('-').unwrap_or(text).split('-');
    let (Some(year), Some(month), Some(day), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return Err(malformed);
    };
    let digits = year.len() >= 4 && year.bytes().all(|byte| byte.is_ascii_digit());
    if !digits || (year.len() > 4 && year.starts_with('0')) || year == "0000" {
        return Err(malformed);
    }
    let near = year.len() == 4 && !text.starts_with('-');
    // 2000 is a leap year: the longest February that there can be.
    let year = if near { year.parse().map_err(|_| malformed)? } else { 2000 };
    let part = |text| two_digits(text).and_then(|number| i8::try_from(number).ok()).ok_or(malformed);
    let date = Date::new(year, part(month)?, part(day)?).map_err(|_| malformed)?;
    if near { Ok(date) } else { Err(Rule::Year) }
}

/// The time, and whether it is 24:00:00, which belongs to the next day.
fn civil_time(text: &str) -> Option<(Time, bool)> {
    let (whole, fraction) = text.split_once('.').map_or((text, None), |(whole, fraction)| (whole, Some(fraction)));
    let mut parts = whole.split(':');
    let mut part = || parts.next().and_then(two_digits);
    let (hour, minute, second) = (part()?, part()?, part()?);
    if parts.next().is_some() {
        return None;
    }
    let nanosecond = fraction.map_or(Some(0), nanoseconds)?;
    if (hour, minute, second, nanosecond) == (24, 0, 0, 0) {
        return Some((Time::midnight(), true));
    }
    let part = |number: u8| i8::try_from(number).ok();
    Time::new(part(hour)?, part(minute)?, part(second)?, nanosecond).ok().map(|time| (time, false))
}

/// The first nine digits of a fraction of a second.
fn nanoseconds(fraction: &str) -> Option<i32> {
    if fraction.is_empty() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits = fraction.bytes().map(|digit| i32::from(digit - b'0')).chain(std::iter::repeat(0));
    Some(digits.take(9).fold(0, |number, digit| number * 10 + digit))
}

fn two_digits(text: &str) -> Option<u8> {
    let digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}
