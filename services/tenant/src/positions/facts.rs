//! What the configuration says at present of those who create positions: read by SQL, never from a copy (ARCHITECTURE.md 3.3).

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use fiorino_domain::{
    institution::InstitutionCode,
    notice::{AuxDigit, NoticeNumber, SegregationCode},
    position::ExpiryPolicy,
    taxonomy::TaxonomyCode,
};
use fiorino_kit::store;
use fiorino_proto::config::v1::LifecyclePhase;
use serde::Deserialize;
use sqlx::{PgConnection, types::Json};
use tracing::Instrument as _;

use super::{
    opening::Opening,
    rows::{decode, expiry_policy},
};
use crate::{Error, Result, nav::Point};

/// An institution as it is shown.
#[derive(Debug, Clone)]
pub(crate) struct Owner {
    pub(crate) institution_id: i32,
    pub(crate) code: InstitutionCode,
    pub(crate) legal_name: String,
    pub(crate) phase: LifecyclePhase,
    /// Of its latest change: what was planned with it holds while it stays.
    pub(crate) config_seq: i64,
}

/// An institution with what new positions need.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) owner: Owner,
    /// Where numbers are issued, and the floor of the sequence.
    pub(crate) issuing: Option<(Point, u64)>,
    /// Aux digit and code of every association: numbers of other systems that are taken.
    accepted: Vec<(i16, String)>,
    services: HashMap<String, Service>,
}

/// A service as applied.
#[derive(Debug, Clone)]
pub(crate) struct Service {
    pub(crate) code: String,
    pub(crate) account: String,
    pub(crate) taxonomy: TaxonomyCode,
    pub(crate) expiry: ExpiryPolicy,
    /// Whether it takes new positions.
    pub(crate) opening: Opening,
    /// Cents; 0 = no limit.
    pub(crate) minimum_cents: i64,
    /// Cents; 0 = no limit.
    pub(crate) maximum_cents: i64,
    pub(crate) beneficiaries: Vec<Beneficiary>,
}

/// An element of `payment_service.beneficiaries`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Beneficiary {
    pub(crate) fiscal_code: InstitutionCode,
    pub(crate) legal_name: String,
    pub(crate) share_basis_points: u32,
    pub(crate) account: String,
    pub(crate) taxonomy_code: TaxonomyCode,
}

/// Facts that were read before. Whoever plans with them compares `config_seq` in the transaction that writes, and refuses nobody
/// because of them.
#[derive(Debug, Default)]
pub(super) struct Cache {
    known: Mutex<HashMap<InstitutionCode, Arc<Facts>>>,
}

/// Institutions in the cache; a full one starts anew.
const CACHE_MAX: usize = 256;

type OwnerRow = (i32, String, String, i16, i64);
type AssociationRow = (i32, i16, String, String, bool, i64);
/// The three in the middle tell its [`Opening`].
type ServiceRow =
    (i32, String, String, String, i16, String, Option<String>, Option<String>, i64, i64, Json<Vec<Beneficiary>>);

/// One institution.
///
/// # Errors
/// [`Error::NotFound`] when it was never applied.
pub(crate) async fn owner(connection: &mut PgConnection, environment: &str, code: InstitutionCode) -> Result<Owner> {
    owners(connection, environment, &[code]).await?.pop().ok_or_else(|| unknown_institution(code))
}

/// The refusal of an institution that was never applied.
pub(crate) fn unknown_institution(code: InstitutionCode) -> Error {
    Error::NotFound {
        field: "institution",
        message: format!("institution {code} is unknown; apply its manifest first"),
    }
}

