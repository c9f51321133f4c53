//! Positions out of the database, one or a page of them.

use std::pin::pin;

use fiorino_domain::{notice::NoticeNumber, position::PositionId};
use fiorino_kit::store;
use fiorino_proto::positions::v1::{self as proto, get_position_request::By};
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use prost::Message as _;
use sqlx::PgConnection;
use tracing::Instrument as _;
use uuid::Uuid;

use super::{
    draft::INSTALMENTS_MAX,
    facts::Owner,
    rows::{NoticeRow, PositionRow, notice_columns, position_columns},
    size, view,
};
use crate::{Error, Result, key::key};

/// Page size when none is asked for.
const PAGE_DEFAULT: u32 = 100;

/// Largest page, positions.
const PAGE_MAX: u32 = 500;

/// Instalments that are read for one page. Each takes 120 bytes or more, so that a page always ends by [`size::PAGE_MAX`] first.
const PAGE_INSTALMENTS_MAX: usize = 20_000;

/// One position.
///
/// # Errors
/// [`Error::NotFound`] when the institution has none with this id.
pub(super) async fn one(
    connection: &mut PgConnection,
    owner: &Owner,
    id: Uuid,
    now: Timestamp,
) -> Result<proto::Position> {
    let row: Option<PositionRow> = sqlx::query_as(concat!(
        "select ",
        position_columns!(),
        " from debt_position where institution_id = $1 and id = $2"
    ))
    .bind(owner.institution_id)
    .bind(id)
    .fetch_optional(&mut *connection)
    .instrument(store::span("read position"))
    .await?;
    let row = row.ok_or_else(|| unknown("position_id", owner))?;
    let notices: Vec<_> = notices(connection, owner.institution_id, &[id], INSTALMENTS_MAX)
        .try_collect()
        .instrument(store::span("read notices"))
        .await?;
    Ok(view::position(owner, &row, &notices, now))
}

/// The id of the position that a request names.
///
/// # Errors
/// [`Error::Invalid`] when it names none or what nothing can be named, [`Error::NotFound`] when there is no such position.
pub(super) async fn find(connection: &mut PgConnection, owner: &Owner, client: &str, by: Option<By>) -> Result<Uuid> {
    match by {
        None => Err(Error::invalid("by", "must be set; send position_id, notice_number or client_reference")),
        Some(By::PositionId(id)) => position_id(&id),
        Some(By::NoticeNumber(nav)) => position_of_text(connection, owner, key("notice_number", &nav)?).await,
        Some(By::ClientReference(reference)) => {
            let reference = key("client_reference", &reference)?;
            let found = sqlx::query_scalar(
                "select position_id from client_reference where institution_id = $1 and client = $2 and reference = $3",
            )
            .bind(owner.institution_id)
            .bind(client)
            .bind(reference)
            .fetch_optional(connection)
            .instrument(store::span("find position by client reference"))
            .await?;
            found.ok_or_else(|| unknown("client_reference", owner))
        }
    }
}

/// The position that a notice number belongs to.
///
/// # Errors
/// [`Error::NotFound`] when the institution has no such notice.
pub(super) async fn position_of(connection: &mut PgConnection, owner: &Owner, number: &NoticeNumber) -> Result<Uuid> {
    position_of_text(connection, owner, number.as_str()).await
}

async fn position_of_text(connection: &mut PgConnection, owner: &Owner, nav: &str) -> Result<Uuid> {
    let found = sqlx::query_scalar("select position_id from notice where institution_id = $1 and nav = $2")
        .bind(owner.institution_id)
        .bind(nav)
        .fetch_optional(connection)
        .instrument(store::span("find position by notice number"))
        .await?;
    found.ok_or_else(|| unknown("notice_number", owner))
}

/// Reads a notice number that a request names.
///
/// # Errors
/// [`Error::Invalid`] when it is none.
pub(super) fn notice_number(text: &str) -> Result<NoticeNumber> {
    NoticeNumber::parse(text)
        .map_err(|error| Error::invalid("notice_number", format!("{error}; send it as it was answered")))
}

