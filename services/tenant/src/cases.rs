//! Cases: what a person must look at. Opened in the transaction of what was found, never twice for one finding. What people do with
//! them is `fiorino_cases`.

mod ended;

use fiorino_domain::case::CaseKind;
use fiorino_kit::store;
use fiorino_proto::common::v1::CaseAction;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::{PgConnection, types::Json};
use tracing::Instrument as _;
use uuid::Uuid;

pub use self::ended::{Ended, resolve_ended};

/// The institution of a case that belongs to none of ours.
pub const NO_INSTITUTION: i32 = 0;

/// On whose behalf a case is opened again, or ended because its cause is gone.
const ACTOR: &str = "tenant";

/// A finding.
#[derive(Debug, Clone, PartialEq)]
pub struct NewCase {
    /// Whose; [`NO_INSTITUTION`] = none of ours.
    pub institution_id: i32,
    /// What was found.
    pub kind: CaseKind,
    /// Tells one finding from another within institution and kind.
    pub key: String,
    /// The notice that it is about.
    pub nav: Option<String>,
    /// The receipt that it is about.
    pub receipt_id: Option<String>,
    /// What whoever looks at it must know; no personal data.
    pub detail: serde_json::Value,
    /// When it was found.
    pub opened_at: Timestamp,
}

/// Opens cases in the caller's transaction. A finding that has its case already changes nothing; one whose case was resolved
/// opens it again.
///
/// # Errors
/// What the database says.
pub async fn open(connection: &mut PgConnection, cases: &[NewCase]) -> sqlx::Result<()> {
    if cases.is_empty() {
        return Ok(());
    }
    // In the order of the key: two batches with the same findings wait for each other instead of locking each other out.
    let mut ordered: Vec<_> = cases.iter().collect();
    ordered.sort_by(|left, right| order(left).cmp(&order(right)));
    ordered.dedup_by(|later, kept| order(later) == order(kept));
    let column = |of: fn(&NewCase) -> String| ordered.iter().map(|case| of(case)).collect::<Vec<_>>();
    let optional = |of: fn(&NewCase) -> Option<String>| ordered.iter().map(|case| of(case)).collect::<Vec<_>>();
    sqlx::query(
        "with found as (
             select institution_id, kind, key, id, nav, receipt_id, detail, opened_at
             from unnest($1::int4[], $2::text[], $3::text[], $4::uuid[], $5::text[], $6::text[], $7::jsonb[], $8::timestamptz[])
                  as told (institution_id, kind, key, id, nav, receipt_id, detail, opened_at)
         ), opened as (
             insert into cases (institution_id, kind, key, id, nav, receipt_id, detail, opened_at)
             select institution_id, kind, key, id, nav, receipt_id, detail, opened_at from found
             on conflict (institution_id, kind, key) do update
             set state = 1, owner = null, detail = excluded.detail, opened_at = excluded.opened_at
             where cases.state = 3
             returning id, opened_at
         )
         insert into case_event (case_id, at, actor, action)
         select id, opened_at, $9, $10 from opened where id not in (select id from found)", // its own id: it was there before
    )
    .bind(ordered.iter().map(|case| case.institution_id).collect::<Vec<_>>())
    .bind(column(|case| case.kind.as_str().to_owned()))
    .bind(column(|case| case.key.clone()))
    .bind(ordered.iter().map(|_| Uuid::now_v7()).collect::<Vec<_>>())
    .bind(optional(|case| case.nav.clone()))
    .bind(optional(|case| case.receipt_id.clone()))
    .bind(ordered.iter().map(|case| Json(&case.detail)).collect::<Vec<_>>())
    .bind(ordered.iter().map(|case| case.opened_at.to_sqlx()).collect::<Vec<_>>())
    .bind(ACTOR)
    .bind(number(CaseAction::Reopened))
    .execute(connection)
    .instrument(store::span("open cases"))
    .await?;
    Ok(())
}

/// Resolves a case whose cause is gone, in the caller's transaction; one that does not exist changes nothing.
///
/// # Errors
/// What the database says.
pub async fn resolve(
    connection: &mut PgConnection,
    institution_id: i32,
    kind: CaseKind,
    key: &str,
) -> sqlx::Result<()> {
    resolve_all(connection, kind, &[(institution_id, key.to_owned())]).await
}

/// Resolves cases of one kind whose cause is gone, (institution, key), in the caller's transaction; those that do not exist change
/// nothing.
///
/// # Errors
/// What the database says.
pub async fn resolve_all(connection: &mut PgConnection, kind: CaseKind, cases: &[(i32, String)]) -> sqlx::Result<()> {
    sqlx::query(
        "with changed as (
             update cases set state = 3
             from unnest($2::int4[], $3::text[]) as gone (institution_id, key)
             where cases.institution_id = gone.institution_id and cases.kind = $1 and cases.key = gone.key and cases.state <> 3
             returning cases.id
         )
         insert into case_event (case_id, at, actor, action) select changed.id, now(), $4, $5 from changed",
    )
    .bind(kind.as_str())
    .bind(cases.iter().map(|(institution_id, _)| *institution_id).collect::<Vec<_>>())
    .bind(cases.iter().map(|(_, key)| key.as_str()).collect::<Vec<_>>())
    .bind(ACTOR)
    .bind(number(CaseAction::Resolved))
    .execute(connection)
    .instrument(store::span("resolve cases"))
    .await?;
    Ok(())
}

/// Whether one of the notices has a case of this kind that nobody resolved.
///
/// # Errors
/// What the database says.
pub async fn any_open(
    connection: &mut PgConnection,
    institution_id: i32,
    kind: CaseKind,
    navs: &[&str],
) -> sqlx::Result<bool> {
    sqlx::query_scalar(
        "select exists (select from cases where institution_id = $1 and kind = $2 and nav = any($3) and state <> 3)",
    )
    .bind(institution_id)
    .bind(kind.as_str())
    .bind(navs)
    .fetch_one(connection)
    .instrument(store::span("find open cases"))
    .await
}

/// As stored.
fn number(action: CaseAction) -> i16 {
    i16::try_from(i32::from(action)).unwrap_or_default()
}

fn order(case: &NewCase) -> (i32, &'static str, &str) {
    (case.institution_id, case.kind.as_str(), &case.key)
}
