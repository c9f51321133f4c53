//! Activations: what was answered to somebody who is about to pay, recorded before it is answered (ARCHITECTURE.md 4.3).

use fiorino_domain::{case::CaseKind, institution::InstitutionCode, money::Cents, position::InstalmentState};
use fiorino_kit::store;
use fiorino_proto::notices::v1::{
    ActivateReply, ActivatedNotice, Activation, NoticeRef, TransferType, activate_reply::Reply,
};
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use serde::Serialize;
use sqlx::{PgConnection, types::Json};
use tracing::Instrument as _;

use super::{
    judge::{Answered, Payable, Resolved, judge},
    read::Found,
};
use crate::cases::NewCase;

/// A row of `activation`.
pub(super) struct Record {
    institution_id: i32,
    nav: String,
    station_id: String,
    amount: Cents,
    /// `None` = not told.
    requested_cents: Option<i64>,
    transfer_type: TransferType,
    payment_note: String,
    transfers: Vec<RecordedTransfer>,
    notice_version: i64,
    config_seq: i64,
}

/// An element of `activation.transfers`.
#[derive(Serialize)]
struct RecordedTransfer {
    id: u8,
    cents: Cents,
    beneficiary: InstitutionCode,
    /// Empty for a stamp.
    iban: String,
    /// A postal account that was answered beside it: pagoPA may settle to this one instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    alternative: Option<String>,
}

/// What is answered to one activation.
pub(super) struct Answer {
    pub(super) reply: ActivateReply,
    /// `None` for a refusal.
    pub(super) record: Option<Record>,
}

/// Judges one activation: pure.
pub(super) fn answer(asked: &Activation, found: &Found, now: Timestamp) -> Answer {
    let wanted = asked.transfer_type();
    match judge(found, now) {
        Err(refusal) => Answer { reply: ActivateReply { reply: Some(Reply::Refusal(refusal.into())) }, record: None },
        Ok(payable) => {
            let activated = ActivatedNotice {
                notice: Some(payable.summary()),
                debtor: payable.notice.debtor.clone().map(Into::into),
                transfers: payable.transfers(wanted),
                metadata: payable.metadata(),
            };
            Answer {
                reply: ActivateReply { reply: Some(Reply::Activated(activated)) },
                record: Some(Record::of(asked, wanted, &payable)),
            }
        }
    }
}

/// Writes the activations in one statement.
///
/// # Errors
/// What the database says.
pub(super) async fn record(
    connection: &mut PgConnection,
    records: &[&Record],
    now: Timestamp,
    actor: &str,
) -> sqlx::Result<()> {
    if records.is_empty() {
        return Ok(());
    }
    let text = |of: fn(&Record) -> &str| records.iter().map(|one| of(one)).collect::<Vec<_>>();
    let number = |of: fn(&Record) -> i64| records.iter().map(|one| of(one)).collect::<Vec<_>>();
    sqlx::query(
        "insert into activation
             (institution_id, nav, station_id, amount_cents, requested_cents, transfer_type, payment_note, transfers, notice_version,
              config_seq, activated_at, recorded_by)
         select made.institution_id, made.nav, made.station_id, made.amount_cents, made.requested_cents, made.transfer_type,
             made.payment_note, made.transfers, made.notice_version, made.config_seq, $11, $12
         from unnest($1::int4[], $2::text[], $3::text[], $4::int8[], $5::int8[], $6::int2[], $7::text[], $8::jsonb[], $9::int8[],
             $10::int8[]) as made (institution_id, nav, station_id, amount_cents, requested_cents, transfer_type, payment_note,
             transfers, notice_version, config_seq)",
    )
    .bind(records.iter().map(|one| one.institution_id).collect::<Vec<_>>())
    .bind(text(|one| &one.nav))
    .bind(text(|one| &one.station_id))
    .bind(number(|one| one.amount.get()))
    .bind(records.iter().map(|one| one.requested_cents).collect::<Vec<_>>())
    .bind(records.iter().map(|one| transfer_type_number(one.transfer_type)).collect::<Vec<_>>())
    .bind(text(|one| &one.payment_note))
    .bind(records.iter().map(|one| Json(&one.transfers)).collect::<Vec<_>>())
    .bind(number(|one| one.notice_version))
    .bind(number(|one| one.config_seq))
    .bind(now.to_sqlx())
    .bind(actor)
    .execute(connection)
    .instrument(store::span("record activations"))
    .await?;
    Ok(())
}

/// The case of a payable notice of which an account has no number today.
pub(super) fn no_account(found: &Found, now: Timestamp) -> Option<NewCase> {
    let (institution, notice) = found.institution.as_ref().zip(found.notice.as_ref())?;
    debug_assert_eq!(notice.state, InstalmentState::Payable, "only a payable notice asks for a number");
    let (owner, account) = notice.unnumbered(institution)?;
    let key = if owner == institution.code { account.to_owned() } else { format!("{owner}/{account}") };
    Some(NewCase {
        institution_id: institution.id,
        kind: CaseKind::NoAccount,
        key,
        nav: Some(notice.nav.to_string()),
        receipt_id: None,
        detail: serde_json::json!({ "institution": owner, "account": account }),
        opened_at: now,
    })
}

/// The notice of an activation; one that names none is nobody's.
pub(super) fn named(activation: &Activation) -> NoticeRef {
    activation.notice.clone().unwrap_or_default()
}

/// As stored: the number of proto `TransferType`.
const fn transfer_type_number(wanted: TransferType) -> i16 {
    match wanted {
        TransferType::Unspecified => 0,
        TransferType::Postal => 1,
        TransferType::Pagopa => 2,
    }
}

// === impl Record ===

impl Record {
    fn of(asked: &Activation, transfer_type: TransferType, payable: &Payable<'_>) -> Self {
        let transfer = |resolved: &Resolved| {
            let Answered { iban, alternative } = resolved.answered(transfer_type);
            let Resolved { id, cents, beneficiary, .. } = *resolved;
            RecordedTransfer { id, cents, beneficiary, iban, alternative }
        };
        Self {
            institution_id: payable.institution.id,
            nav: payable.notice.nav.to_string(),
            station_id: named(asked).station_id,
            amount: payable.notice.amount,
            requested_cents: asked.requested_cents,
            transfer_type,
            payment_note: asked.payment_note.replace('\0', ""),
            transfers: payable.transfers.iter().map(transfer).collect(),
            notice_version: payable.notice.version,
            config_seq: payable.institution.config_seq,
        }
    }
}
