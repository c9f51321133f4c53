//! What a bundle changes: pure, from what is stored and what was sent to verdicts and writes.

use std::collections::{BTreeMap, HashMap, HashSet};

use fiorino_proto::config::v1::{ApplyResult, ResourceKind, ResourceOutcome};
use jiff::civil::Date;

use super::{
    bundle::{Bundle, Item},
    rules::{
        self, Known,
        numbers::{Circumstances, Held},
    },
    spec::Spec,
};

/// What the store holds of a bundle's resources, read under the head's lock.
#[derive(Debug, Default)]
pub(super) struct Current {
    /// The institution, if it was ever applied.
    pub(super) holder: Option<Holder>,
    /// Rows of the institution's resources, and of brokers and stations that the bundle names: by uid.
    pub(super) rows: HashMap<String, Row>,
    /// Brokers and stations that the bundle refers to and that were applied before.
    pub(super) brokers: HashSet<String>,
    pub(super) stations: HashSet<String>,
    /// Numbers of the institution's accounts, by account.
    pub(super) numbers: HashMap<String, Vec<Held>>,
    /// pagoPA's registry is read for the institution.
    pub(super) read_back: bool,
    /// The legal date.
    pub(super) today: Date,
    /// Host names that the bundle wants and another institution with a manifest has, by name.
    pub(super) hostnames_of_others: BTreeMap<String, HostnameHolder>,
}

/// Who holds the identity of the institution.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub(super) struct Holder {
    pub(super) institution_id: i32,
    pub(super) platform: String,
    pub(super) uid: String,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) managed: bool,
    pub(super) config_seq: i64,
}

/// Who holds a portal's host name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HostnameHolder {
    /// `namespace/name` of the manifest.
    pub(super) object: String,
    /// Nothing of it can be paid any more.
    pub(super) closed: bool,
}

/// A stored resource.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(super) struct Row {
    pub(super) uid: String,
    pub(super) kind: i16,
    pub(super) identity: String,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) generation: i64,
    pub(super) hash: Vec<u8>,
    pub(super) required_features: Vec<String>,
    pub(super) removed: bool,
    pub(super) adopted: bool,
}

/// What is to be done.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    /// In the order of [`Bundle::items`].
    pub(super) outcomes: Vec<ResourceOutcome>,
    /// What is written, in the order of dependence: brokers, stations, institution, accounts, services.
    pub(super) writes: Vec<Write<'a>>,
    /// uids of the institution's resources, and of brokers and stations, whose place is taken or which are gone.
    pub(super) tombstones: Vec<String>,
    /// uids whose annotation was taken away: the next lower generation is stale again.
    pub(super) forget_adoption: Vec<String>,
    /// The identity is taken over, or was held by this object before.
    pub(super) takes_institution: bool,
    /// false: the institution itself stands against it, nothing at all is written.
    pub(super) proceeds: bool,
}

/// A resource to be written.
#[derive(Debug)]
pub(super) struct Write<'a> {
    pub(super) item: &'a Item,
    /// A lower generation was accepted by the annotation.
    pub(super) adopted: bool,
}

/// What is found about an item.
#[derive(Debug)]
enum Verdict {
    Unchanged,
    Write,
    Stale(String),
    Invalid(String),
    /// Another institution has what this one wants.
    Conflict(String),
}

struct Planner<'a, 'c> {
    bundle: &'a Bundle,
    current: &'c Current,
    known: Known,
    verdicts: HashMap<&'a str, Verdict>,
}

// === impl HostnameHolder ===

impl HostnameHolder {
    /// Who has the name, and what can be done.
    fn refusal(&self, hostname: &str) -> String {
        let object = &self.object;
        if self.closed {
            return format!(
                "the portal host name {hostname} is held by {object}, whose phase is Closed: remove the name from its \
                 spec.portal.hostnames, which suffices, or choose another"
            );
        }
        format!("the portal host name {hostname} is held by {object}; choose another, or remove it there first")
    }
}

// === impl Row ===

impl Row {
    fn is(&self, kind: ResourceKind) -> bool {
        !self.removed && i32::from(self.kind) == kind as i32
    }
}

// === impl Current ===

impl Current {
    /// The stored numbers of an account.
    pub(super) fn held(&self, account: &str) -> &[Held] {
        self.numbers.get(account).map_or(&[], Vec::as_slice)
    }
}

// === impl Plan ===

impl<'a> Plan<'a> {
    /// Compares.
    pub(super) fn new(bundle: &'a Bundle, current: &Current) -> Self {
        let known =
            Known { brokers: current.brokers.clone(), stations: current.stations.clone(), accounts: HashSet::new() };
        let mut planner = Planner { bundle, current, known, verdicts: HashMap::new() };
        planner.judge_all();
        planner.plan()
    }

