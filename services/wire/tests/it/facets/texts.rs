//! Texts are measured in characters, not bytes.

use fiorino_domain::secret::Masked;
use fiorino_wire::{MapEntry, Payment, Rule, Version, write_get_payment};

use super::{refuses, takes};
use crate::{
    answers::{assert_refused, assert_taken, assert_verify_refused, full_payment},
    messages::{DEMAND, GET_PAYMENT, GET_PAYMENT_V2, SEND_RT, SEND_RT_V2, VERIFY},
};

type Places = &'static [(&'static str, &'static [&'static str])];

const TEXT_16: Places = &[(SEND_RT, &["civicNumber", "postalCode"])];
const TEXT_20: Places = &[(SEND_RT, &["pspPartitaIVA"]), (SEND_RT_V2, &["pspPartitaIVA"])];
const TEXT_35: Places = &[
    (VERIFY, &["idPA", "idBrokerPA", "idStation"]),
    (GET_PAYMENT, &["idPA", "idBrokerPA", "idStation"]),
    (GET_PAYMENT_V2, &["idPA", "idBrokerPA", "idStation"]),
    (DEMAND, &["idPA", "idBrokerPA", "idStation"]),
    (SEND_RT, &["creditorReferenceId", "idPSP", "idChannel", "channelDescription", "paymentMethod"]),
    (SEND_RT_V2, &["creditorReferenceId", "city", "stateProvinceRegion"]),
];
const TEXT_70: Places = &[
    (SEND_RT, &["fullName", "streetName", "pspFiscalCode", "PSPCompanyName"]),
    (SEND_RT_V2, &["idBundle", "idCiBundle"]),
];
const TEXT_140: Places = &[
    (SEND_RT, &["description", "companyName", "officeName", "remittanceInformation", "transferCategory"]),
    (SEND_RT_V2, &["description", "key", "value"]),
];
const TEXT_210: Places =
    &[(GET_PAYMENT, &["paymentNote"]), (GET_PAYMENT_V2, &["paymentNote"]), (SEND_RT_V2, &["paymentNote"])];

/// As many characters, each of two bytes.
fn chars(count: u16) -> String {
    "é".repeat(count.into())
}

#[track_caller]
fn at_least_one(places: Places, max: u16) {
    for (message, elements) in places {
        for element in *elements {
            takes(message, element, "x");
            refuses(message, element, "", Rule::Length { min: 1, max });
        }
    }
}

#[track_caller]
fn at_most(places: Places, max: u16) {
    for (message, elements) in places {
        for element in *elements {
            takes(message, element, &chars(max));
            refuses(message, element, &chars(max + 1), Rule::Length { min: 1, max });
        }
    }
}

/// The writer's side of [`at_most`].
#[track_caller]
fn writes_at_most(set: impl Fn(&mut Payment, String), field: &str, max: u16) {
    assert_taken(|payment| set(payment, chars(max)));
    assert_refused(|payment| set(payment, chars(max + 1)), field, Rule::Length { min: 1, max });
}

fn set(place: &mut Option<Masked<String>>, text: String) {
    *place = Some(Masked::new(text));
}

#[test]
fn st_text16_min_length() {
    at_least_one(TEXT_16, 16);
}

#[test]
fn st_text16_max_length() {
    at_most(TEXT_16, 16);
    writes_at_most(|payment, text| set(&mut payment.debtor.civic_number, text), "data.debtor.civicNumber", 16);
    writes_at_most(|payment, text| set(&mut payment.debtor.postal_code, text), "data.debtor.postalCode", 16);
}

#[test]
fn st_text20_min_length() {
    at_least_one(TEXT_20, 20);
}

#[test]
fn st_text20_max_length() {
    at_most(TEXT_20, 20);
}

#[test]
fn st_text35_min_length() {
    at_least_one(TEXT_35, 35);
    assert_refused(|payment| payment.iuv.clear(), "data.creditorReferenceId", Rule::Missing);
}

#[test]
fn st_text35_max_length() {
    at_most(TEXT_35, 35);
    writes_at_most(|payment, text| payment.iuv = text, "data.creditorReferenceId", 35);
    writes_at_most(|payment, text| set(&mut payment.debtor.city, text), "data.debtor.city", 35);
    writes_at_most(|payment, text| set(&mut payment.debtor.province, text), "data.debtor.stateProvinceRegion", 35);
}

#[test]
fn st_text70_min_length() {
    at_least_one(TEXT_70, 70);
    assert_refused(|payment| payment.debtor.full_name = Masked::default(), "data.debtor.fullName", Rule::Missing);
}

#[test]
fn st_text70_max_length() {
    at_most(TEXT_70, 70);
    writes_at_most(|payment, text| payment.debtor.full_name = Masked::new(text), "data.debtor.fullName", 70);
    writes_at_most(|payment, text| set(&mut payment.debtor.street_name, text), "data.debtor.streetName", 70);
}

