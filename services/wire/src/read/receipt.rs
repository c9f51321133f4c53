//! Receipts: whatever has its keys is taken, with a list of what is odd.

use fiorino_domain::secret::Masked;

use super::{
    ReadError, Result,
    element::{Cursor, Slot, many, maybe, one},
    envelope,
    request::{header, key},
};
use crate::{
    answer::MapEntry,
    lexical,
    operation::{Operation, Version},
    receipt::{Receipt, ReceiptMessage, ReceiptTransfer, Subject},
    request::PartialHeader,
    rule::{Rule, Violation},
};

/// A receipt while it is read.
#[derive(Default)]
struct Found {
    header: PartialHeader,
    receipt_id: Option<String>,
    receipt: Receipt,
    business_hash: Option<[u8; 32]>,
}

const MESSAGE: &[Slot] = &[one(&["idPA"]), one(&["idBrokerPA"]), one(&["idStation"]), one(&["receipt"])];

const RECEIPT: &[Slot] = &[
    one(&["receiptId"]),
    one(&["noticeNumber"]),
    one(&["fiscalCode"]),
    one(&["outcome"]),
    one(&["creditorReferenceId"]),
    one(&["paymentAmount"]),
    one(&["description"]),
    one(&["companyName"]),
    maybe(&["officeName"]),
    one(&["debtor"]),
    one(&["transferList"]),
    one(&["idPSP"]),
    maybe(&["pspFiscalCode"]),
    maybe(&["pspPartitaIVA"]),
    one(&["PSPCompanyName"]),
    one(&["idChannel"]),
    one(&["channelDescription"]),
    maybe(&["payer"]),
    maybe(&["paymentMethod"]),
    maybe(&["fee"]),
    maybe(&["paymentDateTime"]),
    maybe(&["applicationDate"]),
    maybe(&["transferDate"]),
    maybe(&["metadata"]),
    maybe(&["standIn"]).or("standin"),
];

const RECEIPT_V2: &[Slot] = &[
    one(&["receiptId"]),
    one(&["noticeNumber"]),
    one(&["fiscalCode"]),
    one(&["outcome"]),
    one(&["creditorReferenceId"]),
    one(&["paymentAmount"]),
    one(&["description"]),
    one(&["companyName"]),
    maybe(&["officeName"]),
    one(&["debtor"]),
    one(&["transferList"]),
    one(&["idPSP"]),
    maybe(&["pspFiscalCode"]),
    maybe(&["pspPartitaIVA"]),
    one(&["PSPCompanyName"]),
    one(&["idChannel"]),
    one(&["channelDescription"]),
    maybe(&["payer"]),
    maybe(&["paymentMethod"]),
    maybe(&["paymentNote"]).of_v2(),
    maybe(&["fee"]),
    maybe(&["primaryCiIncurredFee"]).of_v2(),
    maybe(&["idBundle"]).of_v2(),
    maybe(&["idCiBundle"]).of_v2(),
    maybe(&["paymentDateTime"]),
    maybe(&["applicationDate"]),
    maybe(&["transferDate"]),
    maybe(&["metadata"]),
    maybe(&["standIn"]).or("standin"),
];

const SUBJECT: &[Slot] = &[
    one(&["uniqueIdentifier"]),
    one(&["fullName"]),
    maybe(&["streetName"]),
    maybe(&["civicNumber"]),
    maybe(&["postalCode"]),
    maybe(&["city"]),
    maybe(&["stateProvinceRegion"]),
    maybe(&["country"]),
    maybe(&["e-mail"]),
];

const UNIQUE_IDENTIFIER: &[Slot] = &[one(&["entityUniqueIdentifierType"]), one(&["entityUniqueIdentifierValue"])];

const TRANSFER_LIST: &[Slot] = &[many(&["transfer"], 1, 5)];

const TRANSFER: &[Slot] = &[
    one(&["idTransfer"]),
    one(&["transferAmount"]),
    one(&["fiscalCodePA"]),
    one(&["IBAN"]),
    one(&["remittanceInformation"]),
    one(&["transferCategory"]),
    maybe(&["metadata"]),
];

