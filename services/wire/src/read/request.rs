//! Requests that are answered at once: the first violation refuses them.

use fiorino_domain::{institution::InstitutionCode, money::Cents};
use jiff::civil::Date;

use super::{
    ReadError, Result,
    element::{Cursor, Slot, maybe, one},
    envelope,
};
use crate::{
    lexical,
    operation::{Operation, Version},
    request::{DemandRequest, GetPaymentRequest, PartialHeader, QrCode, Request, TransferType, VerifyRequest},
    rule::{Rule, Violation},
};

const VERIFY: &[Slot] = &[one(&["idPA"]), one(&["idBrokerPA"]), one(&["idStation"]), one(&["qrCode"])];

const GET_PAYMENT: &[Slot] = &[
    one(&["idPA"]),
    one(&["idBrokerPA"]),
    one(&["idStation"]),
    one(&["qrCode"]),
    maybe(&["amount"]),
    maybe(&["paymentNote"]),
    maybe(&["transferType"]),
    maybe(&["dueDate"]),
];

const DEMAND: &[Slot] = &[
    one(&["idPA"]),
    one(&["idBrokerPA"]),
    one(&["idStation"]),
    one(&["idServizio"]),
    one(&["idSoggettoServizio"]),
    one(&["datiSpecificiServizioRequest"]).or("datiSpecificiServizio"),
];

const QR_CODE: &[Slot] = &[one(&["fiscalCode"]), one(&["noticeNumber"])];

/// How long a key of the header may be to be kept at all: keys end up in indexes.
const KEY_MAX: u16 = 255;

/// What the three requests have, as found.
#[derive(Default)]
struct Draft {
    header: PartialHeader,
    fiscal_code: Option<InstitutionCode>,
    notice_number: Option<String>,
    amount: Option<Cents>,
    payment_note: Option<String>,
    transfer_type: Option<TransferType>,
    due_date: Option<Date>,
    service: Option<String>,
    service_subject: Option<String>,
}

pub(super) fn verify(cursor: &mut Cursor<'_>) -> Result<Request> {
    read(cursor, Operation::Verify, VERIFY, |mut draft| {
        Ok(Request::Verify(VerifyRequest { qr_code: draft.qr_code()?, header: draft.header.complete()? }))
    })
}

pub(super) fn get_payment(cursor: &mut Cursor<'_>, version: Version) -> Result<Request> {
    read(cursor, Operation::GetPayment(version), GET_PAYMENT, |mut draft| {
        Ok(Request::GetPayment(GetPaymentRequest {
            version,
            qr_code: draft.qr_code()?,
            header: draft.header.complete()?,
            amount: draft.amount,
            payment_note: draft.payment_note,
            transfer_type: draft.transfer_type,
            due_date: draft.due_date,
        }))
    })
}

pub(super) fn demand(cursor: &mut Cursor<'_>) -> Result<Request> {
    read(cursor, Operation::Demand, DEMAND, |draft| {
        Ok(Request::Demand(DemandRequest {
            header: draft.header.complete()?,
            service: draft.service.ok_or("idServizio")?,
            service_subject: draft.service_subject.ok_or("idSoggettoServizio")?,
        }))
    })
}

/// Reads the whole message; `build` names the field that it misses.
fn read(
    cursor: &mut Cursor<'_>,
    operation: Operation,
    slots: &'static [Slot],
    build: impl FnOnce(Draft) -> Result<Request, &'static str>,
) -> Result<Request> {
    let mut draft = Draft::default();
    cursor
        .sequence(slots, |cursor, name| draft.child(cursor, name))
        .and_then(|()| envelope::close(cursor))
        .map_err(|error| error.asked(operation, &draft.header))?;
    let header = Box::new(draft.header.clone());
    // What is missing is a violation already; the types ask again.
    let missing = |field: &str| Violation { field: field.to_owned(), rule: Rule::Missing };
    let request = match cursor.take_violations().into_iter().next() {
        Some(violation) => Err(violation),
        None => build(draft).map_err(missing),
    };
    request.map_err(|violation| ReadError::Schema { operation, header, violation })
}

/// Reads `idPA`, `idBrokerPA` or `idStation`.
pub(super) fn header(cursor: &mut Cursor<'_>, header: &mut PartialHeader, name: &str) -> Result<()> {
    let place = match name {
        "idPA" => &mut header.id_pa,
        "idBrokerPA" => &mut header.id_broker_pa,
        _ => &mut header.id_station,
    };
    *place = key(cursor, Some(35))?;
    Ok(())
}

/// A key is kept as it stands, whatever the XSD says of its length; the XSD allows `max` characters.
pub(super) fn key(cursor: &mut Cursor<'_>, max: Option<u16>) -> Result<Option<String>> {
    let text = cursor.raw()?;
    cursor.record(&text);
    if let Err(rule) = lexical::length(&text, 1, max.unwrap_or(KEY_MAX)) {
        cursor.violate(rule);
    }
    Ok(lexical::length(&text, 1, KEY_MAX).is_ok().then(|| text.into_owned()))
}

// === impl Draft ===

impl Draft {
    fn child(&mut self, cursor: &mut Cursor<'_>, name: &'static str) -> Result<()> {
        match name {
            "qrCode" => cursor.sequence(QR_CODE, |cursor, name| {
                if name == "fiscalCode" {
                    self.fiscal_code = cursor.value(lexical::institution)?;
                } else {
                    self.notice_number = cursor.value(lexical::notice_number)?;
                }
                Ok(())
            })?,
            "amount" => self.amount = cursor.value(lexical::amount)?,
            "paymentNote" => self.payment_note = cursor.text(1, 210)?,
            "transferType" => self.transfer_type = cursor.value(lexical::transfer_type)?,
            "dueDate" => self.due_date = cursor.value(lexical::date)?,
            "idServizio" => self.service = cursor.text(5, 5)?,
            "idSoggettoServizio" => self.service_subject = cursor.text(5, 5)?,
            "datiSpecificiServizioRequest" => drop(cursor.value(lexical::base64)?),
            _ => header(cursor, &mut self.header, name)?,
        }
        Ok(())
    }

    fn qr_code(&mut self) -> Result<QrCode, &'static str> {
        Ok(QrCode {
            fiscal_code: self.fiscal_code.ok_or("qrCode.fiscalCode")?,
            notice_number: self.notice_number.take().ok_or("qrCode.noticeNumber")?,
        })
    }
}
