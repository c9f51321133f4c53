//! The institution's row, its associations and their notice number sequences.

use fiorino_proto::config::v1::{Resource, ResourceKind};
use sqlx::PgConnection;

use super::Scope;
use crate::configuration::{
    bundle::Bundle,
    plan::Write,
    spec::{Association, Institution},
};

/// Writes the institution and what hangs on it; returns its number.
///
/// An object that may not take the identity over is inserted, and runs into the constraint on it.
pub(super) async fn write(
    conn: &mut PgConnection,
    resource: &Resource,
    spec: &Institution,
    takes_over: bool,
    scope: Scope<'_>,
) -> sqlx::Result<i32> {
    // No `on conflict`: it would use up a number each time.
    let statement = if takes_over && scope.institution_id != 0 {
        "update institution
         set platform = $3, uid = $4, namespace = $5, name = $6, legal_name = $7, office_name = $8, phase = $9,
             config_seq = $10, status_seq = $11
         where environment = $1 and fiscal_code = $2
         returning institution_id"
    } else {
        "insert into institution (environment, fiscal_code, platform, uid, namespace, name, legal_name, office_name,
             phase, config_seq, status_seq)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
         returning institution_id"
    };
    let institution_id = sqlx::query_scalar(statement)
        .bind(scope.environment.as_str())
        .bind(spec.fiscal_code.as_str())
        .bind(scope.platform)
        .bind(&resource.uid)
        .bind(&resource.namespace)
        .bind(&resource.name)
        .bind(spec.legal_name.as_str())
        .bind(&spec.office_name)
        .bind(i16::try_from(spec.phase as i32).unwrap_or_default())
        .bind(scope.config_seq)
        .bind(scope.status_seq)
        .fetch_one(&mut *conn)
        .await?;
    let scope = Scope { institution_id, ..scope };
    associations(conn, &spec.associations, scope).await?;
    sequences(conn, spec, scope).await?;
    hostnames(conn, &spec.portal_hostnames, scope).await?;
    Ok(institution_id)
}

/// What is not told any more is free for others; the primary key gives each name to one institution.
async fn hostnames(conn: &mut PgConnection, told: &[String], scope: Scope<'_>) -> sqlx::Result<()> {
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

/// What is not told any more is marked as removed: messages that come through it are still ours.
async fn associations(conn: &mut PgConnection, told: &[Association], scope: Scope<'_>) -> sqlx::Result<()> {
    sqlx::query("update association set removed = true where institution_id = $1 and not removed")
        .bind(scope.institution_id)
        .execute(&mut *conn)
        .await?;
    let column = |text: fn(&Association) -> &str| told.iter().map(text).collect::<Vec<_>>();
    sqlx::query(
        "insert into association (institution_id, station_id, aux_digit, code, nav_prefix, issuing, broadcast)
         select $1, told.station_id, told.aux_digit, told.code, told.nav_prefix, told.issuing, told.broadcast
         from unnest($2::text[], $3::int2[], $4::text[], $5::text[], $6::bool[], $7::bool[])
             as told (station_id, aux_digit, code, nav_prefix, issuing, broadcast)
         on conflict (institution_id, station_id, aux_digit, code, nav_prefix) do update
         set issuing = excluded.issuing, broadcast = excluded.broadcast, removed = false",
    )
    .bind(scope.institution_id)
    .bind(column(|association| &association.station_id))
    .bind(told.iter().map(|association| i16::from(association.aux_digit.number())).collect::<Vec<_>>())
    .bind(column(|association| &association.code))
    .bind(column(|association| &association.nav_prefix))
    .bind(told.iter().map(|association| association.issuing).collect::<Vec<_>>())
    .bind(told.iter().map(|association| association.broadcast).collect::<Vec<_>>())
    .execute(conn)
    .await?;
    Ok(())
}

/// Each issuing association has a sequence whose key is made once; the floor only raises it. One that was lost with a restored database goes
/// on with the key and above the numbers that a node-connector knows.
async fn sequences(conn: &mut PgConnection, spec: &Institution, scope: Scope<'_>) -> sqlx::Result<()> {
    for association in spec.associations.iter().filter(|association| association.issuing) {
        let key: [u8; 32] = rand::random();
        sqlx::query(
            "insert into nav_sequence as held (institution_id, aux_digit, code, prefix, key, next, floor)
             select $1, $2, $3, $4, coalesce(known.key, $5), greatest($6, known.highest + least(2000000,
                 ((10::numeric ^ (13 - length($4)))::bigint - known.highest) / 10)), $6
             from (values (1)) as one
             left join nav_witness known on known.institution = $7 and known.aux_digit = $2 and known.code = $3 and known.prefix = $4
             on conflict (institution_id, aux_digit, code, prefix) do update
             set floor = excluded.floor, next = greatest(held.next, excluded.floor)",
        )
        .bind(scope.institution_id)
        .bind(i16::from(association.aux_digit.number()))
        .bind(&association.code)
        .bind(&association.nav_prefix)
        .bind(&key[..])
        .bind(spec.nav_floor)
        .bind(spec.fiscal_code.as_str())
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}

/// A bundle came for an institution whose manifest had been deleted: it has one again.
pub(super) async fn hold(conn: &mut PgConnection, bundle: &Bundle, scope: Scope<'_>) -> sqlx::Result<()> {
    let resource = &bundle.institution.resource;
    sqlx::query(
        "update institution set managed = true, platform = $1, uid = $2, namespace = $3, name = $4, status_seq = $5
         where institution_id = $6",
    )
    .bind(scope.platform)
    .bind(&resource.uid)
    .bind(&resource.namespace)
    .bind(&resource.name)
    .bind(scope.status_seq)
    .bind(scope.institution_id)
    .execute(conn)
    .await?;
    Ok(())
}

/// The sequence of every institution that the change touches: its own, and those that refer to a broker or station of it.
pub(super) async fn touch(conn: &mut PgConnection, writes: &[Write<'_>], scope: Scope<'_>) -> sqlx::Result<i64> {
    let written = |kind| {
        let of_kind = writes.iter().filter(move |write| write.item.kind == kind);
        of_kind.map(|write| write.item.spec.identity()).collect::<Vec<_>>()
    };
    sqlx::query(
        "update institution set config_seq = $1, status_seq = $2
         where institution_id = $3
            or institution_id in (select a.institution_id from association a join station s using (station_id)
                                  where not a.removed
                                    and (a.station_id = any($4) or s.broker_fiscal_code = any($5)))",
    )
    .bind(scope.config_seq)
    .bind(scope.status_seq)
    .bind(scope.institution_id)
    .bind(written(ResourceKind::Station))
    .bind(written(ResourceKind::Broker))
    .execute(conn)
    .await?;
    Ok(scope.config_seq)
}