/// Institutions with their services. Unknown ones are absent.
///
/// The institution's row is read first: if its `config_seq` is still the same when the positions are written, nothing that was read
/// here has changed.
///
/// # Errors
/// What the database says.
pub(super) async fn read(
    connection: &mut PgConnection,
    environment: &str,
    codes: &[InstitutionCode],
) -> sqlx::Result<HashMap<InstitutionCode, Arc<Facts>>> {
    let owners = owners(connection, environment, codes).await?;
    let mut facts: HashMap<_, _> = owners.into_iter().map(|owner| (owner.institution_id, Facts::new(owner))).collect();
    let ids: Vec<_> = facts.keys().copied().collect();
    for row in associations(connection, &ids).await? {
        if let Some(facts) = facts.get_mut(&row.0) {
            facts.add_association(row)?;
        }
    }
    for row in services(connection, &ids, None).await? {
        if let Some(facts) = facts.get_mut(&row.0) {
            let service = service(row)?;
            facts.services.insert(service.code.clone(), service);
        }
    }
    Ok(facts.into_values().map(|facts| (facts.owner.code, Arc::new(facts))).collect())
}

/// One service of one institution, whatever its state.
///
/// # Errors
/// What the database says.
pub(super) async fn one_service(
    connection: &mut PgConnection,
    institution_id: i32,
    code: &str,
) -> sqlx::Result<Option<Service>> {
    services(connection, &[institution_id], Some(code)).await?.pop().map(service).transpose()
}

/// Whether nothing was configured since `planned` was read: (institution, `config_seq`), each institution once.
///
/// # Errors
/// What the database says.
pub(super) async fn unchanged(connection: &mut PgConnection, planned: &[(i32, i64)]) -> sqlx::Result<bool> {
    let (ids, sequences): (Vec<_>, Vec<_>) = planned.iter().copied().unzip();
    let same: i64 = sqlx::query_scalar(
        "select count(*) from unnest($1::int4[], $2::int8[]) as planned (institution_id, config_seq)
         join institution i on i.institution_id = planned.institution_id and i.config_seq = planned.config_seq",
    )
    .bind(ids)
    .bind(sequences)
    .fetch_one(connection)
    .instrument(store::span("compare configuration"))
    .await?;
    Ok(usize::try_from(same) == Ok(planned.len()))
}

async fn owners(
    connection: &mut PgConnection,
    environment: &str,
    codes: &[InstitutionCode],
) -> sqlx::Result<Vec<Owner>> {
    let rows: Vec<OwnerRow> = sqlx::query_as(
        "select institution_id, fiscal_code, legal_name, phase, config_seq from institution
         where environment = $1 and fiscal_code = any($2)",
    )
    .bind(environment)
    .bind(codes.iter().map(InstitutionCode::as_str).collect::<Vec<_>>())
    .fetch_all(connection)
    .instrument(store::span("read institutions"))
    .await?;
    rows.into_iter()
        .map(|(institution_id, code, legal_name, phase, config_seq)| {
            let code = InstitutionCode::parse(&code).map_err(decode)?;
            let phase = LifecyclePhase::try_from(i32::from(phase)).map_err(decode)?;
            Ok(Owner { institution_id, code, legal_name, phase, config_seq })
        })
        .collect()
}

/// In the order of the codes: which one issues, where several do, stays the same when a code moves to another station.
async fn associations(connection: &mut PgConnection, ids: &[i32]) -> sqlx::Result<Vec<AssociationRow>> {
    sqlx::query_as(
        "select a.institution_id, a.aux_digit, a.code, a.nav_prefix, a.issuing, coalesce(s.floor, 0)
         from association a
         left join nav_sequence s
             on s.institution_id = a.institution_id and s.aux_digit = a.aux_digit and s.code = a.code and s.prefix = a.nav_prefix
         where a.institution_id = any($1) and not a.removed
         order by a.institution_id, a.aux_digit, a.code, a.nav_prefix, a.station_id",
    )
    .bind(ids)
    .fetch_all(connection)
    .instrument(store::span("read associations"))
    .await
}

