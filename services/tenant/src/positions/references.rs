//! Client references: what makes the creation of a position idempotent (ARCHITECTURE.md 4.1).

use std::collections::HashMap;

use fiorino_kit::store;
use sqlx::{PgConnection, PgPool};
use tracing::Instrument as _;
use uuid::Uuid;

/// Names a request of a client towards an institution.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Reference {
    pub(super) institution_id: i32,
    pub(super) client: String,
    pub(super) name: String,
}

/// What was created under a reference.
#[derive(Debug)]
pub(super) struct Known {
    /// SHA-256 of the request.
    pub(super) hash: Vec<u8>,
    pub(super) position_id: Uuid,
    /// Its notice numbers in the order of options and instalments.
    pub(super) numbers: Vec<String>,
}

type KnownRow = (i32, String, String, Vec<u8>, Uuid, Vec<String>);

/// Those of the references that are in use.
///
/// # Errors
/// What the database says.
pub(super) async fn find(pool: &PgPool, wanted: &[&Reference]) -> sqlx::Result<HashMap<Reference, Known>> {
    let (ids, clients, references) = columns(wanted.iter().copied());
    let rows: Vec<KnownRow> = sqlx::query_as(
        "select r.institution_id, r.client, r.reference, r.request_hash, r.position_id,
             array(select n.nav from notice n
                   where n.institution_id = r.institution_id and n.position_id = r.position_id
                   order by n.option_no, n.instalment_no)
         from unnest($1::int4[], $2::text[], $3::text[]) as wanted (institution_id, client, reference)
         join client_reference r
             on r.institution_id = wanted.institution_id and r.client = wanted.client and r.reference = wanted.reference",
    )
    .bind(ids)
    .bind(clients)
    .bind(references)
    .fetch_all(pool)
    .instrument(store::span("find client references"))
    .await?;
    let known = |(institution_id, client, name, hash, position_id, numbers)| {
        (Reference { institution_id, client, name }, Known { hash, position_id, numbers })
    };
    Ok(rows.into_iter().map(known).collect())
}

/// Takes the references in the order of their key, so that two batches with the same ones wait for each other instead of locking
/// each other out. Answers with those that nobody else holds: whoever else was writing one has committed by then.
///
/// # Errors
/// What the database says.
pub(super) async fn take(
    connection: &mut PgConnection,
    mut news: Vec<(&Reference, [u8; 32], Uuid)>,
) -> sqlx::Result<Vec<Reference>> {
    news.sort_unstable_by_key(|(reference, ..)| *reference);
    let (ids, clients, references) = columns(news.iter().map(|(reference, ..)| *reference));
    let rows: Vec<(i32, String, String)> = sqlx::query_as(
        "insert into client_reference (institution_id, client, reference, request_hash, position_id)
         select taken.institution_id, taken.client, taken.reference, taken.request_hash, taken.position_id
         from unnest($1::int4[], $2::text[], $3::text[], $4::bytea[], $5::uuid[])
             as taken (institution_id, client, reference, request_hash, position_id)
         on conflict (institution_id, client, reference) do nothing
         returning institution_id, client, reference",
    )
    .bind(ids)
    .bind(clients)
    .bind(references)
    .bind(news.iter().map(|(_, hash, _)| hash.to_vec()).collect::<Vec<_>>())
    .bind(news.iter().map(|(_, _, position_id)| *position_id).collect::<Vec<_>>())
    .fetch_all(connection)
    .instrument(store::span("take client references"))
    .await?;
    let reference = |(institution_id, client, name)| Reference { institution_id, client, name };
    Ok(rows.into_iter().map(reference).collect())
}

fn columns<'a>(references: impl Iterator<Item = &'a Reference>) -> (Vec<i32>, Vec<&'a str>, Vec<&'a str>) {
    let (mut ids, mut clients, mut names) = (Vec::new(), Vec::new(), Vec::new());
    for Reference { institution_id, client, name } in references {
        ids.push(*institution_id);
        clients.push(client.as_str());
        names.push(name.as_str());
    }
    (ids, clients, names)
}
