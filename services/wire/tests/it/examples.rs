//! The answers that the node is known to refuse (pagopa.md 7.2): none of them can be written.
//!
//! Each test shows the message that the node refuses, by the official schema where the schema knows the rule, and that no answer of ours
//! becomes it: the writer refuses the value, or no value of the answer's type is written so.

use fiorino_domain::{iban::Iban, institution::InstitutionCode, money::Cents, secret::Masked};
use fiorino_wire::{Fault, FaultCode, Operation, Payment, Rule, Version, write_fault, write_get_payment, write_verify};

use crate::{
    answers::{
        assert_refused, assert_taken, assert_verify_refused, cents, day, golden_payment, golden_verify, notice,
        payment, transfer,
    },
    messages::{times, with, without},
    xsd,
};

/// Both versions of a valid payment.
fn payments() -> [String; 2] {
    [golden_payment(Version::V1), golden_payment(Version::V2)]
}

/// The schema refuses the content in that element of a verify answer.
#[track_caller]
fn verify_refused(element: &str, content: &str) {
    xsd::assert_invalid(&with(&golden_verify(), element, content));
}

#[track_caller]
fn payment_refused(element: &str, content: &str) {
    for message in payments() {
        xsd::assert_invalid(&with(&message, element, content));
    }
}

#[test]
fn verify_ko_without_fault() {
    for operation in Operation::ALL {
        let code = if operation.is_receipt() { FaultCode::ReceiptDuplicata } else { FaultCode::PagamentoSconosciuto };
        let message = write_fault(operation, &Fault::new(code, "")).unwrap();
        assert_eq!(message.matches("<outcome>KO</outcome><fault><faultCode>").count(), 1);
        for element in ["faultCode", "faultString", "id", "description"] {
            assert!(!message.contains(&format!("<{element}></{element}>")));
        }
    }
    // The schema would let it pass: only the type of an answer, data or fault, rules it out.
    assert!(!golden_verify().contains("KO"));
}

#[test]
fn verify_empty_tags() {
    for element in [
        "amount",
        "options",
        "dueDate",
        "detailDescription",
        "allCCP",
        "paymentDescription",
        "fiscalCodePA",
        "companyName",
        "officeName",
    ] {
        verify_refused(element, "");
    }
    let empty = write_verify(&fiorino_wire::VerifiedNotice { office_name: Some(String::new()), ..notice() }).unwrap();
    assert!(!empty.contains("officeName"));
}

#[test]
fn verify_two_options() {
    xsd::assert_invalid(&times(&golden_verify(), "paymentOptionDescription", 2));
    assert_eq!(golden_verify().matches("<paymentOptionDescription>").count(), 1);
}

#[test]
fn verify_amount_with_a_comma() {
    verify_refused("amount", "11,34");
    let message = write_verify(&fiorino_wire::VerifiedNotice { amount: cents(1_134), ..notice() }).unwrap();
    assert!(message.contains("<amount>11.34</amount>"));
}

#[test]
fn verify_amount_with_three_decimals() {
    verify_refused("amount", "11.342");
    assert!(Cents::parse_decimal("11.342").is_err());
}

#[test]
fn verify_amount_too_large() {
    verify_refused("amount", "1219087657.34");
    assert!(Cents::new(121_908_765_734).is_err());
}

#[test]
fn verify_due_date_in_another_order() {
    verify_refused("dueDate", "12-28-2022");
    let due = fiorino_wire::DueDate::On(day("2022-12-28"));
    let message = write_verify(&fiorino_wire::VerifiedNotice { due, ..notice() }).unwrap();
    assert!(message.contains("<dueDate>2022-12-28</dueDate>"));
}

#[test]
fn verify_all_ccp_three() {
    verify_refused("allCCP", "3");
}

#[test]
fn verify_texts_of_141_characters() {
    let long = "x".repeat(141);
    for element in ["detailDescription", "paymentDescription", "companyName", "officeName"] {
        verify_refused(element, &long);
    }
    let rule = Rule::Length { min: 1, max: 140 };
    let detail = "paymentList.paymentOptionDescription.detailDescription";
    assert_verify_refused(|notice| notice.description.clone_from(&long), detail, rule);
    assert_verify_refused(|notice| notice.company_name.clone_from(&long), "companyName", rule);
    assert_verify_refused(|notice| notice.office_name = Some(long.clone()), "officeName", rule);
}

/// The schema lets them pass; the node does not.
#[test]
fn verify_without_payment_description() {
    assert!(golden_verify().contains("<paymentDescription>"));
    let field = "paymentList.paymentOptionDescription.detailDescription";
    assert_verify_refused(|notice| notice.description.clear(), field, Rule::Missing);
}

#[test]
fn verify_without_fiscal_code_pa() {
    assert!(golden_verify().contains("<fiscalCodePA>77777777777</fiscalCodePA>"));
    assert!(InstitutionCode::parse("").is_err());
}

#[test]
fn verify_without_company_name() {
    assert_verify_refused(|notice| notice.company_name.clear(), "companyName", Rule::Missing);
}

