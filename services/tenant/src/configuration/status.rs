//! Institutions as they stand: what the operator's status, support and `ResolveAddressee` read.

use std::collections::HashMap;

use fiorino_kit::clock::Clock;
use fiorino_proto::config::v1::{AccountRegistration, InstitutionStatus, ServiceState, StationRegistration};
use sqlx::{FromRow, PgConnection};

use super::{distribution::Distribution, used::used_accounts, watermark::Watermark};

#[derive(Debug, FromRow)]
struct InstitutionRow {
    institution_id: i32,
    fiscal_code: String,
    uid: String,
    legal_name: String,
    phase: i16,
    managed: bool,
    config_seq: i64,
    node_connected_at: Option<jiff_sqlx::Timestamp>,
    waiting_since: Option<jiff_sqlx::Timestamp>,
    stations_waiting_since: Option<jiff_sqlx::Timestamp>,
    accounts_waiting_since: Option<jiff_sqlx::Timestamp>,
    readback_at: Option<jiff_sqlx::Timestamp>,
}

#[derive(Debug, FromRow)]
struct AccountRow {
    institution_id: i32,
    account: String,
    valid_from: jiff_sqlx::Date,
    iban_tail: String,
    registered: bool,
}

#[derive(Debug, FromRow)]
struct StationRow {
    institution_id: i32,
    station_id: String,
    associated: bool,
    difference: String,
}

#[derive(Debug, FromRow)]
struct ServiceRow {
    institution_id: i32,
    code: String,
    profile_revision: String,
    active: bool,
}

/// Rows of the institutions of a page, by institution.
pub(super) type ByInstitution<T> = HashMap<i32, Vec<T>>;

/// The institutions with these numbers, in the order of their fiscal codes. Read it in one snapshot.
pub(super) async fn load(
    conn: &mut PgConnection,
    ids: &[i32],
    expected: &[String],
    clock: &Clock,
) -> sqlx::Result<Vec<InstitutionStatus>> {
    let institutions = institutions(conn, ids).await?;
    let distribution = Distribution::new(expected, &Watermark::live(conn).await?);
    let mut refused = refused(conn, ids, &distribution).await?;
    let mut accounts = accounts(conn, ids, clock).await?;
    let mut stations = stations(conn, ids).await?;
    let mut services = services(conn, ids).await?;
    let mut used = used_accounts(conn, ids, clock).await?;
    let status = |row: InstitutionRow| {
        let id = row.institution_id;
        let refused = refused.remove(&id).unwrap_or_default();
        InstitutionStatus {
            fiscal_code: row.fiscal_code,
            uid: row.uid,
            legal_name: row.legal_name,
            phase: row.phase.into(),
            managed: row.managed,
            config_seq: row.config_seq,
            distribution: distribution.of(row.config_seq, &refused),
            accounts: accounts.remove(&id).unwrap_or_default(),
            stations: stations.remove(&id).unwrap_or_default(),
            node_connected_at: rfc3339(row.node_connected_at),
            readback_at: rfc3339(row.readback_at),
            services: services.remove(&id).unwrap_or_default(),
            waiting_since: rfc3339(row.waiting_since),
            stations_waiting_since: rfc3339(row.stations_waiting_since),
            accounts_waiting_since: rfc3339(row.accounts_waiting_since),
            used_accounts: used.remove(&id).unwrap_or_default(),
        }
    };
    Ok(institutions.into_iter().map(status).collect())
}

async fn institutions(conn: &mut PgConnection, ids: &[i32]) -> sqlx::Result<Vec<InstitutionRow>> {
    // Read for an institution = every one of its brokers was; the oldest reading counts.
    sqlx::query_as(
        "select i.institution_id, i.fiscal_code, i.uid, i.legal_name, i.phase, i.managed, i.config_seq,
             i.node_connected_at, i.waiting_since, i.stations_waiting_since, i.accounts_waiting_since, r.readback_at
         from institution i
         left join lateral (
             select case when bool_and(read_at is not null) then min(read_at) end as readback_at
             from association a
             join station using (station_id)
             left join readback using (broker_fiscal_code)
             where a.institution_id = i.institution_id and not a.removed) r on true
         where i.institution_id = any($1)
         order by i.fiscal_code",
    )
    .bind(ids)
    .fetch_all(conn)
    .await
}