#[test]
fn st_text140_min_length() {
    at_least_one(TEXT_140, 140);
    assert_refused(|payment| payment.description.clear(), "data.description", Rule::Missing);
    let remittance = "data.transferList.transfer[2].remittanceInformation";
    assert_refused(|payment| payment.transfers[1].remittance_information.clear(), remittance, Rule::Missing);
    assert_refused(|payment| payment.metadata[0].key.clear(), "data.metadata.mapEntry[1].key", Rule::Missing);
    assert_refused(|payment| payment.metadata[0].value.clear(), "data.metadata.mapEntry[1].value", Rule::Missing);
}

#[test]
fn st_text140_max_length() {
    at_most(TEXT_140, 140);
    writes_at_most(|payment, text| payment.description = text, "data.description", 140);
    writes_at_most(|payment, text| payment.company_name = text, "data.companyName", 140);
    writes_at_most(|payment, text| payment.office_name = Some(text), "data.officeName", 140);
    let remittance = "data.transferList.transfer[1].remittanceInformation";
    writes_at_most(|payment, text| payment.transfers[0].remittance_information = text, remittance, 140);
    let entry = |key: String, value: String| vec![MapEntry { key, value }];
    writes_at_most(|payment, text| payment.metadata = entry(text, "v".into()), "data.metadata.mapEntry[1].key", 140);
    writes_at_most(|payment, text| payment.metadata = entry("k".into(), text), "data.metadata.mapEntry[1].value", 140);

    let rule = Rule::Length { min: 1, max: 140 };
    let detail = "paymentList.paymentOptionDescription.detailDescription";
    assert_verify_refused(|notice| notice.description = chars(141), detail, rule);
    assert_verify_refused(|notice| notice.company_name = chars(141), "companyName", rule);
    assert_verify_refused(|notice| notice.office_name = Some(chars(141)), "officeName", rule);

    let mut payment = full_payment();
    payment.transfers[0].company_name = Some(chars(141));
    let refused = write_get_payment(Version::V2, &payment).unwrap_err();
    assert_eq!((refused.field.as_str(), refused.rule), ("data.transferList.transfer[1].companyName", rule));
}

#[test]
fn st_text210_min_length() {
    at_least_one(TEXT_210, 210);
}

#[test]
fn st_text210_max_length() {
    at_most(TEXT_210, 210);
}

#[test]
fn st_iban_min_length() {
    at_least_one(&[(SEND_RT, &["IBAN"]), (SEND_RT_V2, &["IBAN"])], 35);
}

/// The writer takes an [`fiorino_domain::iban::Iban`] alone, which has 34 characters at most.
#[test]
fn st_iban_max_length() {
    at_most(&[(SEND_RT, &["IBAN"]), (SEND_RT_V2, &["IBAN"])], 35);
}

#[test]
fn st_entity_unique_identifier_value_min_length() {
    let rule = Rule::Length { min: 2, max: 16 };
    takes(SEND_RT, "entityUniqueIdentifierValue", "RS");
    refuses(SEND_RT, "entityUniqueIdentifierValue", "R", rule);
    let field = "data.debtor.uniqueIdentifier.entityUniqueIdentifierValue";
    assert_taken(|payment| payment.debtor.code = Masked::new("RS".into()));
    assert_refused(|payment| payment.debtor.code = Masked::new("R".into()), field, rule);
}

#[test]
fn st_entity_unique_identifier_value_max_length() {
    let rule = Rule::Length { min: 2, max: 16 };
    takes(SEND_RT, "entityUniqueIdentifierValue", &chars(16));
    refuses(SEND_RT, "entityUniqueIdentifierValue", &chars(17), rule);
    let field = "data.debtor.uniqueIdentifier.entityUniqueIdentifierValue";
    assert_taken(|payment| payment.debtor.code = Masked::new(chars(16)));
    assert_refused(|payment| payment.debtor.code = Masked::new(chars(17)), field, rule);
}

#[test]
fn st_identificativo_servizio_length() {
    let rule = Rule::Length { min: 5, max: 5 };
    takes(DEMAND, "idServizio", &chars(5));
    refuses(DEMAND, "idServizio", "0001", rule);
    refuses(DEMAND, "idServizio", "000001", rule);
}

#[test]
fn st_identificativo_soggetto_servizio_length() {
    let rule = Rule::Length { min: 5, max: 5 };
    takes(DEMAND, "idSoggettoServizio", &chars(5));
    refuses(DEMAND, "idSoggettoServizio", "0001", rule);
    refuses(DEMAND, "idSoggettoServizio", "000001", rule);
}

#[test]
fn st_e_mail_max_length() {
    let (longest, longer) = (format!("a@{}", "b".repeat(254)), format!("a@{}", "b".repeat(255)));
    takes(SEND_RT, "e-mail", &longest);
    refuses(SEND_RT, "e-mail", &longer, Rule::Length { min: 1, max: 256 });
    writes_at_most_email(&longest, &longer);
}

fn writes_at_most_email(longest: &str, longer: &str) {
    assert_taken(|payment| set(&mut payment.debtor.email, longest.to_owned()));
    let rule = Rule::Length { min: 1, max: 256 };
    assert_refused(|payment| set(&mut payment.debtor.email, longer.to_owned()), "data.debtor.e-mail", rule);
}
