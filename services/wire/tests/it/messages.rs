//! Requests of the node with every field that the XSD knows, and ways to spoil them.

use fiorino_wire::{GetPaymentRequest, Limits, ReadError, ReceiptMessage, Request, Violation, read};

pub(crate) const VERIFY: &str = "paVerifyPaymentNoticeReq";
pub(crate) const GET_PAYMENT: &str = "paGetPaymentReq";
pub(crate) const GET_PAYMENT_V2: &str = "paGetPaymentV2Request";
pub(crate) const SEND_RT: &str = "paSendRTReq";
pub(crate) const SEND_RT_V2: &str = "paSendRTV2Request";
pub(crate) const DEMAND: &str = "paDemandPaymentNoticeRequest";

pub(crate) const ALL: [&str; 6] = [VERIFY, GET_PAYMENT, GET_PAYMENT_V2, SEND_RT, SEND_RT_V2, DEMAND];

const HEADER: &str =
    "<idPA>77777777777</idPA><idBrokerPA>88888888888</idBrokerPA><idStation>88888888888_01</idStation>";

const QR_CODE: &str =
    "<qrCode><fiscalCode>77777777777</fiscalCode><noticeNumber>312000000000471179</noticeNumber></qrCode>";

const SUBJECT: &str = "<uniqueIdentifier><entityUniqueIdentifierType>F</entityUniqueIdentifierType>\
    <entityUniqueIdentifierValue>RSSMRA80A01H501U</entityUniqueIdentifierValue></uniqueIdentifier>\
    <fullName>Mario Rossi</fullName><streetName>via Roma</streetName><civicNumber>1/A</civicNumber>\
    <postalCode>50122</postalCode><city>Firenze</city><stateProvinceRegion>FI</stateProvinceRegion>\
    <country>IT</country><e-mail>mario.rossi@example.org</e-mail>";

const METADATA: &str = "<metadata><mapEntry><key>TARI-TEFA-1</key><value>A000|2023|3944</value></mapEntry></metadata>";

/// A message in its envelope.
pub(crate) fn envelope(element: &str, content: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\
         <soapenv:Envelope xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\"><soapenv:Header/><soapenv:Body>\
         <paf:{element} xmlns:paf=\"http://pagopa-api.pagopa.gov.it/pa/paForNode.xsd\">{content}</paf:{element}>\
         </soapenv:Body></soapenv:Envelope>"
    )
}

/// The request with that element, every optional field included.
pub(crate) fn full(element: &str) -> String {
    let content = match element {
        VERIFY => format!("{HEADER}{QR_CODE}"),
        GET_PAYMENT | GET_PAYMENT_V2 => format!(
            "{HEADER}{QR_CODE}<amount>120.00</amount><paymentNote>cart-0001</paymentNote>\
             <transferType>POSTAL</transferType><dueDate>2026-06-16</dueDate>"
        ),
        DEMAND => format!(
            "{HEADER}<idServizio>00001</idServizio><idSoggettoServizio>00002</idSoggettoServizio>\
             <datiSpecificiServizioRequest>PGE+MTwvYT4=</datiSpecificiServizioRequest>"
        ),
        SEND_RT => format!("{HEADER}<receipt>{}</receipt>", receipt("", "")),
        _ => format!(
            "{HEADER}<receipt>{}</receipt>",
            receipt(
                "<companyName>Provincia di Esempio</companyName>",
                "<primaryCiIncurredFee>0.50</primaryCiIncurredFee><idBundle>1</idBundle><idCiBundle>2</idCiBundle>"
            )
        ),
    };
    envelope(element, &content)
}

