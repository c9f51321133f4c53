//! `paGetPaymentRes` and `paGetPaymentV2Response` (pagopa.md 2.5, 2.6).

use base64::{Engine, prelude::BASE64_STANDARD};
use fiorino_domain::money::Cents;

use super::{Result, xml::Xml};
use crate::{
    answer::{Account, Debtor, Payment, Stamp, Transfer},
    lexical,
    operation::Version,
    rule::Rule,
};

const TRANSFERS_MAX: u8 = 5;

pub(super) fn write(xml: &mut Xml, version: Version, payment: &Payment) -> Result<()> {
    xml.element("data", |xml| {
        xml.text("creditorReferenceId", 35, &payment.iuv)?;
        xml.amount("paymentAmount", payment.amount)?;
        let sum = Cents::checked_sum(payment.transfers.iter().map(|transfer| transfer.amount));
        if sum != Ok(payment.amount) {
            return Err(xml.refuse("paymentAmount", Rule::Sum));
        }
        xml.date("dueDate", payment.due.written());
        xml.text("description", 140, &payment.description)?;
        xml.text("companyName", 140, &payment.company_name)?;
        xml.maybe_text("officeName", 140, payment.office_name.as_deref())?;
        xml.element("debtor", |xml| debtor(xml, &payment.debtor))?;
        transfers(xml, version, &payment.transfers)?;
        xml.metadata(&payment.metadata)
    })
}

fn debtor(xml: &mut Xml, debtor: &Debtor) -> Result<()> {
    xml.element("uniqueIdentifier", |xml| {
        xml.plain("entityUniqueIdentifierType", debtor.kind.as_str());
        xml.bounded("entityUniqueIdentifierValue", 2, 16, debtor.code.expose())
    })?;
    xml.text("fullName", 70, debtor.full_name.expose())?;
    xml.maybe_masked("streetName", 70, debtor.street_name.as_ref())?;
    xml.maybe_masked("civicNumber", 16, debtor.civic_number.as_ref())?;
    xml.maybe_masked("postalCode", 16, debtor.postal_code.as_ref())?;
    xml.maybe_masked("city", 35, debtor.city.as_ref())?;
    xml.maybe_masked("stateProvinceRegion", 35, debtor.province.as_ref())?;
    xml.maybe_matching("country", lexical::two_capitals, debtor.country.as_ref())?;
    xml.maybe_matching("e-mail", lexical::email, debtor.email.as_ref())
}

fn transfers(xml: &mut Xml, version: Version, transfers: &[Transfer]) -> Result<()> {
    if !(1..=usize::from(TRANSFERS_MAX)).contains(&transfers.len()) {
        return Err(xml.refuse("transferList", Rule::Entries { min: 1, max: TRANSFERS_MAX }));
    }
    xml.element("transferList", |xml| {
        for (place, one) in (1..).zip(transfers) {
            xml.nested("transfer", Some(place), |xml| transfer(xml, version, place, one))?;
        }
        Ok(())
    })
}

fn transfer(xml: &mut Xml, version: Version, place: usize, transfer: &Transfer) -> Result<()> {
    if usize::try_from(transfer.id) != Ok(place) {
        return Err(xml.refuse("idTransfer", Rule::TransferId));
    }
    xml.plain("idTransfer", &place.to_string());
    xml.amount("transferAmount", transfer.amount)?;
    xml.institution("fiscalCodePA", transfer.institution);
    if version == Version::V2 {
        xml.maybe_text("companyName", 140, transfer.company_name.as_deref())?;
    }
    match (&transfer.account, version) {
        (Account::Iban(iban), _) => xml.text("IBAN", 35, iban.expose())?,
        (Account::Stamp(request), Version::V2) => xml.element("richiestaMarcaDaBollo", |xml| stamp(xml, request))?,
        (Account::Stamp(_), Version::V1) => return Err(xml.refuse("richiestaMarcaDaBollo", Rule::VersionTwo)),
    }
    xml.text("remittanceInformation", 140, &transfer.remittance_information)?;
    xml.text("transferCategory", 140, transfer.category.as_str())?;
    xml.metadata(&transfer.metadata)
}

/// A hash of 32 bytes is 44 characters of base64, within the 4..72 of `stBase64Binary72`.
fn stamp(xml: &mut Xml, stamp: &Stamp) -> Result<()> {
    xml.plain("hashDocumento", &BASE64_STANDARD.encode(stamp.document_hash));
    xml.plain("tipoBollo", "01");
    xml.matching("provinciaResidenza", lexical::two_capitals, &stamp.province)
}
