//! The tables: what the consumer writes in one transaction, and what the calls read.

pub(crate) mod parked;
mod places;

use std::collections::BTreeMap;

use fiorino_domain::{institution::InstitutionCode, money::Cents};
use fiorino_kit::store;
use jiff_sqlx::{Date, Timestamp};
use sqlx::{FromRow, PgConnection, PgPool, types::Json};
use uuid::Uuid;

pub use self::{
    parked::adopt,
    places::{Advance, Topic, offsets, shortened},
};
use crate::payment::{Payment, Transfer};

/// Columns of [`Row`] of `payment`.
macro_rules! payment_columns {
    () => {
        "institution, receipt_id, sequence, version, event_id, notice_number, iuv, issuer, amount_cents, paid_at, recorded_at,
         psp_id, psp_name, payment_method, position_id, client_reference, service_code, description, application_date,
         transfer_date, stand_in, transfers, amount_told, issued_elsewhere"
    };
}

/// Reads one payment: `$1` institution, `$2` receipt id.
pub const GET: &str =
    concat!("select ", payment_columns!(), " from payment where institution = $1 and receipt_id = $2");

/// Reads a page: `$1` institution, `$2` sequence to begin after, `$3` rows.
pub const LIST: &str = concat!(
    "select ",
    payment_columns!(),
    " from payment where institution = $1 and sequence > $2 order by sequence limit $3"
);

/// Reads a page of one notice: `$1` institution, `$2` sequence to begin after, `$3` rows, `$4` notice number.
pub const LIST_OF_NOTICE: &str = concat!(
    "select ",
    payment_columns!(),
    " from payment where institution = $1 and notice_number = $4 and sequence > $2 order by sequence limit $3"
);

/// What one batch of messages does to the tables.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    /// By institution and receipt: of several messages about one receipt the latest news.
    pub payments: BTreeMap<(InstitutionCode, String), Payment>,
    /// Messages that cannot be taken in.
    pub parked: Vec<Parked>,
    /// Messages that were gone before they were read.
    pub expired: Vec<Expired>,
    /// How far each partition was read.
    pub advances: Vec<Advance>,
}

/// A message that cannot be taken in, as it came.
#[derive(Debug, Clone)]
pub struct Parked {
    /// Full name of the topic.
    pub topic: String,
    /// Partition of the topic.
    pub partition: i32,
    /// Place in the partition.
    pub offset: i64,
    /// `ce_id`; empty when it was not told.
    pub event_id: String,
    /// `ce_type`; empty when it was not told.
    pub event_type: String,
    /// W3C trace context of its producer.
    pub traceparent: Option<String>,
    /// Key of the message.
    pub key: Vec<u8>,
    /// Content of the message.
    pub payload: Vec<u8>,
    /// Which field breaks which rule; no personal data.
    pub reason: String,
}

/// Messages of a partition that Kafka kept no longer when they were to be read. What they told is lost here: somebody must compare with
/// tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expired {
    /// Full name of the topic.
    pub topic: String,
    /// Partition of the topic.
    pub partition: i32,
    /// Offset of the first one that is gone.
    pub from: i64,
    /// Offset of the first one that is there.
    pub to: i64,
    /// When tenant recorded the event of the first one that is there; `None` = it does not say.
    pub until: Option<jiff::Timestamp>,
}

/// Why a batch was not recorded; nothing of it was.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another replica reads a partition: its offset is not the one that was known.
    #[error("failed to advance: another replica read on")]
    Overtaken,
    /// The database failed, or refused a value.
    #[error("failed to record payments")]
    Database(#[from] sqlx::Error),
}

#[derive(FromRow)]
struct Row {
    institution: String,
    receipt_id: String,
    sequence: i64,
    version: i64,
    event_id: Uuid,
    notice_number: String,
    iuv: String,
    issuer: String,
    amount_cents: i64,
    paid_at: Option<Timestamp>,
    recorded_at: Timestamp,
    psp_id: String,
    psp_name: String,
    payment_method: String,
    position_id: String,
    client_reference: String,
    service_code: String,
    description: String,
    application_date: Option<Date>,
    transfer_date: Option<Date>,
    stand_in: bool,
    transfers: Json<Vec<Transfer>>,
    amount_told: bool,
    issued_elsewhere: bool,
}

