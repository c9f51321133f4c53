//! The one statement behind verify and activate: wide notice rows by primary key with what the configuration says of them now
//! (ARCHITECTURE.md 4.3).

use std::collections::{BTreeMap, HashMap};

use fiorino_domain::{
    date::LegalDate,
    institution::InstitutionCode,
    money::Cents,
    notice::NoticeNumber,
    position::{ExpiryPolicy, InstalmentState},
};
use fiorino_kit::store;
use fiorino_proto::{config::v1::LifecyclePhase, notices::v1::NoticeRef};
use jiff::{Timestamp, civil::Date};
use jiff_sqlx::ToSqlx as _;
use serde::Deserialize;
use sqlx::{FromRow, PgConnection, Row as _, postgres::PgRow, types::Json};
use tracing::Instrument as _;

use crate::positions::{
    rows::{decode, expiry_policy, legal_date, metadata},
    stored::{StoredDebtor, StoredEntry, StoredTransfer},
};

/// What is known of a notice that was asked for.
#[derive(Default)]
pub(super) struct Found {
    /// `None` = never applied.
    pub(super) institution: Option<Institution>,
    /// `None` = the institution has no such notice.
    pub(super) notice: Option<Notice>,
}

/// Whose it is.
pub(super) struct Institution {
    pub(super) id: i32,
    pub(super) code: InstitutionCode,
    pub(super) phase: LifecyclePhase,
    pub(super) legal_name: String,
    pub(super) office_name: String,
    pub(super) config_seq: i64,
    /// A call of the node was seen before.
    pub(super) node_connected: bool,
    /// The station that was named is one of its stations, or was one and pagoPA may still route through it.
    pub(super) associated: bool,
}

/// The wide row and the numbers that its accounts have today.
pub(super) struct Notice {
    pub(super) nav: NoticeNumber,
    pub(super) state: InstalmentState,
    pub(super) version: i64,
    pub(super) amount: Cents,
    pub(super) due: Option<LegalDate>,
    pub(super) issued_on: LegalDate,
    pub(super) expiry: ExpiryPolicy,
    pub(super) description: String,
    pub(super) account: String,
    pub(super) transfers: Vec<StoredTransfer>,
    /// `None` = no number of the account can be used today.
    pub(super) number: Option<Number>,
    /// Those of other institutions' accounts, by transfer; one that is missing cannot be used today.
    pub(super) others: BTreeMap<u8, Number>,
    /// The postal number beside that of its account; only for an activation.
    pub(super) postal: Option<String>,
    /// Those of other accounts, by transfer; only for an activation.
    pub(super) postal_others: BTreeMap<u8, String>,
    /// Of the payment; only for an activation.
    pub(super) metadata: Vec<StoredEntry>,
    /// Only for an activation.
    pub(super) debtor: Option<StoredDebtor>,
}

/// An account number.
#[derive(Clone, Deserialize)]
pub(super) struct Number {
    pub(super) iban: String,
    pub(super) postal: bool,
}

/// How much of the row is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// What verify answers.
    Summary,
    /// What an activation answers: debtor, metadata and postal numbers too.
    All,
}