#[test]
fn payment_amount_zero() {
    payment_refused("paymentAmount", "0.00");
    payment_refused("transferAmount", "0.00");
    let zero = |payment: &mut Payment| {
        payment.amount = Cents::ZERO;
        payment.transfers = vec![transfer(1, 0)];
    };
    assert_refused(zero, "data.paymentAmount", Rule::AmountNotZero);
}

#[test]
fn payment_amount_with_one_decimal() {
    payment_refused("paymentAmount", "11.3");
    let mut payment = payment();
    payment.amount = cents(1_130);
    payment.transfers = vec![transfer(1, 1_130)];
    assert!(write_get_payment(Version::V1, &payment).unwrap().contains("<paymentAmount>11.30</paymentAmount>"));
}

fn country(country: &'static str) -> impl Fn(&mut Payment) {
    move |payment| payment.debtor.country = Some(Masked::new(country.into()))
}

#[test]
fn payment_country_of_three_letters() {
    assert_refused(country("ITA"), "data.debtor.country", Rule::Pattern("[A-Z]{2}"));
}

#[test]
fn payment_country_in_small_letters() {
    assert_refused(country("it"), "data.debtor.country", Rule::Pattern("[A-Z]{2}"));
}

#[test]
fn payment_email_without_at() {
    let email = |payment: &mut Payment| payment.debtor.email = Some(Masked::new("mario.rossi".into()));
    let rule = Rule::Pattern(r"[a-zA-Z0-9_\.\+\-]+@[a-zA-Z0-9\-]+(\.[a-zA-Z0-9\-]+)*");
    assert_refused(email, "data.debtor.e-mail", rule);
}

#[test]
fn payment_six_transfers() {
    for message in payments() {
        xsd::assert_invalid(&times(&message, "transfer", 5));
    }
    let six = |payment: &mut Payment| {
        payment.transfers = (1..=6).map(|id| transfer(id, 2_000)).collect();
    };
    assert_refused(six, "data.transferList", Rule::Entries { min: 1, max: 5 });
}

#[track_caller]
fn id_refused(text: &str, id: u32) {
    payment_refused("idTransfer", text);
    let field = "data.transferList.transfer[1].idTransfer";
    assert_refused(|payment| payment.transfers[0].id = id, field, Rule::TransferId);
}

#[test]
fn payment_id_transfer_6() {
    id_refused("6", 6);
}

#[test]
fn payment_id_transfer_11() {
    id_refused("11", 11);
}

#[test]
fn payment_id_transfer_a() {
    id_refused("a", 0);
}

#[test]
fn payment_fiscal_code_of_12_digits() {
    payment_refused("fiscalCodePA", "777777777777");
    assert!(InstitutionCode::parse("777777777777").is_err());
}

#[test]
fn payment_iban_of_36_characters() {
    let long = format!("IT{}", "0".repeat(34));
    payment_refused("IBAN", &long);
    assert!(Iban::parse(&long).is_err());
}

#[test]
fn payment_without_due_date() {
    for message in payments() {
        xsd::assert_invalid(&without(&message, "dueDate"));
        assert!(message.contains("<dueDate>"));
    }
}

#[test]
fn payment_without_description() {
    for message in payments() {
        xsd::assert_invalid(&without(&message, "description"));
    }
    assert_refused(|payment| payment.description.clear(), "data.description", Rule::Missing);
}

#[test]
fn payment_without_debtor() {
    for message in payments() {
        xsd::assert_invalid(&without(&message, "debtor"));
        assert!(message.contains("<debtor><uniqueIdentifier>"));
    }
    let nobody = |payment: &mut Payment| payment.debtor.code = Masked::default();
    let field = "data.debtor.uniqueIdentifier.entityUniqueIdentifierValue";
    assert_refused(nobody, field, Rule::Missing);
}

#[test]
fn payment_without_transfer_list() {
    for message in payments() {
        xsd::assert_invalid(&without(&message, "transferList"));
    }
    let none = |payment: &mut Payment| payment.transfers.clear();
    assert_refused(none, "data.paymentAmount", Rule::Sum);
}

/// `SEM_PGPR_01`, `_02`: the amount may differ from the one asked, and beneficiaries from the institution asked.
#[test]
fn payment_may_differ_from_what_was_asked() {
    assert_taken(|payment| {
        payment.amount = cents(3_010);
        payment.transfers = vec![transfer(1, 3_010)];
        payment.transfers[0].institution = InstitutionCode::parse("01199250158").unwrap();
    });
}

/// The rows of paDemandPaymentNotice: the one answer that we give is a fault.
#[test]
fn demand_is_answered_by_a_fault_alone() {
    let message = write_fault(Operation::Demand, &Fault::new(FaultCode::Semantica, "77777777777")).unwrap();
    xsd::assert_valid(&message);
    assert!(message.contains("<paf:paDemandPaymentNoticeResponse ") && message.contains("PAA_SEMANTICA"));
}

/// `PSRT_19`: a receipt that is answered `PAA_SEMANTICA` is lost for us, since the node does not come again.
#[test]
fn receipt_ko_semantica() {
    for version in [Version::V1, Version::V2] {
        let fault = Fault::new(FaultCode::Semantica, "77777777777");
        assert_eq!(write_fault(Operation::SendReceipt(version), &fault).unwrap_err().rule, Rule::FaultOfOperation);
    }
}