/// Writes a batch in one transaction: payments, parked messages and gaps with their cases, offsets. Tells how many payments were new or newer.
///
/// # Errors
/// Another replica read on, or the database failed; then nothing was written.
pub async fn record(pool: &PgPool, topic: Topic<'_>, changes: &Changes) -> Result<u64, Error> {
    let mut tx = store::begin(pool).await?;
    let missed: Vec<i32> = changes.expired.iter().map(|expired| expired.partition).collect();
    let since = if missed.is_empty() { BTreeMap::new() } else { places::known_until(&mut tx, topic, &missed).await? };
    places::advance(&mut tx, topic, &changes.advances).await?;
    let written = if changes.payments.is_empty() { 0 } else { upsert(&mut tx, &changes.payments).await? };
    for parked in &changes.parked {
        parked::park(&mut tx, topic, parked).await?;
    }
    for expired in &changes.expired {
        let since = since.get(&expired.partition).copied().flatten();
        parked::miss(&mut tx, topic, expired, since).await?;
    }
    tx.commit().await?;
    Ok(written)
}

/// One payment.
///
/// # Errors
/// What the database says.
pub async fn get(pool: &PgPool, institution: &InstitutionCode, receipt_id: &str) -> sqlx::Result<Option<Payment>> {
    let row: Option<Row> = sqlx::query_as(GET).bind(institution.as_str()).bind(receipt_id).fetch_optional(pool).await?;
    row.map(|row| row.payment().map(|(_, payment)| payment)).transpose()
}

/// Payments in the order of their recording, with their sequence; an empty `notice_number` is any.
///
/// # Errors
/// What the database says.
pub async fn list(
    pool: &PgPool,
    institution: &InstitutionCode,
    notice_number: &str,
    after: i64,
    rows: i64,
) -> sqlx::Result<Vec<(i64, Payment)>> {
    let query = match notice_number {
        "" => sqlx::query_as(LIST).bind(institution.as_str()).bind(after).bind(rows),
        number => sqlx::query_as(LIST_OF_NOTICE).bind(institution.as_str()).bind(after).bind(rows).bind(number),
    };
    let rows: Vec<Row> = query.fetch_all(pool).await?;
    rows.into_iter().map(Row::payment).collect()
}

/// Whether it is a value that the database refuses, so that the same message fails again: data exception (22) or constraint (23).
pub(crate) fn refuses_value(error: &sqlx::Error) -> bool {
    refusal(error).is_some()
}

/// Why a message is parked whose value the database refuses; `None` = it is no value's fault.
pub(crate) fn refusal(error: &sqlx::Error) -> Option<String> {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code)?;
    (code.starts_with("22") || code.starts_with("23")).then(|| format!("the database refuses it with code {code}"))
}

