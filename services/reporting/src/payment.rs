//! A payment as it is kept: read from tenant's message once, written back when somebody asks.

use fiorino_domain::{institution::InstitutionCode, money::Cents};
use fiorino_proto::payments::v1::{PaidTransfer, PaymentRecorded};
use jiff::{Timestamp, civil::Date};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// One receipt of one addressee. Field names are those of the table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "documented in payments.proto")]
pub struct Payment {
    pub institution: InstitutionCode,
    pub receipt_id: String,
    pub version: i64,
    pub event_id: Uuid,
    pub notice_number: String,
    pub iuv: String,
    pub issuer: String,
    pub amount_cents: Option<Cents>,
    pub paid_at: Option<Timestamp>,
    pub recorded_at: Timestamp,
    pub psp_id: String,
    pub psp_name: String,
    pub payment_method: String,
    pub position_id: String,
    pub client_reference: String,
    pub service_code: String,
    pub description: String,
    pub application_date: Option<Date>,
    pub transfer_date: Option<Date>,
    pub stand_in: bool,
    pub transfers: Vec<Transfer>,
    pub issued_elsewhere: bool,
}

/// A part of a payment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "StoredTransfer", into = "StoredTransfer")]
#[expect(missing_docs, reason = "documented in payments.proto")]
pub struct Transfer {
    pub id: u32,
    pub amount_cents: Option<Cents>,
    pub beneficiary: String,
    pub iban: String,
    pub remittance: String,
    pub taxonomy_code: String,
}

/// An element of `payment.transfers`: an amount that was not told stands there as a zero, as the previous version reads it, beside a mark.
#[derive(Serialize, Deserialize)]
struct StoredTransfer {
    id: u32,
    amount_cents: Cents,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    amount_untold: bool,
    beneficiary: String,
    iban: String,
    remittance: String,
    taxonomy_code: String,
}

/// Why a message is no payment: which field breaks which rule; its value is not repeated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {rule}")]
pub struct Unreadable {
    /// Name of the field in `payments.proto`.
    pub field: &'static str,
    /// What it must be.
    pub rule: String,
}

/// Longest receipt id and notice number in bytes: an index of PostgreSQL holds no more than about 2,700, and nobody sends more
/// than 36.
pub(crate) const KEY_MAX: usize = 256;

/// Transfers of a receipt: what bounds a row. pagoPA's schema has 5 at most (pagopa.md 2.7), but a receipt that breaks it was paid as well.
const TRANSFERS_MAX: usize = 100;

// === impl Payment ===

impl Payment {
    /// Whether it takes the place of another message about the same receipt: a later version of the receipt, or the same whose notice was
    /// loaded meanwhile, so that its position is known.
    pub(crate) fn is_news_after(&self, other: &Self) -> bool {
        other.version < self.version
            || other.version == self.version && other.position_id.is_empty() && !self.position_id.is_empty()
    }
}

impl TryFrom<PaymentRecorded> for Payment {
    type Error = Unreadable;

    /// Takes what the tables can hold. Texts are taken as they are, as tenant had them from the node.
    fn try_from(told: PaymentRecorded) -> Result<Self, Unreadable> {
        if told.version < 1 {
            return Err(Unreadable::new("version", "at least 1"));
        }
        if told.receipt_id.is_empty() {
            return Err(Unreadable::new("receipt_id", "must not be empty"));
        }
        for (field, key) in [("receipt_id", &told.receipt_id), ("notice_number", &told.notice_number)] {
            if key.len() > KEY_MAX {
                return Err(Unreadable::new(field, format!("at most {KEY_MAX} bytes")));
            }
        }
        if told.transfers.len() > TRANSFERS_MAX {
            return Err(Unreadable::new("transfers", format!("at most {TRANSFERS_MAX}")));
        }
        Ok(Self {
            institution: parse("institution", InstitutionCode::parse(&told.institution))?,
            receipt_id: text("receipt_id", told.receipt_id)?,
            version: told.version,
            event_id: Uuid::try_parse(&told.event_id).map_err(|_| Unreadable::new("event_id", "must be a uuid"))?,
            notice_number: text("notice_number", told.notice_number)?,
            iuv: text("iuv", told.iuv)?,
            issuer: text("issuer", told.issuer)?,
            amount_cents: amount("amount_cents", told.amount_cents)?,
            paid_at: optional("paid_at", &told.paid_at, str::parse)?,
            recorded_at: optional("recorded_at", &told.recorded_at, str::parse)?
                .ok_or_else(|| Unreadable::new("recorded_at", "must not be empty"))?,
            psp_id: text("psp_id", told.psp_id)?,
            psp_name: text("psp_name", told.psp_name)?,
            payment_method: text("payment_method", told.payment_method)?,
            position_id: text("position_id", told.position_id)?,
            client_reference: text("client_reference", told.client_reference)?,
            service_code: text("service_code", told.service_code)?,
            description: text("description", told.description)?,
            application_date: optional("application_date", &told.application_date, str::parse)?,
            transfer_date: optional("transfer_date", &told.transfer_date, str::parse)?,
            stand_in: told.stand_in,
            transfers: told.transfers.into_iter().map(Transfer::try_from).collect::<Result<_, _>>()?,
            issued_elsewhere: told.issued_elsewhere,
        })
    }
}