/// The statement; `$more` is what else it reads of the notice, `$from` where from. Each `limit 1` leaves the planner one way, whatever
/// it believes of the tables: a look-up by key per notice.
macro_rules! statement {
    ($more:literal, $from:literal) => {
        concat!(
            "select asked.place, i.institution_id, i.fiscal_code, i.phase, i.legal_name, i.office_name, i.config_seq,
                 i.node_connected_at is not null as node_connected,
                 station.associated is not null as associated,
                 n.nav, n.state, n.version, n.amount_cents, n.due_date, n.issued_on, n.expiry_policy, n.description, n.account,
                 n.transfers, number.iban, number.postal, shared.others, ",
            $more,
            " from unnest($2::text[], $3::text[], $4::text[]) with ordinality as asked (fiscal_code, nav, station_id, place)
             left join lateral (
                 select i.institution_id, i.fiscal_code, i.phase, i.legal_name, i.office_name, i.config_seq, i.node_connected_at
                 from institution i where i.environment = $1 and i.fiscal_code = asked.fiscal_code limit 1
             ) i on true
             left join lateral (
                 select true as associated from association a
                 where a.institution_id = i.institution_id and a.station_id = asked.station_id
                     and (not a.removed or a.answers)
                 limit 1
             ) station on true
             left join lateral (
                 select n.institution_id, n.nav, n.state, n.version, n.amount_cents, n.due_date, n.issued_on, n.expiry_policy,
                     n.description, n.account, n.transfers, n.debtor, n.metadata
                 from notice n where n.institution_id = i.institution_id and n.nav = asked.nav limit 1
             ) n on true
             left join lateral number_in_use(n.institution_id, n.account, $5) number on true
             left join lateral (
                 select jsonb_object_agg(t.id, jsonb_build_object('iban', used.iban, 'postal', used.postal)) as others
                 from jsonb_to_recordset(n.transfers) as t (id int2, \"to\" jsonb)
                 cross join lateral (
                     select o.institution_id from institution o
                     where o.environment = $1 and o.fiscal_code = t.\"to\" ->> 'code' limit 1
                 ) o
                 cross join lateral number_in_use(o.institution_id, t.\"to\" ->> 'account', $5) used
                 where t.\"to\" is not null
             ) shared on true",
            $from
        )
    };
}

/// Verify: reads, locks nothing.
pub(super) const SUMMARY: &str = statement!(
    "null::jsonb as debtor, null::jsonb as metadata, null::text as postal_iban, null::jsonb as postal_others",
    ""
);

/// What an activation reads: the accounts by primary key once more, for the postal ones that they name.
pub(super) const ALL: &str = statement!(
    "n.debtor, n.metadata, slip.iban as postal_iban, slips.others as postal_others",
    " left join lateral (
         select used.iban
         from (select a.postal_account from account a
               where a.institution_id = n.institution_id and a.name = n.account and a.postal_account is not null limit 1) a
         cross join lateral number_in_use(n.institution_id, a.postal_account, $5) used
         where used.postal
     ) slip on true
     left join lateral (
         select jsonb_object_agg(t.id, used.iban) as others
         from jsonb_to_recordset(case when shared.others is not null then n.transfers end) as t (id int2, \"to\" jsonb)
         cross join lateral (
             select o.institution_id from institution o
             where o.environment = $1 and o.fiscal_code = t.\"to\" ->> 'code' limit 1
         ) o
         cross join lateral (
             select a.postal_account from account a
             where a.institution_id = o.institution_id and a.name = t.\"to\" ->> 'account' limit 1
         ) a
         cross join lateral number_in_use(o.institution_id, a.postal_account, $5) used
         where t.\"to\" is not null and used.postal
     ) slips on true"
);

/// Activation: holds what it then reads, in the order in which everybody holds.
pub(super) const HOLD: &str = "select count(*) from (
         select from unnest($2::text[], $3::text[]) as asked (fiscal_code, nav)
         join institution i on i.environment = $1 and i.fiscal_code = asked.fiscal_code
         join notice n on n.institution_id = i.institution_id and n.nav = asked.nav
         order by n.institution_id, n.nav
         for key share of n
     ) held";

/// Display: never the debtor, but the latest attempt to pay.
pub(super) const DISPLAY: &str = statement!(
    "null::jsonb as debtor, null::jsonb as metadata, null::text as postal_iban, null::jsonb as postal_others,
     (select a.activated_at from activation a
      where a.institution_id = n.institution_id and a.nav = n.nav order by a.activated_at desc limit 1) as attempted_at",
    ""
);

/// What is known of the notices, in the order in which they are asked for.
///
/// # Errors
/// What the database says.
pub(super) async fn read<'a>(
    connection: &mut PgConnection,
    environment: &str,
    notices: impl Iterator<Item = &'a NoticeRef>,
    wanted: Wanted,
    today: Date,
) -> sqlx::Result<Vec<Found>> {
    let asked = Asked::of(notices);
    let (statement, span) = match wanted {
        Wanted::Summary => (SUMMARY, store::span("verify notices")),
        Wanted::All => (ALL, store::span("read notices to activate")),
    };
    let rows = asked.rows(connection, statement, environment, today).instrument(span).await?;
    let mut found: HashMap<i64, Found> =
        rows.iter().map(|row| Ok((row.try_get("place")?, Found::from_row(row)?))).collect::<sqlx::Result<_>>()?;
    Ok((1..).take(asked.navs.len()).map(|place| found.remove(&place).unwrap_or_default()).collect())
}

/// What is known of one notice, and when somebody last began to pay it.
///
/// # Errors
/// What the database says.
pub(super) async fn read_for_display(
    connection: &mut PgConnection,
    environment: &str,
    notice: &NoticeRef,
    today: Date,
) -> sqlx::Result<(Found, Option<Timestamp>)> {
    let asked = Asked::of(std::iter::once(notice));
    let span = store::span("show notice");
    let rows = asked.rows(connection, DISPLAY, environment, today).instrument(span).await?;
    let Some(row) = rows.first() else { return Ok((Found::default(), None)) };
    let attempted_at: Option<jiff_sqlx::Timestamp> = row.try_get("attempted_at")?;
    Ok((Found::from_row(row)?, attempted_at.map(jiff_sqlx::Timestamp::to_jiff)))
}

/// Keeps the notices as they are until the transaction ends: whoever wishes to change one waits, and then sees the activation.
///
/// # Errors
/// What the database says.
pub(super) async fn hold<'a>(
    connection: &mut PgConnection,
    environment: &str,
    notices: impl Iterator<Item = &'a NoticeRef>,
) -> sqlx::Result<()> {
    let asked = Asked::of(notices);
    sqlx::query(HOLD)
        .bind(environment)
        .bind(asked.institutions)
        .bind(asked.navs)
        .execute(connection)
        .instrument(store::span("hold notices"))
        .await?;
    Ok(())
}

