//! Carries a plan out, in the transaction that holds the head.

use std::collections::{HashMap, HashSet};

use fiorino_kit::store;
use fiorino_proto::config::v1::ResourceKind;
use jiff::civil::Date;
use sqlx::PgConnection;

use super::{
    bundle::{Bundle, Item},
    head::Head,
    plan::{Current, Holder, Plan, Row, Write},
    rules,
    spec::Spec,
};
use crate::config::Environment;

mod children;
mod hostnames;
mod institution;
mod numbers;

/// Owner of brokers and stations.
const SHARED: i32 = 0;

/// Why a plan was not carried out.
#[derive(Debug)]
pub(super) enum Failure {
    /// The item's identity is held by another object.
    Conflict { uid: String },
    /// The database failed.
    Store(sqlx::Error),
}

/// What is being written.
#[derive(Debug, Clone, Copy)]
struct Scope<'a> {
    institution_id: i32,
    config_seq: i64,
    status_seq: i64,
    platform: &'a str,
    environment: Environment,
    actor: &'a str,
}

/// For whom a plan is carried out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Order<'a> {
    pub(super) platform: &'a str,
    pub(super) environment: Environment,
    /// On whose behalf.
    pub(super) actor: &'a str,
}

// === impl Failure ===

impl Failure {
    /// The database decides about uniqueness; the names of its constraints say so.
    fn of(item: &Item, error: sqlx::Error) -> Self {
        match store::constraint(&error) {
            Some("institution_identity" | "config_resource_identity") => {
                Self::Conflict { uid: item.resource.uid.clone() }
            }
            _ => Self::Store(error),
        }
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error)
    }
}

/// Reads what the plan needs. The head is held, so it stays as read.
pub(super) async fn current(
    conn: &mut PgConnection,
    bundle: &Bundle,
    environment: Environment,
    today: Date,
) -> sqlx::Result<Current> {
    let holder: Option<Holder> = sqlx::query_as(
        "select institution_id, platform, uid, namespace, name, managed, config_seq
         from institution where environment = $1 and fiscal_code = $2",
    )
    .bind(environment.as_str())
    .bind(bundle.fiscal_code())
    .fetch_optional(&mut *conn)
    .await?;
    let shared: Vec<&str> = bundle.shared.iter().map(|item| item.spec.identity()).collect();
    let uids: Vec<&str> = bundle.shared.iter().map(|item| item.resource.uid.as_str()).collect();
    let rows: Vec<Row> = sqlx::query_as(
        "select uid, kind, identity, namespace, name, generation, hash, required_features, removed, adopted
         from config_resource
         where institution_id = $1 or institution_id = $2 and (identity = any($3) or uid = any($4))",
    )
    .bind(holder.as_ref().map(|holder| holder.institution_id))
    .bind(SHARED)
    .bind(shared)
    .bind(uids)
    .fetch_all(&mut *conn)
    .await?;
    let stations: Vec<&String> = bundle
        .institution()
        .iter()
        .flat_map(|spec| &spec.associations)
        .map(|association| &association.station_id)
        .collect();
    let stations = sqlx::query_scalar("select station_id from station where station_id = any($1)")
        .bind(stations)
        .fetch_all(&mut *conn)
        .await?;
    let brokers: Vec<&str> = bundle.shared.iter().filter_map(|item| broker_of(&item.spec)).collect();
    let brokers = sqlx::query_scalar("select fiscal_code from broker where fiscal_code = any($1)")
        .bind(brokers)
        .fetch_all(&mut *conn)
        .await?;
    let numbers = match &holder {
        Some(holder) => numbers::read(conn, holder.institution_id, today).await?,
        None => HashMap::new(),
    };
    let read_back = numbers::is_read_back(conn, bundle).await?;
    let hostnames_of_others =
        hostnames::of_others(conn, bundle, holder.as_ref().map(|holder| holder.institution_id)).await?;
    Ok(Current {
        holder,
        numbers,
        read_back,
        today,
        rows: rows.into_iter().map(|row| (row.uid.clone(), row)).collect(),
        brokers: HashSet::from_iter(brokers),
        stations: HashSet::from_iter(stations),
        hostnames_of_others,
    })
}

