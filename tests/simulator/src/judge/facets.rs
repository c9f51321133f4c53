//! Lexical rules of the simple types: `paForNode.xsd` and `sac-common-types-1.0.xsd`.

/// A simple type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Facet {
    /// `xsd:string` of min..=max characters, counted as Java's validators do: one above U+FFFF is two.
    Text(usize, usize),
    /// Any `xsd:string`.
    AnyText,
    /// Exactly so many digits.
    Digits(usize),
    /// `stAmountNotZero`: `\d+\.\d{2}`, 0.01 to 999999999.99.
    AmountNotZero,
    /// `xsd:date`, zone allowed.
    Date,
    /// `xsd:dateTime`, zone allowed.
    DateTime,
    /// `xsd:boolean`
    Boolean,
    /// `xsd:int`
    Int,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// `stEMail`
    Email,
    /// Two capital letters.
    Country,
    /// Base64, 4 to 72 characters.
    Hash,
}

// === impl Facet ===

impl Facet {
    /// Why `value` is not of this type, or nothing.
    pub fn refuse(self, value: &str) -> Option<String> {
        let count = value.encode_utf16().count();
        match self {
            Self::Text(min, max) => {
                (count < min || count > max).then(|| format!("{count} characters, must be {min} to {max}"))
            }
            Self::AnyText => None,
            Self::Digits(n) => (count != n || !value.bytes().all(|b| b.is_ascii_digit()))
                .then(|| format!("must be exactly {n} digits")),
            Self::AmountNotZero => amount(value).err(),
            Self::Date => (!date(value)).then(|| "not an xsd:date".to_owned()),
            Self::DateTime => (!date_time(value)).then(|| "not an xsd:dateTime".to_owned()),
            Self::Boolean => (!["true", "false", "0", "1"].contains(&value)).then(|| "not an xsd:boolean".to_owned()),
            Self::Int => value.parse::<i32>().err().map(|_| "not an xsd:int".to_owned()),
            Self::OneOf(words) => (!words.contains(&value)).then(|| format!("must be one of {words:?}")),
            Self::Email => (!email(value)).then(|| "not an stEMail".to_owned()),
            Self::Country => (count != 2 || !value.bytes().all(|b| b.is_ascii_uppercase()))
                .then(|| "must be two capital letters".to_owned()),
            Self::Hash => (!(4..=72).contains(&count) || !base64_alphabet(value))
                .then(|| "must be 4 to 72 characters of base64".to_owned()),
        }
    }
}

/// Cents of an `stAmountNotZero`.
///
/// # Errors
/// The rule that the text breaks.
pub fn amount(value: &str) -> Result<u64, String> {
    let shape = || format!("{value:?} does not match \\d+\\.\\d{{2}}");
    let (euros, cents) = value.split_once('.').ok_or_else(shape)?;
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    if !digits(euros) || !digits(cents) || cents.len() != 2 {
        return Err(shape());
    }
    let total = euros
        .parse::<u64>()
        .ok()
        .zip(cents.parse::<u64>().ok())
        .and_then(|(euros, cents)| euros.checked_mul(100).and_then(|e| e.checked_add(cents)));
    match total {
        Some(0) => Err("must be at least 0.01".to_owned()),
        Some(total) if total <= 99_999_999_999 => Ok(total),
        _ => Err("must be at most 999999999.99".to_owned()),
    }
}

fn date(value: &str) -> bool {
    let (day, zone) = value.split_at_checked(10).unwrap_or((value, ""));
    day.parse::<jiff::civil::Date>().is_ok() && day.as_bytes().get(4) == Some(&b'-') && zone_ok(zone)
}

fn date_time(value: &str) -> bool {
    let Some((day, time)) = value.split_once('T') else { return false };
    let end = time.find(['Z', '+', '-']).unwrap_or(time.len());
    let (clock, zone) = time.split_at(end);
    date(day) && day.len() == 10 && clock.len() >= 8 && clock.parse::<jiff::civil::Time>().is_ok() && zone_ok(zone)
}

fn zone_ok(zone: &str) -> bool {
    let bytes = zone.as_bytes();
    match bytes {
        [] | [b'Z'] => true,
        [b'+' | b'-', h1, h2, b':', m1, m2] => [h1, h2, m1, m2].into_iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

fn email(value: &str) -> bool {
    let local = |c: char| c.is_ascii_alphanumeric() || "_.+-".contains(c);
    let label = |l: &str| !l.is_empty() && l.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    value.encode_utf16().count() <= 256
        && value
            .split_once('@')
            .is_some_and(|(name, host)| !name.is_empty() && name.chars().all(local) && host.split('.').all(label))
}

fn base64_alphabet(value: &str) -> bool {
    value.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b))
}
