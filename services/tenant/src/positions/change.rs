//! Wishes of the institution: publish and change; what is withdrawn and taken back is in [`super::cancel`]. An open attempt to pay asks
//! for force, and what was done is recorded.

use fiorino_domain::{
    activation,
    date::LegalDate,
    money::Cents,
    position::{InstalmentEvent, next},
    text::Text,
};
use fiorino_kit::store;
use fiorino_proto::positions::v1 as proto;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use serde_json::{Value, json};
use sqlx::{PgConnection, types::Json};
use tracing::Instrument as _;
use uuid::Uuid;

use super::{
    accounts,
    cancel::{self, Which},
    division::{Division, Shares},
    draft, facts,
    facts::{Owner, Service},
    given::{self, Issuer},
    opening, plan, read,
    rows::{NoticeRow, notice_columns},
    stored::StoredTransfer,
    transition::{self, Locked, Move},
};
use crate::{Error, Result};

/// Who wishes what, of whose position, and when.
pub(super) struct Wish<'a> {
    pub(super) owner: &'a Owner,
    /// As in the rows.
    pub(super) environment: &'a str,
    pub(super) actor: &'a str,
    pub(super) now: Timestamp,
    /// Although somebody may be paying.
    pub(super) force: bool,
}

/// What is wished.
pub(super) enum Change {
    /// Make the drafts of a position payable. A position without drafts that is open stays as it is.
    Publish(Uuid),
    /// Cancel what is open of it. What is cancelled stays as it is.
    Cancel(Which),
    /// Make what is cancelled of it what it was before. What is open stays as it is.
    Restore(Which),
    /// Change one instalment.
    Update(proto::UpdateInstalmentRequest),
}

/// A row of `position_change`.
pub(super) struct Entry<'a> {
    pub(super) action: &'static str,
    pub(super) position_id: Uuid,
    pub(super) nav: Option<&'a str>,
    pub(super) forced: bool,
    pub(super) detail: Value,
}

/// What is answered where every instalment refuses.
#[derive(Debug, Clone, Copy)]
pub(super) struct Told {
    pub(super) field: &'static str,
    pub(super) remedy: &'static str,
}

/// An instalment's new values.
struct Changed {
    amount: Cents,
    due: Option<LegalDate>,
    description: String,
    transfers: Vec<StoredTransfer>,
    division: Option<Division>,
}

/// Does it in the caller's transaction; answers with the position that it was about.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Invalid`], or [`Error::Precondition`] when the state does not allow it: another version, closed,
/// or somebody may be paying.
pub(super) async fn run(connection: &mut PgConnection, wish: &Wish<'_>, change: Change) -> Result<Uuid> {
    match change {
        Change::Publish(id) => publish(connection, wish, id).await.map(|()| id),
        Change::Cancel(which) => cancel::cancel(connection, wish, which).await,
        Change::Restore(which) => cancel::restore(connection, wish, which).await,
        Change::Update(request) => update(connection, wish, &request).await,
    }
}

async fn publish(connection: &mut PgConnection, wish: &Wish<'_>, position_id: Uuid) -> Result<()> {
    plan::may_issue(wish.owner)?;
    let locked = lock(connection, wish, position_id).await?;
    let told = Told { field: "position_id", remedy: "nothing of this position is open" };
    let moves = moves(wish, &locked, told, |_| InstalmentEvent::Publish)?;
    if moves.is_empty() {
        return Ok(());
    }
    opening::may_be_published(connection, wish.owner.institution_id, position_id).await?;
    transition::write(connection, &moves).await?;
    let detail = json!({ "notices": moves.len() });
    record(connection, wish, Entry { action: "published", position_id, nav: None, forced: false, detail }).await?;
    Ok(())
}

async fn update(
    connection: &mut PgConnection,
    wish: &Wish<'_>,
    request: &proto::UpdateInstalmentRequest,
) -> Result<Uuid> {
    let row = lock_one(connection, wish.owner, &request.notice_number).await?;
    if row.version != request.version {
        let message =
            format!("is {}, the instalment has {}; read it again and decide anew", request.version, row.version);
        return Err(Error::precondition("version", message));
    }
    next(row.state, InstalmentEvent::Change)
        .map_err(|refused| Error::precondition("notice_number", format!("{refused}; create a new position")))?;
    let changed = changed(connection, wish, &row, request).await?;
    let forced = attempts_allow(connection, wish, &[row.nav.as_str()]).await?;
    write(connection, &row, &changed).await?;
    let detail = json!({
        "version": row.version + 1,
        "amount_cents": [row.amount, changed.amount],
        "due_date": [row.due, changed.due],
        "description": row.description != changed.description,
        "transfers": row.transfers != changed.transfers,
    });
    let entry = Entry { action: "changed", position_id: row.position_id, nav: Some(row.nav.as_str()), forced, detail };
    record(connection, wish, entry).await?;
    Ok(row.position_id)
}

