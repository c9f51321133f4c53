//! Rows of positions and notices, and how they are read and inserted.

use fiorino_domain::{
    date::LegalDate,
    money::Cents,
    notice::NoticeNumber,
    position::{ExpiryPolicy, InstalmentState},
};
use fiorino_kit::store;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::{FromRow, PgConnection, Row as _, postgres::PgRow, types::Json};
use tracing::Instrument as _;
use uuid::Uuid;

use super::{
    division::Division,
    stored::{StoredDebtor, StoredEntry, StoredTransfer},
};

/// A row of `debt_position`.
pub(crate) struct PositionRow {
    pub(crate) institution_id: i32,
    pub(crate) id: Uuid,
    pub(crate) client: String,
    pub(crate) client_reference: String,
    pub(crate) service_code: String,
    pub(crate) description: String,
    pub(crate) debtor_code: String,
    /// Descriptions of the options, in order.
    pub(crate) options: Vec<String>,
    pub(crate) created_at: Timestamp,
}

/// A row of `notice`, with the latest attempt to pay it.
pub(crate) struct NoticeRow {
    pub(crate) institution_id: i32,
    pub(crate) nav: NoticeNumber,
    pub(crate) position_id: Uuid,
    pub(crate) option_no: i16,
    pub(crate) instalment_no: i16,
    pub(crate) state: InstalmentState,
    pub(crate) version: i64,
    pub(crate) amount: Cents,
    pub(crate) due: Option<LegalDate>,
    pub(crate) issued_on: LegalDate,
    pub(crate) expiry: ExpiryPolicy,
    pub(crate) description: String,
    pub(crate) service_code: String,
    pub(crate) account: String,
    pub(crate) debtor: StoredDebtor,
    pub(crate) transfers: Vec<StoredTransfer>,
    /// `None` = it was made before this was kept.
    pub(crate) division: Option<Division>,
    /// Of the payment as a whole.
    pub(crate) metadata: Vec<StoredEntry>,
    pub(crate) receipt_id: Option<String>,
    pub(crate) activated_at: Option<Timestamp>,
}

/// Columns of [`NoticeRow`] of `notice n`: the newest activation is the last entry of its primary key, however many there are.
macro_rules! notice_columns {
    () => {
        "n.institution_id, n.nav, n.position_id, n.option_no, n.instalment_no, n.state, n.version, n.amount_cents, n.due_date,
         n.issued_on, n.expiry_policy, n.description, n.service_code, n.account, n.debtor, n.transfers,
         n.division, n.metadata, n.receipt_id,
         (select max(a.activated_at) from activation a where a.institution_id = n.institution_id and a.nav = n.nav) as activated_at"
    };
}
pub(super) use notice_columns;

/// Columns of [`PositionRow`] of `debt_position`.
macro_rules! position_columns {
    () => {
        "institution_id, id, client, client_reference, service_code, description, debtor_code, options, created_at"
    };
}
pub(super) use position_columns;

/// Inserts positions in one statement.
///
/// # Errors
/// What the database says.
pub(super) async fn insert_positions(connection: &mut PgConnection, rows: &[&PositionRow]) -> sqlx::Result<()> {
    let column = |of: fn(&PositionRow) -> &str| rows.iter().map(|row| of(row).to_owned()).collect::<Vec<_>>();
    sqlx::query(
        "insert into debt_position
             (institution_id, id, client, client_reference, service_code, description, debtor_code, options, created_at)
         select made.institution_id, made.id, made.client, made.client_reference, made.service_code, made.description,
             made.debtor_code, made.options, made.created_at
         from unnest($1::int4[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::jsonb[],
             $9::timestamptz[])
             as made (institution_id, id, client, client_reference, service_code, description, debtor_code, options, created_at)",
    )
    .bind(rows.iter().map(|row| row.institution_id).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.id).collect::<Vec<_>>())
    .bind(column(|row| &row.client))
    .bind(column(|row| &row.client_reference))
    .bind(column(|row| &row.service_code))
    .bind(column(|row| &row.description))
    .bind(column(|row| &row.debtor_code))
    .bind(rows.iter().map(|row| Json(&row.options)).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.created_at.to_sqlx()).collect::<Vec<_>>())
    .execute(connection)
    .instrument(store::span("insert positions"))
    .await?;
    Ok(())
}

