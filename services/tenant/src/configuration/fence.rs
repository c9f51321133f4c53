//! Fences: who may write for a platform, and which leases may not come back (ARCHITECTURE.md 3.2).

use fiorino_kit::store;
use fiorino_proto::config::v1::AcquireFenceRequest;
use jiff::Timestamp;
use sqlx::{PgConnection, PgPool};

use super::head::Head;
use crate::error::{Error, Result};

/// A fence that was issued.
#[derive(Debug, Clone, Copy)]
pub(super) struct Issued {
    pub(super) fence: i64,
    /// When somebody allowed that this lease leads although another one followed it.
    pub(super) allowed_at: Option<Timestamp>,
}

/// What became of [`allow_lease`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allowed {
    /// The lease may lead again, once.
    Yes,
    /// No lease of this uid ever led for the platform.
    Unknown,
    /// It leads, or may lead: nothing has to be allowed.
    Needless,
}

/// Issues a fence higher than any before. The head is held.
pub(super) async fn acquire(conn: &mut PgConnection, request: &AcquireFenceRequest) -> Result<Issued> {
    let AcquireFenceRequest { lease_uid, lease_transitions, platform } = request;
    let latest: Option<(String, i64)> =
        sqlx::query_as("select lease_uid, lease_transitions from fence where platform = $1")
            .bind(platform)
            .fetch_optional(&mut *conn)
            .await?;
    let leads = latest.as_ref().filter(|(uid, _)| uid == lease_uid).map(|(_, transitions)| *transitions);
    if let Some(latest) = leads.filter(|latest| lease_transitions < latest) {
        let message = format!("the lease was taken over: transition {latest} is known, this is {lease_transitions}");
        return Err(Error::precondition("lease_transitions", message));
    }
    let allowed_at = if leads.is_none() { succeed(conn, platform, lease_uid).await? } else { None };
    let fence =
        sqlx::query_scalar("update config_head set fence = fence + 1 returning fence").fetch_one(&mut *conn).await?;
    sqlx::query(
        "insert into fence (platform, fence, lease_uid, lease_transitions) values ($1, $2, $3, $4)
         on conflict (platform) do update
         set fence = excluded.fence, lease_uid = excluded.lease_uid, lease_transitions = excluded.lease_transitions,
             acquired_at = now()",
    )
    .bind(platform)
    .bind(fence)
    .bind(lease_uid)
    .bind(lease_transitions)
    .execute(conn)
    .await?;
    Ok(Issued { fence, allowed_at })
}

/// Refuses every fence but the platform's latest. The head is held.
pub(crate) async fn check(conn: &mut PgConnection, platform: &str, fence: i64) -> Result<()> {
    let latest: Option<i64> =
        sqlx::query_scalar("select fence from fence where platform = $1").bind(platform).fetch_optional(conn).await?;
    match latest {
        Some(latest) if fence == latest => Ok(()),
        Some(latest) if fence < latest => {
            let message = format!("deposed: fence {latest} was issued after {fence}; stop writing");
            Err(Error::precondition("fence", message))
        }
        // A store that was restored or replaced: its fences begin again.
        _ => Err(Error::precondition("fence", format!("fence {fence} was never issued here; acquire one"))),
    }
}

/// Lets a lease that another one followed lead again, once: what was decided is kept with the role that decided it.
///
/// # Errors
/// What the database says.
pub async fn allow_lease(pool: &PgPool, platform: &str, lease_uid: &str) -> sqlx::Result<Allowed> {
    let mut tx = store::begin(pool).await?;
    Head::lock(&mut tx).await?;
    let allowed = allow(&mut tx, platform, lease_uid).await?;
    tx.commit().await?;
    Ok(allowed)
}

async fn allow(conn: &mut PgConnection, platform: &str, lease_uid: &str) -> sqlx::Result<Allowed> {
    let Some(superseded) = superseded(conn, platform, lease_uid).await? else { return Ok(Allowed::Unknown) };
    let open: bool = sqlx::query_scalar(
        "select exists (select from fence_allowance where platform = $1 and lease_uid = $2 and taken_at is null)",
    )
    .bind(platform)
    .bind(lease_uid)
    .fetch_one(&mut *conn)
    .await?;
    if !superseded || open {
        return Ok(Allowed::Needless);
    }
    sqlx::query("insert into fence_allowance (platform, lease_uid) values ($1, $2)")
        .bind(platform)
        .bind(lease_uid)
        .execute(conn)
        .await?;
    Ok(Allowed::Yes)
}

/// Another lease takes over from the one that leads; one that was followed before needs somebody's leave, which is then used up.
async fn succeed(conn: &mut PgConnection, platform: &str, lease_uid: &str) -> Result<Option<Timestamp>> {
    let allowed_at = if superseded(conn, platform, lease_uid).await? == Some(true) {
        let allowed: Option<jiff_sqlx::Timestamp> = sqlx::query_scalar(
            "update fence_allowance set taken_at = now()
             where platform = $1 and lease_uid = $2 and taken_at is null
             returning allowed_at",
        )
        .bind(platform)
        .bind(lease_uid)
        .fetch_optional(&mut *conn)
        .await?;
        let Some(allowed) = allowed else { return Err(followed(lease_uid)) };
        Some(allowed.to_jiff())
    } else {
        None
    };
    sqlx::query(
        "insert into fence_lease (platform, lease_uid) values ($1, $2)
         on conflict (platform, lease_uid) do update set superseded = false",
    )
    .bind(platform)
    .bind(lease_uid)
    .execute(&mut *conn)
    .await?;
    sqlx::query("update fence_lease set superseded = true where platform = $1 and lease_uid <> $2 and not superseded")
        .bind(platform)
        .bind(lease_uid)
        .execute(conn)
        .await?;
    Ok(allowed_at)
}

/// Whether another lease followed this one; `None` = it never led. A lease that is known and does not lead was followed, also when an
/// older version of the service issued the fence and marked nothing.
async fn superseded(conn: &mut PgConnection, platform: &str, lease_uid: &str) -> sqlx::Result<Option<bool>> {
    sqlx::query_scalar(
        "select l.superseded or f.lease_uid is distinct from l.lease_uid
         from fence_lease l left join fence f on f.platform = l.platform
         where l.platform = $1 and l.lease_uid = $2",
    )
    .bind(platform)
    .bind(lease_uid)
    .fetch_optional(conn)
    .await
}

fn followed(lease_uid: &str) -> Error {
    Error::precondition(
        "lease_uid",
        format!(
            "the lease {lease_uid} was followed by another cluster's and gets no fence any more; if this cluster shall \
             lead again, run: fiorino-tenant fence allow {lease_uid}"
        ),
    )
}