fn receipt(beneficiary: &str, v2_fees: &str) -> String {
    let note = if v2_fees.is_empty() { "" } else { "<paymentNote>cart-0001</paymentNote>" };
    let second = if v2_fees.is_empty() {
        "<IBAN>IT60X0542811101000000123456</IBAN>"
    } else {
        "<MBDAttachment>PGE+MTwvYT4=</MBDAttachment>"
    };
    format!(
        "<receiptId>c110729d258c4ab1b765fe902aae41d6</receiptId><noticeNumber>312000000000471179</noticeNumber>\
         <fiscalCode>77777777777</fiscalCode><outcome>OK</outcome>\
         <creditorReferenceId>12000000000471179</creditorReferenceId><paymentAmount>120.00</paymentAmount>\
         <description>TARI 2026 rata 1</description><companyName>Comune di Esempio</companyName>\
         <officeName>Ufficio Tributi</officeName><debtor>{SUBJECT}</debtor><transferList>\
         <transfer><idTransfer>1</idTransfer><transferAmount>100.00</transferAmount>\
         <fiscalCodePA>77777777777</fiscalCodePA>{beneficiary}<IBAN>IT30N0103076271000001823603</IBAN>\
         <remittanceInformation>TARI 2026</remittanceInformation><transferCategory>9/0101101IM/</transferCategory>\
         {METADATA}</transfer>\
         <transfer><idTransfer>2</idTransfer><transferAmount>20.00</transferAmount>\
         <fiscalCodePA>01199250158</fiscalCodePA>{beneficiary}{second}\
         <remittanceInformation>TEFA 2026</remittanceInformation><transferCategory>9/0201102IM/</transferCategory>\
         </transfer></transferList>\
         <idPSP>AGID_01</idPSP><pspFiscalCode>97735020584</pspFiscalCode><pspPartitaIVA>97735020584</pspPartitaIVA>\
         <PSPCompanyName>PSP di prova</PSPCompanyName><idChannel>97735020584_02</idChannel>\
         <channelDescription>app</channelDescription><payer>{SUBJECT}</payer><paymentMethod>creditCard</paymentMethod>\
         {note}<fee>1.50</fee>{v2_fees}<paymentDateTime>2026-06-16T10:15:30</paymentDateTime>\
         <applicationDate>2026-06-16</applicationDate><transferDate>2026-06-17</transferDate>{METADATA}\
         <standIn>false</standIn>"
    )
}

/// Begin and end of the first element of that name, tags included.
pub(crate) fn span(message: &str, element: &str) -> (usize, usize) {
    let (open, close) = (format!("<{element}>"), format!("</{element}>"));
    let begin = message.find(&open).unwrap_or_else(|| panic!("no <{element}> in {message}"));
    let end = begin + message[begin..].find(&close).unwrap() + close.len();
    (begin, end)
}

/// The message with something else in place of its first element of that name.
pub(crate) fn replace(message: &str, element: &str, by: &str) -> String {
    let (begin, end) = span(message, element);
    format!("{}{by}{}", &message[..begin], &message[end..])
}

/// The message with another content of its first element of that name.
pub(crate) fn with(message: &str, element: &str, content: &str) -> String {
    replace(message, element, &format!("<{element}>{content}</{element}>"))
}

/// The message without its first element of that name.
pub(crate) fn without(message: &str, element: &str) -> String {
    replace(message, element, "")
}

/// The message with its first element of that name so many times.
pub(crate) fn times(message: &str, element: &str, times: usize) -> String {
    let (begin, end) = span(message, element);
    replace(message, element, &message[begin..end].repeat(times))
}

pub(crate) fn read_text(message: &str) -> Result<Request, ReadError> {
    read(message.as_bytes(), &Limits::default())
}

/// The message as a receipt that can be read.
pub(crate) fn receipt_of(message: &str) -> ReceiptMessage {
    match read_text(message) {
        Ok(Request::SendReceipt(receipt)) => *receipt,
        other => panic!("no receipt: {other:?}"),
    }
}

pub(crate) fn get_payment_of(message: &str) -> GetPaymentRequest {
    match read_text(message) {
        Ok(Request::GetPayment(request)) => request,
        other => panic!("no paGetPayment: {other:?}"),
    }
}

/// What the reader finds wrong, whether it refuses the message for it or not.
pub(crate) fn violations(message: &str) -> Vec<Violation> {
    match read_text(message) {
        Ok(Request::SendReceipt(receipt)) => receipt.findings,
        Ok(Request::Verify(_) | Request::GetPayment(_) | Request::Demand(_)) => Vec::new(),
        Err(ReadError::Schema { violation, .. }) => vec![violation],
        Err(other) => panic!("{other}: {message}"),
    }
}
