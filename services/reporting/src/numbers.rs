//! The notice numbers of all payments, for who ends a restore of tenant's database (ARCHITECTURE.md 4.2).

use sqlx::PgPool;

/// A number that was paid, by the key of its payment.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct Paid {
    /// To whom the receipt was addressed.
    pub(crate) institution: String,
    /// Of the receipt.
    pub(crate) receipt_id: String,
    /// Who issued the notice.
    pub(crate) issuer: String,
    /// Of the notice.
    pub(crate) notice_number: String,
}

/// Numbers of all payments in the order of their keys, after one of them.
///
/// # Errors
/// What the database says.
pub(crate) async fn numbers(pool: &PgPool, after: (&str, &str), rows: i64) -> sqlx::Result<Vec<Paid>> {
    sqlx::query_as(
        "select institution, receipt_id, issuer, notice_number from payment
         where (institution, receipt_id) > ($1, $2) order by institution, receipt_id limit $3",
    )
    .bind(after.0)
    .bind(after.1)
    .bind(rows)
    .fetch_all(pool)
    .await
}
