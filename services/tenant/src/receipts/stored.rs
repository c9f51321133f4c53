//! A receipt out of its row, as it was told.

use fiorino_proto::receipts::v1::{Receipt, ReceiptTransfer};
use serde::Deserialize;
use sqlx::{FromRow, types::Json};

use super::earlier::Amounts;

/// Columns of `receipt`, and the fiscal code of its institution.
#[derive(FromRow)]
pub(super) struct StoredReceipt {
    pub(super) institution_id: i32,
    fiscal_code: String,
    pub(super) receipt_id: String,
    pub(super) version: i32,
    nav: String,
    issuer: String,
    iuv: String,
    amount_cents: Option<i64>,
    paid_at: Option<jiff_sqlx::Timestamp>,
    received_at: jiff_sqlx::Timestamp,
    content: Json<Content>,
    pub(super) issued_elsewhere: bool,
}

/// `receipt.content`, as far as an event tells it; older rows may lack what was added later.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Content {
    station_id: String,
    description: String,
    psp_id: String,
    psp_name: String,
    channel_id: String,
    payment_method: String,
    payment_note: String,
    application_date: String,
    transfer_date: String,
    stand_in: bool,
    outcome: String,
    transfers: Vec<Transfer>,
    announced: Option<Amounts>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Transfer {
    id: u32,
    cents: Option<i64>,
    beneficiary: String,
    iban: String,
    remittance: String,
    taxonomy: String,
    stamp: bool,
}

// === impl StoredReceipt ===

impl StoredReceipt {
    /// The receipt, and the amounts that were announced of it where they are others than it tells.
    pub(super) fn split(mut self) -> (Receipt, Option<Amounts>) {
        let announced = self.content.0.announced.take();
        (self.receipt(), announced)
    }

    /// As the inbox told it, without its findings, which were judged then.
    pub(super) fn receipt(self) -> Receipt {
        let content = self.content.0;
        Receipt {
            institution: self.fiscal_code,
            receipt_id: self.receipt_id,
            version: u32::try_from(self.version).unwrap_or_default(),
            station_id: content.station_id,
            notice_number: self.nav,
            issuer: self.issuer,
            iuv: self.iuv,
            amount_cents: self.amount_cents,
            description: content.description,
            psp_id: content.psp_id,
            psp_name: content.psp_name,
            channel_id: content.channel_id,
            payment_method: content.payment_method,
            payment_note: content.payment_note,
            paid_at: self.paid_at.map(|at| at.to_jiff().to_string()).unwrap_or_default(),
            application_date: content.application_date,
            transfer_date: content.transfer_date,
            stand_in: content.stand_in,
            transfers: content.transfers.into_iter().map(Transfer::told).collect(),
            received_at: self.received_at.to_jiff().to_string(),
            outcome: content.outcome,
            ..Receipt::default()
        }
    }
}

// === impl Transfer ===

impl Transfer {
    fn told(self) -> ReceiptTransfer {
        let Self { id, cents, beneficiary, iban, remittance, taxonomy, stamp } = self;
        ReceiptTransfer { id, amount_cents: cents, beneficiary, iban, remittance, taxonomy_code: taxonomy, stamp }
    }
}