impl From<Payment> for PaymentRecorded {
    fn from(payment: Payment) -> Self {
        Self {
            event_id: payment.event_id.to_string(),
            institution: payment.institution.to_string(),
            receipt_id: payment.receipt_id,
            notice_number: payment.notice_number,
            iuv: payment.iuv,
            issuer: payment.issuer,
            amount_cents: payment.amount_cents.map(Cents::get),
            paid_at: written(payment.paid_at),
            recorded_at: payment.recorded_at.to_string(),
            psp_id: payment.psp_id,
            psp_name: payment.psp_name,
            payment_method: payment.payment_method,
            position_id: payment.position_id,
            client_reference: payment.client_reference,
            service_code: payment.service_code,
            description: payment.description,
            transfers: payment.transfers.into_iter().map(PaidTransfer::from).collect(),
            version: payment.version,
            application_date: written(payment.application_date),
            transfer_date: written(payment.transfer_date),
            stand_in: payment.stand_in,
            issued_elsewhere: payment.issued_elsewhere,
        }
    }
}

// === impl Transfer ===

impl From<StoredTransfer> for Transfer {
    fn from(stored: StoredTransfer) -> Self {
        let StoredTransfer { id, amount_cents, amount_untold, beneficiary, iban, remittance, taxonomy_code } = stored;
        let amount_cents = (!amount_untold).then_some(amount_cents);
        Self { id, amount_cents, beneficiary, iban, remittance, taxonomy_code }
    }
}

impl From<Transfer> for StoredTransfer {
    fn from(transfer: Transfer) -> Self {
        let Transfer { id, amount_cents, beneficiary, iban, remittance, taxonomy_code } = transfer;
        let amount_untold = amount_cents.is_none();
        let amount_cents = amount_cents.unwrap_or_default();
        Self { id, amount_cents, amount_untold, beneficiary, iban, remittance, taxonomy_code }
    }
}

impl TryFrom<PaidTransfer> for Transfer {
    type Error = Unreadable;

    fn try_from(told: PaidTransfer) -> Result<Self, Unreadable> {
        Ok(Self {
            id: told.id,
            amount_cents: amount("transfers.amount_cents", told.amount_cents)?,
            beneficiary: text("transfers.beneficiary", told.beneficiary)?,
            iban: text("transfers.iban", told.iban)?,
            remittance: text("transfers.remittance", told.remittance)?,
            taxonomy_code: text("transfers.taxonomy_code", told.taxonomy_code)?,
        })
    }
}

impl From<Transfer> for PaidTransfer {
    fn from(transfer: Transfer) -> Self {
        let Transfer { id, amount_cents, beneficiary, iban, remittance, taxonomy_code } = transfer;
        Self { id, amount_cents: amount_cents.map(Cents::get), beneficiary, iban, remittance, taxonomy_code }
    }
}

// === impl Unreadable ===

impl Unreadable {
    pub(crate) fn new(field: &'static str, rule: impl Into<String>) -> Self {
        Self { field, rule: rule.into() }
    }
}

fn parse<T, E: ToString>(field: &'static str, parsed: Result<T, E>) -> Result<T, Unreadable> {
    parsed.map_err(|error| Unreadable::new(field, error.to_string()))
}

/// Absent means that it was not told, which is not zero.
fn amount(field: &'static str, cents: Option<i64>) -> Result<Option<Cents>, Unreadable> {
    parse(field, cents.map(Cents::new).transpose())
}

/// PostgreSQL's `text` holds everything but U+0000.
fn text(field: &'static str, text: String) -> Result<String, Unreadable> {
    if text.contains('\0') { Err(Unreadable::new(field, "must not contain U+0000")) } else { Ok(text) }
}

/// An empty text means that it was not told.
fn optional<T, E>(
    field: &'static str,
    text: &str,
    read: impl FnOnce(&str) -> Result<T, E>,
) -> Result<Option<T>, Unreadable> {
    if text.is_empty() {
        return Ok(None);
    }
    read(text).map(Some).map_err(|_| Unreadable::new(field, "must be a date or time by RFC 3339, or empty"))
}