/// Locks every instalment of a position.
///
/// # Errors
/// [`Error::NotFound`] when the institution has no such position.
pub(super) async fn lock(connection: &mut PgConnection, wish: &Wish<'_>, position_id: Uuid) -> Result<Vec<Locked>> {
    let locked = transition::lock(connection, &[(wish.owner.institution_id, position_id)]).await?;
    if locked.is_empty() { Err(read::unknown("position_id", wish.owner)) } else { Ok(locked) }
}

/// What the event of each instalment moves.
///
/// # Errors
/// [`Error::Precondition`] where every instalment refuses it.
pub(super) fn moves(
    wish: &Wish<'_>,
    locked: &[Locked],
    told: Told,
    event: impl Fn(&Locked) -> InstalmentEvent,
) -> Result<Vec<Move>> {
    let mut moves = Vec::new();
    let mut refused = Vec::new();
    for row in locked {
        let event = event(row);
        match next(row.state, event) {
            Ok(transition) if transition.state == row.state => {}
            Ok(transition) => moves.push(Move {
                institution_id: row.institution_id,
                nav: row.nav.clone(),
                version: row.version,
                state: transition.state,
                receipt_id: None,
                issued_on: (event == InstalmentEvent::Publish).then(|| LegalDate::today(wish.now)),
            }),
            Err(refusal) => refused.push(refusal),
        }
    }
    // The one that says most: paid, before what followed from it.
    match refused.iter().min_by_key(|refused| refused.state) {
        Some(refusal) if refused.len() == locked.len() => {
            Err(Error::precondition(told.field, format!("{refusal}; {}", told.remedy)))
        }
        _ => Ok(moves),
    }
}

/// Whether somebody may be paying one of the notices: then only with force, which is answered.
///
/// # Errors
/// [`Error::Precondition`] without force, with the time until which the attempt may be in progress.
pub(super) async fn attempts_allow(connection: &mut PgConnection, wish: &Wish<'_>, navs: &[&str]) -> Result<bool> {
    // A statement of its own, after the lock: it sees every activation that was answered before.
    let latest: Option<jiff_sqlx::Timestamp> = sqlx::query_scalar(
        "select max(latest.activated_at)
         from unnest($2::text[]) as wanted (nav)
         cross join lateral (
             select a.activated_at from activation a where a.institution_id = $1 and a.nav = wanted.nav
             order by a.activated_at desc limit 1
         ) latest",
    )
    .bind(wish.owner.institution_id)
    .bind(navs)
    .fetch_one(connection)
    .instrument(store::span("find attempts"))
    .await?;
    let Some(at) = latest.map(jiff_sqlx::Timestamp::to_jiff).filter(|at| activation::in_progress(*at, wish.now)) else {
        return Ok(false);
    };
    if wish.force {
        tracing::warn!(institution = %wish.owner.code, actor = wish.actor, "open attempt to pay overruled by force");
        return Ok(true);
    }
    let until = activation::attempt_until(at);
    Err(Error::precondition("force", format!("somebody may be paying until {until}; wait, or send force")))
}

async fn lock_one(connection: &mut PgConnection, owner: &Owner, notice_number: &str) -> Result<NoticeRow> {
    let nav = read::notice_number(notice_number)?;
    let row = sqlx::query_as(concat!(
        "select ",
        notice_columns!(),
        " from notice n where n.institution_id = $1 and n.nav = $2 for update of n"
    ))
    .bind(owner.institution_id)
    .bind(nav.as_str())
    .fetch_optional(connection)
    .instrument(store::span("lock instalment"))
    .await?;
    row.ok_or_else(|| read::unknown("notice_number", owner))
}

async fn changed(
    connection: &mut PgConnection,
    wish: &Wish<'_>,
    row: &NoticeRow,
    request: &proto::UpdateInstalmentRequest,
) -> Result<Changed> {
    let divided_anew = request.amount_cents.is_some() || !request.transfers.is_empty();
    if !divided_anew && request.due_date.is_none() && request.description.is_none() {
        return Err(Error::invalid(
            "amount_cents",
            "nothing is to be changed; send amount_cents, transfers, due_date or description",
        ));
    }
    let due = match &request.due_date {
        None => row.due,
        Some(told) => draft::due_date(told).map_err(|message| Error::invalid("due_date", message))?,
    };
    let description = match &request.description {
        None => row.description.clone(),
        Some(told) => description(&row.debtor.code, told).map_err(|message| Error::invalid("description", message))?,
    };
    let (amount, transfers, division) = divided(connection, wish, row, request).await?;
    Ok(Changed { amount, due, description, transfers, division })
}

