//! Codes of those who owe: 16 characters for people, 11 digits for bodies, firms and provisional codes of people; of a body abroad its own.

use std::fmt;

use crate::{debtor::PersonKind, secret::Masked};

/// Result of this module.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// 11 digits or 16 letters and digits, upper case; `Debug` shows `***`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FiscalCode(Box<str>);

/// What stands in the debtor's field `uniqueIdentifier`: a fiscal code, or none at all.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum DebtorCode {
    /// `ANONIMO`: the debtor is not told (pagopa.md 2.9); goes with a natural person.
    Anonymous,
    /// A known debtor.
    FiscalCode(FiscalCode),
    /// A firm or body abroad by the code that it has there, such as its VAT number with the country in front, upper case.
    Foreign(Masked<Box<str>>),
}

/// The text is no code of a debtor; it is not repeated here, as it may be somebody's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A person has an Italian code or none.
    #[error("a fiscal code is 11 digits, or 16 letters and digits")]
    Person,
    /// Neither Italian nor foreign.
    #[error(
        "the code of a body is 11 digits, 16 letters and digits, or abroad 2 to 16 letters, digits, dots, hyphens and slashes"
    )]
    Body,
    /// An Italian VAT number with the prefix that it has abroad.
    #[error("an Italian code is written without IT in front: send its 11 digits")]
    Prefix,
}

// === impl FiscalCode ===

impl FiscalCode {
    /// Reads a fiscal code, small letters too. Check digits are not looked at (ARCHITECTURE.md 3.1).
    ///
    /// # Errors
    /// Anything but 11 digits or 16 ASCII letters and digits.
    pub fn parse(text: &str) -> Result<Self> {
        let shape_ok = match text.len() {
            11 => text.bytes().all(|byte| byte.is_ascii_digit()),
            16 => text.bytes().all(|byte| byte.is_ascii_alphanumeric()),
            _ => false,
        };
        shape_ok.then(|| Self(text.to_ascii_uppercase().into())).ok_or(Error::Person)
    }

    /// The code in clear: for the database and the wire, never for logs.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether letters, digits and the check character agree with the rules of the Ministerial Decree of 23 December 1976,
    /// codes with letters in place of digits (*omocodia*) included.
    pub fn check_digit_ok(&self) -> bool {
        match self.0.len() {
            11 => eleven_digits_ok(&self.0),
            _ => sixteen_characters_ok(self.0.as_bytes()),
        }
    }
}

impl fmt::Debug for FiscalCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

// === impl DebtorCode ===

impl DebtorCode {
    /// What the wire calls nobody.
    pub const ANONYMOUS: &str = "ANONIMO";

    /// Reads a fiscal code or `ANONIMO`; `ANONYMOUS`, as the English documents print it, is taken too. A body may also have a code from abroad
    /// (`stEntityUniqueIdentifierValue`, 2 to 16 characters); of a person a text that is no Italian code is a typing error.
    ///
    /// # Errors
    /// None of them.
    pub fn parse(text: &str, kind: PersonKind) -> Result<Self> {
        if text.eq_ignore_ascii_case(Self::ANONYMOUS) || text.eq_ignore_ascii_case("ANONYMOUS") {
            return Ok(Self::Anonymous);
        }
        match (FiscalCode::parse(text), kind) {
            (Ok(code), _) => Ok(Self::FiscalCode(code)),
            (Err(error), PersonKind::Natural) => Err(error),
            (Err(_), PersonKind::Legal) => foreign(text),
        }
    }

    /// As the wire writes it: for the database and the wire, never for logs.
    pub fn expose(&self) -> &str {
        match self {
            Self::Anonymous => Self::ANONYMOUS,
            Self::FiscalCode(code) => code.expose(),
            Self::Foreign(code) => code.expose(),
        }
    }
}

fn foreign(text: &str) -> Result<DebtorCode> {
    let upper = text.to_ascii_uppercase();
    if upper.strip_prefix("IT").is_some_and(|rest| FiscalCode::parse(rest).is_ok()) {
        return Err(Error::Prefix);
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'/');
    let ok = (2..=16).contains(&upper.len()) && upper.bytes().all(allowed);
    ok.then(|| DebtorCode::Foreign(Masked::new(upper.into()))).ok_or(Error::Body)
}

/// Luhn's rule over 11 digits: that of VAT numbers and of the fiscal codes of bodies.
pub(crate) fn eleven_digits_ok(digits: &str) -> bool {
    let sum: u32 = digits
        .bytes()
        .enumerate()
        .map(|(index, digit)| {
            let digit = u32::from(digit - b'0');
            match index % 2 {
                0 => digit,
                _ => digit * 2 / 10 + digit * 2 % 10,
            }
        })
        .sum();
    sum.is_multiple_of(10)
}

/// What a letter or digit counts at odd places (the first, the third, ..); letters by their place in the alphabet, digits as A-J.
const ODD: [u32; 26] = [1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23];

/// Letters, and digits that *omocodia* may have replaced by one of LMNPQRSTUV.
const SHAPE: &[u8; 16] = b"AAAAAA00A00A000A";

