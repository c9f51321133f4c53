//! Account numbers.

use std::fmt;

/// Result of this module.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An account number of the SEPA area (ISO 13616), upper case, without spaces; `Debug` shows its last four characters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Iban(Box<str>);

/// Why a text is no account number; the text is not repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Neither letters nor digits, or not two letters and two digits first.
    #[error("an iban is two letters, two digits, then letters and digits")]
    Format,
    /// pagoPA settles by SEPA credit transfer.
    #[error("an iban begins with the code of a SEPA country")]
    Country,
    /// The registry of ISO 13616 tells one length per country.
    #[error("an iban of {country} has {expected} characters, this one has {length}")]
    Length {
        /// As in the text.
        country: &'static str,
        /// Characters that it must have.
        expected: usize,
        /// Characters found.
        length: usize,
    },
    /// The bank's part of an Italian or Sammarinese number: a letter, ABI and CAB of five digits each, 12 letters and digits.
    #[error("after its check digits an iban of IT or SM has a letter, ten digits, then twelve letters and digits")]
    Structure,
    /// ISO 7064 modulo 97.
    #[error("the check digits of the iban do not fit: compare it with the bank's letter")]
    CheckDigits,
}

/// Lengths of the SEPA countries (European Payments Council, list of SEPA scheme countries; SWIFT IBAN registry).
const LENGTHS: &[(&str, usize)] = &[
    ("AD", 24),
    ("AL", 28),
    ("AT", 20),
    ("BE", 16),
    ("BG", 22),
    ("CH", 21),
    ("CY", 28),
    ("CZ", 24),
    ("DE", 22),
    ("DK", 18),
    ("EE", 20),
    ("ES", 24),
    ("FI", 18),
    ("FR", 27),
    ("GB", 22),
    ("GI", 23),
    ("GR", 27),
    ("HR", 21),
    ("HU", 28),
    ("IE", 22),
    ("IS", 26),
    ("IT", 27),
    ("LI", 21),
    ("LT", 20),
    ("LU", 20),
    ("LV", 21),
    ("MC", 27),
    ("MD", 24),
    ("ME", 22),
    ("MK", 19),
    ("MT", 31),
    ("NL", 18),
    ("NO", 15),
    ("PL", 28),
    ("PT", 25),
    ("RO", 24),
    ("RS", 22),
    ("SE", 24),
    ("SI", 19),
    ("SK", 24),
    ("SM", 27),
    ("VA", 22),
];

/// ABI code of Poste Italiane (pagopa.md 3.5).
const POSTE_ITALIANE: &str = "07601";

// === impl Iban ===

impl Iban {
    /// Reads an account number; spaces (as on paper) and small letters are taken.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn parse(text: &str) -> Result<Self> {
        let iban: String = text.chars().filter(|char| *char != ' ').map(|char| char.to_ascii_uppercase()).collect();
        let (letters, digits) = (iban.get(..2), iban.get(2..4));
        let starts_ok = letters.is_some_and(|text| text.bytes().all(|byte| byte.is_ascii_uppercase()))
            && digits.is_some_and(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        if !starts_ok || !iban.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(Error::Format);
        }
        let &(country, expected) =
            LENGTHS.iter().find(|(country, _)| letters == Some(*country)).ok_or(Error::Country)?;
        if iban.len() != expected {
            return Err(Error::Length { country, expected, length: iban.len() });
        }
        if matches!(country, "IT" | "SM") && !italian_structure_ok(&iban) {
            return Err(Error::Structure);
        }
        if remainder(&iban) != 1 {
            return Err(Error::CheckDigits);
        }
        Ok(Self(iban.into()))
    }

    /// The number in clear: for the database and the wire, never for logs.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The last four characters, by which a person recognises it.
    pub fn tail(&self) -> &str {
        self.0.get(self.0.len() - 4..).unwrap_or_default()
    }

    /// An account at Poste Italiane (ABI 07601): what `allCCP` and postal slips ask for.
    pub fn is_postal(&self) -> bool {
        self.0.starts_with("IT") && self.0.get(5..10) == Some(POSTE_ITALIANE)
    }

    /// The number of the postal account (*conto corrente postale*): the last 12 digits, `None` when it is not postal.
    pub fn postal_account(&self) -> Option<&str> {
        self.is_postal().then(|| self.0.get(self.0.len() - 12..)).flatten()
    }
}