/// Amount and transfers. Those that are given count; another amount alone is divided as the instalment was when it was made.
async fn divided(
    connection: &mut PgConnection,
    wish: &Wish<'_>,
    row: &NoticeRow,
    request: &proto::UpdateInstalmentRequest,
) -> Result<(Cents, Vec<StoredTransfer>, Option<Division>)> {
    if request.amount_cents.is_none() && request.transfers.is_empty() {
        return Ok((row.amount, row.transfers.clone(), row.division.clone()));
    }
    let service = facts::one_service(connection, row.institution_id, &row.service_code).await?;
    let service =
        service.ok_or_else(|| Error::precondition("amount_cents", "its service is gone; create a new position"))?;
    let amount = match request.amount_cents {
        None => row.amount,
        Some(cents) => draft::amount(cents)
            .and_then(|amount| plan::within_limits(&service, amount).map(|()| amount))
            .map_err(|message| Error::invalid("amount_cents", message))?,
    };
    if request.transfers.is_empty() {
        let (transfers, division) = redivided(row, &service, amount)?;
        return Ok((amount, transfers, division));
    }
    let transfers = given_anew(connection, wish, row, &service, amount, &request.transfers).await?;
    Ok((amount, transfers, Some(Division::Amounts)))
}

/// The amount as the instalment is divided: not by what its service says today.
fn redivided(row: &NoticeRow, service: &Service, amount: Cents) -> Result<(Vec<StoredTransfer>, Option<Division>)> {
    if amount == row.amount {
        return Ok((row.transfers.clone(), row.division.clone()));
    }
    let anew = format!("send transfers that add up to {} cents with it", amount.get());
    let shares = match &row.division {
        Some(Division::Shares(shares)) => shares.clone(),
        Some(Division::Amounts) => {
            let message = format!("were given, and add up to {} cents; {anew}", row.amount.get());
            return Err(Error::invalid("transfers", message));
        }
        None => Shares::of_before(&row.transfers, service).ok_or_else(|| {
            let message = format!("the shares of service {} are others than those of this instalment", service.code);
            Error::invalid("transfers", format!("{message}; {anew}"))
        })?,
    };
    let transfers =
        shares.divide(amount).map_err(|error| Error::invalid("amount_cents", plan::unusable(&error, service)))?;
    Ok((transfers, Some(Division::Shares(shares))))
}

async fn given_anew(
    connection: &mut PgConnection,
    wish: &Wish<'_>,
    row: &NoticeRow,
    service: &Service,
    amount: Cents,
    new: &[proto::NewTransfer],
) -> Result<Vec<StoredTransfer>> {
    let given = given::read("transfers", Some(amount), new).map_err(Error::Invalid)?;
    if let Some(field) = given::naming(&row.debtor.code, "transfers", new) {
        return Err(Error::invalid(field, draft::DESCRIPTION_NAMES_DEBTOR));
    }
    let names = accounts::named(wish.owner.code, given.iter()).collect();
    let accounts = accounts::find(connection, wish.environment, &names, LegalDate::today(wish.now)).await?;
    // Whose account is not named collects where the notice does, whatever the service names today.
    let issuer = Issuer { account: &row.account, ..plan::issuer(wish.owner, service) };
    given::placed("transfers", &given, issuer, &accounts).map_err(Error::Invalid)
}

fn description(debtor_code: &str, told: &str) -> Result<String, String> {
    let text = Text::<140>::parse(told).map_err(|error| format!("{error}; send 1 to 140 characters"))?;
    if draft::names_the_debtor(debtor_code, told) {
        return Err(draft::DESCRIPTION_NAMES_DEBTOR.to_owned());
    }
    Ok(text.to_string())
}

async fn write(connection: &mut PgConnection, row: &NoticeRow, changed: &Changed) -> sqlx::Result<()> {
    let done = sqlx::query(
        "update notice set amount_cents = $4, due_date = $5, description = $6, transfers = $7, division = $8, version = version + 1
         where institution_id = $1 and nav = $2 and version = $3",
    )
    .bind(row.institution_id)
    .bind(row.nav.as_str())
    .bind(row.version)
    .bind(changed.amount.get())
    .bind(changed.due.map(|due| due.date().to_sqlx()))
    .bind(&changed.description)
    .bind(Json(&changed.transfers))
    .bind(changed.division.as_ref().map(Json))
    .execute(connection)
    .instrument(store::span("write instalment"))
    .await?;
    if done.rows_affected() == 1 { Ok(()) } else { Err(sqlx::Error::RowNotFound) }
}

/// Writes down who did what.
///
/// # Errors
/// What the database says.
pub(super) async fn record(connection: &mut PgConnection, wish: &Wish<'_>, entry: Entry<'_>) -> sqlx::Result<()> {
    sqlx::query(
        "insert into position_change (institution_id, position_id, changed_at, actor, action, nav, forced, detail)
         values ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(wish.owner.institution_id)
    .bind(entry.position_id)
    .bind(wish.now.to_sqlx())
    .bind(wish.actor)
    .bind(entry.action)
    .bind(entry.nav)
    .bind(entry.forced)
    .bind(Json(entry.detail))
    .execute(connection)
    .instrument(store::span("record change"))
    .await?;
    Ok(())
}
