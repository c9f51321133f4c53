//! The catalogue of faults (pagopa.md 2.10) and who may answer what.

use fiorino_wire::{Fault, FaultCode, Operation, Rule, Version, Violation, write_fault};
use proptest::{prelude::*, sample};
use rstest::rstest;

use crate::{
    messages::{GET_PAYMENT, SEND_RT, VERIFY, full, read_text, with, without},
    xsd,
};

/// Code, official text, and the columns verify, getPayment, sendRT, demand. The sendRT column is that of ARCHITECTURE.md 4.4.
const CATALOGUE: [(&str, &str, [bool; 4]); 13] = [
    ("PAA_SINTASSI_EXTRAXSD", "Errore di sintassi extra XSD", [true, true, false, true]),
    ("PAA_SINTASSI_XSD", "Errore di sintassi XSD", [true, true, false, true]),
    ("PAA_ID_DOMINIO_ERRATO", "La PAA non corrisponde al Dominio indicato", [true; 4]),
    ("PAA_ID_INTERMEDIARIO_ERRATO", "Identificativo intermediario non corrispondente", [true; 4]),
    ("PAA_STAZIONE_INT_ERRATA", "Stazione intermediario non corrispondente", [true; 4]),
    (
        "PAA_PAGAMENTO_SCONOSCIUTO",
        "Pagamento in attesa risulta sconosciuto all’Ente Creditore",
        [true, true, false, true],
    ),
    ("PAA_PAGAMENTO_DUPLICATO", "Pagamento in attesa risulta concluso all’Ente Creditore", [true, true, false, true]),
    ("PAA_PAGAMENTO_IN_CORSO", "Pagamento in attesa risulta in corso all’Ente Creditore", [true, true, false, true]),
    ("PAA_PAGAMENTO_ANNULLATO", "Pagamento in attesa risulta annullato all’Ente Creditore", [true, true, false, true]),
    ("PAA_PAGAMENTO_SCADUTO", "Pagamento in attesa risulta scaduto all’Ente Creditore", [true, true, false, true]),
    ("PAA_SEMANTICA", "Errore semantico", [true, true, false, true]),
    ("PAA_RECEIPT_DUPLICATA", "Ricevuta già acquisita", [false, false, true, false]),
    ("PAA_SYSTEM_ERROR", "Errore generico", [true, true, false, true]),
];

fn column(operation: Operation) -> usize {
    match operation {
        Operation::Verify => 0,
        Operation::GetPayment(_) => 1,
        Operation::SendReceipt(_) => 2,
        Operation::Demand => 3,
    }
}

#[test]
fn every_cell_of_the_catalogue() {
    for (code, (name, text, cells)) in FaultCode::ALL.into_iter().zip(CATALOGUE) {
        assert_eq!((code.as_str(), code.fault_string()), (name, text));
        for operation in Operation::ALL {
            let written = write_fault(operation, &Fault::new(code, "77777777777"));
            if cells[column(operation)] {
                let message = written.unwrap();
                xsd::assert_valid(&message);
                assert!(message.contains(&format!("<paf:{} ", operation.response_element())));
                assert!(message.contains(&format!(
                    "<outcome>KO</outcome><fault><faultCode>{name}</faultCode><faultString>{text}</faultString>\
                     <id>77777777777</id><description>{text}</description></fault>"
                )));
            } else {
                let refused = Violation { field: "fault.faultCode".into(), rule: Rule::FaultOfOperation };
                assert_eq!(written, Err(refused));
            }
        }
    }
}

/// A KO is final for the node (pagopa.md 2.7): what is not one of the two cases of ARCHITECTURE.md 4.4 cannot be said about a receipt.
#[rstest]
fn a_receipt_is_never_refused_for_its_content(
    #[values(FaultCode::Semantica, FaultCode::SystemError, FaultCode::SintassiXsd, FaultCode::SintassiExtraXsd)]
    code: FaultCode,
    #[values(Version::V1, Version::V2)] version: Version,
) {
    assert!(write_fault(Operation::SendReceipt(version), &Fault::new(code, "77777777777")).is_err());
}

#[test]
fn a_schema_violation_is_answered_in_its_response_element() {
    let refused = read_text(&with(&full(VERIFY), "noticeNumber", "1")).unwrap_err();
    let (operation, fault) = Fault::of(&refused).unwrap();
    assert_eq!(operation, Operation::Verify);
    assert_eq!((fault.code, fault.id.as_str()), (FaultCode::SintassiXsd, "77777777777"));
    assert_eq!(fault.description, "qrCode.noticeNumber: must match [0-9]{18}");
    xsd::assert_valid(&write_fault(operation, &fault).unwrap());
}

#[test]
fn rules_beside_the_xsd_are_extra_xsd() {
    let far = with(&full(GET_PAYMENT), "dueDate", "12026-06-16");
    xsd::assert_valid(&far);
    let second = full(VERIFY).replace("</soapenv:Body>", "<odd/></soapenv:Body>");
    for (message, operation) in [(far, Operation::GetPayment(Version::V1)), (second, Operation::Verify)] {
        let refused = read_text(&message).unwrap_err();
        let (answered, fault) = Fault::of(&refused).unwrap();
        assert_eq!((answered, fault.code), (operation, FaultCode::SintassiExtraXsd));
    }
}

#[test]
fn unreadable_receipts_are_not_answered_by_a_fault() {
    let refused = read_text(&without(&full(SEND_RT), "receiptId")).unwrap_err();
    assert_eq!(Fault::of(&refused), None);
}

#[test]
fn the_id_is_who_was_addressed() {
    let id = |message: &str| Fault::of(&read_text(message).unwrap_err()).unwrap().1.id;
    let mut message = without(&full(VERIFY), "qrCode");
    for expected in ["77777777777", "88888888888", "88888888888_01", Fault::ID_UNKNOWN] {
        assert_eq!(id(&message), expected);
        for element in ["idPA", "idBrokerPA", "idStation"] {
            if message.contains(&format!("<{element}>")) {
                message = without(&message, element);
                break;
            }
        }
    }
}

proptest! {
    /// Whatever a caller puts into a fault, what is written is valid and has no empty element.
    #[test]
    fn every_fault_is_valid(
        code in sample::select(&FaultCode::ALL),
        operation in sample::select(&Operation::ALL),
        id in ".{0,60}",
        description in prop_oneof![Just(String::new()), ".{0,60}", "[\u{0}-\u{40}]{0,2000}"],
    ) {
        let fault = Fault::new(code, id).describe(description);
        match write_fault(operation, &fault) {
            Ok(message) => {
                xsd::assert_valid(&message);
                prop_assert!(!message.contains("<id></id>") && !message.contains("<description></description>"));
            }
            Err(refused) => {
                prop_assert_eq!(refused.rule, Rule::FaultOfOperation);
                prop_assert!(!code.answers(operation));
            }
        }
    }
}
