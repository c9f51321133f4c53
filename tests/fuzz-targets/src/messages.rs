//! What the node sends: paForNode in its envelope.

use fiorino_wire::{
    Fault, Limits, ReadError, Request, SoapFault, operation_of, read_with_charset, write_fault, write_soap_fault,
};

/// Of `Content-Type`.
const CHARSETS: [Option<&str>; 5] = [None, Some("utf-8"), Some("iso-8859-1"), Some("us-ascii"), Some("utf-16")];

pub(crate) const DICTIONARY: &[&str] = &[
    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>",
    " encoding='iso-8859-1'",
    "<!DOCTYPE a [<!ENTITY b \"c\">]>",
    "<![CDATA[",
    "]]>",
    "<!--",
    "-->",
    "&amp;",
    "&#x10FFFF;",
    "&#0;",
    "xmlns:a=\"",
    "xmlns=\"\"",
    "http://schemas.xmlsoap.org/soap/envelope/",
    "http://pagopa-api.pagopa.gov.it/pa/paForNode.xsd",
    "<receiptId>",
    "</receiptId>",
    "<transferList>",
    "<transfer>",
    "<metadata><mapEntry><key>a</key><value>b</value></mapEntry></metadata>",
    "<MBDAttachment>",
    "<standIn>true</standIn>",
    "<a>",
    "</a>",
    "<a/>",
    "\u{feff}",
    "2026-02-29T25:61:61+15:00",
    "-0.00",
    "999999999999.99",
];

/// The first byte chooses the transport's charset.
pub(crate) fn message(data: &[u8]) {
    let Some((&choice, bytes)) = data.split_first() else { return };
    let charset = CHARSETS[usize::from(choice) % CHARSETS.len()];
    let limits = Limits::default();
    let read = read_with_charset(bytes, charset, &limits);
    assert_eq!(read, read_with_charset(bytes, charset, &limits), "the same bytes are read the same");
    match &read {
        Ok(request) => {
            let seen = operation_of(bytes, charset, &limits);
            assert_eq!(seen, Some(request.operation()), "the operation is seen in the beginning");
            same_when_it_comes_again(request, bytes, charset, &limits);
        }
        Err(error) => answered(error),
    }
}

/// The content of a receipt, in a message that is right around it.
pub(crate) fn receipt(data: &[u8]) {
    const BEGIN: &[u8] = b"<e:Envelope xmlns:e=\"http://schemas.xmlsoap.org/soap/envelope/\"><e:Body>\
        <p:paSendRTV2Request xmlns:p=\"http://pagopa-api.pagopa.gov.it/pa/paForNode.xsd\"><idPA>77777777777</idPA>\
        <idBrokerPA>88888888888</idBrokerPA><idStation>88888888888_01</idStation><receipt>";
    const END: &[u8] = b"</receipt></p:paSendRTV2Request></e:Body></e:Envelope>";
    message(&[&[0], BEGIN, data, END].concat());
}

/// A receipt that comes once more, in another dress, is the same receipt: by this the node's repetitions are known.
fn same_when_it_comes_again(request: &Request, bytes: &[u8], charset: Option<&str>, limits: &Limits) {
    const COMMENT: &[u8] = b"\n<!-- again -->\n";
    if let Request::SendReceipt(first) = request
        && bytes.len() + COMMENT.len() <= limits.receipt_bytes
    {
        let again = read_with_charset(&[bytes, COMMENT].concat(), charset, limits);
        let Ok(Request::SendReceipt(again)) = again else { unreachable!("{again:?}") };
        assert_eq!(first.business_hash, again.business_hash, "the hash is over what it says");
        assert_eq!(first.receipt, again.receipt);
    }
}

/// Whatever is wrong can be told.
fn answered(error: &ReadError) {
    if let Some((operation, fault)) = Fault::of(error) {
        write_fault(operation, &fault).expect("a fault can be written");
    }
    assert!(write_soap_fault(&SoapFault::from(error)).contains("<faultcode>"), "a soap fault can be written");
}

