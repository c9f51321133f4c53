//! The statements. Columns that every service's `cases` has, and its view `case_list`.

use std::collections::HashMap;

use fiorino_kit::store;
use fiorino_proto::common::v1::{Case, CaseAction, CaseEvent, CaseState};
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::{FromRow, PgConnection, PgPool, types::Json};
use tracing::Instrument as _;
use uuid::Uuid;

use crate::asked::{Bulk, Filter, Page};

macro_rules! columns {
    () => {
        "id, institution, kind, key, state, owner, nav, receipt_id, detail, opened_at"
    };
}

/// Events that are shown with a case.
const EVENTS_MAX: i64 = 200;

/// `$1` id
const GET: &str = concat!("select ", columns!(), " from case_list where id = $1");

/// Who did something with a case, when and why.
#[derive(Debug, Clone, Copy)]
pub struct By<'a> {
    /// On whose behalf.
    pub actor: &'a str,
    /// Business time.
    pub at: Timestamp,
    /// What was said to it.
    pub note: Option<&'a str>,
}

/// A row of `case_list`.
#[derive(Debug, FromRow)]
pub(crate) struct Row {
    pub(crate) id: Uuid,
    institution: Option<String>,
    kind: String,
    key: String,
    pub(crate) state: i16,
    owner: Option<String>,
    nav: Option<String>,
    receipt_id: Option<String>,
    detail: Json<serde_json::Value>,
    opened_at: jiff_sqlx::Timestamp,
}

#[derive(FromRow)]
struct EventRow {
    at: jiff_sqlx::Timestamp,
    actor: String,
    action: i16,
    owner: Option<String>,
    note: Option<String>,
}

/// `$1` kind or empty, `$2` opened before, `$3` `$4` time and id of the last one read, `$5` rows, `$6` institution.
macro_rules! list {
    ($state:literal) => {
        [list!(@ $state, " and $6 = ''"), list!(@ $state, " and institution = $6")]
    };
    (@ $state:literal, $institution:literal) => {
        concat!(
            "select ",
            columns!(),
            " from case_list where ",
            $state,
            $institution,
            " and ($1 = '' or kind = $1) and opened_at < $2 and (opened_at, id) > ($3, $4)
              order by opened_at, id limit $5"
        )
    };
}

/// The statement for a page, by state and by whether an institution is asked for. States are literals: the indexes are partial.
pub fn list_statement(state: CaseState, of_institution: bool) -> &'static str {
    let [any, of_one] = match state {
        CaseState::Unspecified => list!("state <> 3"),
        CaseState::Open => list!("state = 1"),
        CaseState::Assigned => list!("state = 2"),
        CaseState::Resolved => list!("state = 3"),
    };
    if of_institution { of_one } else { any }
}

/// Ends a case, in the caller's transaction. Tells whether it was open: one that is resolved, or not there, changes nothing.
///
/// # Errors
/// What the database says.
pub async fn resolve(connection: &mut PgConnection, id: Uuid, by: By<'_>) -> sqlx::Result<bool> {
    let changed = sqlx::query(
        "with changed as (update cases set state = 3 where id = $1 and state <> 3 returning id)
         insert into case_event (case_id, at, actor, action, note) select id, $2, $3, $4, $5 from changed",
    )
    .bind(id)
    .bind(by.at.to_sqlx())
    .bind(by.actor)
    .bind(number(CaseAction::Resolved))
    .bind(by.note)
    .execute(connection)
    .instrument(store::span("resolve case"))
    .await?;
    Ok(changed.rows_affected() > 0)
}

/// Records something that changes no state, in the caller's transaction. Tells whether there is such a case.
///
/// # Errors
/// What the database says.
pub async fn record(connection: &mut PgConnection, id: Uuid, action: CaseAction, by: By<'_>) -> sqlx::Result<bool> {
    let recorded = sqlx::query(
        "insert into case_event (case_id, at, actor, action, note) select id, $2, $3, $4, $5 from cases where id = $1",
    )
    .bind(id)
    .bind(by.at.to_sqlx())
    .bind(by.actor)
    .bind(number(action))
    .bind(by.note)
    .execute(connection)
    .instrument(store::span("record case event"))
    .await?;
    Ok(recorded.rows_affected() > 0)
}

/// Gives a case that is not resolved to somebody. Tells whether there is one.
pub(crate) async fn assign(connection: &mut PgConnection, id: Uuid, owner: &str, by: By<'_>) -> sqlx::Result<bool> {
    let changed = sqlx::query(
        "with changed as (update cases set state = 2, owner = $6 where id = $1 and state <> 3 returning id, owner)
         insert into case_event (case_id, at, actor, action, owner, note) select id, $2, $3, $4, owner, $5 from changed",
    )
    .bind(id)
    .bind(by.at.to_sqlx())
    .bind(by.actor)
    .bind(number(CaseAction::Assigned))
    .bind(by.note)
    .bind(owner)
    .execute(connection)
    .instrument(store::span("assign case"))
    .await?;
    Ok(changed.rows_affected() > 0)
}