const TRANSFER_V2: &[Slot] = &[
    one(&["idTransfer"]),
    one(&["transferAmount"]),
    one(&["fiscalCodePA"]),
    maybe(&["companyName"]).of_v2(),
    one(&["IBAN", "MBDAttachment"]),
    one(&["remittanceInformation"]),
    one(&["transferCategory"]),
    maybe(&["metadata"]),
];

const METADATA: &[Slot] = &[many(&["mapEntry"], 1, 15)];

const MAP_ENTRY: &[Slot] = &[one(&["key"]), one(&["value"])];

pub(super) fn read(cursor: &mut Cursor<'_>, version: Version) -> Result<ReceiptMessage> {
    let operation = Operation::SendReceipt(version);
    let mut found = Found::default();
    found.read(cursor, version).map_err(|error| error.asked(operation, &found.header))?;

    let header = found.header.clone().complete();
    let receipt_id = found.receipt_id.ok_or("receipt.receiptId");
    let message = header.and_then(|header| {
        Ok(ReceiptMessage {
            version,
            header,
            receipt: Receipt { receipt_id: receipt_id?, ..found.receipt },
            findings: cursor.take_violations(),
            business_hash: found.business_hash.ok_or("receipt")?,
        })
    });
    message.map_err(|field| ReadError::Schema {
        operation,
        header: Box::new(found.header),
        violation: Violation { field: field.to_owned(), rule: Rule::Missing },
    })
}

fn subject(cursor: &mut Cursor<'_>) -> Result<Subject> {
    let mut subject = Subject::default();
    cursor.node(SUBJECT, |cursor, name| {
        let (place, max) = match name {
            "uniqueIdentifier" => return unique_identifier(cursor, &mut subject),
            "fullName" => (&mut subject.full_name, 70),
            "streetName" => (&mut subject.street_name, 70),
            "civicNumber" => (&mut subject.civic_number, 16),
            "postalCode" => (&mut subject.postal_code, 16),
            "city" => (&mut subject.city, 35),
            "stateProvinceRegion" => (&mut subject.province, 35),
            "country" => {
                subject.country = pattern(cursor, lexical::two_capitals)?;
                return Ok(());
            }
            _ => {
                subject.email = pattern(cursor, lexical::email)?;
                return Ok(());
            }
        };
        *place = cursor.text(1, max)?.map(Masked::new);
        Ok(())
    })?;
    Ok(subject)
}

fn unique_identifier(cursor: &mut Cursor<'_>, subject: &mut Subject) -> Result<()> {
    cursor.node(UNIQUE_IDENTIFIER, |cursor, name| {
        if name == "entityUniqueIdentifierType" {
            subject.kind = cursor.value(lexical::entity_kind)?;
        } else {
            subject.code = cursor.text(2, 16)?.map(Masked::new);
        }
        Ok(())
    })
}

fn transfer(cursor: &mut Cursor<'_>, slots: &'static [Slot]) -> Result<ReceiptTransfer> {
    let mut transfer = ReceiptTransfer::default();
    cursor.node(slots, |cursor, name| {
        match name {
            "idTransfer" => transfer.id = cursor.value(lexical::id_transfer)?,
            "transferAmount" => transfer.amount = cursor.amount(lexical::amount_not_zero)?,
            "fiscalCodePA" => transfer.fiscal_code = cursor.value(lexical::institution)?,
            "companyName" => transfer.company_name = cursor.text(1, 140)?,
            "IBAN" => transfer.iban = cursor.text(1, 35)?.map(Masked::new),
            "MBDAttachment" => transfer.stamp = cursor.value(lexical::base64)?.map(Masked::new),
            "remittanceInformation" => transfer.remittance_information = cursor.text(1, 140)?,
            "transferCategory" => transfer.transfer_category = cursor.text(1, 140)?,
            _ => metadata(cursor, &mut transfer.metadata)?,
        }
        Ok(())
    })?;
    Ok(transfer)
}

/// An entry without key or value is a violation, and not kept.
fn metadata(cursor: &mut Cursor<'_>, entries: &mut Vec<MapEntry>) -> Result<()> {
    cursor.node(METADATA, |cursor, _| {
        let (mut key, mut value) = (None, None);
        cursor.node(MAP_ENTRY, |cursor, name| {
            let place = if name == "key" { &mut key } else { &mut value };
            *place = cursor.text(1, 140)?;
            Ok(())
        })?;
        if let Some((key, value)) = key.zip(value) {
            keep(entries, MapEntry { key, value }, Receipt::METADATA_MAX);
        }
        Ok(())
    })
}

