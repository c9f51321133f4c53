//! Accounts that given transfers name, as the configuration has them now: read by SQL, once for a batch, and only when there are any.

use std::collections::{HashMap, HashSet};

use fiorino_domain::{date::LegalDate, institution::InstitutionCode};
use fiorino_kit::store;
use fiorino_proto::config::v1::{AccountSpec, ResourceKind};
use jiff_sqlx::ToSqlx as _;
use prost::Message as _;
use sqlx::PgConnection;
use tracing::Instrument as _;

use super::{given::Given, rows::decode};

/// An account by its name, and whose it is; no name = the institution itself.
pub(super) type Name = (InstitutionCode, String);

/// What is known of the accounts that were asked for.
#[derive(Default)]
pub(super) struct Accounts {
    known: HashMap<Name, Known>,
}

/// An institution with the account that was asked for.
#[derive(Clone)]
pub(super) struct Known {
    pub(super) legal_name: String,
    /// One of its stations speaks version 2 of the primitives.
    pub(super) second_version: bool,
    /// `None` = it has no such account.
    pub(super) account: Option<Account>,
}

/// An account.
#[derive(Clone)]
pub(super) struct Account {
    /// Others may name it.
    pub(super) published: bool,
    /// It has a number today.
    pub(super) numbered: bool,
}

/// As stored in `config_resource.kind`.
const ACCOUNT: i16 = ResourceKind::Account as i16;

type Row = (String, String, String, bool, Option<Vec<u8>>, bool);

/// The names that the transfers of an issuer need to know of.
pub(super) fn named<'a>(
    issuer: InstitutionCode,
    given: impl Iterator<Item = &'a Given> + 'a,
) -> impl Iterator<Item = Name> + 'a {
    given.filter_map(move |given| given.needs(issuer))
}

/// What is known of them: one statement, none without names.
///
/// # Errors
/// What the database says.
pub(super) async fn find(
    connection: &mut PgConnection,
    environment: &str,
    names: &HashSet<Name>,
    today: LegalDate,
) -> sqlx::Result<Accounts> {
    if names.is_empty() {
        return Ok(Accounts::default());
    }
    let rows: Vec<Row> = sqlx::query_as(
        "select i.fiscal_code, wanted.account, i.legal_name,
             exists (
                 select from association a join station s on s.station_id = a.station_id
                 where a.institution_id = i.institution_id and not a.removed and s.primitive_version = 2
             ),
             r.spec, used.iban is not null
         from unnest($2::text[], $3::text[]) as wanted (fiscal_code, account)
         join institution i on i.environment = $1 and i.fiscal_code = wanted.fiscal_code
         left join config_resource r
             on r.institution_id = i.institution_id and r.kind = $4 and r.identity = wanted.account and not r.removed
         left join lateral number_in_use(i.institution_id, wanted.account, $5) used on true",
    )
    .bind(environment)
    .bind(names.iter().map(|(code, _)| code.as_str()).collect::<Vec<_>>())
    .bind(names.iter().map(|(_, name)| name.as_str()).collect::<Vec<_>>())
    .bind(ACCOUNT)
    .bind(today.date().to_sqlx())
    .fetch_all(connection)
    .instrument(store::span("find accounts of transfers"))
    .await?;
    let mut known = HashMap::new();
    for (code, name, legal_name, second_version, spec, numbered) in rows {
        let published = |spec: Vec<u8>| AccountSpec::decode(&spec[..]).map(|spec| spec.published).map_err(decode);
        let account = spec.map(published).transpose()?.map(|published| Account { published, numbered });
        let code = InstitutionCode::parse(&code).map_err(decode)?;
        known.insert((code, name), Known { legal_name, second_version, account });
    }
    Ok(Accounts { known })
}

// === impl Accounts ===

impl Accounts {
    /// `None` = no institution here has the fiscal code.
    pub(super) fn get(&self, name: &Name) -> Option<&Known> {
        self.known.get(name)
    }
}

#[cfg(test)]
impl Accounts {
    pub(super) fn of_test(known: impl IntoIterator<Item = (Name, Known)>) -> Self {
        Self { known: known.into_iter().collect() }
    }
}