impl fmt::Debug for Iban {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "***{}", self.tail())
    }
}

fn italian_structure_ok(iban: &str) -> bool {
    let bank = iban.get(5..15).unwrap_or_default();
    iban.as_bytes().get(4).is_some_and(u8::is_ascii_uppercase) && bank.bytes().all(|byte| byte.is_ascii_digit())
}

/// The number modulo 97 after its first four characters went to the end, letters counting 10-35.
fn remainder(iban: &str) -> u32 {
    let (head, tail) = iban.split_at(4);
    tail.chars().chain(head.chars()).filter_map(|char| char.to_digit(36)).fold(0, |rest, value| {
        let shift = if value < 10 { 10 } else { 100 };
        (rest * shift + value) % 97
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    const ITALIAN: &str = "IT60X0542811101000000123456";

    #[rstest]
    #[case(ITALIAN)]
    #[case("it60 x054 2811 1010 0000 0123 456")]
    #[case("DE89370400440532013000")]
    #[case("FR1420041010050500013M02606")]
    #[case("GB29NWBK60161331926819")]
    #[case("MT84MALT011000012345MTLCAST001S")]
    #[case("NO9386011117947")]
    #[case("SM86U0322509800000000270100")]
    #[case("VA59001123000012345678")]
    #[case("CH9300762011623852957")]
    fn examples_of_the_registry(#[case] text: &str) {
        Iban::parse(text).unwrap();
    }

    #[rstest]
    #[case("", Error::Format)]
    #[case("IT", Error::Format)]
    #[case("60ITX0542811101000000123456", Error::Format)]
    #[case("IT60-0542811101000000123456", Error::Format)]
    #[case("ÌT60X0542811101000000123456", Error::Format)]
    #[case("US64SVBKUS6S3300958879", Error::Country)]
    #[case("IT60X054281110100000012345", Error::Length { country: "IT", expected: 27, length: 26 })]
    #[case("IT6050542811101000000123456", Error::Structure)]
    #[case("IT60X05428A1101000000123456", Error::Structure)]
    #[case("IT61X0542811101000000123456", Error::CheckDigits)]
    fn refused(#[case] text: &str, #[case] error: Error) {
        assert_eq!(Iban::parse(text), Err(error));
    }

    #[test]
    fn postal_accounts() {
        let postal = Iban::parse("IT26A0760103200001012345678").unwrap();
        assert!(postal.is_postal());
        assert_eq!(postal.postal_account(), Some("001012345678"));
        let bank = Iban::parse(ITALIAN).unwrap();
        assert!(!bank.is_postal());
        assert_eq!(bank.postal_account(), None);
    }

    #[test]
    fn masked() {
        assert_eq!(format!("{:?}", Iban::parse(ITALIAN).unwrap()), "***3456");
    }

    proptest! {
        /// Modulo 97 sees every single wrong digit and every swap of two neighbours.
        #[test]
        fn typing_errors(place in 15usize..27, digit in b'0'..=b'9') {
            let mut wrong = ITALIAN.as_bytes().to_vec();
            wrong[place] = digit;
            let swapped = {
                let mut swapped = ITALIAN.as_bytes().to_vec();
                swapped.swap(place, place - 1);
                swapped
            };
            for text in [wrong, swapped] {
                let text = String::from_utf8(text).unwrap();
                prop_assert_eq!(Iban::parse(&text).is_ok(), text == ITALIAN, "{}", text);
            }
        }

        #[test]
        fn anything_may_be_parsed(text in "\\PC{0,40}") {
            if let Ok(iban) = Iban::parse(&text) {
                prop_assert_eq!(Iban::parse(iban.expose()), Ok(iban));
            }
        }
    }
}