/// The golden messages, where they are at hand, and one of each operation.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let golden = golden().into_iter().map(|message| [&[0], message.as_slice()].concat());
    let made = OPERATIONS.iter().zip(0_u8..).map(|((element, content), nth)| {
        let message = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><soapenv:Envelope \
             xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\"><soapenv:Header/><soapenv:Body><paf:{element} \
             xmlns:paf=\"http://pagopa-api.pagopa.gov.it/pa/paForNode.xsd\">{HEADER}{content}</paf:{element}>\
             </soapenv:Body></soapenv:Envelope>"
        );
        [&[nth], message.as_bytes()].concat()
    });
    golden.chain(made).collect()
}

pub(crate) fn receipts() -> Vec<Vec<u8>> {
    let golden = golden().into_iter().filter_map(|message| {
        let text = String::from_utf8(message).ok()?;
        let (_, content) = text.split_once("<receipt>")?;
        Some(content.split_once("</receipt>")?.0.as_bytes().to_vec())
    });
    golden.chain([RECEIPT.as_bytes().to_vec()]).collect()
}

fn golden() -> Vec<Vec<u8>> {
    let Some(samples) = fiorino_rig::samples() else { return Vec::new() };
    let Ok(files) = fs_err::read_dir(samples.join("paForNode")) else { return Vec::new() };
    let mut paths: Vec<_> = files.filter_map(|file| Some(file.ok()?.path())).collect();
    paths.sort();
    let requests = paths.iter().filter(|path| path.to_string_lossy().ends_with(".req.xml"));
    requests.filter_map(|path| fs_err::read(path).ok()).collect()
}

const HEADER: &str =
    "<idPA>77777777777</idPA><idBrokerPA>88888888888</idBrokerPA><idStation>88888888888_01</idStation>";

const OPERATIONS: [(&str, &str); 6] = [
    (
        "paVerifyPaymentNoticeReq",
        "<qrCode><fiscalCode>77777777777</fiscalCode><noticeNumber>312000000000471179</noticeNumber></qrCode>",
    ),
    (
        "paGetPaymentReq",
        "<qrCode><fiscalCode>77777777777</fiscalCode><noticeNumber>312000000000471179</noticeNumber></qrCode>\
         <amount>120.00</amount><paymentNote>a</paymentNote><dueDate>2026-12-31</dueDate>",
    ),
    (
        "paGetPaymentV2Request",
        "<qrCode><fiscalCode>77777777777</fiscalCode><noticeNumber>312000000000471179</noticeNumber></qrCode>\
         <amount>120.00</amount><transferType>POSTAL</transferType>",
    ),
    (
        "paDemandPaymentNoticeRequest",
        "<idServizio>00001</idServizio><idSoggettoServizio>00001</idSoggettoServizio>\
         <datiSpecificiServizioRequest>PGEvPg==</datiSpecificiServizioRequest>",
    ),
    ("paSendRTReq", "<receipt><receiptId>a</receiptId></receipt>"),
    ("paSendRTV2Request", "<receipt><receiptId>a</receiptId></receipt>"),
];

const RECEIPT: &str = "<receiptId>r1</receiptId><noticeNumber>312000000000471179</noticeNumber>\
    <fiscalCode>77777777777</fiscalCode><outcome>OK</outcome><creditorReferenceId>12000000000471179</creditorReferenceId>\
    <paymentAmount>120.00</paymentAmount><description>TARI</description><companyName>Comune</companyName><debtor>\
    <uniqueIdentifier><entityUniqueIdentifierType>F</entityUniqueIdentifierType><entityUniqueIdentifierValue>\
    RSSMRA80A01H501U</entityUniqueIdentifierValue></uniqueIdentifier><fullName>Mario Rossi</fullName></debtor>\
    <transferList><transfer><idTransfer>1</idTransfer><transferAmount>120.00</transferAmount>\
    <fiscalCodePA>77777777777</fiscalCodePA><IBAN>IT60X0542811101000000123456</IBAN>\
    <remittanceInformation>TARI</remittanceInformation><transferCategory>9/0101101IM/</transferCategory></transfer>\
    </transferList><idPSP>AGID_01</idPSP><pspFiscalCode>97735020584</pspFiscalCode><PSPCompanyName>PSP</PSPCompanyName>\
    <idChannel>97735020584_02</idChannel><channelDescription>app</channelDescription>\
    <paymentMethod>creditCard</paymentMethod><fee>1.50</fee><paymentDateTime>2026-06-16T10:00:00</paymentDateTime>\
    <applicationDate>2026-06-16</applicationDate><transferDate>2026-06-17</transferDate>";
