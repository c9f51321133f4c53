//! Notice numbers (*numero avviso*, NAV) and payment references (IUV): pagopa.md 3.

use crate::{
    digits::{self, Digits},
    text::public_text,
};

/// Result of this module.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// 18 digits that name a debt towards one institution: aux digit and IUV, or (aux digit 0) aux digit, application code and IUV.
///
/// Its check digits may be wrong: notices that other systems issued stay payable (pagopa.md 3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NoticeNumber(Digits<18>);

/// First digit of a notice number: how the rest is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AuxDigit {
    /// Application code (2), base (13), check digits (2): one station only, legacy.
    Zero,
    /// 17 free digits without check digits: legacy.
    One,
    /// Base (15), check digits (2): legacy.
    Two,
    /// Segregation code (2), base (13), check digits (2): the only one for new notices.
    Three,
}

/// Two digits after the aux digit: with aux digit 3 the segregation code that pagoPA gives to each point that issues notices of
/// an institution, with aux digit 0 the application code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegregationCode(Digits<2>);

/// 13 digits that an issuing point chooses: see [`crate::nav`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Base(Digits<13>);

/// The reference that travels in payment, receipt and flow (`creditorReferenceId`): 15 digits with aux digit 0, else 17.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Iuv(IuvDigits);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum IuvDigits {
    Short(Digits<15>),
    Long(Digits<17>),
}

/// Why a text is no such number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Of a notice number.
    #[error("a notice number is 18 digits")]
    NoticeNumber,
    /// Of a notice number.
    #[error("a notice number begins with an aux digit between 0 and 3")]
    AuxDigit,
    /// Of a segregation or application code.
    #[error("a segregation or application code is two digits")]
    SegregationCode,
    /// Of the part that the issuer chooses.
    #[error("the base of a notice number is 13 digits")]
    Base,
    /// Of a payment reference.
    #[error("an iuv is 15 or 17 digits")]
    Iuv,
    /// Notice numbers with aux digit 1 are 17 free digits: they are taken over, never composed.
    #[error("a notice number with aux digit 1 cannot be composed: it has neither code nor check digits")]
    NotComposed,
}

// === impl NoticeNumber ===

impl NoticeNumber {
    /// The number by which pagoPA probes a station after stand-in: always unknown (pagopa.md 2.4).
    pub const PROBE: Self = Self(Digits::ZERO);

    /// Reads 18 digits that begin with an aux digit. Check digits are not looked at.
    ///
    /// # Errors
    /// Not 18 ASCII digits, or beginning with 4-9.
    pub fn parse(text: &str) -> Result<Self> {
        let digits = Digits::parse(text).ok_or(Error::NoticeNumber)?;
        match text.as_bytes() {
            [b'0'..=b'3', ..] => Ok(Self(digits)),
            _ => Err(Error::AuxDigit),
        }
    }

    /// Aux digit, code and base with their check digits. With aux digit 2 the code is the first two of its 15 base digits.
    ///
    /// # Errors
    /// Aux digit 1.
    pub fn compose(aux_digit: AuxDigit, code: SegregationCode, base: Base) -> Result<Self> {
        if aux_digit == AuxDigit::One {
            return Err(Error::NotComposed);
        }
        let body = format!("{}{code}{base}", aux_digit.number());
        let number = format!("{body}{:02}", check_digits(body.as_bytes()));
        Digits::parse(&number).map(Self).ok_or(Error::NoticeNumber)
    }

    /// Its first digit.
    pub fn aux_digit(&self) -> AuxDigit {
        match self.as_str().as_bytes() {
            [b'0', ..] => AuxDigit::Zero,
            [b'1', ..] => AuxDigit::One,
            [b'2', ..] => AuxDigit::Two,
            _ => AuxDigit::Three,
        }
    }

    /// Segregation code (aux digit 3) or application code (aux digit 0): what tells an institution's issuing points apart.
    pub fn code(&self) -> Option<SegregationCode> {
        match self.aux_digit() {
            AuxDigit::Zero | AuxDigit::Three => Digits::parse(&self.as_str()[1..3]).map(SegregationCode),
            AuxDigit::One | AuxDigit::Two => None,
        }
    }

