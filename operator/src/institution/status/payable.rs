//! `Payable`: what the node would be answered now, and nothing else (ARCHITECTURE.md 3.4). What is wrong with the manifest is `Validated`
//! and `Ready`: tenant answers from what it has applied.

use fiorino_crds::{
    Reason,
    condition::{ConditionStatus, ConditionType},
    institution::RoleKind,
};
use fiorino_proto::config::v1::{DistributionState, InstitutionStatus as Known, LifecyclePhase, UsedAccount};

use super::{Facts, away};
use crate::{conditions::Draft, institution::plan::Knowledge};

const KIND: ConditionType = ConditionType::Payable;

/// The service that the node calls.
const CONNECTOR: &str = "node-connector";

/// Services that are named in one message; more are counted.
const NAMED_MAX: usize = 8;

/// Whether the institution's notices can be paid. `stations` and `accounts` are the conditions of the same look: they say why not.
pub(super) fn payable(facts: &Facts<'_>, stations: &Draft, accounts: &Draft) -> Draft {
    let role = facts.institution.spec.role.kind;
    if role != RoleKind::Full {
        let text = format!("an institution with role {role:?} has no notices of its own");
        return Draft::no(KIND, Reason::NoAssociation, text);
    }
    let known = match facts.knowledge {
        Knowledge::Known(known) => known,
        Knowledge::Never => return Draft::no(KIND, Reason::NotApplied, "nothing was applied so far"),
        Knowledge::Away(absence) => {
            return Draft::unknown(KIND, Reason::TenantUnreachable, away(facts, *absence));
        }
    };
    if known.phase() == LifecyclePhase::Closed {
        return Draft::no(KIND, Reason::Closed, "the institution is closed: its notices are no longer paid");
    }
    if unanswered(known) {
        let text = format!("no live replica of {CONNECTOR}: the node's calls are not answered");
        return Draft::unknown(KIND, Reason::NoReplica, text);
    }
    if !known.stations.iter().any(|station| station.associated) {
        return stations.about(KIND);
    }
    if known.used_accounts.is_empty() && accounts.status != ConditionStatus::True {
        return accounts.about(KIND);
    }
    let lacking = |lacks: fn(&&UsedAccount) -> bool| known.used_accounts.iter().filter(lacks).collect::<Vec<_>>();
    let without = lacking(|it| !it.in_force);
    if !without.is_empty() {
        return Draft::no(KIND, Reason::NoAccount, listed(&without, "has no number in force: add one to its Iban"));
    }
    let unusable = lacking(|it| !it.usable);
    if !unusable.is_empty() {
        let text = listed(&unusable, "pays to a number that pagoPA does not show as enabled");
        return Draft::no(KIND, Reason::NotRegistered, text);
    }
    Draft::yes(KIND, Reason::Payable, "notices can be paid")
}

/// Nobody is there whom the node could call.
fn unanswered(known: &Known) -> bool {
    known.distribution.iter().any(|it| it.service == CONNECTOR && it.state() == DistributionState::NoReplica)
}

/// Each account once, with the services that pay to it.
fn listed(accounts: &[&UsedAccount], what: &str) -> String {
    let text = |it: &&UsedAccount| {
        let of = if it.owner.is_empty() { String::new() } else { format!(" of {}", it.owner) };
        format!("account {}{of} (services {}) {what}", it.account, named(&it.services))
    };
    accounts.iter().map(text).collect::<Vec<_>>().join("; ")
}

fn named(services: &[String]) -> String {
    let named = services.iter().take(NAMED_MAX).cloned().collect::<Vec<_>>().join(", ");
    if services.len() > NAMED_MAX { format!("{named} and {} more", services.len() - NAMED_MAX) } else { named }
}
