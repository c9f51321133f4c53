//! Answers as they are written, and what the writer refuses.

use fiorino_domain::{
    date::LegalDate, iban::Iban, institution::InstitutionCode, money::Cents, secret::Masked, taxonomy::TaxonomyCode,
};
use fiorino_wire::{
    Account, Debtor, DueDate, EntityKind, Fault, FaultCode, MapEntry, Operation, Payment, Rule, SoapFault, Stamp,
    Transfer, VerifiedNotice, Version, Violation, write_fault, write_get_payment, write_receipt_accepted,
    write_soap_fault, write_verify,
};
use rstest::rstest;

use crate::xsd;

pub(crate) fn cents(amount: i64) -> Cents {
    Cents::new(amount).unwrap()
}

pub(crate) fn day(text: &str) -> LegalDate {
    LegalDate::parse(text).unwrap()
}

fn masked(text: &str) -> Masked<String> {
    Masked::new(text.to_owned())
}

pub(crate) fn notice() -> VerifiedNotice {
    VerifiedNotice {
        amount: cents(12_000),
        due: DueDate::On(day("2026-06-16")),
        description: "TARI 2026 rata 1".into(),
        all_postal: false,
        institution: InstitutionCode::parse("77777777777").unwrap(),
        company_name: "Comune di Esempio".into(),
        office_name: Some("Ufficio Tributi".into()),
    }
}

pub(crate) fn transfer(id: u32, amount: i64) -> Transfer {
    Transfer {
        id,
        amount: cents(amount),
        institution: InstitutionCode::parse("77777777777").unwrap(),
        company_name: Some("Comune di Esempio".into()),
        account: Account::Iban(Iban::parse("IT30N0103076271000001823603").unwrap()),
        remittance_information: "TARI 2026 rata 1".into(),
        category: TaxonomyCode::parse("0101101IM").unwrap(),
        metadata: vec![],
    }
}

/// The golden one.
pub(crate) fn payment() -> Payment {
    Payment {
        iuv: "12000000000471179".into(),
        amount: cents(12_000),
        due: DueDate::On(day("2026-06-16")),
        description: "TARI 2026 rata 1".into(),
        company_name: "Comune di Esempio".into(),
        office_name: None,
        debtor: Debtor {
            kind: EntityKind::Natural,
            code: Masked::new("RSSMRA80A01H501U".into()),
            full_name: Masked::new("Mario Rossi".into()),
            street_name: None,
            civic_number: None,
            postal_code: None,
            city: None,
            province: None,
            country: None,
            email: None,
        },
        transfers: vec![
            transfer(1, 10_000),
            Transfer {
                institution: InstitutionCode::parse("01199250158").unwrap(),
                company_name: Some("Provincia di Esempio".into()),
                account: Account::Iban(Iban::parse("IT60X0542811101000000123456").unwrap()),
                remittance_information: "TEFA 2026".into(),
                category: TaxonomyCode::parse("0201102IM").unwrap(),
                ..transfer(2, 2_000)
            },
        ],
        metadata: vec![],
    }
}

/// Every field that the writer knows.
pub(crate) fn full_payment() -> Payment {
    let mut payment = payment();
    payment.office_name = Some("Ufficio Tributi".into());
    payment.debtor.street_name = Some(masked("via Roma"));
    payment.debtor.civic_number = Some(masked("1/A"));
    payment.debtor.postal_code = Some(masked("50122"));
    payment.debtor.city = Some(masked("Firenze"));
    payment.debtor.province = Some(masked("FI"));
    payment.debtor.country = Some(masked("IT"));
    payment.debtor.email = Some(masked("mario.rossi@example.org"));
    payment.metadata = vec![MapEntry { key: "note".into(), value: "a < b & \"c\" > 'd'".into() }];
    payment.transfers[0].metadata = vec![MapEntry { key: "TARI-TEFA-1".into(), value: "A000|2023|3944".into() }];
    payment
}

pub(crate) fn golden_verify() -> String {
    write_verify(&notice()).unwrap()
}

pub(crate) fn golden_payment(version: Version) -> String {
    let mut payment = payment();
    if version == Version::V2 {
        payment.transfers[0].metadata = vec![MapEntry { key: "TARI-TEFA-1".into(), value: "A000|2023|3944".into() }];
    }
    write_get_payment(version, &payment).unwrap()
}

