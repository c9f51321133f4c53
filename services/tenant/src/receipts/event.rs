//! What the rest of the product is told of a receipt: `PaymentRecorded`.

use bytes::Bytes;
use fiorino_kit::outbox::Message;
use fiorino_proto::{
    payments::v1::{PaidTransfer, PaymentRecorded},
    receipts::v1::ReceiptTransfer,
    topics,
};
use jiff::Timestamp;
use prost::Message as _;
use sha2::{Digest as _, Sha256};
use uuid::{Builder, Uuid};

use super::{apply::PositionFacts, arrived::Arrived};

/// What is announced of a receipt, if it tells of a payment: the same whenever it is asked.
pub(super) fn announced(
    arrived: &Arrived,
    position: Option<(Uuid, &PositionFacts)>,
    now: Timestamp,
) -> Option<Message> {
    if !arrived.is_paid() {
        None
    } else if arrived.is_of_beneficiary() {
        Some(share(arrived, now))
    } else {
        Some(payment(arrived, position, now))
    }
}

/// The payment of a notice that the addressee issued; `position` = what it pays, if it is known.
pub(super) fn payment(arrived: &Arrived, position: Option<(Uuid, &PositionFacts)>, now: Timestamp) -> Message {
    let mut event = event(arrived, now);
    event.amount_cents = arrived.told.amount_cents;
    event.transfers = arrived.told.transfers.iter().map(transfer).collect();
    if let Some((id, facts)) = position {
        event.position_id = id.to_string();
        event.client_reference.clone_from(&facts.client_reference);
        event.service_code.clone_from(&facts.service_code);
    }
    message(arrived, &event)
}

/// The addressee's share of a payment that another institution asked for: its own transfers, and their sum.
pub(super) fn share(arrived: &Arrived, now: Timestamp) -> Message {
    let mut event = event(arrived, now);
    let own = arrived.told.transfers.iter().filter(|transfer| transfer.beneficiary == arrived.told.institution);
    event.transfers = own.map(transfer).collect();
    event.amount_cents = event.transfers.iter().fold(0, |sum: i64, transfer| sum.saturating_add(transfer.amount_cents));
    message(arrived, &event)
}

fn event(arrived: &Arrived, now: Timestamp) -> PaymentRecorded {
    let told = &arrived.told;
    PaymentRecorded {
        event_id: event_id(arrived).to_string(),
        institution: told.institution.clone(),
        receipt_id: told.receipt_id.clone(),
        notice_number: told.notice_number.clone(),
        iuv: told.iuv.clone(),
        issuer: told.issuer.clone(),
        paid_at: told.paid_at.clone(),
        recorded_at: now.to_string(),
        psp_id: told.psp_id.clone(),
        psp_name: told.psp_name.clone(),
        payment_method: told.payment_method.clone(),
        description: told.description.clone(),
        version: i64::from(arrived.version),
        application_date: told.application_date.clone(),
        transfer_date: told.transfer_date.clone(),
        stand_in: told.stand_in,
        ..PaymentRecorded::default()
    }
}

fn transfer(told: &ReceiptTransfer) -> PaidTransfer {
    PaidTransfer {
        id: told.id,
        amount_cents: told.amount_cents,
        beneficiary: told.beneficiary.clone(),
        iban: told.iban.clone(),
        remittance: told.remittance.clone(),
        taxonomy_code: told.taxonomy_code.clone(),
    }
}

/// The same for a repetition: out of what names the receipt and its version.
fn event_id(arrived: &Arrived) -> Uuid {
    let told = &arrived.told;
    let mut hash = Sha256::new();
    for part in [topics::PAYMENTS.event_type, &told.institution, &told.receipt_id] {
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    }
    hash.update(arrived.version.to_be_bytes());
    let hash = hash.finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash[..16]);
    Builder::from_custom_bytes(bytes).into_uuid()
}

fn message(arrived: &Arrived, event: &PaymentRecorded) -> Message {
    Message {
        topic: topics::PAYMENTS.name.to_owned(),
        key: topics::notice_key(&event.institution, &event.notice_number),
        event_id: event_id(arrived),
        event_type: topics::PAYMENTS.event_type.to_owned(),
        payload: Bytes::from(event.encode_to_vec()),
        traceparent: arrived.traceparent.clone(),
    }
}