fn written(value: Option<impl ToString>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn told() -> PaymentRecorded {
        PaymentRecorded {
            event_id: "01990000-0000-7000-8000-000000000001".to_owned(),
            institution: "80012340560".to_owned(),
            receipt_id: "r1".to_owned(),
            notice_number: "312000000000471179".to_owned(),
            iuv: "12000000000471179".to_owned(),
            issuer: "80012340560".to_owned(),
            amount_cents: Some(12_000),
            paid_at: "2026-05-04T10:00:00Z".to_owned(),
            recorded_at: "2026-05-04T10:00:01.5Z".to_owned(),
            psp_id: "PSP".to_owned(),
            psp_name: "A bank".to_owned(),
            payment_method: "creditCard".to_owned(),
            position_id: "01990000-0000-7000-8000-000000000002".to_owned(),
            client_reference: "tari-1".to_owned(),
            service_code: "TARI".to_owned(),
            description: "TARI 2026\nrata 1".to_owned(),
            transfers: vec![PaidTransfer { id: 1, amount_cents: Some(12_000), ..PaidTransfer::default() }],
            version: 1,
            application_date: "2026-05-04".to_owned(),
            transfer_date: String::new(),
            stand_in: true,
            issued_elsewhere: false,
        }
    }

    #[test]
    fn what_was_told_is_told_again() {
        let payment = Payment::try_from(told()).unwrap();
        assert_eq!(PaymentRecorded::from(payment), told());
    }

    #[rstest]
    #[case::institution("institution", |told: &mut PaymentRecorded| told.institution = "8001234056".to_owned())]
    #[case::receipt("receipt_id", |told: &mut PaymentRecorded| told.receipt_id.clear())]
    #[case::long("receipt_id", |told: &mut PaymentRecorded| told.receipt_id = "r".repeat(257))]
    #[case::long_number("notice_number", |told: &mut PaymentRecorded| told.notice_number = "3".repeat(257))]
    #[case::version("version", |told: &mut PaymentRecorded| told.version = 0)]
    #[case::event("event_id", |told: &mut PaymentRecorded| told.event_id = "1".to_owned())]
    #[case::negative("amount_cents", |told: &mut PaymentRecorded| told.amount_cents = Some(-1))]
    #[case::too_much("amount_cents", |told: &mut PaymentRecorded| told.amount_cents = Some(100_000_000_000))]
    #[case::never_recorded("recorded_at", |told: &mut PaymentRecorded| told.recorded_at.clear())]
    #[case::paid("paid_at", |told: &mut PaymentRecorded| told.paid_at = "yesterday".to_owned())]
    #[case::date("application_date", |told: &mut PaymentRecorded| told.application_date = "04/05/2026".to_owned())]
    #[case::nul("description", |told: &mut PaymentRecorded| told.description = "a\0b".to_owned())]
    #[case::transfers("transfers", |told: &mut PaymentRecorded| told.transfers = vec![PaidTransfer::default(); 101])]
    #[case::transfer("transfers.amount_cents", |told: &mut PaymentRecorded| told.transfers[0].amount_cents = Some(-1))]
    #[case::transfer_nul("transfers.iban", |told: &mut PaymentRecorded| told.transfers[0].iban = "\0".to_owned())]
    fn the_field_is_named(#[case] field: &str, #[case] spoil: fn(&mut PaymentRecorded)) {
        let mut spoilt = told();
        spoil(&mut spoilt);
        assert_eq!(Payment::try_from(spoilt).unwrap_err().field, field);
    }

    #[test]
    fn more_transfers_than_the_schema_has_are_told_all_the_same() {
        let many = PaymentRecorded { transfers: vec![PaidTransfer::default(); 100], ..told() };
        assert_eq!(PaymentRecorded::from(Payment::try_from(many.clone()).unwrap()), many);
    }

    #[rstest]
    #[case(None)]
    #[case(Some(0))]
    #[case(Some(1))]
    fn not_told_is_not_zero(#[case] amount_cents: Option<i64>) {
        let transfers = vec![PaidTransfer { id: 1, amount_cents, ..PaidTransfer::default() }];
        let told = PaymentRecorded { amount_cents, transfers, issued_elsewhere: true, ..told() };
        let payment = Payment::try_from(told.clone()).unwrap();
        let stored = serde_json::to_string(&payment.transfers).unwrap();
        let again = Payment { transfers: serde_json::from_str(&stored).unwrap(), ..payment };
        assert_eq!(PaymentRecorded::from(again), told);
    }

    /// The previous version reads what this one wrote, and this one what the previous one did.
    #[test]
    fn stored_transfers_have_the_shape_that_they_had() {
        let untold = PaidTransfer { id: 1, iban: "IT".into(), ..PaidTransfer::default() };
        let stored = serde_json::to_value(Transfer::try_from(untold).unwrap()).unwrap();
        assert_eq!((&stored["amount_cents"], &stored["iban"]), (&0.into(), &"IT".into()));
        let mut before = stored.clone();
        before.as_object_mut().unwrap().remove("amount_untold");
        let read: Transfer = serde_json::from_value(before).unwrap();
        assert_eq!(read.amount_cents, Some(Cents::ZERO));
    }

    #[test]
    fn the_value_is_not_repeated() {
        let spoilt = PaymentRecorded { paid_at: "RSSMRA80A01H501U".to_owned(), ..told() };
        assert!(!Payment::try_from(spoilt).unwrap_err().to_string().contains("RSSMRA"));
    }
}
