//! Rows of brokers, stations, accounts and services.

use serde::Serialize;
use sqlx::{PgConnection, types::Json};

use super::Scope;
use crate::configuration::spec::{Account, Broker, Number, Service, Station};

/// A beneficiary as `payment_service.beneficiaries` keeps it: read where a position is made.
#[derive(Debug, Serialize)]
struct BeneficiaryRow<'a> {
    fiscal_code: &'a str,
    legal_name: &'a str,
    share_basis_points: u32,
    account: &'a str,
    taxonomy_code: &'a str,
}

pub(super) async fn broker(conn: &mut PgConnection, uid: &str, spec: &Broker, scope: Scope<'_>) -> sqlx::Result<()> {
    sqlx::query(
        "insert into broker (fiscal_code, uid, backoffice_url, config_seq) values ($1, $2, $3, $4)
         on conflict (fiscal_code) do update
         set uid = excluded.uid, backoffice_url = excluded.backoffice_url, config_seq = excluded.config_seq",
    )
    .bind(spec.fiscal_code.as_str())
    .bind(uid)
    .bind(&spec.backoffice_url)
    .bind(scope.config_seq)
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn station(conn: &mut PgConnection, uid: &str, spec: &Station, scope: Scope<'_>) -> sqlx::Result<()> {
    sqlx::query(
        "insert into station (station_id, uid, broker_fiscal_code, primitive_version, config_seq)
         values ($1, $2, $3, $4, $5)
         on conflict (station_id) do update
         set uid = excluded.uid, broker_fiscal_code = excluded.broker_fiscal_code,
             primitive_version = excluded.primitive_version, config_seq = excluded.config_seq",
    )
    .bind(&spec.id)
    .bind(uid)
    .bind(spec.broker.as_str())
    .bind(spec.primitive_version)
    .bind(scope.config_seq)
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn account(conn: &mut PgConnection, uid: &str, spec: &Account, scope: Scope<'_>) -> sqlx::Result<()> {
    sqlx::query(
        "insert into account (institution_id, name, uid, holder, config_seq, postal_account) values ($1, $2, $3, $4, $5, $6)
         on conflict (institution_id, name) do update
         set uid = excluded.uid, holder = excluded.holder, config_seq = excluded.config_seq,
             postal_account = excluded.postal_account, removed = false",
    )
    .bind(scope.institution_id)
    .bind(&spec.name)
    .bind(uid)
    .bind(&spec.holder)
    .bind(scope.config_seq)
    .bind(&spec.postal)
    .execute(&mut *conn)
    .await?;
    numbers(conn, &spec.name, &spec.numbers, scope).await
}

/// A number that is not told any more is withdrawn, never deleted; the plan lets none become another one.
async fn numbers(conn: &mut PgConnection, account: &str, numbers: &[Number], scope: Scope<'_>) -> sqlx::Result<()> {
    let days: Vec<_> = numbers.iter().map(|number| jiff_sqlx::Date::from(number.valid_from)).collect();
    sqlx::query(
        "update account_number set withdrawn = true
         where institution_id = $1 and account = $2 and valid_from <> all($3)",
    )
    .bind(scope.institution_id)
    .bind(account)
    .bind(&days)
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        "insert into account_number (institution_id, account, valid_from, iban, postal, withdrawn, first)
         select $1, $2, told.valid_from, told.iban, told.postal, told.withdrawn, false
         from unnest($3::date[], $4::text[], $5::bool[], $6::bool[]) as told (valid_from, iban, postal, withdrawn)
         on conflict (institution_id, account, valid_from) do update
         set withdrawn = excluded.withdrawn",
    )
    .bind(scope.institution_id)
    .bind(account)
    .bind(&days)
    .bind(numbers.iter().map(|number| number.iban.expose()).collect::<Vec<_>>())
    .bind(numbers.iter().map(|number| number.postal).collect::<Vec<_>>())
    .bind(numbers.iter().map(|number| number.withdrawn).collect::<Vec<_>>())
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        "update account_number n
         set first = valid_from = (select min(valid_from) from account_number
                                   where institution_id = n.institution_id and account = n.account)
         where institution_id = $1 and account = $2",
    )
    .bind(scope.institution_id)
    .bind(account)
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn service(conn: &mut PgConnection, uid: &str, spec: &Service, scope: Scope<'_>) -> sqlx::Result<()> {
    let beneficiaries: Vec<_> = spec
        .beneficiaries
        .iter()
        .map(|beneficiary| BeneficiaryRow {
            fiscal_code: beneficiary.fiscal_code.as_str(),
            legal_name: beneficiary.legal_name.as_str(),
            share_basis_points: beneficiary.share_basis_points,
            account: &beneficiary.account,
            taxonomy_code: beneficiary.taxonomy_code.as_str(),
        })
        .collect();
    sqlx::query(
        "insert into payment_service (institution_id, code, uid, title, taxonomy_code, account, expiry_policy, active,
             minimum_cents, maximum_cents, beneficiaries, profile_revision, config_seq)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
         on conflict (institution_id, code) do update
         set uid = excluded.uid, title = excluded.title, taxonomy_code = excluded.taxonomy_code,
             account = excluded.account, expiry_policy = excluded.expiry_policy, active = excluded.active,
             minimum_cents = excluded.minimum_cents, maximum_cents = excluded.maximum_cents,
             beneficiaries = excluded.beneficiaries, profile_revision = excluded.profile_revision,
             config_seq = excluded.config_seq, removed = false",
    )
    .bind(scope.institution_id)
    .bind(&spec.code)
    .bind(uid)
    .bind(spec.title.as_str())
    .bind(spec.taxonomy_code.as_str())
    .bind(&spec.account)
    .bind(i16::try_from(spec.expiry_policy as i32).unwrap_or_default())
    .bind(spec.active)
    .bind(spec.minimum.get())
    .bind(spec.maximum.get())
    .bind(Json(beneficiaries))
    .bind(&spec.profile_revision)
    .bind(scope.config_seq)
    .execute(conn)
    .await?;
    Ok(())
}

/// No new debts; the rows stay, because existing debts are paid with them.
pub(super) async fn remove(conn: &mut PgConnection, uids: &[String], scope: Scope<'_>) -> sqlx::Result<()> {
    sqlx::query("update account set removed = true, config_seq = $1 where institution_id = $2 and uid = any($3)")
        .bind(scope.config_seq)
        .bind(scope.institution_id)
        .bind(uids)
        .execute(&mut *conn)
        .await?;
    sqlx::query(
        "update payment_service set removed = true, config_seq = $1 where institution_id = $2 and uid = any($3)",
    )
    .bind(scope.config_seq)
    .bind(scope.institution_id)
    .bind(uids)
    .execute(conn)
    .await?;
    Ok(())
}
