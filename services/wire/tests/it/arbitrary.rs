//! Answers made at random: what is written is valid by the official schema, what keeps the rules is written.

use fiorino_domain::{
    date::LegalDate, iban::Iban, institution::InstitutionCode, money::Cents, secret::Masked, taxonomy::TaxonomyCode,
};
use fiorino_wire::{
    Account, Debtor, DueDate, EntityKind, MapEntry, Payment, Stamp, Transfer, VerifiedNotice, Version,
    write_get_payment, write_verify,
};
use jiff::civil::Date;
use proptest::{option, prelude::*, sample, string::string_regex};

use crate::{messages, xsd};

/// Mostly right, sometimes odd: empty, too long, markup, control characters, line ends.
fn text(max: usize) -> impl Strategy<Value = String> {
    prop_oneof![
        90 => string_regex(&format!("[a-zA-Z0-9 <>&'\"\u{e8}\u{20ac}\u{1f4b6}]{{2,{max}}}")).unwrap(),
        1 => Just(String::new()),
        1 => ".{1,300}",
        1 => "[\u{0}-\u{20}\u{fffe}\u{ffff}a\r\n\t]{1,20}",
    ]
}

fn masked(max: usize) -> impl Strategy<Value = Option<Masked<String>>> {
    option::of(text(max).prop_map(Masked::new))
}

fn amount() -> impl Strategy<Value = Cents> {
    prop_oneof![20 => 1_i64..20_000, 1 => Just(0), 1 => Just(Cents::MAX.get())]
        .prop_map(|cents| Cents::new(cents).unwrap())
}

fn due() -> impl Strategy<Value = DueDate> {
    (1900_i16..=2999, 1_i8..=12, 1_i8..=28, any::<bool>()).prop_map(|(year, month, day, open)| {
        let date = LegalDate::new(Date::new(year, month, day).unwrap()).unwrap();
        if open { DueDate::Open { issued_on: date } } else { DueDate::On(date) }
    })
}

fn institution() -> impl Strategy<Value = InstitutionCode> {
    "[0-9]{11}".prop_map(|code| InstitutionCode::parse(&code).unwrap())
}

fn metadata() -> impl Strategy<Value = Vec<MapEntry>> {
    let entry = (text(140), text(140)).prop_map(|(key, value)| MapEntry { key, value }).boxed();
    prop_oneof![6 => Just(vec![]), 2 => prop::collection::vec(entry.clone(), 1..3), 1 => prop::collection::vec(entry, 9..13)]
}

fn account() -> impl Strategy<Value = Account> {
    const IBANS: [&str; 3] = ["IT30N0103076271000001823603", "IT60X0542811101000000123456", "DE89370400440532013000"];
    let stamp = (any::<[u8; 32]>(), prop_oneof![4 => "[A-Z]{2}", 1 => ".{0,3}"])
        .prop_map(|(document_hash, province)| Account::Stamp(Stamp { document_hash, province }));
    prop_oneof![5 => sample::select(&IBANS).prop_map(|iban| Account::Iban(Iban::parse(iban).unwrap())), 1 => stamp]
}

fn transfer() -> impl Strategy<Value = Transfer> {
    let category = "[6-9]/[0-9]{7}(IM|TS|SP|SA|AP)/".prop_map(|code| TaxonomyCode::parse(&code).unwrap());
    let parts = (amount(), institution(), option::of(text(140)), account(), text(140), category, metadata());
    parts.prop_map(|(amount, institution, company_name, account, remittance_information, category, metadata)| {
        Transfer { id: 0, amount, institution, company_name, account, remittance_information, category, metadata }
    })
}

fn debtor() -> impl Strategy<Value = Debtor> {
    let kind = sample::select(&[EntityKind::Natural, EntityKind::Legal]);
    let country = option::of(prop_oneof![6 => "[A-Z]{2}", 1 => ".{0,3}"].prop_map(Masked::new));
    let email = option::of(
        prop_oneof![6 => "[a-z.+-]{1,9}@[a-z-]{1,9}(\\.[a-z]{1,5}){0,2}", 1 => ".{0,9}"].prop_map(Masked::new),
    );
    let home = (masked(70), masked(16), masked(16), masked(35), masked(35));
    (kind, text(16), text(70), home, country, email).prop_map(|(kind, code, name, home, country, email)| Debtor {
        kind,
        code: Masked::new(code),
        full_name: Masked::new(name),
        street_name: home.0,
        civic_number: home.1,
        postal_code: home.2,
        city: home.3,
        province: home.4,
        country,
        email,
    })
}