/// Ends cases, the oldest first; answers how many, and whether there may be more.
///
/// A case that somebody else is changing is left for the next call: who waits for nobody holds up no receipt in a circle.
pub(crate) async fn resolve_many(pool: &PgPool, bulk: &Bulk, actor: &str, at: Timestamp) -> sqlx::Result<(u32, bool)> {
    let mut tx = store::begin(pool).await?;
    let filter = Filter {
        institution: bulk.institution,
        kind: Some(bulk.kind),
        state: CaseState::Unspecified,
        opened_before: Some(bulk.opened_before),
    };
    let page = Page { filter, size: bulk.limit, after: None };
    let mut ids: Vec<Uuid> = list(&mut tx, &page).await?.into_iter().map(|row| row.id).collect();
    let rest = ids.len() > bulk.limit as usize;
    ids.truncate(bulk.limit as usize);
    let resolved = sqlx::query(
        "with held as (select id from cases where id = any($1) and state <> 3 for update skip locked),
              changed as (update cases set state = 3 from held where cases.id = held.id returning cases.id)
         insert into case_event (case_id, at, actor, action, note) select id, $2, $3, $4, $5 from changed",
    )
    .bind(&ids)
    .bind(at.to_sqlx())
    .bind(actor)
    .bind(number(CaseAction::Resolved))
    .bind(&bulk.note)
    .execute(&mut *tx)
    .instrument(store::span("resolve cases"))
    .await?
    .rows_affected();
    tx.commit().await?;
    Ok((u32::try_from(resolved).unwrap_or(u32::MAX), rest || resolved < ids.len() as u64))
}

/// One case.
pub(crate) async fn get(connection: &mut PgConnection, id: Uuid) -> sqlx::Result<Option<Row>> {
    sqlx::query_as(GET).bind(id).fetch_optional(connection).instrument(store::span("read case")).await
}

/// What was done with a case, newest first.
pub(crate) async fn events(connection: &mut PgConnection, id: Uuid) -> sqlx::Result<Vec<CaseEvent>> {
    let rows: Vec<EventRow> = sqlx::query_as(
        "select at, actor, action, owner, note from case_event where case_id = $1 order by id desc limit $2",
    )
    .bind(id)
    .bind(EVENTS_MAX)
    .fetch_all(connection)
    .instrument(store::span("read case events"))
    .await?;
    Ok(rows.into_iter().map(EventRow::event).collect())
}

/// A page, and one case more if there is one.
pub(crate) async fn list(connection: &mut PgConnection, page: &Page) -> sqlx::Result<Vec<Row>> {
    let Page { filter, size, after } = page;
    let institution = filter.institution.as_ref().map_or("", |code| code.as_str());
    let (opened_after, id_after) = after.unwrap_or((Timestamp::UNIX_EPOCH, Uuid::nil()));
    sqlx::query_as(list_statement(filter.state, filter.institution.is_some()))
        .bind(filter.kind.map_or("", |kind| kind.as_str()))
        .bind(filter.opened_before.unwrap_or(Timestamp::MAX).to_sqlx())
        .bind(opened_after.to_sqlx())
        .bind(id_after)
        .bind(i64::from(*size) + 1)
        .bind(institution)
        .fetch_all(connection)
        .instrument(store::span("list cases"))
        .await
}

/// Cases that are not resolved: how many of each kind, and when the oldest was opened.
///
/// # Errors
/// What the database says.
pub async fn waiting(pool: &PgPool) -> sqlx::Result<HashMap<String, (u64, Timestamp)>> {
    let rows: Vec<(String, i64, jiff_sqlx::Timestamp)> =
        sqlx::query_as("select kind, count(*), min(opened_at) from cases where state <> 3 group by kind")
            .fetch_all(pool)
            .await?;
    Ok(rows
        .into_iter()
        .map(|(kind, count, oldest)| (kind, (u64::try_from(count).unwrap_or(0), oldest.to_jiff())))
        .collect())
}

/// As stored.
fn number(action: CaseAction) -> i16 {
    i16::try_from(i32::from(action)).unwrap_or_default()
}

// === impl Row ===

impl Row {
    pub(crate) fn opened_at(&self) -> Timestamp {
        self.opened_at.to_jiff()
    }

    pub(crate) fn case(self) -> Case {
        let opened_at = self.opened_at().to_string();
        Case {
            case_id: self.id.to_string(),
            institution: self.institution.unwrap_or_default(),
            kind: self.kind,
            key: self.key,
            state: i32::from(self.state),
            owner: self.owner.unwrap_or_default(),
            notice_number: self.nav.unwrap_or_default(),
            receipt_id: self.receipt_id.unwrap_or_default(),
            detail: self.detail.0.to_string(),
            opened_at,
        }
    }
}

// === impl EventRow ===

impl EventRow {
    fn event(self) -> CaseEvent {
        CaseEvent {
            at: self.at.to_jiff().to_string(),
            actor: self.actor,
            action: i32::from(self.action),
            owner: self.owner.unwrap_or_default(),
            note: self.note.unwrap_or_default(),
        }
    }
}
