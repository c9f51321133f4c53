//! What calls of the node change in the status of institutions.

use fiorino_kit::store;
use jiff::Timestamp;
use sqlx::PgPool;

use super::head::Head;

/// Records that the node called for these institutions, where no call was seen before; the operator's watch tells of it.
///
/// Takes the head's row lock: not for the hot path of an institution that was marked already.
///
/// # Errors
/// What the database says.
pub async fn mark_node_connected(pool: &PgPool, institutions: &[i32], at: Timestamp) -> sqlx::Result<()> {
    let mut tx = store::begin(pool).await?;
    let head = Head::lock(&mut tx).await?;
    let head = Head { status_seq: head.status_seq + 1, ..head };
    let marked = sqlx::query(
        "update institution set node_connected_at = $1, status_seq = $2
         where institution_id = any($3) and node_connected_at is null",
    )
    .bind(jiff_sqlx::Timestamp::from(at))
    .bind(head.status_seq)
    .bind(institutions)
    .execute(&mut *tx)
    .await?;
    if marked.rows_affected() > 0 {
        head.advance(&mut tx).await?;
        tx.commit().await?;
    }
    Ok(())
}

/// The status of these institutions reads differently, by something that is already written; the operator's watch tells of it.
///
/// Takes the head's row lock: not for the hot path.
///
/// # Errors
/// What the database says.
pub async fn mark_status_changed(pool: &PgPool, institutions: &[i32]) -> sqlx::Result<()> {
    let mut tx = store::begin(pool).await?;
    let head = Head::lock(&mut tx).await?;
    let head = Head { status_seq: head.status_seq + 1, ..head };
    sqlx::query("update institution set status_seq = $1 where institution_id = any($2)")
        .bind(head.status_seq)
        .bind(institutions)
        .execute(&mut *tx)
        .await?;
    head.advance(&mut tx).await?;
    tx.commit().await
}