/// The services of institutions: all, or those with this code.
async fn services(connection: &mut PgConnection, ids: &[i32], code: Option<&str>) -> sqlx::Result<Vec<ServiceRow>> {
    sqlx::query_as(
        "select s.institution_id, s.code, s.account, s.taxonomy_code, s.expiry_policy,
             case
                 when s.removed then 'removed'
                 when not s.active then 'inactive'
                 when a.removed then 'without account'
                 when not account_has_number(s.institution_id, s.account) then 'without number'
                 when lacking.account is not null then 'beneficiary without number'
                 else ''
             end,
             lacking.fiscal_code, lacking.account, s.minimum_cents, s.maximum_cents, s.beneficiaries
         from payment_service s
         join institution i on i.institution_id = s.institution_id
         join account a on a.institution_id = s.institution_id and a.name = s.account
         left join lateral (
             select b.fiscal_code, b.account
             from jsonb_to_recordset(s.beneficiaries) as b (fiscal_code text, account text)
             where not exists (
                 select from institution o
                 where o.environment = i.environment and o.fiscal_code = b.fiscal_code
                     and account_has_number(o.institution_id, b.account))
             limit 1
         ) lacking on true
         where s.institution_id = any($1) and ($2::text is null or s.code = $2)",
    )
    .bind(ids)
    .bind(code)
    .fetch_all(connection)
    .instrument(store::span("read services"))
    .await
}

fn service(row: ServiceRow) -> sqlx::Result<Service> {
    let (_, code, account, taxonomy, expiry, standing, owner, lacking, minimum_cents, maximum_cents, beneficiaries) =
        row;
    let Json(beneficiaries) = beneficiaries;
    let opening = Opening::of(&standing, &account, owner.zip(lacking));
    let taxonomy = TaxonomyCode::parse(&taxonomy).map_err(decode)?;
    let expiry = expiry_policy(expiry)?;
    Ok(Service { code, account, taxonomy, expiry, opening, minimum_cents, maximum_cents, beneficiaries })
}

// === impl Facts ===

impl Facts {
    fn new(owner: Owner) -> Self {
        Self { owner, issuing: None, accepted: Vec::new(), services: HashMap::new() }
    }

    /// The service, if it was ever applied.
    pub(crate) fn service(&self, code: &str) -> Option<&Service> {
        self.services.get(code)
    }

    /// Whether a number of another system carries a code of this institution: its associations divide the numbers.
    pub(crate) fn accepts(&self, number: &NoticeNumber) -> bool {
        let aux_digit = i16::from(number.aux_digit().number());
        let code = number.code();
        let code = code.as_ref().map_or("", SegregationCode::as_str);
        self.accepted.iter().any(|(aux, accepted)| *aux == aux_digit && accepted == code)
    }

    fn add_association(&mut self, row: AssociationRow) -> sqlx::Result<()> {
        let (institution_id, aux, code, prefix, issuing, floor) = row;
        if issuing && self.issuing.is_none() {
            let aux_digit = AuxDigit::from_number(u32::from(aux.unsigned_abs())).map_err(decode)?;
            let code = SegregationCode::parse(&code).map_err(decode)?;
            let floor = u64::try_from(floor).unwrap_or(0);
            self.issuing = Some((Point { institution_id, aux_digit, code, prefix }, floor));
        }
        self.accepted.push((aux, code));
        Ok(())
    }
}

// === impl Cache ===

impl Cache {
    /// Those of the institutions that are known.
    pub(super) fn get(&self, codes: &[InstitutionCode]) -> HashMap<InstitutionCode, Arc<Facts>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        codes.iter().filter_map(|code| Some((*code, Arc::clone(known.get(code)?)))).collect()
    }

    /// Keeps what was read.
    pub(super) fn put(&self, read: &HashMap<InstitutionCode, Arc<Facts>>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() + read.len() > CACHE_MAX {
            known.clear();
        }
        known.extend(read.iter().map(|(code, facts)| (*code, Arc::clone(facts))));
    }
}

#[cfg(test)]
impl Facts {
    pub(super) fn of_test(
        owner: Owner,
        issuing: Option<(Point, u64)>,
        accepted: &[(i16, &str)],
        services: Vec<Service>,
    ) -> Self {
        Self {
            owner,
            issuing,
            accepted: accepted.iter().map(|(aux, code)| (*aux, (*code).to_owned())).collect(),
            services: services.into_iter().map(|service| (service.code.clone(), service)).collect(),
        }
    }
}
