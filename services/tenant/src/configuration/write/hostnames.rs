//! Host names of portals: a name belongs to one institution. One whose manifest was deleted lets it go to one that has a manifest.

use std::collections::BTreeMap;

use fiorino_proto::config::v1::{InstitutionSpec, ResourceKind};
use prost::Message as _;
use sha2::{Digest as _, Sha256};
use sqlx::{FromRow, PgConnection};

use super::Scope;
use crate::configuration::{bundle::Bundle, plan::HostnameHolder};

#[derive(Debug, FromRow)]
struct HeldRow {
    hostname: String,
    object: String,
    closed: bool,
}

#[derive(Debug, FromRow)]
struct SpecRow {
    institution_id: i32,
    uid: String,
    spec: Vec<u8>,
}

/// The names that the bundle wants and that another institution with a manifest has.
pub(super) async fn of_others(
    conn: &mut PgConnection,
    bundle: &Bundle,
    institution_id: Option<i32>,
) -> sqlx::Result<BTreeMap<String, HostnameHolder>> {
    let rows: Vec<HeldRow> = sqlx::query_as(
        "select p.hostname, i.namespace || '/' || i.name as object, i.phase = 5 as closed
         from portal_hostname p join institution i using (institution_id)
         where p.hostname = any($1) and p.institution_id is distinct from $2 and i.managed",
    )
    .bind(bundle.institution().map(|spec| &spec.portal_hostnames[..]).unwrap_or_default())
    .bind(institution_id)
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|HeldRow { hostname, object, closed }| (hostname, HostnameHolder { object, closed }))
        .collect())
}

/// What is not told any more is free for others; the primary key gives each name to one institution.
pub(super) async fn write(conn: &mut PgConnection, told: &[String], scope: Scope<'_>) -> sqlx::Result<()> {
    take(conn, told, scope).await?;
    sqlx::query("delete from portal_hostname where institution_id = $1 and hostname <> all($2)")
        .bind(scope.institution_id)
        .bind(told)
        .execute(&mut *conn)
        .await?;
    sqlx::query(
        "insert into portal_hostname (hostname, institution_id)
         select told, $1 from unnest($2::text[]) told
         where not exists (select from portal_hostname p where p.hostname = told and p.institution_id = $1)",
    )
    .bind(scope.institution_id)
    .bind(told)
    .execute(conn)
    .await?;
    Ok(())
}

/// Names that institutions without a manifest have: theirs no longer.
async fn take(conn: &mut PgConnection, told: &[String], scope: Scope<'_>) -> sqlx::Result<()> {
    let taken: Vec<i32> = sqlx::query_scalar(
        "delete from portal_hostname p using institution i
         where p.hostname = any($1) and i.institution_id = p.institution_id and p.institution_id <> $2 and not i.managed
         returning p.institution_id",
    )
    .bind(told)
    .bind(scope.institution_id)
    .fetch_all(&mut *conn)
    .await?;
    if taken.is_empty() {
        return Ok(());
    }
    let specs: Vec<SpecRow> = sqlx::query_as(
        "select institution_id, uid, spec from config_resource
         where institution_id = any($1) and kind = $2 and not removed",
    )
    .bind(&taken)
    .bind(i16::try_from(ResourceKind::Institution as i32).unwrap_or_default())
    .fetch_all(&mut *conn)
    .await?;
    for row in specs {
        rewrite(conn, &row, told, scope).await?;
    }
    sqlx::query("update institution set config_seq = $1, status_seq = $2 where institution_id = any($3)")
        .bind(scope.config_seq)
        .bind(scope.status_seq)
        .bind(&taken)
        .execute(conn)
        .await?;
    Ok(())
}

/// The one spec that tenant writes itself: the portal reads names from it, and would find two institutions under one. Its hash is another
/// than the manifest's, which is therefore written anew when it comes back.
async fn rewrite(conn: &mut PgConnection, row: &SpecRow, taken: &[String], scope: Scope<'_>) -> sqlx::Result<()> {
    let mut spec = InstitutionSpec::decode(&row.spec[..]).map_err(|error| sqlx::Error::Decode(error.into()))?;
    spec.portal_hostnames.retain(|hostname| !taken.contains(hostname));
    let bytes = spec.encode_to_vec();
    sqlx::query(
        "update config_resource set spec = $1, hash = $2, config_seq = $3, actor = $4, changed_at = now()
         where institution_id = $5 and uid = $6",
    )
    .bind(&bytes)
    .bind(&Sha256::digest(&bytes)[..])
    .bind(scope.config_seq)
    .bind(scope.actor)
    .bind(row.institution_id)
    .bind(&row.uid)
    .execute(conn)
    .await?;
    Ok(())
}
