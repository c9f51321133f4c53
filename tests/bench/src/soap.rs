//! The messages of the node.

use std::sync::Arc;

use crate::{
    http::Requests,
    region::{BROKER, IBAN, Notice, STATION},
};

const PATH: &str = "/node/v1/15376371009_01";

/// paVerifyPaymentNotice.
pub(crate) fn verify(notices: &[Notice]) -> Arc<Requests> {
    prepared(notices, "paVerifyPaymentNotice", |notice, _| {
        envelope("paVerifyPaymentNoticeReq", &format!("{}{}", header(notice), qr_code(notice)))
    })
}

/// paGetPaymentV2.
pub(crate) fn get(notices: &[Notice]) -> Arc<Requests> {
    prepared(notices, "paGetPaymentV2", |notice, _| {
        let body = format!("{}{}<amount>120.00</amount>", header(notice), qr_code(notice));
        envelope("paGetPaymentV2Request", &body)
    })
}

/// paSendRTV2; receipt ids are unique over the run by `series`.
pub(crate) fn receipts(notices: &[Notice], series: &str) -> Arc<Requests> {
    prepared(notices, "paSendRTV2", |notice, index| {
        let receipt = receipt(notice, &format!("{series}{index:024}"));
        envelope("paSendRTV2Request", &format!("{}<receipt>{receipt}</receipt>", header(notice)))
    })
}

fn prepared(notices: &[Notice], action: &str, body: impl Fn(&Notice, usize) -> String) -> Arc<Requests> {
    let mut requests = Requests::default();
    for (index, notice) in notices.iter().enumerate() {
        requests.post(PATH, action, &body(notice, index));
    }
    Arc::new(requests)
}

fn envelope(element: &str, children: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\
         <soapenv:Envelope xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\"><soapenv:Header/><soapenv:Body>\
         <paf:{element} xmlns:paf=\"http://pagopa-api.pagopa.gov.it/pa/paForNode.xsd\">{children}</paf:{element}>\
         </soapenv:Body></soapenv:Envelope>"
    )
}

fn header(notice: &Notice) -> String {
    let institution = &notice.institution;
    format!("<idPA>{institution}</idPA><idBrokerPA>{BROKER}</idBrokerPA><idStation>{STATION}</idStation>")
}

fn qr_code(notice: &Notice) -> String {
    let Notice { institution, number } = notice;
    format!("<qrCode><fiscalCode>{institution}</fiscalCode><noticeNumber>{number}</noticeNumber></qrCode>")
}

fn receipt(notice: &Notice, id: &str) -> String {
    let Notice { institution, number } = notice;
    let reference = number.get(1..).unwrap_or_default();
    format!(
        "<receiptId>{id}</receiptId><noticeNumber>{number}</noticeNumber><fiscalCode>{institution}</fiscalCode>\
         <outcome>OK</outcome><creditorReferenceId>{reference}</creditorReferenceId>\
         <paymentAmount>120.00</paymentAmount><description>TARI 2026 rata unica</description>\
         <companyName>Comune {institution}</companyName><debtor><uniqueIdentifier>\
         <entityUniqueIdentifierType>F</entityUniqueIdentifierType>\
         <entityUniqueIdentifierValue>RSSMRA80A01H501U</entityUniqueIdentifierValue></uniqueIdentifier>\
         <fullName>Mario Rossi</fullName></debtor><transferList><transfer><idTransfer>1</idTransfer>\
         <transferAmount>120.00</transferAmount><fiscalCodePA>{institution}</fiscalCodePA><IBAN>{IBAN}</IBAN>\
         <remittanceInformation>TARI 2026 rata unica</remittanceInformation>\
         <transferCategory>9/0101101IM/</transferCategory></transfer></transferList><idPSP>AGID_01</idPSP>\
         <pspFiscalCode>97735020584</pspFiscalCode><PSPCompanyName>PSP di prova</PSPCompanyName>\
         <idChannel>97735020584_02</idChannel><channelDescription>app</channelDescription>\
         <paymentMethod>creditCard</paymentMethod><fee>1.50</fee><paymentDateTime>2026-06-16T10:15:30</paymentDateTime>\
         <applicationDate>2026-06-16</applicationDate><transferDate>2026-06-17</transferDate>"
    )
}
