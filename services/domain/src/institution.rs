//! The fiscal code of a creditor institution, which is public.

use crate::{digits::Digits, fiscal_code, text::public_text};

/// Result of this module.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// 11 digits (`stFiscalCodePA`, pagopa.md 2.2), shown in clear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstitutionCode(Digits<11>);

/// The text is no institution's fiscal code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the fiscal code of an institution is 11 digits")]
pub struct Error;

// === impl InstitutionCode ===

impl InstitutionCode {
    /// Reads 11 digits. The check digit is not looked at: test codes such as 77777777777 fail it (ARCHITECTURE.md 3.1).
    ///
    /// # Errors
    /// Anything but 11 ASCII digits.
    pub fn parse(text: &str) -> Result<Self> {
        Digits::parse(text).map(Self).ok_or(Error)
    }

    /// The 11 digits.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Whether the last digit is the one that the others ask for (as in Italian VAT numbers).
    pub fn check_digit_ok(&self) -> bool {
        fiscal_code::eleven_digits_ok(self.as_str())
    }
}

public_text!(InstitutionCode, Error);

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("80012340560", true)] // the made-up municipality of the examples
    #[case("15376371009", true)] // PagoPA S.p.A.
    #[case("00488410010", true)]
    #[case("77777777777", false)] // pagoPA's test code
    #[case("15376371008", false)]
    fn check_digit(#[case] code: &str, #[case] ok: bool) {
        assert_eq!(InstitutionCode::parse(code).unwrap().check_digit_ok(), ok);
    }

    #[rstest]
    #[case("")]
    #[case("1537637100")]
    #[case("153763710090")]
    #[case("1537637100A")]
    #[case(" 15376371009")]
    #[case("١٥٣٧٦٣٧١٠٠٩")]
    fn refused(#[case] text: &str) {
        assert_eq!(InstitutionCode::parse(text), Err(Error));
    }

    #[test]
    fn as_text() {
        let code = InstitutionCode::parse("15376371009").unwrap();
        assert_eq!(format!("{code} {code:?}"), "15376371009 InstitutionCode(15376371009)");
        assert_eq!(serde_json::from_str::<InstitutionCode>("\"15376371009\"").unwrap(), code);
        assert_eq!(serde_json::to_string(&code).unwrap(), "\"15376371009\"");
    }
}