pub(crate) fn golden_stamp() -> String {
    // SHA-256 of nothing.
    let empty = [
        0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27, 0xae,
        0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
    ];
    let mut payment = payment();
    payment.amount = cents(11_600);
    payment.description = "Istanza con bollo".into();
    payment.transfers[0].remittance_information = "Diritti".into();
    payment.transfers[1] = Transfer {
        account: Account::Stamp(Stamp { document_hash: empty, province: "MI".into() }),
        remittance_information: "Bollo".into(),
        ..transfer(2, 1_600)
    };
    write_get_payment(Version::V2, &payment).unwrap()
}

/// One element per line, for reading.
fn lines(message: &str) -> String {
    message.replace("><", ">\n<")
}

#[rstest]
#[case("verify", golden_verify())]
#[case("get_payment", write_get_payment(Version::V1, &full_payment()).unwrap())]
#[case("get_payment_v2", write_get_payment(Version::V2, &full_payment()).unwrap())]
#[case("get_payment_v2_stamp", golden_stamp())]
#[case("send_rt", write_receipt_accepted(Version::V1))]
#[case("send_rt_v2", write_receipt_accepted(Version::V2))]
#[case("demand_fault", write_fault(Operation::Demand, &Fault::new(FaultCode::Semantica, "77777777777")).unwrap())]
fn snapshots(#[case] name: &str, #[case] message: String) {
    xsd::assert_valid(&message);
    insta::assert_snapshot!(name, lines(&message));
}

/// The first field that the writer refuses, in both versions.
#[track_caller]
pub(crate) fn assert_refused(spoil: impl Fn(&mut Payment), field: &str, rule: Rule) {
    for version in [Version::V1, Version::V2] {
        let mut payment = full_payment();
        spoil(&mut payment);
        let expected = Violation { field: field.into(), rule };
        assert_eq!(write_get_payment(version, &payment), Err(expected), "{version:?}");
    }
}

/// The same for what the writer takes.
#[track_caller]
pub(crate) fn assert_taken(change: impl Fn(&mut Payment)) {
    for version in [Version::V1, Version::V2] {
        let mut payment = full_payment();
        change(&mut payment);
        xsd::assert_valid(&write_get_payment(version, &payment).unwrap());
    }
}

#[track_caller]
pub(crate) fn assert_verify_refused(spoil: impl Fn(&mut VerifiedNotice), field: &str, rule: Rule) {
    let mut notice = notice();
    spoil(&mut notice);
    assert_eq!(write_verify(&notice), Err(Violation { field: field.into(), rule }));
}

#[test]
fn due_date_is_always_sent() {
    let open = VerifiedNotice { due: DueDate::Open { issued_on: day("2026-01-02") }, ..notice() };
    assert!(write_verify(&open).unwrap().contains("<dueDate>2031-12-31</dueDate>"));
    assert!(golden_verify().contains("<dueDate>2026-06-16</dueDate>"));
    let open = Payment { due: open.due, ..payment() };
    assert!(write_get_payment(Version::V1, &open).unwrap().contains("<dueDate>2031-12-31</dueDate>"));
}

#[test]
fn there_is_one_option_and_it_is_eq() {
    let message = golden_verify();
    assert_eq!(message.matches("<paymentOptionDescription>").count(), 1);
    assert!(message.contains("<options>EQ</options>"));
}

#[test]
fn all_ccp_is_a_boolean() {
    assert!(golden_verify().contains("<allCCP>false</allCCP>"));
    let postal = VerifiedNotice { all_postal: true, ..notice() };
    assert!(write_verify(&postal).unwrap().contains("<allCCP>true</allCCP>"));
}

#[test]
fn everything_but_office_name_is_mandatory_in_verify() {
    assert_verify_refused(
        |notice| notice.description.clear(),
        "paymentList.paymentOptionDescription.detailDescription",
        Rule::Missing,
    );
    assert_verify_refused(|notice| notice.company_name.clear(), "companyName", Rule::Missing);
    let message = write_verify(&VerifiedNotice { office_name: None, ..notice() }).unwrap();
    for element in [
        "amount",
        "options",
        "dueDate",
        "detailDescription",
        "allCCP",
        "paymentDescription",
        "fiscalCodePA",
        "companyName",
    ] {
        assert!(message.contains(&format!("<{element}>")), "{element}");
    }
    assert!(!message.contains("officeName"));
}

#[test]
fn company_name_is_mandatory() {
    assert_refused(|payment| payment.company_name.clear(), "data.companyName", Rule::Missing);
}

#[test]
fn amount_is_the_sum_of_the_transfers() {
    assert_refused(|payment| payment.amount = cents(12_001), "data.paymentAmount", Rule::Sum);
    assert_refused(|payment| payment.transfers[1].amount = cents(1_999), "data.paymentAmount", Rule::Sum);
    assert_refused(|payment| payment.transfers[1].amount = Cents::MAX, "data.paymentAmount", Rule::Sum);
}

