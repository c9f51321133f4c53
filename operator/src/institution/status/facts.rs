//! What tenant knows, as conditions: who acknowledged, and what pagoPA shows.

use std::collections::BTreeMap;

use fiorino_crds::{
    Reason,
    condition::{ConditionStatus, ConditionType},
    institution::RoleKind,
};
use fiorino_proto::config::v1::{
    AccountRegistration, DistributionState, InstitutionStatus as Known, ServiceDistribution, StationRegistration,
};
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
    let (secondary, needed): (Vec<_>, Vec<_>) = known.stations.iter().partition(|it| it.secondary);
    let missing: Vec<&str> = needed.iter().filter(|it| !it.associated).map(|it| it.station_id.as_str()).collect();
    let different: Vec<String> = needed
        .iter()
        .filter(|it| !it.difference.is_empty())
        .map(|it| format!("station {}: {}", it.station_id, it.difference))
        .collect();
    if !different.is_empty() {
        return Draft::no(kind, Reason::Differs, different.join("; ") + &instead(&secondary));
    }
    if !missing.is_empty() {
        let text = format!("pagoPA does not show the association with station {}", missing.join(", "));
        return Draft::no(kind, Reason::NotAssociated, text + &instead(&secondary));
    }
    if secondary.is_empty() {
        return Draft::yes(kind, Reason::Associated, "pagoPA shows every association as the manifest has it");
    }
    let beside: Vec<String> = secondary.iter().map(|it| beside(it)).collect();
    let text = format!("pagoPA shows the association that counts of every code; beside it {}", beside.join("; "));
    Draft::yes(kind, Reason::Associated, text)
}

/// A station of a code that another one issues, or that another one is shown for.
fn beside(station: &StationRegistration) -> String {
    let StationRegistration { station_id, difference, .. } = station;
    if difference.is_empty() {
        return format!("pagoPA shows station {station_id} too");
    }
    format!("station {station_id}: {difference}")
}

/// The stations at which pagoPA shows a code instead: the manifest follows by a swap.
fn instead(secondary: &[&StationRegistration]) -> String {
    let shown: Vec<&str> = secondary.iter().filter(|it| it.associated).map(|it| it.station_id.as_str()).collect();
    if shown.is_empty() {
        return String::new();
    }
    format!("; pagoPA shows station {}: set its state to Issuing, and AcceptingOnly on the other", shown.join(", "))
}

/// Whether pagoPA shows a number of some account that is in force, or somebody vouches for it.
pub(super) fn any_account(known: &Known, today: Date) -> bool {
    known.accounts.iter().any(|number| counts(number) && in_force(&number.valid_from, today))
}

fn in_force(valid_from: &str, today: Date) -> bool {
    valid_from.parse::<Date>().is_ok_and(|from| from <= today)
}

fn counts(number: &AccountRegistration) -> bool {
    number.registered || !number.attested_on.is_empty()
}

/// An account is registered when pagoPA shows a number of it that is in force, or somebody vouches for it; a later number may still wait.
pub(super) fn accounts(known: &Known, today: Date) -> Draft {
    let kind = ConditionType::AccountsRegistered;
    if !known.accounts_without_number.is_empty() {
        let names = known.accounts_without_number.join(", ");
        return Draft::no(kind, Reason::NoAccount, format!("every number of Iban {names} is withdrawn: add an entry"));
    }
    if known.accounts.is_empty() {
        return Draft::no(kind, Reason::NoAccount, "the institution has no account with a number: create an Iban");
    }
    let mut by_account: BTreeMap<&str, bool> = BTreeMap::new();
    let (mut missing, mut attested) = (Vec::new(), Vec::new());
    for number in &known.accounts {
        *by_account.entry(&number.account).or_default() |= counts(number) && in_force(&number.valid_from, today);
        let named = format!("{} ...{} (from {}", number.account, number.iban_tail, number.valid_from);
        if !number.registered && counts(number) {
            attested.push(format!("{named}, attested on {})", number.attested_on));
        } else if !number.registered {
            missing.push(format!("{named})"));
        }
    }
    // Who has no station may be shown by the reading of somebody else's broker.
    let unread = known.readback_at.is_empty() && known.accounts.iter().all(|number| !number.registered);
    if unread && !missing.is_empty() {
        if !known.stations.is_empty() {
            return never_read(kind);
        }
        let text = format!(
            "no reading of pagoPA's registry shows this institution: vouch for its numbers (spec.numbers[].attestation): {}",
            missing.join(", ")
        );
        return Draft::unknown(kind, Reason::NeverRead, text);
    }
    let waits = format!("pagoPA does not show as enabled: {}", missing.join(", "));
    if by_account.values().all(|registered| *registered) {
        let mut texts = Vec::new();
        if !attested.is_empty() {
            texts.push(format!("not shown by pagoPA, but vouched for: {}", attested.join(", ")));
        }
        if !missing.is_empty() {
            texts.push(format!("every account has a number; {waits}"));
        }
        if texts.is_empty() {
            texts.push("pagoPA shows every account number".to_owned());
        }
        let reason = if attested.is_empty() { Reason::Registered } else { Reason::Attested };
        return Draft::yes(kind, reason, texts.join("; "));
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