/// A page of positions, newest first.
///
/// # Errors
/// [`Error::Invalid`] when size or token of the page are none, or a filter is one that nothing can have.
pub(super) async fn list(
    connection: &mut PgConnection,
    owner: &Owner,
    request: &proto::ListPositionsRequest,
    now: Timestamp,
) -> Result<proto::ListPositionsResponse> {
    let size = page_size(request.page_size)?;
    let before = match request.page_token.as_str() {
        "" => Uuid::max(),
        token => Uuid::try_parse(token).map_err(|_| {
            Error::invalid("page_token", "is none of ours; send next_page_token of the page before, or nothing")
        })?,
    };
    key("debtor_fiscal_code", &request.debtor_fiscal_code)?;
    key("service_code", &request.service_code)?;
    let mut rows = page(connection, owner.institution_id, request, before, size + 1).await?;
    let mut more = rows.len() > size;
    rows.truncate(size);
    let ids: Vec<_> = rows.iter().map(|row| row.id).collect();
    let mut positions = Vec::with_capacity(rows.len());
    let shown = async {
        let notices = notices(connection, owner.institution_id, &ids, PAGE_INSTALMENTS_MAX);
        // Newest first, as the positions.
        let (mut notices, mut bytes) = (pin!(notices.peekable()), 0);
        for row in &rows {
            let mut own = Vec::new();
            let is_own = |next: &sqlx::Result<NoticeRow>| next.as_ref().map_or(true, |next| next.position_id == row.id);
            while let Some(notice) = notices.as_mut().next_if(is_own).await {
                own.push(notice?);
            }
            let position = view::position(owner, row, &own, now);
            bytes += position.encoded_len();
            if bytes > size::PAGE_MAX && !positions.is_empty() {
                more = true;
                break;
            }
            positions.push(position);
        }
        Ok::<_, sqlx::Error>(())
    };
    shown.instrument(store::span("read notices")).await?;
    let last = positions.last().filter(|_| more);
    let next_page_token = last.map(|position| position.position_id.clone()).unwrap_or_default();
    Ok(proto::ListPositionsResponse { positions, next_page_token })
}

/// Reads a position's id.
///
/// # Errors
/// [`Error::Invalid`] when it is none.
pub(super) fn position_id(text: &str) -> Result<Uuid> {
    let id = PositionId::parse(text)
        .map_err(|error| Error::invalid("position_id", format!("{error}; send it as it was answered")))?;
    Ok(id.as_uuid())
}

/// The answer for a position that the institution does not have.
pub(super) fn unknown(field: &'static str, owner: &Owner) -> Error {
    Error::NotFound { field, message: format!("institution {} has no such position; check {field}", owner.code) }
}

fn page_size(asked: u32) -> Result<usize> {
    let size = match asked {
        0 => PAGE_DEFAULT,
        1..=PAGE_MAX => asked,
        _ => return Err(Error::invalid("page_size", format!("must be 1 to {PAGE_MAX}; ask for less, or send 0"))),
    };
    Ok(usize::try_from(size).unwrap_or(usize::MAX))
}

async fn page(
    connection: &mut PgConnection,
    institution_id: i32,
    request: &proto::ListPositionsRequest,
    before: Uuid,
    limit: usize,
) -> sqlx::Result<Vec<PositionRow>> {
    // One statement per index: an optional condition would make the planner choose one for all.
    let debtor = request.debtor_fiscal_code.to_ascii_uppercase();
    let service = request.service_code.as_str();
    let statement = match (debtor.as_str(), service) {
        ("", "") => concat!(
            "select ",
            position_columns!(),
            " from debt_position where institution_id = $1 and id < $2 and $4 = '' and $5 = ''
             order by id desc limit $3"
        ),
        ("", _) => concat!(
            "select ",
            position_columns!(),
            " from debt_position where institution_id = $1 and id < $2 and $4 = '' and service_code = $5
             order by id desc limit $3"
        ),
        (_, _) => concat!(
            "select ",
            position_columns!(),
            " from debt_position where institution_id = $1 and id < $2 and debtor_code = $4 and ($5 = '' or service_code = $5)
             order by id desc limit $3"
        ),
    };
    sqlx::query_as(statement)
        .bind(institution_id)
        .bind(before)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .bind(debtor)
        .bind(service)
        .fetch_all(connection)
        .instrument(store::span("list positions"))
        .await
}

/// The notices of positions, by position, the newest first.
fn notices<'a>(
    connection: &'a mut PgConnection,
    institution_id: i32,
    positions: &'a [Uuid],
    limit: usize,
) -> impl Stream<Item = sqlx::Result<NoticeRow>> + 'a {
    sqlx::query_as(concat!(
        "select ",
        notice_columns!(),
        " from notice n where n.institution_id = $1 and n.position_id = any($2)
          order by n.position_id desc, n.option_no, n.instalment_no
          limit $3"
    ))
    .bind(institution_id)
    .bind(positions)
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch(connection)
}