/// What has no room is in the hash, and above the XSD's limit, which is a finding.
fn keep<T>(kept: &mut Vec<T>, item: T, max: usize) {
    if kept.len() < max {
        kept.push(item);
    }
}

fn pattern(cursor: &mut Cursor<'_>, check: fn(&str) -> Result<(), Rule>) -> Result<Option<Masked<String>>> {
    let value = cursor.value(|text| check(text).map(|()| text.to_owned()))?;
    Ok(value.map(Masked::new))
}

// === impl Found ===

impl Found {
    fn read(&mut self, cursor: &mut Cursor<'_>, version: Version) -> Result<()> {
        cursor.sequence(MESSAGE, |cursor, name| {
            if name != "receipt" {
                return header(cursor, &mut self.header, name);
            }
            cursor.begin_canon();
            self.content(cursor, version)?;
            self.business_hash = cursor.end_canon();
            Ok(())
        })?;
        envelope::close(cursor)
    }

    fn content(&mut self, cursor: &mut Cursor<'_>, version: Version) -> Result<()> {
        let (slots, transfer_slots) = match version {
            Version::V1 => (RECEIPT, TRANSFER),
            Version::V2 => (RECEIPT_V2, TRANSFER_V2),
        };
        let receipt = &mut self.receipt;
        cursor.sequence(slots, |cursor, name| {
            match name {
                "receiptId" => self.receipt_id = key(cursor, None)?,
                "debtor" => receipt.debtor = Some(subject(cursor)?),
                "payer" => receipt.payer = Some(subject(cursor)?),
                "transferList" => cursor.node(TRANSFER_LIST, |cursor, _| {
                    keep(&mut receipt.transfers, transfer(cursor, transfer_slots)?, Receipt::TRANSFERS_MAX);
                    Ok(())
                })?,
                "metadata" => metadata(cursor, &mut receipt.metadata)?,
                _ => receipt.value(cursor, name)?,
            }
            Ok(())
        })
    }
}

// === impl Receipt ===

impl Receipt {
    /// Reads one of the simple values.
    fn value(&mut self, cursor: &mut Cursor<'_>, name: &'static str) -> Result<()> {
        let (place, max) = match name {
            "creditorReferenceId" => (&mut self.creditor_reference_id, 35),
            "description" => (&mut self.description, 140),
            "companyName" => (&mut self.company_name, 140),
            "officeName" => (&mut self.office_name, 140),
            "idPSP" => (&mut self.psp_id, 35),
            "pspFiscalCode" => (&mut self.psp_fiscal_code, 70),
            "pspPartitaIVA" => (&mut self.psp_vat_number, 20),
            "PSPCompanyName" => (&mut self.psp_company_name, 70),
            "idChannel" => (&mut self.channel_id, 35),
            "channelDescription" => (&mut self.channel_description, 35),
            "paymentMethod" => (&mut self.payment_method, 35),
            "paymentNote" => (&mut self.payment_note, 210),
            "idBundle" => (&mut self.id_bundle, 70),
            "idCiBundle" => (&mut self.id_ci_bundle, 70),
            _ => return self.typed(cursor, name),
        };
        *place = cursor.text(1, max)?;
        Ok(())
    }

    fn typed(&mut self, cursor: &mut Cursor<'_>, name: &'static str) -> Result<()> {
        match name {
            "noticeNumber" => self.notice_number = cursor.value(lexical::notice_number)?,
            "fiscalCode" => self.fiscal_code = cursor.value(lexical::institution)?,
            "outcome" => self.outcome = cursor.value(lexical::outcome)?,
            "paymentAmount" => self.payment_amount = cursor.amount(lexical::amount)?,
            "fee" => self.fee = cursor.amount(lexical::amount)?,
            "primaryCiIncurredFee" => self.primary_ci_incurred_fee = cursor.amount(lexical::amount)?,
            "paymentDateTime" => self.paid_at = cursor.value(lexical::date_time)?,
            "applicationDate" => self.application_date = cursor.value(lexical::date)?,
            "transferDate" => self.transfer_date = cursor.value(lexical::date)?,
            _ => self.stand_in = cursor.value(lexical::boolean)?,
        }
        Ok(())
    }
}
