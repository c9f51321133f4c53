//! What tenant knows, as conditions: who acknowledged, and what pagoPA shows.

use std::collections::BTreeMap;

use fiorino_crds::{
    Reason,
    condition::{ConditionStatus, ConditionType},
    institution::RoleKind,
};
use fiorino_proto::config::v1::{DistributionState, InstitutionStatus as Known, ServiceDistribution};
use jiff::civil::Date;

use super::Facts;
use crate::{conditions::Draft, institution::plan::Knowledge};

/// `Distributed`: a refusal weighs more than an absence, an absence more than a delay.
pub(super) fn distributed(known: &Known) -> Draft {
    let of = |state: DistributionState| known.distribution.iter().filter(move |it| it.state() == state);
    let draft = |status, reason, message| Draft { kind: ConditionType::Distributed, status, reason, message };
    let refusals: Vec<String> = of(DistributionState::Refused).map(refusal).collect();
    if !refusals.is_empty() {
        return draft(ConditionStatus::False, Reason::Refused, refusals.join("; "));
    }
    let absent: Vec<&str> = of(DistributionState::NoReplica)
        .chain(of(DistributionState::Unspecified))
        .map(|it| it.service.as_str())
        .collect();
    if !absent.is_empty() {
        let text = format!("no live replica of {}: start it", absent.join(", "));
        return draft(ConditionStatus::Unknown, Reason::NoReplica, text);
    }
    let pending: Vec<&str> = of(DistributionState::Pending).map(|it| it.service.as_str()).collect();
    if !pending.is_empty() {
        let text = format!("{} has not acknowledged the latest change yet", pending.join(", "));
        return draft(ConditionStatus::False, Reason::Pending, text);
    }
    if known.distribution.is_empty() {
        return draft(ConditionStatus::Unknown, Reason::NoReplica, "tenant expects no service".to_owned());
    }
    let services: Vec<&str> = known.distribution.iter().map(|it| it.service.as_str()).collect();
    draft(
        ConditionStatus::True,
        Reason::Acknowledged,
        format!("acknowledged by every live replica of {}", services.join(", ")),
    )
}

fn refusal(service: &ServiceDistribution) -> String {
    format!("{} refuses: {}", service.service, service.refusals.join(", "))
}

/// `StationAssociated`, `AccountsRegistered`, `NodeConnected`. Tenant away changes none of them: they are facts of pagoPA's.
pub(super) fn registered(facts: &Facts<'_>) -> [Draft; 3] {
    let kinds = [ConditionType::StationAssociated, ConditionType::AccountsRegistered, ConditionType::NodeConnected];
    match facts.knowledge {
        Knowledge::Known(known) => [stations(facts, known), accounts(known, facts.today), node(known)],
        Knowledge::Never => kinds.map(|kind| Draft::unknown(kind, Reason::NotApplied, "nothing was applied so far")),
        Knowledge::Away(absence) => kinds.map(|kind| {
            let before = facts.previous.condition(kind);
            before.map_or_else(
                || Draft::unknown(kind, Reason::TenantUnreachable, absence.text()),
                |it| Draft { kind, status: it.status, reason: it.reason, message: it.message.clone() },
            )
        }),
    }
}

fn never_read(kind: ConditionType) -> Draft {
    Draft::unknown(
        kind,
        Reason::NeverRead,
        "pagoPA's registry was not read yet: the Broker needs a subscription key for it",
    )
}

pub(super) fn stations(facts: &Facts<'_>, known: &Known) -> Draft {
    let kind = ConditionType::StationAssociated;
    if known.stations.is_empty() {
        let role = facts.institution.spec.role.kind;
        let text =
            if role == RoleKind::Full { "the institution has no association" } else { "its role needs no association" };
        return Draft::no(kind, Reason::NoAssociation, text);
    }
    if known.readback_at.is_empty() {
        return never_read(kind);
    }
    let missing: Vec<&str> =
        known.stations.iter().filter(|it| !it.associated).map(|it| it.station_id.as_str()).collect();
    let different: Vec<String> = known
        .stations
        .iter()
        .filter(|it| !it.difference.is_empty())
        .map(|it| format!("station {}: {}", it.station_id, it.difference))
        .collect();
    if !different.is_empty() {
        return Draft::no(kind, Reason::Differs, different.join("; "));
    }
    if !missing.is_empty() {
        let text = format!("pagoPA does not show the association with station {}", missing.join(", "));
        return Draft::no(kind, Reason::NotAssociated, text);
    }
    Draft::yes(kind, Reason::Associated, "pagoPA shows every association as the manifest has it")
}

/// Whether pagoPA shows a number of some account that is in force.
pub(super) fn any_account(known: &Known, today: Date) -> bool {
    known.accounts.iter().any(|number| number.registered && in_force(&number.valid_from, today))
}

fn in_force(valid_from: &str, today: Date) -> bool {
    valid_from.parse::<Date>().is_ok_and(|from| from <= today)
}

/// An account is registered when pagoPA shows a number of it that is in force; a later number may still wait.
pub(super) fn accounts(known: &Known, today: Date) -> Draft {
    let kind = ConditionType::AccountsRegistered;
    if known.accounts.is_empty() {
        return Draft::no(kind, Reason::NoAccount, "the institution has no account with a number: create an Iban");
    }
    if known.readback_at.is_empty() {
        return never_read(kind);
    }
    let mut by_account: BTreeMap<&str, bool> = BTreeMap::new();
    let mut missing = Vec::new();
    for number in &known.accounts {
        *by_account.entry(&number.account).or_default() |= number.registered && in_force(&number.valid_from, today);
        if !number.registered {
            missing.push(format!("{} ...{} (from {})", number.account, number.iban_tail, number.valid_from));
        }
    }
    let waits = format!("pagoPA does not show as enabled: {}", missing.join(", "));
    if by_account.values().all(|registered| *registered) {
        let text = if missing.is_empty() {
            "pagoPA shows every account number".to_owned()
        } else {
            format!("every account has a number; {waits}")
        };
        return Draft::yes(kind, Reason::Registered, text);
    }
    if missing.is_empty() {
        return Draft::no(kind, Reason::NotRegistered, "no number of an account is in force yet");
    }
    Draft::no(kind, Reason::NotRegistered, waits)
}

pub(super) fn node(known: &Known) -> Draft {
    let kind = ConditionType::NodeConnected;
    if known.node_connected_at.is_empty() {
        return Draft::no(kind, Reason::NoCallYet, "the node has not called for this institution yet");
    }
    Draft::yes(kind, Reason::CallSeen, "a call of the node was seen")
}