fn sixteen_characters_ok(code: &[u8]) -> bool {
    let shape_ok = code.iter().zip(SHAPE).all(|(byte, kind)| match kind {
        b'A' => byte.is_ascii_uppercase(),
        _ => byte.is_ascii_digit() || b"LMNPQRSTUV".contains(byte),
    });
    let Some((check, body)) = code.split_last() else { return false };
    let sum: u32 = body
        .iter()
        .enumerate()
        .map(|(index, &byte)| {
            let rank = if byte.is_ascii_digit() { byte - b'0' } else { byte.saturating_sub(b'A') };
            match index % 2 {
                0 => ODD.get(usize::from(rank)).copied().unwrap_or_default(),
                _ => u32::from(rank),
            }
        })
        .sum();
    shape_ok && u32::from(*check) == u32::from(b'A') + sum % 26
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("RSSMRA80A01H501U", true)]
    #[case("rssmra80a01h501u", true)]
    #[case("RSSMRA80A01H501V", false)]
    #[case("RSSMRA80A01H50MM", true)]
    #[case("RSSMRA80A01H50MU", false)] // the check character of the code before omocodia
    #[case("RSSMRA8MA01H501G", true)] // omocodia: M stands for 1
    #[case("MRTMTT91D08F205J", true)]
    #[case("MLLSNT82P65Z404U", true)]
    #[case("1234567890123456", false)]
    #[case("80012340560", true)]
    #[case("77777777777", false)]
    fn check_digit(#[case] code: &str, #[case] ok: bool) {
        assert_eq!(FiscalCode::parse(code).unwrap().check_digit_ok(), ok, "{code}");
    }

    #[rstest]
    #[case("")]
    #[case("RSSMRA80A01H501")]
    #[case("RSSMRA80A01H501UU")]
    #[case("RSSMRA80A01H50 U")]
    #[case("8001234056A")]
    #[case("ANONIMO")]
    #[case("ÀSSMRA80A01H501")]
    fn refused(#[case] text: &str) {
        assert_eq!(FiscalCode::parse(text), Err(Error::Person));
    }

    #[test]
    fn debtor_codes() {
        let person = |text| DebtorCode::parse(text, PersonKind::Natural);
        assert_eq!(person("ANONYMOUS"), Ok(DebtorCode::Anonymous));
        assert_eq!(person("anonimo").unwrap().expose(), "ANONIMO");
        assert_eq!(person("rssmra80a01h501u").unwrap().expose(), "RSSMRA80A01H501U");
        assert_eq!(person("12345678901").unwrap().expose(), "12345678901"); // provisional
        assert_eq!(person("NOBODY"), Err(Error::Person));
    }

    #[rstest]
    #[case("DE123456789", Ok("DE123456789"))]
    #[case("atu12345678", Ok("ATU12345678"))]
    #[case("CHE-123.456.789", Ok("CHE-123.456.789"))]
    #[case("80012340560", Ok("80012340560"))]
    #[case("RSSMRA80A01H501U", Ok("RSSMRA80A01H501U"))]
    #[case("IT80012340560", Err(Error::Prefix))]
    #[case("it80012340560", Err(Error::Prefix))]
    #[case("D", Err(Error::Body))]
    #[case("DE 123456789", Err(Error::Body))]
    #[case("DE123456789012345", Err(Error::Body))]
    #[case("Ö123", Err(Error::Body))]
    fn codes_of_bodies(#[case] text: &str, #[case] expected: Result<&str>) {
        let code = DebtorCode::parse(text, PersonKind::Legal);
        assert_eq!(code.as_ref().map(DebtorCode::expose), expected.as_ref().map(|text| *text));
        // What is written is read again as the same.
        if let Ok(code) = code {
            assert_eq!(DebtorCode::parse(code.expose(), PersonKind::Legal), Ok(code));
        }
    }

    #[test]
    fn masked() {
        let code = DebtorCode::parse("RSSMRA80A01H501U", PersonKind::Natural).unwrap();
        assert_eq!(format!("{code:?}"), "FiscalCode(***)");
        assert!(!format!("{:?}", DebtorCode::parse("DE123456789", PersonKind::Legal)).contains("123456789"));
    }

    /// The letters that replace 0-9 when two people would have the same code.
    const OMOCODIA: &[u8; 10] = b"LMNPQRSTUV";

    fn with_check_character(body: &str) -> String {
        let found: Vec<String> = ('A'..='Z')
            .map(|check| format!("{body}{check}"))
            .filter(|code| FiscalCode::parse(code).unwrap().check_digit_ok())
            .collect();
        assert_eq!(found.len(), 1, "one check character for {body}");
        found.into_iter().next().unwrap()
    }

    proptest! {
        /// Every mask of replaced digits has exactly one check character, and a wrong letter is told.
        #[test]
        fn omocodia(mask in 0u8..128, place in 0usize..16, other in b'A'..=b'Z') {
            let places = [6, 7, 9, 10, 12, 13, 14];
            let mut body = *b"RSSMRA80A01H501";
            for (bit, place) in places.into_iter().enumerate() {
                if mask >> bit & 1 == 1 {
                    body[place] = OMOCODIA[usize::from(body[place] - b'0')];
                }
            }
            let code = with_check_character(std::str::from_utf8(&body).unwrap());
            let mut typo = code.clone().into_bytes();
            let before = std::mem::replace(&mut typo[place], other);
            let same_rank = before.is_ascii_digit() && before - b'0' == other - b'A';
            prop_assume!(typo != code.as_bytes() && !same_rank);
            prop_assert!(!FiscalCode::parse(std::str::from_utf8(&typo).unwrap()).unwrap().check_digit_ok());
        }

        #[test]
        fn anything_may_be_parsed(text in "\\PC{0,20}") {
            if let Ok(code) = FiscalCode::parse(&text) {
                code.check_digit_ok();
            }
        }
    }
}
