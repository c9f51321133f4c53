//! What is odd about a receipt, as the inbox keeps it and tenant is told: field and rule, never a value. Pure.

use fiorino_proto::receipts::v1::SchemaViolation;
use fiorino_wire::{Rule, Violation};

/// Longest name of an element that is shown.
const NAME_MAX: usize = 40;
/// Digits that such a name may have: an element is no number, and nobody's code.
const DIGITS_MAX: usize = 3;
/// What is shown instead.
pub(crate) const OTHER: &str = "other";

/// What breaks the schema: one text per violation, without a comma. Elements that the schema does not know are no fault of the receipt.
pub(crate) fn kept(findings: &[Violation]) -> Vec<String> {
    let wrong = findings.iter().filter(|finding| finding.rule != Rule::Unknown);
    wrong.map(|Violation { field, rule }| format!("{} {}", field.replace([',', ' '], "_"), rule.code())).collect()
}

/// The same for tenant.
pub(crate) fn told(kept: &str) -> SchemaViolation {
    let (field, rule) = kept.rsplit_once(' ').unwrap_or((kept, ""));
    SchemaViolation { field: field.to_owned(), rule: rule.to_owned() }
}

/// Names of elements that the schema does not know; one that looks like anything else than a name is `other`.
pub(crate) fn unknown(findings: &[Violation]) -> impl Iterator<Item = &str> {
    findings.iter().filter(|finding| finding.rule == Rule::Unknown).map(|finding| name(&finding.field))
}

fn name(field: &str) -> &str {
    let name = field.rsplit('.').next().unwrap_or(field);
    let letters = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    let digits = name.bytes().filter(u8::is_ascii_digit).count();
    let plain = name.starts_with(|first: char| first.is_ascii_alphabetic()) && letters;
    if plain && name.len() <= NAME_MAX && digits <= DIGITS_MAX { name } else { OTHER }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn violation(field: &str, rule: Rule) -> Violation {
        Violation { field: field.to_owned(), rule }
    }

    #[test]
    fn field_and_rule_come_through() {
        let found = [
            violation("receipt.paymentAmount", Rule::Amount),
            violation("receipt.brandNew", Rule::Unknown),
            violation("receipt.transferList.transfer[2].IBAN|MBDAttachment", Rule::Missing),
        ];
        let kept = kept(&found);
        assert_eq!(
            kept,
            ["receipt.paymentAmount amount", "receipt.transferList.transfer[2].IBAN|MBDAttachment missing"]
        );
        let told: Vec<_> = kept.iter().map(|kept| told(kept)).map(|told| (told.field, told.rule)).collect();
        assert_eq!(told[0], ("receipt.paymentAmount".to_owned(), "amount".to_owned()));
        assert_eq!(told[1].1, "missing");
        assert_eq!(unknown(&found).collect::<Vec<_>>(), ["brandNew"]);
    }

    #[rstest]
    #[case("receipt.brandNew", "brandNew")]
    #[case("new_thing-2", "new_thing-2")]
    #[case("receipt.RSSMRA80A01H501U", OTHER)]
    #[case("receipt.IT60X0542811101000000123456", OTHER)]
    #[case("receipt.n312000000000471179", OTHER)]
    #[case("receipt.città", OTHER)]
    #[case("receipt.", OTHER)]
    #[case("receipt.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", OTHER)]
    fn a_name_is_a_name_or_not_shown(#[case] field: &str, #[case] shown: &str) {
        assert_eq!(name(field), shown);
    }
}