async fn upsert(
    connection: &mut PgConnection,
    payments: &BTreeMap<(InstitutionCode, String), Payment>,
) -> sqlx::Result<u64> {
    let sequences = sequences(connection, payments).await?;
    let payments: Vec<&Payment> = payments.values().collect();
    let written = sqlx::query(
        "insert into payment
             (institution, receipt_id, sequence, version, event_id, notice_number, iuv, issuer, amount_cents, paid_at, recorded_at,
              psp_id, psp_name, payment_method, position_id, client_reference, service_code, description, application_date,
              transfer_date, stand_in, transfers, amount_told, issued_elsewhere)
         select told.institution, told.receipt_id, numbered.sequence, told.version, told.event_id, told.notice_number,
                told.iuv, told.issuer, coalesce(told.amount_cents, 0), told.paid_at, told.recorded_at, told.psp_id, told.psp_name,
                told.payment_method, told.position_id, told.client_reference, told.service_code, told.description,
                told.application_date, told.transfer_date, told.stand_in, told.transfers, told.amount_cents is not null,
                told.issued_elsewhere
         from rows from (jsonb_to_recordset($1) as (
                institution text, receipt_id text, version int8, event_id uuid, notice_number text,
                iuv text, issuer text, amount_cents int8, paid_at timestamptz, recorded_at timestamptz, psp_id text,
                psp_name text, payment_method text, position_id text, client_reference text, service_code text,
                description text, application_date date, transfer_date date, stand_in boolean, transfers jsonb, issued_elsewhere boolean)
              ) with ordinality as told
         join unnest($2::int8[]) with ordinality as numbered (sequence, ordinality) using (ordinality)
         on conflict (institution, receipt_id) do update set
                sequence = excluded.sequence, version = excluded.version, event_id = excluded.event_id, notice_number = excluded.notice_number,
                iuv = excluded.iuv, issuer = excluded.issuer, amount_cents = excluded.amount_cents,
                paid_at = excluded.paid_at, recorded_at = excluded.recorded_at, psp_id = excluded.psp_id,
                psp_name = excluded.psp_name, payment_method = excluded.payment_method,
                position_id = excluded.position_id, client_reference = excluded.client_reference,
                service_code = excluded.service_code, description = excluded.description,
                application_date = excluded.application_date, transfer_date = excluded.transfer_date,
                stand_in = excluded.stand_in, transfers = excluded.transfers, amount_told = excluded.amount_told,
                issued_elsewhere = excluded.issued_elsewhere
         -- As Payment::is_news_after decides.
         where payment.version < excluded.version
             or payment.version = excluded.version and payment.position_id = '' and excluded.position_id <> ''",
    )
    .bind(Json(payments))
    .bind(sequences)
    .execute(connection)
    .await?;
    Ok(written.rows_affected())
}

/// A number for each payment, in their order. A repetition wastes one: numbers only grow.
///
/// The counters' rows stay locked to the commit, in the order of institutions, so that two replicas cannot commit an institution's
/// numbers in another order than they took them, and do not wait for each other in a circle.
async fn sequences(
    connection: &mut PgConnection,
    payments: &BTreeMap<(InstitutionCode, String), Payment>,
) -> sqlx::Result<Vec<i64>> {
    let institutions: Vec<&str> = payments.keys().map(|(institution, _)| institution.as_str()).collect();
    sqlx::query_scalar(
        "with asked as (
             select institution, row_number() over (partition by institution order by place) as number, place
             from unnest($1::text[]) with ordinality as told (institution, place)
         ), counted as (
             insert into payment_counter (institution, last)
             select institution, count(*) from asked group by institution order by institution
             on conflict (institution) do update set last = payment_counter.last + excluded.last
             returning institution, last
         ), sized as (
             select institution, count(*) as size from asked group by institution
         )
         select last - size + number from asked join counted using (institution) join sized using (institution)
         order by place",
    )
    .bind(institutions)
    .fetch_all(connection)
    .await
}

// === impl Row ===

impl Row {
    fn payment(self) -> sqlx::Result<(i64, Payment)> {
        let amount = self.amount_told.then(|| Cents::new(self.amount_cents)).transpose();
        let payment = Payment {
            institution: InstitutionCode::parse(&self.institution).map_err(|error| decode("institution", error))?,
            receipt_id: self.receipt_id,
            version: self.version,
            event_id: self.event_id,
            notice_number: self.notice_number,
            iuv: self.iuv,
            issuer: self.issuer,
            amount_cents: amount.map_err(|error| decode("amount_cents", error))?,
            paid_at: self.paid_at.map(Timestamp::to_jiff),
            recorded_at: self.recorded_at.to_jiff(),
            psp_id: self.psp_id,
            psp_name: self.psp_name,
            payment_method: self.payment_method,
            position_id: self.position_id,
            client_reference: self.client_reference,
            service_code: self.service_code,
            description: self.description,
            application_date: self.application_date.map(Date::to_jiff),
            transfer_date: self.transfer_date.map(Date::to_jiff),
            stand_in: self.stand_in,
            transfers: self.transfers.0,
            issued_elsewhere: self.issued_elsewhere,
        };
        Ok((self.sequence, payment))
    }
}

fn decode(column: &str, error: impl std::error::Error + Send + Sync + 'static) -> sqlx::Error {
    sqlx::Error::ColumnDecode { index: column.to_owned(), source: Box::new(error) }
}