#[test]
fn there_are_one_to_five_transfers() {
    let many = |count: u32| {
        move |payment: &mut Payment| {
            payment.transfers = (1..=count).map(|id| transfer(id, 100)).collect();
            payment.amount = cents(i64::from(count) * 100);
        }
    };
    assert_taken(many(1));
    assert_taken(many(5));
    assert_refused(many(6), "data.transferList", Rule::Entries { min: 1, max: 5 });
    let none = |payment: &mut Payment| payment.transfers.clear();
    assert_refused(none, "data.paymentAmount", Rule::Sum);
}

#[test]
fn transfer_ids_are_one_to_n() {
    assert_refused(|payment| payment.transfers[0].id = 2, "data.transferList.transfer[1].idTransfer", Rule::TransferId);
    assert_refused(|payment| payment.transfers[1].id = 1, "data.transferList.transfer[2].idTransfer", Rule::TransferId);
    assert_refused(|payment| payment.transfers.reverse(), "data.transferList.transfer[1].idTransfer", Rule::TransferId);
}

#[test]
fn at_most_ten_metadata_are_sent() {
    let entries = |count| vec![MapEntry { key: "k".into(), value: "v".into() }; count];
    assert_taken(|payment| payment.metadata = entries(10));
    assert_taken(|payment| payment.transfers[1].metadata = entries(10));
    let rule = Rule::Entries { min: 1, max: 10 };
    assert_refused(|payment| payment.metadata = entries(11), "data.metadata", rule);
    assert_refused(
        |payment| payment.transfers[1].metadata = entries(11),
        "data.transferList.transfer[2].metadata",
        rule,
    );
}

#[test]
fn a_stamp_exists_in_version_two_alone() {
    let mut payment = payment();
    payment.transfers[0].account = Account::Stamp(Stamp { document_hash: [0; 32], province: "MI".into() });
    xsd::assert_valid(&write_get_payment(Version::V2, &payment).unwrap());
    let field = "data.transferList.transfer[1].richiestaMarcaDaBollo".to_owned();
    assert_eq!(write_get_payment(Version::V1, &payment), Err(Violation { field, rule: Rule::VersionTwo }));
}

#[test]
fn names_of_beneficiaries_exist_in_version_two_alone() {
    let name = "<companyName>Provincia di Esempio</companyName>";
    assert!(write_get_payment(Version::V2, &payment()).unwrap().contains(name));
    assert!(!write_get_payment(Version::V1, &payment()).unwrap().contains(name));
}

#[test]
fn empty_optional_texts_are_left_out() {
    let empty = || Some(masked(""));
    assert_taken(|payment| {
        payment.office_name = Some(String::new());
        payment.debtor.street_name = empty();
        payment.debtor.country = empty();
        payment.debtor.email = empty();
        payment.transfers[0].company_name = Some(String::new());
    });
}

#[test]
fn characters_that_xml_cannot_carry_are_left_out() {
    let odd = VerifiedNotice { description: "TA\u{0}RI\u{b}\u{fffe} 2026\r\n<&>".into(), ..notice() };
    let message = write_verify(&odd).unwrap();
    assert!(message.contains("<paymentDescription>TARI 2026&#13;\n&lt;&amp;&gt;</paymentDescription>"), "{message}");
    xsd::assert_valid(&message);
    // What is left is measured: nothing but such characters is nothing.
    assert_verify_refused(|notice| notice.company_name = "\u{1}".into(), "companyName", Rule::Missing);
    assert_taken(|payment| payment.office_name = Some("\u{1}".into()));
}

#[test]
fn taxonomy_is_sent_in_its_normal_form() {
    assert!(golden_payment(Version::V1).contains("<transferCategory>9/0101101IM/</transferCategory>"));
}

#[test]
fn soap_faults_name_the_rule() {
    let server = write_soap_fault(&SoapFault::server("the receipt could not be stored", "inbox: database away"));
    xsd::assert_soap(&server);
    insta::assert_snapshot!("soap_fault_server", lines(&server));
    let refused = crate::messages::read_text("<a/>").unwrap_err();
    let client = write_soap_fault(&SoapFault::from(&refused));
    xsd::assert_soap(&client);
    insta::assert_snapshot!("soap_fault_client", lines(&client));
}

#[test]
fn personal_data_is_masked() {
    let shown = format!("{:?}", full_payment());
    for secret in
        ["RSSMRA80A01H501U", "Rossi", "via Roma", "50122", "Firenze", "example.org", "IT30N0103076271000001823603"]
    {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
}
