//! What the QR code of a notice says (pagopa.md 3.4).

use crate::{institution::InstitutionCode, money::Cents, notice::NoticeNumber};

/// `PAGOPA|002|<notice number>|<institution>|<cents>`; the amount has two digits at least. It may be stale when it is read: the
/// institution tells the amount again at verify.
pub fn payload(number: &NoticeNumber, institution: &InstitutionCode, amount: Cents) -> String {
    format!("PAGOPA|002|{number}|{institution}|{:02}", amount.get())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(12_000, "PAGOPA|002|312000000000471179|77777777777|12000")] // pagopa.md 3.4
    #[case(9, "PAGOPA|002|312000000000471179|77777777777|09")]
    #[case(10, "PAGOPA|002|312000000000471179|77777777777|10")]
    #[case(99_999_999_999, "PAGOPA|002|312000000000471179|77777777777|99999999999")]
    fn payloads(#[case] cents: i64, #[case] expect: &str) {
        let number = NoticeNumber::parse("312000000000471179").unwrap();
        let institution = InstitutionCode::parse("77777777777").unwrap();
        assert_eq!(payload(&number, &institution, Cents::new(cents).unwrap()), expect);
    }
}