/// Inserts notices in one statement, in the order of the primary key: two loads of the same foreign numbers wait for each other
/// instead of locking each other out.
///
/// # Errors
/// What the database says; a number that is taken is a violation of `notice_pkey`.
pub(super) async fn insert_notices(connection: &mut PgConnection, mut rows: Vec<&NoticeRow>) -> sqlx::Result<()> {
    rows.sort_unstable_by_key(|row| (row.institution_id, row.nav));
    let text = |of: fn(&NoticeRow) -> &str| rows.iter().map(|row| of(row).to_owned()).collect::<Vec<_>>();
    let small = |of: fn(&NoticeRow) -> i16| rows.iter().map(|row| of(row)).collect::<Vec<_>>();
    sqlx::query(
        "insert into notice
             (institution_id, nav, position_id, option_no, instalment_no, state, version, amount_cents, due_date, issued_on,
              expiry_policy, description, service_code, account, debtor, transfers, division, metadata)
         select made.institution_id, made.nav, made.position_id, made.option_no, made.instalment_no, made.state, made.version,
             made.amount_cents, made.due_date, made.issued_on, made.expiry_policy, made.description, made.service_code, made.account,
             made.debtor, made.transfers, made.division, made.metadata
         from unnest($1::int4[], $2::text[], $3::uuid[], $4::int2[], $5::int2[], $6::int2[], $7::int8[], $8::int8[],
             $9::date[], $10::date[], $11::int2[], $12::text[], $13::text[], $14::text[], $15::jsonb[], $16::jsonb[], $17::jsonb[],
             $18::jsonb[])
             as made (institution_id, nav, position_id, option_no, instalment_no, state, version, amount_cents, due_date, issued_on,
             expiry_policy, description, service_code, account, debtor, transfers, division, metadata)",
    )
    .bind(rows.iter().map(|row| row.institution_id).collect::<Vec<_>>())
    .bind(text(|row| row.nav.as_str()))
    .bind(rows.iter().map(|row| row.position_id).collect::<Vec<_>>())
    .bind(small(|row| row.option_no))
    .bind(small(|row| row.instalment_no))
    .bind(small(|row| row.state.number()))
    .bind(rows.iter().map(|row| row.version).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.amount.get()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.due.map(|due| due.date().to_sqlx())).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.issued_on.date().to_sqlx()).collect::<Vec<_>>())
    .bind(small(|row| expiry_number(row.expiry)))
    .bind(text(|row| &row.description))
    .bind(text(|row| &row.service_code))
    .bind(text(|row| &row.account))
    .bind(rows.iter().map(|row| Json(&row.debtor)).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| Json(&row.transfers)).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.division.as_ref().map(Json)).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| Some(Json(&row.metadata)).filter(|json| !json.0.is_empty())).collect::<Vec<_>>())
    .execute(connection)
    .instrument(store::span("insert notices"))
    .await?;
    Ok(())
}

// === impl PositionRow ===

impl FromRow<'_, PgRow> for PositionRow {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        Ok(Self {
            institution_id: row.try_get("institution_id")?,
            id: row.try_get("id")?,
            client: row.try_get("client")?,
            client_reference: row.try_get("client_reference")?,
            service_code: row.try_get("service_code")?,
            description: row.try_get("description")?,
            debtor_code: row.try_get("debtor_code")?,
            options: row.try_get::<Json<Vec<String>>, _>("options")?.0,
            created_at: row.try_get::<jiff_sqlx::Timestamp, _>("created_at")?.to_jiff(),
        })
    }
}

// === impl NoticeRow ===

impl FromRow<'_, PgRow> for NoticeRow {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        Ok(Self {
            institution_id: row.try_get("institution_id")?,
            nav: NoticeNumber::parse(row.try_get("nav")?).map_err(decode)?,
            position_id: row.try_get("position_id")?,
            option_no: row.try_get("option_no")?,
            instalment_no: row.try_get("instalment_no")?,
            state: InstalmentState::from_number(row.try_get("state")?).map_err(decode)?,
            version: row.try_get("version")?,
            amount: Cents::new(row.try_get("amount_cents")?).map_err(decode)?,
            due: legal_date(row.try_get("due_date")?)?,
            issued_on: LegalDate::new(row.try_get::<jiff_sqlx::Date, _>("issued_on")?.to_jiff()).map_err(decode)?,
            expiry: expiry_policy(row.try_get("expiry_policy")?)?,
            description: row.try_get("description")?,
            service_code: row.try_get("service_code")?,
            account: row.try_get("account")?,
            debtor: row.try_get::<Json<StoredDebtor>, _>("debtor")?.0,
            transfers: row.try_get::<Json<Vec<StoredTransfer>>, _>("transfers")?.0,
            division: row.try_get::<Option<Json<Division>>, _>("division")?.map(|json| json.0),
            metadata: metadata(row.try_get("metadata")?),
            receipt_id: row.try_get("receipt_id")?,
            activated_at: row
                .try_get::<Option<jiff_sqlx::Timestamp>, _>("activated_at")?
                .map(jiff_sqlx::Timestamp::to_jiff),
        })
    }
}

/// What stands in a column is not what this program writes there.
pub(crate) fn decode(error: impl std::error::Error + Send + Sync + 'static) -> sqlx::Error {
    sqlx::Error::Decode(Box::new(error))
}

/// `notice.metadata`: null is none.
pub(crate) fn metadata(json: Option<Json<Vec<StoredEntry>>>) -> Vec<StoredEntry> {
    json.map_or_else(Vec::new, |json| json.0)
}

/// A nullable legal date.
///
/// # Errors
/// A year that no program of ours writes.
pub(crate) fn legal_date(date: Option<jiff_sqlx::Date>) -> sqlx::Result<Option<LegalDate>> {
    date.map(|date| LegalDate::new(date.to_jiff())).transpose().map_err(decode)
}

/// Reads the number of proto `ExpiryPolicy`.
///
/// # Errors
/// Neither of them.
pub(crate) fn expiry_policy(number: i16) -> sqlx::Result<ExpiryPolicy> {
    match number {
        1 => Ok(ExpiryPolicy::PayableAfterDueDate),
        2 => Ok(ExpiryPolicy::NotPayableAfterDueDate),
        _ => Err(sqlx::Error::Decode(format!("unknown expiry policy {number}").into())),
    }
}

const fn expiry_number(policy: ExpiryPolicy) -> i16 {
    match policy {
        ExpiryPolicy::PayableAfterDueDate => 1,
        ExpiryPolicy::NotPayableAfterDueDate => 2,
    }
}