/// Writes everything under one new sequence; returns the institution's number and its sequence.
pub(super) async fn carry_out(
    conn: &mut PgConnection,
    plan: &Plan<'_>,
    bundle: &Bundle,
    current: &Current,
    head: Head,
    Order { platform, environment, actor }: Order<'_>,
) -> Result<(i32, i64), Failure> {
    let config_seq = head.config_seq + i64::from(!plan.is_empty());
    let head = Head { config_seq, status_seq: head.status_seq + 1, ..head };
    let (institution_id, status_seq) =
        (current.holder.as_ref().map_or(0, |holder| holder.institution_id), head.status_seq);
    let mut scope = Scope { institution_id, config_seq, status_seq, platform, environment, actor };
    bury(conn, &plan.tombstones, scope).await?;
    for write in &plan.writes {
        write_one(conn, write, plan, current, &mut scope).await.map_err(|error| Failure::of(write.item, error))?;
    }
    if current.holder.as_ref().is_some_and(|holder| !holder.managed) {
        institution::hold(conn, bundle, scope).await?;
    }
    let latest = current.holder.as_ref().map_or(0, |holder| holder.config_seq);
    let latest = if plan.is_empty() { latest } else { institution::touch(conn, &plan.writes, scope).await? };
    head.advance(conn).await?;
    Ok((scope.institution_id, latest))
}

/// The annotation was taken away.
pub(super) async fn forget_adoption(conn: &mut PgConnection, uids: &[String]) -> sqlx::Result<()> {
    if uids.is_empty() {
        return Ok(());
    }
    sqlx::query("update config_resource set adopted = false where uid = any($1)").bind(uids).execute(conn).await?;
    Ok(())
}

/// Tombstones for what is gone or gives its place to another object.
async fn bury(conn: &mut PgConnection, uids: &[String], scope: Scope<'_>) -> sqlx::Result<()> {
    if uids.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "update config_resource set removed = true, config_seq = $1, actor = $2, changed_at = now()
         where institution_id in ($3, $4) and uid = any($5)",
    )
    .bind(scope.config_seq)
    .bind(scope.actor)
    .bind(scope.institution_id)
    .bind(SHARED)
    .bind(uids)
    .execute(&mut *conn)
    .await?;
    children::remove(conn, uids, scope).await
}

async fn write_one(
    conn: &mut PgConnection,
    write: &Write<'_>,
    plan: &Plan<'_>,
    current: &Current,
    scope: &mut Scope<'_>,
) -> sqlx::Result<()> {
    let uid = &write.item.resource.uid;
    match &write.item.spec {
        Spec::Broker(broker) => children::broker(conn, uid, broker, *scope).await?,
        Spec::Station(station) => children::station(conn, uid, station, *scope).await?,
        Spec::Institution(spec) => {
            let resource = &write.item.resource;
            scope.institution_id = institution::write(conn, resource, spec, plan.takes_institution, *scope).await?;
        }
        Spec::Account(account) => {
            let first = rules::numbers::first(account, current.held(&account.name));
            children::account(conn, uid, account, first, *scope).await?;
        }
        Spec::Service(service) => children::service(conn, uid, service, *scope).await?,
    }
    resource(conn, write, *scope).await
}

/// The operator's bytes, as sent.
async fn resource(conn: &mut PgConnection, write: &Write<'_>, scope: Scope<'_>) -> sqlx::Result<()> {
    let Item { kind, resource, spec } = write.item;
    let owner = match kind {
        ResourceKind::Broker | ResourceKind::Station => SHARED,
        _ => scope.institution_id,
    };
    sqlx::query(
        "insert into config_resource (institution_id, uid, kind, identity, namespace, name, generation, hash, spec,
             required_features, config_seq, adopted, actor)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
         on conflict (institution_id, uid) do update
         set identity = excluded.identity, namespace = excluded.namespace, name = excluded.name,
             generation = excluded.generation, hash = excluded.hash, spec = excluded.spec,
             required_features = excluded.required_features, config_seq = excluded.config_seq,
             adopted = excluded.adopted, actor = excluded.actor, changed_at = now(), removed = false",
    )
    .bind(owner)
    .bind(&resource.uid)
    .bind(i16::try_from(*kind as i32).unwrap_or_default())
    .bind(spec.identity())
    .bind(&resource.namespace)
    .bind(&resource.name)
    .bind(resource.generation)
    .bind(&resource.hash[..])
    .bind(&resource.spec[..])
    .bind(&resource.required_features)
    .bind(scope.config_seq)
    .bind(write.adopted)
    .bind(scope.actor)
    .execute(conn)
    .await?;
    Ok(())
}

fn broker_of(spec: &Spec) -> Option<&str> {
    match spec {
        Spec::Station(station) => Some(station.broker.as_str()),
        _ => None,
    }
}
