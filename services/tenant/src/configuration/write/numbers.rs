//! Rows of the numbers of accounts: read for the plan, written by it.

use std::collections::HashMap;

use fiorino_domain::iban::Iban;
use jiff::civil::Date;
use sqlx::{FromRow, PgConnection};

use super::Scope;
use crate::{
    configuration::{
        bundle::Bundle,
        rules::numbers::{First, Held},
        spec::{Attestation, Number},
    },
    positions::rows::decode,
};

#[derive(FromRow)]
#[expect(clippy::struct_excessive_bools, reason = "columns")]
struct Row {
    account: String,
    valid_from: jiff_sqlx::Date,
    iban: String,
    withdrawn: bool,
    listed: bool,
    first: bool,
    attested: bool,
    fixed: bool,
    in_force: bool,
}

/// The numbers of an institution's accounts, held until the transaction ends: no activation is answered with one of them for the first
/// time meanwhile.
pub(super) async fn read(
    conn: &mut PgConnection,
    institution_id: i32,
    today: Date,
) -> sqlx::Result<HashMap<String, Vec<Held>>> {
    let rows: Vec<Row> = sqlx::query_as(
        "select n.account, n.valid_from, n.iban, n.withdrawn, n.listed, n.first, n.attested_on is not null as attested,
             n.used or n.registered_from is not null or n.attested_on is not null as fixed,
             exists (
                 select from numbers_in_force(n.institution_id, n.account, $2) f where f.valid_from = n.valid_from
             ) as in_force
         from account_number n
         where n.institution_id = $1
         order by n.account, n.valid_from
         for no key update of n",
    )
    .bind(institution_id)
    .bind(jiff_sqlx::Date::from(today))
    .fetch_all(conn)
    .await?;
    let mut numbers: HashMap<String, Vec<Held>> = HashMap::new();
    for row in rows {
        let Row { account, valid_from, iban, withdrawn, listed, first, attested, fixed, in_force } = row;
        let (valid_from, iban) = (valid_from.to_jiff(), Iban::parse(&iban).map_err(decode)?);
        let held = Held { valid_from, iban, withdrawn, listed, first, attested, fixed, in_force };
        numbers.entry(account).or_default().push(held);
    }
    Ok(numbers)
}

/// Whether pagoPA's registry is read for the institution of a bundle: a reading of the broker of one of its stations is known, or one
/// that shows its accounts.
pub(super) async fn is_read_back(conn: &mut PgConnection, bundle: &Bundle) -> sqlx::Result<bool> {
    let associations = bundle.institution().map(|spec| &spec.associations[..]).unwrap_or_default();
    sqlx::query_scalar(
        "select exists (select from readback_iban where institution = $1)
             or exists (
                 select from station s join readback r on r.broker_fiscal_code = s.broker_fiscal_code
                 where s.station_id = any($2))",
    )
    .bind(bundle.fiscal_code())
    .bind(associations.iter().map(|association| &association.station_id).collect::<Vec<_>>())
    .fetch_one(conn)
    .await
}

/// Writes the numbers of an account. A number that the manifest lists no more is not deleted; a number that was withdrawn once stays
/// withdrawn, also through an object that is deleted and made anew.
pub(super) async fn write(
    conn: &mut PgConnection,
    account: &str,
    numbers: &[Number],
    first: First,
    scope: Scope<'_>,
) -> sqlx::Result<()> {
    let days: Vec<_> = numbers.iter().map(|number| jiff_sqlx::Date::from(number.valid_from)).collect();
    sqlx::query(
        "update account_number set listed = false
         where institution_id = $1 and account = $2 and listed and valid_from <> all($3)",
    )
    .bind(scope.institution_id)
    .bind(account)
    .bind(&days)
    .execute(&mut *conn)
    .await?;
    let attested = |of: fn(&Attestation) -> &str| -> Vec<Option<&str>> {
        numbers.iter().map(|number| number.attestation.as_ref().map(of)).collect()
    };
    let attested_on = |number: &Number| number.attestation.as_ref().map(|it| jiff_sqlx::Date::from(it.date));
    // Another number on the same day is one that nobody was ever answered with (rules/numbers.rs).
    sqlx::query(
        "insert into account_number as held (institution_id, account, valid_from, iban, postal, withdrawn, first, listed, used,
             attested_by, attested_on, attested_document)
         select $1, $2, named.valid_from, named.iban, named.postal, named.withdrawn, false, true, false, named.attested_by,
             named.attested_on, named.attested_document
         from unnest($3::date[], $4::text[], $5::bool[], $6::bool[], $7::text[], $8::date[], $9::text[])
             as named (valid_from, iban, postal, withdrawn, attested_by, attested_on, attested_document)
         on conflict (institution_id, account, valid_from) do update
         set iban = excluded.iban, postal = excluded.postal, listed = true,
             withdrawn = excluded.withdrawn or held.withdrawn and held.iban = excluded.iban,
             registered = held.registered and held.iban = excluded.iban,
             attested_by = coalesce(excluded.attested_by, held.attested_by),
             attested_on = coalesce(excluded.attested_on, held.attested_on),
             attested_document = coalesce(excluded.attested_document, held.attested_document)",
    )
    .bind(scope.institution_id)
    .bind(account)
    .bind(&days)
    .bind(numbers.iter().map(|number| number.iban.expose()).collect::<Vec<_>>())
    .bind(numbers.iter().map(|number| number.postal).collect::<Vec<_>>())
    .bind(numbers.iter().map(|number| number.withdrawn).collect::<Vec<_>>())
    .bind(attested(|it| it.by.as_str()))
    .bind(numbers.iter().map(attested_on).collect::<Vec<_>>())
    .bind(attested(|it| it.document.as_str()))
    .execute(&mut *conn)
    .await?;
    if let First::Is(day) = first {
        sqlx::query("update account_number set first = valid_from = $3 where institution_id = $1 and account = $2")
            .bind(scope.institution_id)
            .bind(account)
            .bind(jiff_sqlx::Date::from(day))
            .execute(conn)
            .await?;
    }
    Ok(())
}
