//! Accounts that open services pay to, and whether the node can be answered with them today: what `Payable` is made of.

use fiorino_kit::clock::Clock;
use fiorino_proto::config::v1::UsedAccount;
use sqlx::{FromRow, PgConnection};

use super::status::{ByInstitution, group};

#[derive(Debug, FromRow)]
struct UsedRow {
    institution_id: i32,
    owner: String,
    account: String,
    services: Vec<String>,
    in_force: bool,
    usable: bool,
}

/// Every account that an open service of the institutions pays to. The numbers are those of `number_in_use`, the rule by which verify and
/// activate answer: an account that was removed serves on, one without a number in force does not.
pub(super) async fn used_accounts(
    conn: &mut PgConnection,
    ids: &[i32],
    clock: &Clock,
) -> sqlx::Result<ByInstitution<UsedAccount>> {
    // A service that gives everything away pays nothing to its own account.
    let rows: Vec<UsedRow> = sqlx::query_as(
        "with service as (
             select s.institution_id, s.code, s.account, s.beneficiaries
             from payment_service s
             where s.institution_id = any($1) and s.active and not s.removed),
         paid as (
             select s.institution_id, s.institution_id as owner_id, '' as owner, s.account, s.code
             from service s
             where coalesce((select sum(b.share_basis_points)
                             from jsonb_to_recordset(s.beneficiaries) as b (share_basis_points int8)), 0) < 10000
             union all
             select s.institution_id, o.institution_id, b.fiscal_code, b.account, s.code
             from service s
             join institution i on i.institution_id = s.institution_id
             cross join lateral jsonb_to_recordset(s.beneficiaries) as b (fiscal_code text, account text)
             left join institution o on o.environment = i.environment and o.fiscal_code = b.fiscal_code),
         used as (
             select institution_id, owner_id, owner, account, array_agg(distinct code order by code) as services
             from paid
             group by institution_id, owner_id, owner, account)
         select u.institution_id, u.owner, u.account, u.services, number.valid_from is not null as in_force,
             u.owner <> '' or coalesce(n.registered or n.registered_from <= $2, false) as usable
         from used u
         left join lateral number_in_use(u.owner_id, u.account, $2) number on true
         left join account_number n
             on n.institution_id = u.owner_id and n.account = u.account and n.valid_from = number.valid_from
         order by u.institution_id, u.owner, u.account",
    )
    .bind(ids)
    .bind(jiff_sqlx::Date::from(clock.today()))
    .fetch_all(conn)
    .await?;
    Ok(group(rows, |row| {
        let UsedRow { institution_id, owner, account, services, in_force, usable } = row;
        (institution_id, UsedAccount { owner, account, services, in_force, usable })
    }))
}
