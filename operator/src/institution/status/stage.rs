//! How far the onboarding is, and who must act next (ARCHITECTURE.md 3.4).

use fiorino_crds::{
    CreditorInstitution, Reason,
    condition::{Condition, ConditionStatus, ConditionType},
    institution::{Phase, RoleKind},
    status::Stage,
    waiting::{Action, WaitingFor},
};
use jiff::Timestamp;

use super::{Facts, seconds};

/// The highest step whose predecessors all hold.
pub(super) fn stage(institution: &CreditorInstitution, conditions: &[Condition]) -> Stage {
    let holds = |kind| conditions.iter().any(|condition| condition.kind == kind && condition.is_true());
    let steps = [
        (Stage::AgreementSigned, institution.spec.adhesion.is_some()),
        (Stage::Associated, holds(ConditionType::StationAssociated)),
        (Stage::AccountsRegistered, holds(ConditionType::AccountsRegistered)),
        (Stage::Tested, holds(ConditionType::NodeConnected)),
        (Stage::Live, institution.spec.lifecycle.phase == Phase::Live),
    ];
    steps.into_iter().take_while(|(_, holds)| *holds).last().map_or(Stage::Requested, |(stage, _)| stage)
}

/// Who must do what next; nothing while the institution is on its way out, or being deleted.
pub(super) fn waiting_for(facts: &Facts<'_>, conditions: &[Condition]) -> Option<WaitingFor> {
    if facts.institution.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let action = action(facts.institution, conditions)?;
    let before = facts.previous.waiting_for.as_ref().filter(|before| before.action == action);
    let since = before.map_or_else(|| since(facts, action), |before| before.since);
    Some(action.since(since))
}

fn since(facts: &Facts<'_>, action: Action) -> Timestamp {
    let of_pagopa = matches!(action, Action::AssociateStation | Action::RegisterAccounts);
    let told = facts.knowledge.known().filter(|_| of_pagopa).and_then(|known| known.waiting_since.parse().ok());
    seconds(told.unwrap_or(facts.now))
}

fn action(institution: &CreditorInstitution, conditions: &[Condition]) -> Option<Action> {
    let spec = &institution.spec;
    let condition = |kind| conditions.iter().find(|condition| condition.kind == kind);
    let reason = |kind| condition(kind).map(|condition| condition.reason);
    if condition(ConditionType::Validated).is_some_and(|it| it.status == ConditionStatus::False) {
        return Some(Action::FixManifest);
    }
    match reason(ConditionType::Stalled) {
        Some(Reason::Conflict | Reason::StaleGeneration) => return Some(Action::ResolveConflict),
        Some(_) => return Some(Action::FixManifest),
        None => {}
    }
    // While tenant is away nothing that pagoPA shows is news: whatever is missing below may be there by now.
    let broken = [Reason::Refused, Reason::NoReplica, Reason::TenantUnreachable, Reason::NotApplied];
    if reason(ConditionType::Distributed).is_some_and(|reason| broken.contains(&reason)) {
        return Some(Action::RestoreServices);
    }
    if spec.adhesion.is_none() {
        return Some(Action::SignAgreement);
    }
    if spec.role.kind != RoleKind::Full
        || matches!(spec.lifecycle.phase, Phase::Suspended | Phase::Leaving | Phase::Closed)
    {
        return None;
    }
    match reason(ConditionType::StationAssociated) {
        Some(Reason::NeverRead) => return Some(Action::EnableReadBack),
        Some(Reason::NotAssociated | Reason::Differs) => return Some(Action::AssociateStation),
        Some(Reason::NoAssociation) => return Some(Action::FixManifest),
        _ => {}
    }
    match reason(ConditionType::AccountsRegistered) {
        Some(Reason::NeverRead) => return Some(Action::EnableReadBack),
        Some(Reason::NotRegistered) => return Some(Action::RegisterAccounts),
        Some(Reason::NoAccount) => return Some(Action::AddAccount),
        _ => {}
    }
    if reason(ConditionType::NodeConnected) == Some(Reason::NoCallYet) {
        return Some(Action::RunAcceptanceTest);
    }
    (spec.lifecycle.phase == Phase::Testing).then_some(Action::GoLive)
}