    /// The 13 digits between code and check digits; `None` where there is no code.
    pub fn base(&self) -> Option<Base> {
        self.code().and_then(|_| Digits::parse(&self.as_str()[3..16])).map(Base)
    }

    /// The reference under which it is paid.
    pub fn iuv(&self) -> Iuv {
        let text = self.as_str();
        let digits = match self.aux_digit() {
            AuxDigit::Zero => Digits::parse(&text[3..]).map(IuvDigits::Short),
            AuxDigit::One | AuxDigit::Two | AuxDigit::Three => Digits::parse(&text[1..]).map(IuvDigits::Long),
        };
        Iuv(digits.expect("18 digits by construction"))
    }

    /// The numbers under whose reference it would be paid: itself, and with aux digits 1 to 3 those that differ in the aux digit alone. With
    /// aux digit 0 another application code with the same reference would have wrong check digits.
    pub fn of_the_same_iuv(&self) -> Vec<Self> {
        match self.aux_digit() {
            AuxDigit::Zero => vec![*self],
            AuxDigit::One | AuxDigit::Two | AuxDigit::Three => {
                let text = &self.as_str()[1..];
                ["1", "2", "3"].into_iter().filter_map(|aux| Digits::parse(&format!("{aux}{text}"))).map(Self).collect()
            }
        }
    }

    /// Whether the last two digits are the first 16 modulo 93; always with aux digit 1, which has none.
    pub fn check_digits_ok(&self) -> bool {
        let (body, check) = self.as_str().as_bytes().split_at(16);
        self.aux_digit() == AuxDigit::One || digits::number(check) == check_digits(body)
    }

    /// The 18 digits.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

// === impl AuxDigit ===

impl AuxDigit {
    /// 0-3.
    pub const fn number(self) -> u8 {
        match self {
            Self::Zero => 0,
            Self::One => 1,
            Self::Two => 2,
            Self::Three => 3,
        }
    }

    /// The aux digit of this number.
    ///
    /// # Errors
    /// Above 3.
    pub const fn from_number(number: u32) -> Result<Self> {
        match number {
            0 => Ok(Self::Zero),
            1 => Ok(Self::One),
            2 => Ok(Self::Two),
            3 => Ok(Self::Three),
            _ => Err(Error::AuxDigit),
        }
    }
}

// === impl SegregationCode ===

impl SegregationCode {
    /// Reads two digits.
    ///
    /// # Errors
    /// Anything but two ASCII digits.
    pub fn parse(text: &str) -> Result<Self> {
        Digits::parse(text).map(Self).ok_or(Error::SegregationCode)
    }

    /// The two digits.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

// === impl Base ===

impl Base {
    /// How many digits it has.
    pub const LENGTH: usize = 13;

    /// Reads 13 digits.
    ///
    /// # Errors
    /// Anything but 13 ASCII digits.
    pub fn parse(text: &str) -> Result<Self> {
        Digits::parse(text).map(Self).ok_or(Error::Base)
    }

    /// The number with leading zeros.
    ///
    /// # Errors
    /// It has more than 13 digits.
    pub fn from_number(number: u64) -> Result<Self> {
        Digits::from_number(number).map(Self).ok_or(Error::Base)
    }

    /// The number that the digits spell.
    pub fn number(&self) -> u64 {
        self.0.number()
    }

