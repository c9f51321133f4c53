//! What a reading means: associated, registered, waiting. Rows that stay as they are are not written.

use std::collections::HashMap;

use fiorino_kit::clock::Clock;
use sqlx::PgConnection;

use super::{
    Whose,
    compare::{Shown, Wanted},
};

/// Numbers of the institutions that are looked at.
pub(super) async fn institutions(conn: &mut PgConnection, whose: Whose<'_>) -> sqlx::Result<Vec<i32>> {
    match whose {
        Whose::Institution(id) => Ok(vec![id]),
        Whose::Broker(broker) => {
            sqlx::query_scalar(
                "select distinct a.institution_id from association a join station s using (station_id)
                 where s.broker_fiscal_code = $1 and not a.removed",
            )
            .bind(broker)
            .fetch_all(conn)
            .await
        }
    }
}

/// Compares associations; returns the institutions of which one changed.
pub(super) async fn associations(conn: &mut PgConnection, ids: &[i32]) -> sqlx::Result<Vec<i32>> {
    let wanted: Vec<Wanted> = sqlx::query_as(
        "select a.institution_id, i.fiscal_code, a.station_id, a.aux_digit, a.code, a.nav_prefix, a.broadcast,
             s.primitive_version, r.read_at is not null as was_read, a.associated, a.difference
         from association a
         join institution i using (institution_id)
         join station s using (station_id)
         left join readback r using (broker_fiscal_code)
         where a.institution_id = any($1) and not a.removed",
    )
    .bind(ids)
    .fetch_all(&mut *conn)
    .await?;
    let codes: Vec<&String> = wanted.iter().map(|one| &one.fiscal_code).collect();
    let rows: Vec<Shown> = sqlx::query_as(
        "select institution, station_id, aux_digit, segregation_code, application_code, broadcast, enabled,
             primitive_version
         from readback_association where institution = any($1)",
    )
    .bind(codes)
    .fetch_all(&mut *conn)
    .await?;
    let mut shown: HashMap<String, Vec<Shown>> = HashMap::new();
    for row in rows {
        shown.entry(row.institution.clone()).or_default().push(row);
    }
    let compared = wanted.iter().map(|one| (one, one.compare(shown.get(&one.fiscal_code).map_or(&[], Vec::as_slice))));
    let changed: Vec<_> = compared
        .filter(|(one, (associated, difference))| (one.associated, &one.difference) != (*associated, difference))
        .collect();
    sqlx::query(
        "update association a set associated = t.associated, difference = t.difference
         from unnest($1::int4[], $2::text[], $3::int2[], $4::text[], $5::text[], $6::bool[], $7::text[])
             as t (institution_id, station_id, aux_digit, code, nav_prefix, associated, difference)
         where (a.institution_id, a.station_id, a.aux_digit, a.code, a.nav_prefix)
             = (t.institution_id, t.station_id, t.aux_digit, t.code, t.nav_prefix)",
    )
    .bind(changed.iter().map(|(one, _)| one.institution_id).collect::<Vec<_>>())
    .bind(changed.iter().map(|(one, _)| &one.station_id).collect::<Vec<_>>())
    .bind(changed.iter().map(|(one, _)| one.aux_digit).collect::<Vec<_>>())
    .bind(changed.iter().map(|(one, _)| &one.code).collect::<Vec<_>>())
    .bind(changed.iter().map(|(one, _)| &one.nav_prefix).collect::<Vec<_>>())
    .bind(changed.iter().map(|(_, (associated, _))| *associated).collect::<Vec<_>>())
    .bind(changed.iter().map(|(_, (_, difference))| difference).collect::<Vec<_>>())
    .execute(conn)
    .await?;
    Ok(changed.iter().map(|(one, _)| one.institution_id).collect())
}

/// A number is registered when pagoPA shows it enabled, and usable on the day from which we want to use it. The day from which it
/// is usable is kept: no later reading undoes a switch.
pub(super) async fn numbers(conn: &mut PgConnection, ids: &[i32], clock: &Clock) -> sqlx::Result<Vec<i32>> {
    sqlx::query_scalar(
        "with shown as (
             select n.institution_id, n.account, n.valid_from,
                 min((r.validity_date at time zone 'Europe/Rome')::date) as usable_from
             from account_number n
             join institution i using (institution_id)
             left join readback_iban r on r.institution = i.fiscal_code and r.iban = n.iban and r.enabled
             where n.institution_id = any($1)
             group by n.institution_id, n.account, n.valid_from),
         found as (
             select institution_id, account, valid_from, usable_from,
                 coalesce(usable_from <= greatest(valid_from, $2), false) as registered
             from shown)
         update account_number n
         set registered = f.registered, registered_from = least(n.registered_from, f.usable_from)
         from found f
         where (n.institution_id, n.account, n.valid_from) = (f.institution_id, f.account, f.valid_from)
             and (n.registered, n.registered_from)
                 is distinct from (f.registered, least(n.registered_from, f.usable_from))
         returning n.institution_id",
    )
    .bind(ids)
    .bind(jiff_sqlx::Date::from(clock.today()))
    .fetch_all(conn)
    .await
}

/// An institution waits as long as something that must stand at pagoPA does not; a closed one waits for nothing. Each step has a
/// clock of its own, which starts when it is the step's turn: whoever was not waited for is not late.
pub(super) async fn waiting(conn: &mut PgConnection, ids: &[i32], clock: &Clock) -> sqlx::Result<Vec<i32>> {
    sqlx::query_scalar(
        "with missing as (
             select i.institution_id, i.phase <> 5 as open,
                 exists (select from association a
                         where a.institution_id = i.institution_id and not a.removed and not a.associated) as stations,
                 exists (select from current_numbers(i.institution_id, $2) n where not n.registered) as numbers,
                 exists (select from current_numbers(i.institution_id, $2) n
                         group by n.account
                         having not bool_or(n.registered and n.valid_from <= $2)) as accounts
             from institution i
             where i.institution_id = any($1)),
         found as (
             select institution_id, open and (stations or numbers) as waits, open and stations as stations,
                 open and accounts and not stations as accounts
             from missing)
         update institution i
         set waiting_since = case when f.waits then coalesce(i.waiting_since, $3) end,
             stations_waiting_since = case when f.stations then coalesce(i.stations_waiting_since, $3) end,
             accounts_waiting_since = case when f.accounts then coalesce(i.accounts_waiting_since, $3) end
         from found f
         where i.institution_id = f.institution_id
             and (i.waiting_since is not null, i.stations_waiting_since is not null, i.accounts_waiting_since is not null)
                 is distinct from (f.waits, f.stations, f.accounts)
         returning i.institution_id",
    )
    .bind(ids)
    .bind(jiff_sqlx::Date::from(clock.today()))
    .bind(jiff_sqlx::Timestamp::from(clock.now()))
    .fetch_all(conn)
    .await
}
