use fiorino_simulator::judge::{self, Operation, Verdict};
use rstest::rstest;

use crate::samples;

const XML: Option<&str> = Some("text/xml; charset=utf-8");

fn rules(operation: Operation, body: &str) -> Vec<&'static str> {
    match judge::judge(operation, 200, XML, body.as_bytes()) {
        Verdict::Refused(violations) => violations.iter().map(|v| v.rule).collect(),
        Verdict::Ok(_) | Verdict::Ko(_) => Vec::new(),
    }
}

#[rstest]
#[case(Operation::Verify, "paVerifyPaymentNotice.res.ok.xml")]
#[case(Operation::Verify, "paVerifyPaymentNotice.res.ko.xml")]
#[case(Operation::GetPayment, "paGetPayment.res.ok.xml")]
#[case(Operation::GetPaymentV2, "paGetPaymentV2.res.ok.xml")]
#[case(Operation::GetPaymentV2, "paGetPaymentV2.res.bollo.xml")]
#[case(Operation::SendRt, "paSendRT.res.ok.xml")]
#[case(Operation::SendRt, "paSendRT.res.ko.xml")]
#[case(Operation::SendRtV2, "paSendRTV2.res.ok.xml")]
fn valid_samples_are_accepted(#[case] operation: Operation, #[case] name: &str) {
    let Some(sample) = samples::load(name) else { return };
    assert_eq!(rules(operation, &sample), Vec::<&str>::new());
}

/// The rows of PagoPA's own lists of answers to paVerifyPaymentNotice that the node refuses.
#[rstest]
#[case::empty_outcome("<outcome>OK</outcome>", "<outcome/>", "xsd-facet")]
#[case::no_outcome("<outcome>OK</outcome>", "", "xsd-missing")]
#[case::unknown_outcome("<outcome>OK</outcome>", "<outcome>PP</outcome>", "xsd-facet")]
#[case::ko_without_fault("<outcome>OK</outcome>", "<outcome>KO</outcome>", "ko-without-fault")]
#[case::amount_comma("<amount>120.00</amount>", "<amount>11,34</amount>", "xsd-facet")]
#[case::amount_three_decimals("<amount>120.00</amount>", "<amount>11.342</amount>", "xsd-facet")]
#[case::amount_one_decimal("<amount>120.00</amount>", "<amount>11.3</amount>", "xsd-facet")]
#[case::amount_too_large("<amount>120.00</amount>", "<amount>1219087657.34</amount>", "xsd-facet")]
#[case::amount_zero("<amount>120.00</amount>", "<amount>0.00</amount>", "xsd-facet")]
#[case::due_date_american("<dueDate>2026-06-16</dueDate>", "<dueDate>12-28-2022</dueDate>", "xsd-facet")]
#[case::due_date_missing("<dueDate>2026-06-16</dueDate>", "", "verify-required")]
#[case::options_unknown("<options>EQ</options>", "<options>XX</options>", "xsd-facet")]
#[case::options_less("<options>EQ</options>", "<options>LS</options>", "verify-options")]
#[case::all_ccp_three("<allCCP>false</allCCP>", "<allCCP>3</allCCP>", "xsd-facet")]
#[case::all_ccp_missing("<allCCP>false</allCCP>", "", "xsd-missing")]
#[case::office_empty("<officeName>Ufficio Tributi</officeName>", "<officeName/>", "xsd-facet")]
#[case::company_missing("<companyName>Comune di Esempio</companyName>", "", "verify-required")]
#[case::description_missing("<paymentDescription>TARI 2026 rata 1</paymentDescription>", "", "verify-required")]
#[case::fiscal_code_missing("<fiscalCodePA>77777777777</fiscalCodePA>", "", "verify-required")]
#[case::fiscal_code_short(
    "<fiscalCodePA>77777777777</fiscalCodePA>",
    "<fiscalCodePA>7777777777</fiscalCodePA>",
    "xsd-facet"
)]
#[case::child_in_namespace("<outcome>OK</outcome>", "<paf:outcome>OK</paf:outcome>", "xsd-namespace")]
#[case::unknown_element("<outcome>OK</outcome>", "<outcome>OK</outcome><extra/>", "xsd-unexpected")]
#[case::dtd("<soapenv:Envelope", "<!DOCTYPE x><soapenv:Envelope", "xml-dtd")]
#[case::soap_12(
    "http://schemas.xmlsoap.org/soap/envelope/",
    "http://www.w3.org/2003/05/soap-envelope",
    "soap-envelope"
)]
fn refused_answers_to_verify(#[case] from: &str, #[case] to: &str, #[case] rule: &str) {
    let Some(sample) = samples::load("paVerifyPaymentNotice.res.ok.xml") else { return };
    let mutated = sample.replace(from, to);
    assert_ne!(mutated, sample, "the mutation must hit");
    let found = rules(Operation::Verify, &mutated);
    assert!(found.contains(&rule), "{found:?}");
}