    /// The 13 digits.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

// === impl Iuv ===

impl Iuv {
    /// Reads 15 or 17 digits. Receipts of notices that are not ours may carry up to 35 other characters: those stay text.
    ///
    /// # Errors
    /// Anything else.
    pub fn parse(text: &str) -> Result<Self> {
        let digits = match text.len() {
            15 => Digits::parse(text).map(IuvDigits::Short),
            17 => Digits::parse(text).map(IuvDigits::Long),
            _ => None,
        };
        digits.map(Self).ok_or(Error::Iuv)
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            IuvDigits::Short(digits) => digits.as_str(),
            IuvDigits::Long(digits) => digits.as_str(),
        }
    }
}

public_text!(NoticeNumber, Error);
public_text!(SegregationCode, Error);
public_text!(Base, Error);
public_text!(Iuv, Error);

/// Of the first 16 digits of a notice number (pagopa.md 3.2).
fn check_digits(body: &[u8]) -> u64 {
    digits::number(body) % 93
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    /// pagopa.md 3.3.
    #[rstest]
    #[case(AuxDigit::Three, "22", "2011513985741", "322201151398574181", "22201151398574181")]
    #[case(AuxDigit::Three, "00", "7157000000000", "300715700000000032", "00715700000000032")]
    #[case(AuxDigit::Three, "12", "0000000004711", "312000000000471179", "12000000000471179")]
    #[case(AuxDigit::Zero, "01", "0000000000123", "001000000000012370", "000000000012370")]
    #[case(AuxDigit::Two, "00", "0000000012345", "200000000001234571", "00000000001234571")]
    fn vectors(#[case] aux: AuxDigit, #[case] code: &str, #[case] base: &str, #[case] number: &str, #[case] iuv: &str) {
        let composed =
            NoticeNumber::compose(aux, SegregationCode::parse(code).unwrap(), Base::parse(base).unwrap()).unwrap();
        assert_eq!(composed.as_str(), number);
        assert_eq!(NoticeNumber::parse(number), Ok(composed));
        assert_eq!(composed.aux_digit(), aux);
        assert_eq!(composed.iuv().as_str(), iuv);
        assert_eq!(Iuv::parse(iuv), Ok(composed.iuv()));
        assert!(composed.check_digits_ok());
    }

    #[test]
    fn a_foreign_number_with_wrong_check_digits_is_taken() {
        let sample = NoticeNumber::parse("311111111112222222").unwrap();
        assert!(!sample.check_digits_ok());
        assert!(NoticeNumber::parse("311111111112222247").unwrap().check_digits_ok());
    }

    #[test]
    fn the_probe() {
        assert_eq!(NoticeNumber::parse("000000000000000000"), Ok(NoticeNumber::PROBE));
        assert_eq!(NoticeNumber::PROBE.iuv().as_str(), "000000000000000");
    }

    #[test]
    fn aux_digit_one_is_free() {
        let number = NoticeNumber::parse("112345678901234567").unwrap();
        assert!(number.check_digits_ok());
        assert_eq!((number.code(), number.base()), (None, None));
        assert_eq!(number.iuv().as_str(), "12345678901234567");
        let composed =
            NoticeNumber::compose(AuxDigit::One, SegregationCode::parse("12").unwrap(), Base::from_number(1).unwrap());
        assert_eq!(composed, Err(Error::NotComposed));
    }

    #[test]
    fn numbers_that_differ_in_the_aux_digit_share_an_iuv() {
        let number = |text| NoticeNumber::parse(text).unwrap();
        let alike = ["112000000000471179", "212000000000471179", "312000000000471179"].map(number);
        assert!(alike.iter().all(|one| one.of_the_same_iuv() == alike && one.iuv() == alike[0].iuv()));
        assert_eq!(number("012000000000471179").of_the_same_iuv(), [number("012000000000471179")]);
    }

    #[rstest]
    #[case("", Error::NoticeNumber)]
    #[case("31200000000047117", Error::NoticeNumber)]
    #[case("3120000000004711790", Error::NoticeNumber)]
    #[case("31200000000047117A", Error::NoticeNumber)]
    #[case("412000000000471179", Error::AuxDigit)]
    fn refused(#[case] text: &str, #[case] error: Error) {
        assert_eq!(NoticeNumber::parse(text), Err(error));
    }

    #[test]
    fn bases() {
        assert_eq!(Base::from_number(4711).unwrap().as_str(), "0000000004711");
        assert_eq!(Base::from_number(9_999_999_999_999).unwrap().number(), 9_999_999_999_999);
        assert_eq!(Base::from_number(10_000_000_000_000), Err(Error::Base));
    }

    proptest! {
        #[test]
        fn parts_are_found_again(code in 0u8..100, base in 0u64..10_000_000_000_000) {
            let code = SegregationCode::parse(&format!("{code:02}"))?;
            let base = Base::from_number(base)?;
            let number = NoticeNumber::compose(AuxDigit::Three, code, base)?;
            prop_assert!(number.check_digits_ok());
            prop_assert_eq!((number.code(), number.base()), (Some(code), Some(base)));
            prop_assert_eq!(number.to_string(), format!("3{}", number.iuv()));
        }
    }
}
