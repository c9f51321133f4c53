//! Messages of the node as text, so that anything can be written into them.

use anyhow::Result;

use super::Town;
use fiorino_e2e::town::Names;

/// What the node says of its messages.
pub(super) const TEXT_XML: (&str, &str) = ("Content-Type", "text/xml; charset=utf-8");

/// Somebody in a message: already escaped for XML.
#[derive(Debug, Clone, Copy)]
pub(super) struct Person {
    pub(super) code: &'static str,
    pub(super) name: &'static str,
    pub(super) email: &'static str,
    pub(super) street: &'static str,
    pub(super) city: &'static str,
}

/// A receipt; its fields can be changed before it is written.
#[derive(Debug, Clone)]
pub(super) struct Receipt {
    pub(super) v2: bool,
    pub(super) names: Names,
    pub(super) id: String,
    pub(super) notice: String,
    pub(super) description: String,
    pub(super) iban: String,
    pub(super) note: String,
    pub(super) debtor: Person,
    pub(super) payer: Option<Person>,
}

/// What the node is answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) text: String,
}

/// A message in its envelope.
pub(super) fn envelope(element: &str, children: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\
         <soapenv:Envelope xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\"><soapenv:Header/><soapenv:Body>\
         <paf:{element} xmlns:paf=\"http://pagopa-api.pagopa.gov.it/pa/paForNode.xsd\">{children}</paf:{element}>\
         </soapenv:Body></soapenv:Envelope>"
    )
}

pub(super) fn verify(names: &Names, notice: &str) -> String {
    envelope("paVerifyPaymentNoticeReq", &(header(names) + &qr_code(&names.fiscal_code, notice)))
}

/// `element`: `paGetPaymentReq` or `paGetPaymentV2Request`; `rest`: what follows the amount.
pub(super) fn get(element: &str, names: &Names, notice: &str, rest: &str) -> String {
    let notice = qr_code(&names.fiscal_code, notice);
    envelope(element, &format!("{}{notice}<amount>120.00</amount>{rest}", header(names)))
}

pub(super) fn demand(names: &Names) -> String {
    let service = "<idServizio>00001</idServizio><idSoggettoServizio>00001</idSoggettoServizio>\
                   <datiSpecificiServizioRequest>PGEvPg==</datiSpecificiServizioRequest>";
    envelope("paDemandPaymentNoticeRequest", &(header(names) + service))
}

pub(super) fn header(names: &Names) -> String {
    let Names { broker, station, fiscal_code, .. } = names;
    format!("<idPA>{fiscal_code}</idPA><idBrokerPA>{broker}</idBrokerPA><idStation>{station}</idStation>")
}

pub(super) fn qr_code(institution: &str, notice: &str) -> String {
    format!("<qrCode><fiscalCode>{institution}</fiscalCode><noticeNumber>{notice}</noticeNumber></qrCode>")
}

/// Sends a message to the first replica, whatever it is.
pub(super) async fn send(town: &Town, station: &str, message: impl Into<reqwest::Body>) -> Result<Answer> {
    send_with(town, station, &[TEXT_XML], message).await
}

/// ... with these headers.
pub(super) async fn send_with(
    town: &Town,
    station: &str,
    headers: &[(&str, &str)],
    message: impl Into<reqwest::Body>,
) -> Result<Answer> {
    let mut url = reqwest::Url::parse(&town.world.addresses().node_urls[0])?;
    if let Ok(mut path) = url.path_segments_mut() {
        path.extend(["node", "v1", station]);
    }
    let request = reqwest::Client::new().post(url).body(message);
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let response = request.send().await?;
    Ok(Answer { status: response.status().as_u16(), text: response.text().await? })
}

// === impl Receipt ===

impl Receipt {
    pub(super) fn new(names: &Names, id: &str, notice: &str, debtor: Person) -> Self {
        Self {
            v2: true,
            names: names.clone(),
            id: id.to_owned(),
            notice: notice.to_owned(),
            description: "TARI 2026 rata 1".to_owned(),
            iban: names.iban.clone(),
            note: "carrello".to_owned(),
            debtor,
            payer: None,
        }
    }

    pub(super) fn write(&self) -> String {
        let element = if self.v2 { "paSendRTV2Request" } else { "paSendRTReq" };
        envelope(element, &format!("{}<receipt>{}</receipt>", header(&self.names), self.content()))
    }

    fn content(&self) -> String {
        let Self { id, notice, description, iban, .. } = self;
        let issuer = &self.names.fiscal_code;
        let iuv = notice.get(1..).unwrap_or_default();
        let debtor = self.debtor.element("debtor");
        let payer = self.payer.map(|payer| payer.element("payer")).unwrap_or_default();
        // Neither exists in the first version.
        let company = if self.v2 { "<companyName>Comune di Roccafiorina</companyName>" } else { "" };
        let note = if self.v2 { format!("<paymentNote>{}</paymentNote>", self.note) } else { String::new() };
        format!(
            "<receiptId>{id}</receiptId><noticeNumber>{notice}</noticeNumber><fiscalCode>{issuer}</fiscalCode>\
             <outcome>OK</outcome><creditorReferenceId>{iuv}</creditorReferenceId><paymentAmount>120.00</paymentAmount>\
             <description>{description}</description><companyName>Comune di Roccafiorina</companyName>{debtor}\
             <transferList><transfer><idTransfer>1</idTransfer><transferAmount>120.00</transferAmount>\
             <fiscalCodePA>{issuer}</fiscalCodePA>{company}<IBAN>{iban}</IBAN>\
             <remittanceInformation>{description}</remittanceInformation>\
             <transferCategory>9/0101101IM/</transferCategory></transfer></transferList><idPSP>AGID_01</idPSP>\
             <pspFiscalCode>97735020584</pspFiscalCode><PSPCompanyName>PSP di prova</PSPCompanyName>\
             <idChannel>97735020584_02</idChannel><channelDescription>app</channelDescription>{payer}\
             <paymentMethod>creditCard</paymentMethod>{note}<fee>1.50</fee>\
             <paymentDateTime>2026-06-16T10:15:30</paymentDateTime>\
             <applicationDate>2026-06-16</applicationDate><transferDate>2026-06-17</transferDate>"
        )
    }
}

// === impl Person ===

impl Person {
    fn element(&self, name: &str) -> String {
        let Self { code, name: full_name, email, street, city } = self;
        format!(
            "<{name}><uniqueIdentifier><entityUniqueIdentifierType>F</entityUniqueIdentifierType>\
             <entityUniqueIdentifierValue>{code}</entityUniqueIdentifierValue></uniqueIdentifier>\
             <fullName>{full_name}</fullName><streetName>{street}</streetName><civicNumber>7</civicNumber>\
             <postalCode>29010</postalCode><city>{city}</city><stateProvinceRegion>PC</stateProvinceRegion>\
             <country>IT</country><e-mail>{email}</e-mail></{name}>"
        )
    }
}

// === impl Answer ===

impl Answer {
    /// The outcome, or the fault's code.
    pub(super) fn says(&self, told: &str) -> bool {
        self.text.contains(&format!(">{told}<"))
    }
}
