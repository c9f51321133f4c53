//! Whether a service takes new positions: no notice is issued that nobody could pay.

use std::fmt;

use fiorino_domain::institution::InstitutionCode;
use fiorino_kit::store;
use sqlx::PgConnection;
use tracing::Instrument as _;
use uuid::Uuid;

use crate::{Error, Result};

/// Whether a service takes new positions; if not, what stands against it first. `Display` is that with its remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Opening {
    /// It does.
    Open,
    /// Its manifest is gone.
    Removed,
    /// Its manifest says so.
    Inactive,
    /// The manifest of its account is gone.
    WithoutAccount(Account),
    /// Its account, or that of a beneficiary, has no number for today or later.
    WithoutNumber(Account),
}

/// An account, as a sentence names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    /// `None` = the issuer's own.
    pub(crate) owner: Option<String>,
    pub(crate) name: String,
}

/// Whether each account (issuer's number here, owner's fiscal code, name) has a number for today or later.
///
/// # Errors
/// What the database says.
pub(super) async fn have_numbers(
    connection: &mut PgConnection,
    accounts: &[(i32, InstitutionCode, &str)],
) -> sqlx::Result<bool> {
    if accounts.is_empty() {
        return Ok(true);
    }
    sqlx::query_scalar(
        "select not exists (
             select from unnest($1::int4[], $2::text[], $3::text[]) as named (issuer, fiscal_code, account)
             join institution i on i.institution_id = named.issuer
             where not exists (
                 select from institution o
                 where o.environment = i.environment and o.fiscal_code = named.fiscal_code
                     and account_has_number(o.institution_id, named.account)))",
    )
    .bind(accounts.iter().map(|(issuer, ..)| *issuer).collect::<Vec<_>>())
    .bind(accounts.iter().map(|(_, owner, _)| owner.as_str()).collect::<Vec<_>>())
    .bind(accounts.iter().map(|(.., name)| *name).collect::<Vec<_>>())
    .fetch_one(connection)
    .instrument(store::span("look for account numbers"))
    .await
}

/// Refuses to publish a position of which an account has no number for today or later.
///
/// # Errors
/// [`Error::Precondition`] naming the account.
pub(super) async fn may_be_published(
    connection: &mut PgConnection,
    institution_id: i32,
    position_id: Uuid,
) -> Result<()> {
    let lacking: Option<(Option<String>, String)> = sqlx::query_as(
        "select nullif(named.fiscal_code, i.fiscal_code), named.account
         from notice p
         join institution i on i.institution_id = p.institution_id
         cross join lateral jsonb_to_recordset(p.transfers) as t (\"to\" jsonb, stamp jsonb)
         cross join lateral (
             select coalesce(t.\"to\" ->> 'code', i.fiscal_code) as fiscal_code,
                 coalesce(t.\"to\" ->> 'account', p.account) as account
         ) named
         -- A stamp is paid to no account.
         where p.institution_id = $1 and p.position_id = $2 and t.stamp is null and not exists (
             select from institution o
             where o.environment = i.environment and o.fiscal_code = named.fiscal_code
                 and account_has_number(o.institution_id, named.account))
         limit 1",
    )
    .bind(institution_id)
    .bind(position_id)
    .fetch_optional(connection)
    .instrument(store::span("look for account numbers"))
    .await?;
    lacking.map_or(Ok(()), |(owner, name)| {
        let why = Account { owner, name }.without_number();
        Err(Error::precondition("position_id", format!("cannot be published, as nobody could pay it: {why}")))
    })
}

// === impl Opening ===

impl Opening {
    /// From what [`super::facts`] reads: the service's own account, and the beneficiary's that has no number.
    pub(super) fn of(standing: &str, account: &str, lacking: Option<(String, String)>) -> Self {
        let own = || Account { owner: None, name: account.to_owned() };
        match (standing, lacking) {
            ("removed", _) => Self::Removed,
            ("inactive", _) => Self::Inactive,
            ("without account", _) => Self::WithoutAccount(own()),
            ("without number", _) => Self::WithoutNumber(own()),
            (_, Some((owner, name))) => Self::WithoutNumber(Account { owner: Some(owner), name }),
            (_, None) => Self::Open,
        }
    }
}

impl fmt::Display for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open => write!(f, "takes new positions"),
            Self::Removed => write!(
                f,
                "takes no new positions: its PaymentService or profile is gone; apply it again, or choose another service"
            ),
            Self::Inactive => write!(f, "takes no new positions; set it active, or choose another service"),
            Self::WithoutAccount(account) => write!(
                f,
                "takes no new positions: its account, {account}, is gone; apply it again, or name another one"
            ),
            Self::WithoutNumber(account) => {
                write!(f, "takes no new positions, as nobody could pay them: {}", account.without_number())
            }
        }
    }
}

// === impl Account ===

impl Account {
    /// What is wrong, and what mends it.
    fn without_number(&self) -> String {
        match &self.owner {
            None => format!("every number of {self} is withdrawn; add an entry with the number that follows"),
            Some(_) => format!("{self} has no number for today or later; ask for one, or name another beneficiary"),
        }
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.owner {
            None => write!(f, "Iban {}", self.name),
            Some(owner) => write!(f, "Iban {} of the institution {owner}", self.name),
        }
    }
}