/// Sequences of refused resources, by the institutions that they touch.
async fn refused(
    conn: &mut PgConnection,
    ids: &[i32],
    distribution: &Distribution,
) -> sqlx::Result<HashMap<i32, HashMap<String, i64>>> {
    let uids: Vec<&str> = distribution.refused().into_iter().collect();
    if uids.is_empty() {
        return Ok(HashMap::new());
    }
    let rows: Vec<(i32, String, i64)> = sqlx::query_as(
        "select institution_id, uid, config_seq from config_resource
         where institution_id = any($1) and uid = any($2) and not removed
         union
         select a.institution_id, r.uid, r.config_seq
         from association a
         join station s using (station_id)
         join broker b on b.fiscal_code = s.broker_fiscal_code
         join config_resource r on r.institution_id = 0 and not r.removed and r.uid in (s.uid, b.uid)
         where a.institution_id = any($1) and not a.removed and r.uid = any($2)",
    )
    .bind(ids)
    .bind(uids)
    .fetch_all(conn)
    .await?;
    let mut refused: HashMap<i32, HashMap<String, i64>> = HashMap::new();
    for (institution, uid, config_seq) in rows {
        refused.entry(institution).or_default().insert(uid, config_seq);
    }
    Ok(refused)
}

async fn accounts(
    conn: &mut PgConnection,
    ids: &[i32],
    clock: &Clock,
) -> sqlx::Result<ByInstitution<AccountRegistration>> {
    let rows: Vec<AccountRow> = sqlx::query_as(
        "select i.institution_id, n.account, n.valid_from, right(n.iban, 4) as iban_tail, n.registered
         from unnest($1::int4[]) as i (institution_id)
         cross join lateral current_numbers(i.institution_id, $2) n
         order by i.institution_id, n.account, n.valid_from",
    )
    .bind(ids)
    .bind(jiff_sqlx::Date::from(clock.today()))
    .fetch_all(conn)
    .await?;
    Ok(group(rows, |row| {
        let AccountRow { institution_id, account, valid_from, iban_tail, registered } = row;
        let valid_from = valid_from.to_jiff().to_string();
        (institution_id, AccountRegistration { account, valid_from, iban_tail, registered })
    }))
}

/// A station once, however many codes it serves for an institution.
async fn stations(conn: &mut PgConnection, ids: &[i32]) -> sqlx::Result<ByInstitution<StationRegistration>> {
    let rows: Vec<StationRow> = sqlx::query_as(
        "select institution_id, station_id, bool_and(associated) as associated,
             coalesce(string_agg(difference, '; ' order by aux_digit, code, nav_prefix) filter (where difference <> ''), '')
                 as difference
         from association
         where institution_id = any($1) and not removed
         group by institution_id, station_id
         order by institution_id, station_id",
    )
    .bind(ids)
    .fetch_all(conn)
    .await?;
    Ok(group(rows, |row| {
        let StationRow { institution_id, station_id, associated, difference } = row;
        (institution_id, StationRegistration { station_id, associated, difference })
    }))
}

async fn services(conn: &mut PgConnection, ids: &[i32]) -> sqlx::Result<ByInstitution<ServiceState>> {
    let rows: Vec<ServiceRow> = sqlx::query_as(
        "select institution_id, code, profile_revision, active from payment_service
         where institution_id = any($1) and not removed
         order by institution_id, code",
    )
    .bind(ids)
    .fetch_all(conn)
    .await?;
    Ok(group(rows, |row| {
        let ServiceRow { institution_id, code, profile_revision, active } = row;
        (institution_id, ServiceState { code, profile_revision, active })
    }))
}

pub(super) fn group<R, T>(rows: Vec<R>, split: impl Fn(R) -> (i32, T)) -> ByInstitution<T> {
    let mut grouped: ByInstitution<T> = HashMap::new();
    for (institution, value) in rows.into_iter().map(split) {
        grouped.entry(institution).or_default().push(value);
    }
    grouped
}

fn rfc3339(at: Option<jiff_sqlx::Timestamp>) -> String {
    at.map(|at| at.to_jiff().to_string()).unwrap_or_default()
}