    /// Nothing is to be written.
    pub(super) fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.tombstones.is_empty()
    }
}

// === impl Planner ===

impl<'a> Planner<'a, '_> {
    /// Judges in the order of dependence, so that each finds what it may name.
    fn judge_all(&mut self) {
        for kind in [
            ResourceKind::Broker,
            ResourceKind::Station,
            ResourceKind::Institution,
            ResourceKind::Account,
            ResourceKind::Service,
        ] {
            if kind == ResourceKind::Service {
                self.know_kept_accounts();
            }
            for item in self.bundle.items().filter(|item| item.kind == kind) {
                let verdict = self.judge(item);
                let stored = self.current.rows.get(&item.resource.uid).is_some_and(|row| !row.removed);
                if stored || matches!(verdict, Verdict::Unchanged | Verdict::Write) {
                    self.know(item);
                }
                self.verdicts.insert(&item.resource.uid, verdict);
            }
        }
    }

    fn judge(&self, item: &Item) -> Verdict {
        if let Some(feature) = item.lacking_feature() {
            return Verdict::Invalid(format!(
                "needs the feature {feature}, which this tenant lacks; update tenant first"
            ));
        }
        let row = self.current.rows.get(&item.resource.uid);
        if let Some(row) = row.filter(|row| is_stale(item, row)) {
            return Verdict::Stale(format!(
                "generation {} is older than {}, which is applied; annotate the object with fiorino.dev/adopt if it was \
                 restored and shall hold",
                item.resource.generation, row.generation
            ));
        }
        let rules = match &item.spec {
            Spec::Station(station) if !self.known.brokers.contains(station.broker.as_str()) => {
                Err(format!("broker {} is not known; apply the Broker first", station.broker))
            }
            Spec::Broker(_) | Spec::Station(_) => Ok(()),
            Spec::Account(account) => {
                let Current { today, read_back, .. } = *self.current;
                rules::numbers::check(account, self.current.held(&account.name), Circumstances { today, read_back })
            }
            Spec::Institution(institution) => rules::institution(institution, &self.known),
            Spec::Service(service) => rules::service(service, &self.known),
        };
        if let Err(reason) = rules {
            return Verdict::Invalid(reason);
        }
        if let (Spec::Institution(_), Some((hostname, holder))) =
            (&item.spec, self.current.hostnames_of_others.first_key_value())
        {
            return Verdict::Conflict(holder.refusal(hostname));
        }
        let Some(row) = row else { return Verdict::Write };
        let lower = item.resource.generation < row.generation;
        let same = row.hash == item.resource.hash[..] && row.required_features == item.resource.required_features;
        if same && !row.removed && !lower { Verdict::Unchanged } else { Verdict::Write }
    }

    fn know(&mut self, item: &Item) {
        let identity = item.spec.identity().to_owned();
        match item.kind {
            ResourceKind::Broker => self.known.brokers.insert(identity),
            ResourceKind::Station => self.known.stations.insert(identity),
            ResourceKind::Account => self.known.accounts.insert(identity),
            ResourceKind::Institution | ResourceKind::Service | ResourceKind::Unspecified => false,
        };
    }

    /// Accounts that are invalid at present serve on with their last valid version.
    fn know_kept_accounts(&mut self) {
        let rows = self.current.rows.values();
        let kept = rows.filter(|row| row.is(ResourceKind::Account) && self.bundle.keep.contains(&row.uid));
        self.known.accounts.extend(kept.map(|row| row.identity.clone()));
    }

    fn plan(self) -> Plan<'a> {
        let institution = &self.bundle.institution;
        let takes_institution = self.takes_institution();
        let stop = match &self.verdicts[institution.resource.uid.as_str()] {
            Verdict::Stale(_) => Some((ApplyResult::Unchanged, "not applied: the institution's manifest is stale")),
            Verdict::Conflict(_) => {
                Some((ApplyResult::Unchanged, "not applied: the bundle is in conflict with another object"))
            }
            Verdict::Invalid(_) if self.current.holder.is_none() => {
                Some((ApplyResult::Invalid, "not applied: the institution is not known yet and cannot be applied"))
            }
            Verdict::Invalid(_) if !takes_institution => {
                Some((ApplyResult::Invalid, "not applied: the institution is held by another object"))
            }
            Verdict::Unchanged | Verdict::Write | Verdict::Invalid(_) => None,
        };
        if let Some((result, reason)) = stop {
            let outcomes = self.bundle.items().map(|item| self.stopped(item, result, reason)).collect();
            let (writes, tombstones, forget_adoption) = (vec![], vec![], vec![]);
            return Plan { outcomes, writes, tombstones, forget_adoption, takes_institution, proceeds: false };
        }
        let outcomes = self.bundle.items().map(|item| self.outcome(item)).collect();
        let mut writes: Vec<_> = self.bundle.items().filter_map(|item| self.write(item)).collect();
        writes.sort_by_key(|write| write.item.kind as i32); // stable; kinds are numbered in the order of dependence
        let tombstones = self.tombstones(&writes);
        let forget_adoption = self.forget_adoption();
        Plan { outcomes, writes, tombstones, forget_adoption, takes_institution, proceeds: true }
    }

    fn outcome(&self, item: &Item) -> ResourceOutcome {
        let (result, message) = match &self.verdicts[item.resource.uid.as_str()] {
            Verdict::Unchanged => (ApplyResult::Unchanged, ""),
            Verdict::Write => (ApplyResult::Applied, ""),
            Verdict::Stale(reason) => (ApplyResult::StaleGeneration, reason.as_str()),
            Verdict::Invalid(reason) => (ApplyResult::Invalid, reason.as_str()),
            Verdict::Conflict(reason) => (ApplyResult::Conflict, reason.as_str()),
        };
        outcome(item, result, message)
    }

    /// The institution's own verdict stands; the others were not applied because of it.
    fn stopped(&self, item: &Item, result: ApplyResult, reason: &str) -> ResourceOutcome {
        if item.kind == ResourceKind::Institution { self.outcome(item) } else { outcome(item, result, reason) }
    }

    fn write(&self, item: &'a Item) -> Option<Write<'a>> {
        let write = matches!(self.verdicts[item.resource.uid.as_str()], Verdict::Write);
        let row = self.current.rows.get(&item.resource.uid);
        let lower = row.is_some_and(|row| item.resource.generation < row.generation);
        let adopted = item.resource.adopt && (lower || row.is_some_and(|row| row.adopted));
        write.then_some(Write { item, adopted })
    }

    /// Whether this object may write the institution: it holds it, nobody does, or it was made anew. Otherwise the database's
    /// constraint refuses it: no annotation of one namespace takes the institution of another, its owner lets it go by deleting his.
    fn takes_institution(&self) -> bool {
        let resource = &self.bundle.institution.resource;
        self.current.holder.as_ref().is_none_or(|holder| {
            holder.uid == resource.uid
                || !holder.managed
                || (&holder.namespace, &holder.name) == (&resource.namespace, &resource.name)
        })
    }

    /// Children that are neither in the bundle nor kept, and rows whose identity a written object takes over.
    fn tombstones(&self, writes: &[Write<'_>]) -> Vec<String> {
        let sent: HashSet<&str> = self.bundle.items().map(|item| item.resource.uid.as_str()).collect();
        let gone = |row: &&Row| {
            !row.removed
                && !sent.contains(row.uid.as_str())
                && ((row.is(ResourceKind::Account) || row.is(ResourceKind::Service))
                    && !self.bundle.keep.contains(&row.uid)
                    || writes.iter().any(|write| takes_over(write, row)))
        };
        let mut uids: Vec<String> = self.current.rows.values().filter(gone).map(|row| row.uid.clone()).collect();
        uids.sort_unstable();
        uids
    }

    fn forget_adoption(&self) -> Vec<String> {
        let unchanged = |item: &&Item| matches!(self.verdicts[item.resource.uid.as_str()], Verdict::Unchanged);
        let adopted = |uid: &str| self.current.rows.get(uid).is_some_and(|row| row.adopted);
        let items = self.bundle.items().filter(unchanged).filter(|item| !item.resource.adopt);
        items.map(|item| item.resource.uid.clone()).filter(|uid| adopted(uid)).collect()
    }
}

/// A lower generation, unless the annotation takes it once.
fn is_stale(item: &Item, row: &Row) -> bool {
    item.resource.generation < row.generation && (!item.resource.adopt || row.adopted)
}

/// The same object made anew, or an annotated one beside it, takes the identity of the row; another object does not.
fn takes_over(write: &Write<'_>, row: &Row) -> bool {
    let resource = &write.item.resource;
    row.is(write.item.kind)
        && row.identity == write.item.spec.identity()
        && (write.item.kind == ResourceKind::Institution // decided by its holder
            || row.namespace == resource.namespace && (resource.adopt || row.name == resource.name))
}

/// The outcome of an item.
pub(super) fn outcome(item: &Item, result: ApplyResult, message: &str) -> ResourceOutcome {
    ResourceOutcome { uid: item.resource.uid.clone(), result: result.into(), message: message.to_owned() }
}

#[cfg(test)]
mod tests;
