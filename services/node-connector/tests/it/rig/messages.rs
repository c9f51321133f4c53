//! Messages of the node, as text: nothing here shares code with the reader.

use fiorino_wire::Version;

use super::Names;

pub(crate) const NOTICE: &str = "312000000000471179";
pub(crate) const PROBE: &str = "000000000000000000";

/// A receipt; its fields can be changed before it is written.
#[derive(Debug, Clone)]
pub(crate) struct Receipt {
    pub(crate) version: Version,
    pub(crate) names: Names,
    pub(crate) id: String,
    pub(crate) issuer: String,
    pub(crate) amount: String,
    pub(crate) paid_at: String,
}

/// A message in its envelope.
pub(crate) fn envelope(element: &str, children: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\
         <soapenv:Envelope xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\"><soapenv:Header/><soapenv:Body>\
         <paf:{element} xmlns:paf=\"http://pagopa-api.pagopa.gov.it/pa/paForNode.xsd\">{children}</paf:{element}>\
         </soapenv:Body></soapenv:Envelope>"
    )
}

pub(crate) fn verify(names: &Names, notice: &str) -> String {
    envelope("paVerifyPaymentNoticeReq", &(header(names) + &qr_code(&names.institution, notice)))
}

pub(crate) fn get(version: Version, names: &Names, notice: &str) -> String {
    get_with(version, names, notice, "<amount>120.00</amount>")
}

/// `rest`: what follows the notice.
pub(crate) fn get_with(version: Version, names: &Names, notice: &str, rest: &str) -> String {
    let element = match version {
        Version::V1 => "paGetPaymentReq",
        Version::V2 => "paGetPaymentV2Request",
    };
    envelope(element, &(header(names) + &qr_code(&names.institution, notice) + rest))
}

pub(crate) fn demand(names: &Names) -> String {
    let service = "<idServizio>00001</idServizio><idSoggettoServizio>00001</idSoggettoServizio>\
                   <datiSpecificiServizioRequest>PGEvPg==</datiSpecificiServizioRequest>";
    envelope("paDemandPaymentNoticeRequest", &(header(names) + service))
}

pub(crate) fn header(names: &Names) -> String {
    let Names { broker, station, institution } = names;
    format!("<idPA>{institution}</idPA><idBrokerPA>{broker}</idBrokerPA><idStation>{station}</idStation>")
}

pub(crate) fn qr_code(institution: &str, notice: &str) -> String {
    format!("<qrCode><fiscalCode>{institution}</fiscalCode><noticeNumber>{notice}</noticeNumber></qrCode>")
}

// === impl Receipt ===

impl Receipt {
    pub(crate) fn new(names: &Names, receipt_id: &str) -> Self {
        Self {
            version: Version::V2,
            names: names.clone(),
            id: receipt_id.to_owned(),
            issuer: names.institution.clone(),
            amount: "120.00".to_owned(),
            paid_at: "2026-06-16T10:15:30".to_owned(),
        }
    }

    pub(crate) fn write(&self) -> String {
        let element = match self.version {
            Version::V1 => "paSendRTReq",
            Version::V2 => "paSendRTV2Request",
        };
        envelope(element, &format!("{}<receipt>{}</receipt>", header(&self.names), self.content()))
    }

    fn content(&self) -> String {
        let Self { id, issuer, amount, paid_at, .. } = self;
        format!(
            "<receiptId>{id}</receiptId><noticeNumber>{NOTICE}</noticeNumber><fiscalCode>{issuer}</fiscalCode>\
             <outcome>OK</outcome><creditorReferenceId>12000000000471179</creditorReferenceId>\
             <paymentAmount>{amount}</paymentAmount><description>TARI 2026 rata 1</description>\
             <companyName>Comune di Esempio</companyName><debtor><uniqueIdentifier>\
             <entityUniqueIdentifierType>F</entityUniqueIdentifierType>\
             <entityUniqueIdentifierValue>RSSMRA80A01H501U</entityUniqueIdentifierValue></uniqueIdentifier>\
             <fullName>Mario Rossi</fullName></debtor><transferList><transfer><idTransfer>1</idTransfer>\
             <transferAmount>{amount}</transferAmount><fiscalCodePA>{issuer}</fiscalCodePA>\
             <IBAN>IT60X0542811101000000123456</IBAN><remittanceInformation>TARI 2026 rata 1</remittanceInformation>\
             <transferCategory>9/0101101IM/</transferCategory></transfer></transferList><idPSP>AGID_01</idPSP>\
             <pspFiscalCode>97735020584</pspFiscalCode><PSPCompanyName>PSP di prova</PSPCompanyName>\
             <idChannel>97735020584_02</idChannel><channelDescription>app</channelDescription>\
             <paymentMethod>creditCard</paymentMethod><fee>1.50</fee><paymentDateTime>{paid_at}</paymentDateTime>\
             <applicationDate>2026-06-16</applicationDate><transferDate>2026-06-17</transferDate>"
        )
    }
}