/// The ids and the sum are right most of the time, or nothing would ever be written.
fn payment() -> impl Strategy<Value = Payment> {
    let texts = (text(35), text(140), text(140), option::of(text(140)));
    let transfers = prop::collection::vec(transfer(), 0..7);
    let off = prop::bool::weighted(0.1);
    (texts, due(), debtor(), transfers, metadata(), off, amount()).prop_map(
        |((iuv, description, company_name, office_name), due, debtor, mut transfers, metadata, off, other)| {
            for (id, transfer) in (1..).zip(&mut transfers) {
                transfer.id = id;
            }
            let sum = Cents::checked_sum(transfers.iter().map(|transfer| transfer.amount)).unwrap_or(other);
            let amount = if off { other } else { sum };
            Payment { iuv, amount, due, description, company_name, office_name, debtor, transfers, metadata }
        },
    )
}

fn notice() -> impl Strategy<Value = VerifiedNotice> {
    let texts = (text(140), text(140), option::of(text(140)));
    (amount(), due(), texts, any::<bool>(), institution()).prop_map(
        |(amount, due, (description, company_name, office_name), all_postal, institution)| VerifiedNotice {
            amount,
            due,
            description,
            all_postal,
            institution,
            company_name,
            office_name,
        },
    )
}

fn assert_clean(message: &str) {
    xsd::assert_valid(message);
    for (at, _) in message.match_indices("></") {
        // Two tags may meet only where an element with children ends.
        assert!(
            message[..at].rfind('<').is_some_and(|open| message[open..].starts_with("</")),
            "empty element: {message}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn every_verify_answer_is_valid(notice in notice()) {
        match write_verify(&notice) {
            Ok(message) => assert_clean(&message),
            Err(refused) => prop_assert!(!refused.field.is_empty()),
        }
    }

    #[test]
    fn every_payment_answer_is_valid(payment in payment(), v2 in any::<bool>()) {
        let version = if v2 { Version::V2 } else { Version::V1 };
        match write_get_payment(version, &payment) {
            Ok(message) => assert_clean(&message),
            Err(refused) => prop_assert!(refused.field.starts_with("data."), "{}", refused),
        }
    }

    /// What a payment says comes back in its receipt: the reader reads what the writer writes.
    #[test]
    fn a_receipt_repeats_what_was_written(payment in payment()) {
        let Ok(message) = write_get_payment(Version::V2, &payment) else { return Ok(()) };
        let list = &message[message.find("<transferList>").unwrap()..message.find("</transferList>").unwrap()];
        if list.contains("<richiestaMarcaDaBollo>") {
            return Ok(());
        }
        let receipt = messages::full(messages::SEND_RT_V2);
        let receipt = messages::replace(&receipt, "transferList", &format!("{list}</transferList>"));
        let debtor = &message[message.find("<debtor>").unwrap()..message.find("</debtor>").unwrap()];
        let receipt = messages::receipt_of(&messages::replace(&receipt, "debtor", &format!("{debtor}</debtor>")));

        prop_assert_eq!(&receipt.findings, &[]);
        prop_assert_eq!(receipt.receipt.transfers.len(), payment.transfers.len());
        for (read, written) in receipt.receipt.transfers.iter().zip(&payment.transfers) {
            prop_assert_eq!(read.id.map(u32::from), Some(written.id));
            prop_assert_eq!(read.amount, Some(written.amount));
            prop_assert_eq!(read.fiscal_code, Some(written.institution));
            prop_assert_eq!(read.transfer_category.as_deref(), Some(written.category.as_str()));
            // Of what only just fits when characters are counted, the node gets what fits when units are.
            let mut units = 0;
            let fits = |char: &char| { units += char.len_utf16(); units <= 140 };
            let clean: String =
                written.remittance_information.chars().filter(|char| xml_char(*char)).take_while(fits).collect();
            prop_assert_eq!(read.remittance_information.as_deref(), Some(clean.as_str()));
            prop_assert_eq!(read.metadata.len(), written.metadata.len());
        }
        let debtor = receipt.receipt.debtor.unwrap();
        prop_assert_eq!(debtor.kind, Some(payment.debtor.kind));
    }
}

fn xml_char(char: char) -> bool {
    matches!(char, '\t' | '\n' | '\r') || (char >= ' ' && !matches!(char, '\u{fffe}' | '\u{ffff}'))
}

/// The strategies above reach both sides: without this the properties could hold for nothing.
#[test]
fn both_sides_are_reached() {
    use proptest::{strategy::ValueTree, test_runner::TestRunner};
    let mut runner = TestRunner::deterministic();
    let results: Vec<_> =
        (0..500).map(|_| write_get_payment(Version::V2, &payment().new_tree(&mut runner).unwrap().current())).collect();
    let written = results.iter().filter(|result| result.is_ok()).count();
    assert!((50..450).contains(&written), "{written} of 500 written");
    let rules: std::collections::HashSet<_> =
        results.iter().filter_map(|result| result.as_ref().err()).map(|refused| refused.rule).collect();
    assert!(rules.len() >= 6, "{rules:?}");
}