#[rstest]
#[case::too_long(141, true)]
#[case::longest(140, false)]
fn texts_are_counted_in_characters(#[case] length: usize, #[case] refused: bool) {
    let Some(sample) = samples::load("paVerifyPaymentNotice.res.ok.xml") else { return };
    let mutated = sample.replace("Comune di Esempio", &"è".repeat(length));
    assert_eq!(rules(Operation::Verify, &mutated).contains(&"xsd-facet"), refused);
}

#[test]
fn a_second_option_is_refused() {
    let Some(sample) = samples::load("paVerifyPaymentNotice.res.ok.xml") else { return };
    let start = sample.find("<paymentOptionDescription>").unwrap();
    let end = sample.find("</paymentList>").unwrap();
    let option = sample[start..end].to_owned();
    let mutated = sample.replace("</paymentList>", &format!("{option}</paymentList>"));
    assert!(rules(Operation::Verify, &mutated).contains(&"xsd-too-many"));
}

/// The rows of PagoPA's own lists of answers to paGetPayment that the node refuses.
#[rstest]
#[case::country_three("</fullName>", "</fullName><country>ITA</country>", "xsd-facet")]
#[case::country_lower("</fullName>", "</fullName><country>it</country>", "xsd-facet")]
#[case::email_without_at("</fullName>", "</fullName><e-mail>nobody.example.it</e-mail>", "xsd-facet")]
#[case::id_transfer_six("<idTransfer>2</idTransfer>", "<idTransfer>6</idTransfer>", "xsd-facet")]
#[case::id_transfer_letter("<idTransfer>2</idTransfer>", "<idTransfer>a</idTransfer>", "xsd-facet")]
#[case::id_transfer_twice("<idTransfer>2</idTransfer>", "<idTransfer>1</idTransfer>", "transfer-ids")]
#[case::sum("<transferAmount>20.00</transferAmount>", "<transferAmount>20.01</transferAmount>", "transfer-sum")]
#[case::beneficiary_twelve(
    "<fiscalCodePA>01199250158</fiscalCodePA>",
    "<fiscalCodePA>011992501580</fiscalCodePA>",
    "xsd-facet"
)]
#[case::iban_empty("<IBAN>IT60X0542811101000000123456</IBAN>", "<IBAN/>", "xsd-facet")]
#[case::iban_36("IT60X0542811101000000123456", "IT60X0542811101000000123456ABCDEFGHI", "xsd-facet")]
#[case::iban_spaces("IT60X0542811101000000123456", "IT60 X0542811101000000123456", "iban-syntax")]
#[case::due_date("<dueDate>2026-06-16</dueDate>", "", "xsd-missing")]
#[case::description("<description>TARI 2026 rata 1</description>", "", "xsd-missing")]
#[case::order("<creditorReferenceId>12000000000471179</creditorReferenceId>", "", "xsd-missing")]
#[case::person("<entityUniqueIdentifierType>F<", "<entityUniqueIdentifierType>X<", "xsd-facet")]
#[case::entity("<fullName>Mario Rossi</fullName>", "<fullName>&who;</fullName>", "xml-entity")]
#[case::attribute("<fullName>", "<fullName lang=\"it\">", "xsd-attribute")]
#[case::attribute_of_a_sequence("<debtor>", "<debtor id=\"1\">", "xsd-attribute")]
#[case::attribute_twice("<debtor>", "<debtor id=\"1\" id=\"2\">", "xml-well-formed")]
#[case::attribute_of_nobody("<debtor>", "<debtor x:id=\"1\">", "xml-namespace")]
fn refused_answers_to_get_payment(#[case] from: &str, #[case] to: &str, #[case] rule: &str) {
    let Some(sample) = samples::load("paGetPayment.res.ok.xml") else { return };
    let mutated = sample.replace(from, to);
    assert_ne!(mutated, sample, "the mutation must hit");
    let found = rules(Operation::GetPayment, &mutated);
    assert!(found.contains(&rule), "{found:?}");
}