/// Columns of a batch.
struct Asked<'a> {
    institutions: Vec<&'a str>,
    navs: Vec<&'a str>,
    stations: Vec<&'a str>,
}

// === impl Asked ===

impl<'a> Asked<'a> {
    fn of(notices: impl Iterator<Item = &'a NoticeRef>) -> Self {
        let mut asked = Self { institutions: Vec::new(), navs: Vec::new(), stations: Vec::new() };
        for NoticeRef { institution, notice_number, station_id } in notices {
            asked.institutions.push(storable(institution));
            asked.navs.push(storable(notice_number));
            asked.stations.push(storable(station_id));
        }
        asked
    }

    async fn rows(
        &self,
        connection: &mut PgConnection,
        statement: &'static str,
        environment: &str,
        today: Date,
    ) -> sqlx::Result<Vec<PgRow>> {
        sqlx::query(statement)
            .bind(environment)
            .bind(&self.institutions)
            .bind(&self.navs)
            .bind(&self.stations)
            .bind(today.to_sqlx())
            .fetch_all(connection)
            .await
    }
}

/// PostgreSQL knows no text with a NUL: one nonsense reference must not fail the batch of the others. Nothing is called so.
fn storable(text: &str) -> &str {
    if text.contains('\0') { "" } else { text }
}

// === impl Found ===

impl FromRow<'_, PgRow> for Found {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        let institution = match row.try_get::<Option<i32>, _>("institution_id")? {
            None => None,
            Some(id) => Some(Institution::from_row(id, row)?),
        };
        let notice = match row.try_get::<Option<&str>, _>("nav")? {
            None => None,
            Some(nav) => Some(Notice::from_row(nav, row)?),
        };
        Ok(Self { institution, notice })
    }
}

// === impl Institution ===

impl Institution {
    fn from_row(id: i32, row: &PgRow) -> sqlx::Result<Self> {
        Ok(Self {
            id,
            code: InstitutionCode::parse(row.try_get("fiscal_code")?).map_err(decode)?,
            phase: LifecyclePhase::try_from(i32::from(row.try_get::<i16, _>("phase")?)).map_err(decode)?,
            legal_name: row.try_get("legal_name")?,
            office_name: row.try_get("office_name")?,
            config_seq: row.try_get("config_seq")?,
            node_connected: row.try_get("node_connected")?,
            associated: row.try_get("associated")?,
        })
    }
}

// === impl Notice ===

impl Notice {
    /// The first of its accounts that has no number today, and whose it is.
    pub(super) fn unnumbered(&self, issuer: &Institution) -> Option<(InstitutionCode, &str)> {
        let mut to_accounts = self.transfers.iter().filter(|transfer| transfer.stamp.is_none());
        to_accounts.find_map(|transfer| match &transfer.to {
            None => self.number.is_none().then_some((issuer.code, self.account.as_str())),
            Some(to) => (!self.others.contains_key(&transfer.id)).then_some((to.code, to.account.as_str())),
        })
    }

    fn from_row(nav: &str, row: &PgRow) -> sqlx::Result<Self> {
        let number = match row.try_get::<Option<String>, _>("iban")? {
            None => None,
            Some(iban) => Some(Number { iban, postal: row.try_get("postal")? }),
        };
        Ok(Self {
            nav: NoticeNumber::parse(nav).map_err(decode)?,
            state: InstalmentState::from_number(row.try_get("state")?).map_err(decode)?,
            version: row.try_get("version")?,
            amount: Cents::new(row.try_get("amount_cents")?).map_err(decode)?,
            due: legal_date(row.try_get("due_date")?)?,
            issued_on: LegalDate::new(row.try_get::<jiff_sqlx::Date, _>("issued_on")?.to_jiff()).map_err(decode)?,
            expiry: expiry_policy(row.try_get("expiry_policy")?)?,
            description: row.try_get("description")?,
            account: row.try_get("account")?,
            transfers: row.try_get::<Json<Vec<StoredTransfer>>, _>("transfers")?.0,
            number,
            others: row
                .try_get::<Option<Json<BTreeMap<u8, Number>>>, _>("others")?
                .map_or_else(BTreeMap::new, |json| json.0),
            postal: row.try_get("postal_iban")?,
            postal_others: row
                .try_get::<Option<Json<BTreeMap<u8, String>>>, _>("postal_others")?
                .map_or_else(BTreeMap::new, |json| json.0),
            metadata: metadata(row.try_get("metadata")?),
            debtor: row.try_get::<Option<Json<StoredDebtor>>, _>("debtor")?.map(|json| json.0),
        })
    }
}
