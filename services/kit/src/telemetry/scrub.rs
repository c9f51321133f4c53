//! The last net under logs: whatever looks like a person's fiscal code or an IBAN is masked.
//!
//! Types mask themselves (ARCHITECTURE.md 6.4); this catches what a library's error text carries along.

use std::borrow::Cow;

const MASK: &str = "***";
const FISCAL_CODE_LENGTH: usize = 16;
const IDENTIFIER_MAX: usize = 64;
const IBAN_LENGTHS: std::ops::RangeInclusive<usize> = 15..=34;

/// `text` with each word (letters and digits in a row) that has the shape of a person's fiscal code or of an IBAN replaced.
pub(super) fn scrub(text: &str) -> Cow<'_, str> {
    let mut clean = String::new();
    let mut kept = 0;
    for (start, word) in words(text) {
        if is_fiscal_code(word) || is_iban(word) {
            clean.push_str(&text[kept..start]);
            clean.push_str(MASK);
            kept = start + word.len();
        }
    }
    if kept == 0 {
        return Cow::Borrowed(text);
    }
    clean.push_str(&text[kept..]);
    Cow::Owned(clean)
}

/// Whether a word of the text has the shape of a person's fiscal code or of an IBAN: what logs would mask.
pub fn shows_a_person(text: &str) -> bool {
    matches!(scrub(text), Cow::Owned(_))
}

/// What a caller wrote where an identifier belongs, if it looks like one and like nobody's: at most 64 letters, digits and `-_.:/`, a
/// digit among them. Anything else is masked, for a caller may write anything anywhere. For spans, which pass no net, and for logs.
pub fn identifier(text: &str) -> &str {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:/".contains(&byte);
    let plain =
        text.len() <= IDENTIFIER_MAX && text.bytes().all(fits) && text.bytes().any(|byte| byte.is_ascii_digit());
    if text.is_empty() || plain && matches!(scrub(text), Cow::Borrowed(_)) { text } else { MASK }
}

fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| word.len() >= FISCAL_CODE_LENGTH - 1)
        .map(|word| (word.as_ptr() as usize - text.as_ptr() as usize, word))
}

/// Six letters, then digits and letters as in `RSSMRA80A01H501U`; digits may be replaced by L-V where codes collide.
fn is_fiscal_code(word: &str) -> bool {
    const SHAPE: &[u8; FISCAL_CODE_LENGTH] = b"AAAAAA99A99A999A";
    let fits = |(letter, shape): (u8, &u8)| match shape {
        b'A' => letter.is_ascii_alphabetic(),
        _ => letter.is_ascii_digit() || (b'L'..=b'V').contains(&letter.to_ascii_uppercase()),
    };
    word.len() == FISCAL_CODE_LENGTH && word.bytes().zip(SHAPE).all(fits)
}

/// Two letters, two digits, then at least eleven letters and digits of which some are digits.
fn is_iban(word: &str) -> bool {
    let bytes = word.as_bytes();
    IBAN_LENGTHS.contains(&bytes.len())
        && bytes[..2].iter().all(u8::is_ascii_uppercase)
        && bytes[2..4].iter().all(u8::is_ascii_digit)
        && bytes[4..].iter().filter(|byte| byte.is_ascii_digit()).count() >= 8
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[rstest::rstest]
    #[case("key (RSSMRA80A01H501U) exists", "key (***) exists")]
    #[case("rssmra80a01h501u", "***")]
    #[case("RSSMRAULALMHRLMU,IT60X0542811101000000123456.", "***,***.")]
    #[case("pays to IT60X0542811101000000123456", "pays to ***")]
    #[case("institution 77777777777, notice 302000100000019421", "institution 77777777777, notice 302000100000019421")]
    #[case("trace 4bf92f3577b34da6a3ce929d0e0e4736", "trace 4bf92f3577b34da6a3ce929d0e0e4736")]
    #[case("PaVerifyPaymentNoticeRequest", "PaVerifyPaymentNoticeRequest")]
    #[case("caffè RSSMRA80A01H501U però", "caffè *** però")]
    fn people_and_accounts_are_masked_and_nothing_else(#[case] text: &str, #[case] clean: &str) {
        assert_eq!(scrub(text), clean);
    }

    #[rstest::rstest]
    #[case("77777777777", true)]
    #[case("77777777777_01", true)]
    #[case("c110729d258c4ab1b765fe902aae41d6", true)]
    #[case("", true)]
    #[case("Mario Rossi 1", false)]
    #[case("MARIOROSSI", false)]
    #[case("rssmra80a01h501u", false)]
    #[case("token-RSSMRA80A01H501U", false)]
    #[case("rossi1@example.it", false)]
    #[case("caff\u{e8}1", false)]
    #[case(&"1".repeat(IDENTIFIER_MAX + 1), false)]
    fn what_is_no_identifier_is_masked(#[case] text: &str, #[case] shown: bool) {
        assert_eq!(identifier(text), if shown { text } else { MASK });
    }

    proptest! {
        #[test]
        fn no_text_breaks_it_and_twice_is_once(text in "\\PC*") {
            let clean = scrub(&text).into_owned();
            let twice = scrub(&clean).into_owned();
            prop_assert_eq!(twice, clean);
        }

        #[test]
        fn a_fiscal_code_never_survives(before in "[ :=(]{1,3}", code in "[A-Z]{6}[0-9L-V]{2}[A-Z][0-9L-V]{2}[A-Z][0-9L-V]{3}[A-Z]") {
            let clean = scrub(&format!("{before}{code}")).into_owned();
            prop_assert_eq!(clean, format!("{before}***"));
        }
    }
}