/// What paGetPaymentV2 has beyond paGetPayment: a mandatory name, names and stamps of transfers.
#[rstest]
#[case::company_missing("<companyName>Comune di Esempio</companyName>", "", "xsd-missing")]
#[case::amount_zero("<paymentAmount>120.00</paymentAmount>", "<paymentAmount>0.00</paymentAmount>", "xsd-facet")]
#[case::due_date("<dueDate>2026-06-16</dueDate>", "", "xsd-missing")]
#[case::debtor_twice("<debtor>", "<debtor/><debtor>", "xsd-too-many")]
#[case::id_transfer_eleven("<idTransfer>1</idTransfer>", "<idTransfer>11</idTransfer>", "xsd-facet")]
#[case::neither_account_nor_stamp("<IBAN>IT60X0542811101000000123456</IBAN>", "", "xsd-missing")]
#[case::account_and_stamp(
    "<IBAN>IT60X0542811101000000123456</IBAN>",
    "<IBAN>IT60X0542811101000000123456</IBAN><richiestaMarcaDaBollo/>",
    "xsd-too-many"
)]
#[case::sum("<paymentAmount>120.00</paymentAmount>", "<paymentAmount>120.01</paymentAmount>", "transfer-sum")]
fn refused_answers_to_get_payment_v2(#[case] from: &str, #[case] to: &str, #[case] rule: &str) {
    let Some(sample) = samples::load("paGetPaymentV2.res.ok.xml") else { return };
    let mutated = sample.replacen(from, to, 1);
    assert_ne!(mutated, sample, "the mutation must hit");
    let found = rules(Operation::GetPaymentV2, &mutated);
    assert!(found.contains(&rule), "{found:?}");
}

#[test]
fn attributes_of_xml_schema_and_namespaces_are_allowed_everywhere() {
    let Some(sample) = samples::load("paGetPayment.res.ok.xml") else { return };
    let xsi = "<debtor xmlns:i=\"http://www.w3.org/2001/XMLSchema-instance\" i:schemaLocation=\"a b\">";
    let mutated = sample.replace("<debtor>", xsi);
    assert_ne!(mutated, sample, "the mutation must hit");
    assert_eq!(rules(Operation::GetPayment, &mutated), Vec::<&str>::new());
}

#[test]
fn company_name_is_required_in_v2_and_optional_in_v1() {
    let (Some(v1), Some(v2)) = (samples::load("paGetPayment.res.ok.xml"), samples::load("paGetPaymentV2.res.ok.xml"))
    else {
        return;
    };
    let without = |text: String| text.replacen("<companyName>Comune di Esempio</companyName>", "", 1);
    assert_eq!(rules(Operation::GetPayment, &without(v1)), Vec::<&str>::new());
    assert!(rules(Operation::GetPaymentV2, &without(v2)).contains(&"xsd-missing"));
}

#[rstest]
#[case(500, XML, "http-status")]
#[case(200, Some("application/json"), "content-type")]
#[case(200, None, "content-type")]
#[case(200, Some("text/xml; charset=utf-16"), "content-charset")]
#[case(200, Some("text/xml; action=\"x\"; charset=\"ISO-8859-1\""), "content-charset")]
fn transport_is_judged_first(#[case] status: u16, #[case] content_type: Option<&str>, #[case] rule: &str) {
    let Verdict::Refused(found) = judge::judge(Operation::SendRt, status, content_type, b"") else {
        panic!("accepted")
    };
    assert_eq!(found.first().map(|v| v.rule), Some(rule));
}

#[test]
fn a_fault_of_another_operation_is_refused() {
    let Some(sample) = samples::load("paVerifyPaymentNotice.res.ko.xml") else { return };
    let mutated = sample.replace("PAA_PAGAMENTO_SCONOSCIUTO", "PAA_RECEIPT_DUPLICATA");
    assert_eq!(rules(Operation::Verify, &mutated), ["fault-code"]);
}
