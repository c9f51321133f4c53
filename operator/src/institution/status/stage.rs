//! How far the onboarding is, and who must act next (ARCHITECTURE.md 3.4).

use fiorino_crds::{
    CreditorInstitution, Reason,
    condition::{Condition, ConditionStatus, ConditionType},
    institution::{Phase, RoleKind},
    status::Stage,
    waiting::{Action, WaitingFor},
};
use jiff::Timestamp;

use super::{Facts, facts, seconds};
use crate::institution::plan::Knowledge;

/// The highest step whose predecessors all hold. A step that was reached is left when what it stands for is gone, never because
/// something was added that is still on its way.
pub(super) fn stage(facts: &Facts<'_>) -> Stage {
    let spec = &facts.institution.spec;
    let steps = [
        (Stage::AgreementSigned, spec.adhesion.is_some()),
        (Stage::Associated, reached(facts, Stage::Associated)),
        (Stage::AccountsRegistered, reached(facts, Stage::AccountsRegistered)),
        (Stage::Tested, reached(facts, Stage::Tested)),
        (Stage::Live, spec.lifecycle.phase == Phase::Live),
    ];
    steps.into_iter().take_while(|(_, holds)| *holds).last().map_or(Stage::Requested, |(stage, _)| stage)
}

/// Whether a step of pagoPA's side holds.
fn reached(facts: &Facts<'_>, step: Stage) -> bool {
    let before = facts.previous.stage.is_some_and(|stage| stage >= step);
    let known = match facts.knowledge {
        Knowledge::Known(known) => known,
        // They are pagoPA's facts: tenant away changes none of them.
        Knowledge::Away(_) => return before,
        Knowledge::Never => return false,
    };
    let (whole, part) = match step {
        Stage::Associated => (facts::stations(facts, known), known.stations.iter().any(|it| it.associated)),
        Stage::AccountsRegistered => (facts::accounts(known, facts.today), facts::any_account(known, facts.today)),
        _ => (facts::node(known), false),
    };
    whole.status == ConditionStatus::True || (before && part)
}

/// Who must do what next; nothing while the institution is on its way out, or being deleted.
pub(super) fn waiting_for(facts: &Facts<'_>, conditions: &[Condition]) -> Option<WaitingFor> {
    if facts.institution.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let (action, asked_by) = action(facts.institution, conditions)?;
    let before = facts.previous.waiting_for.as_ref().filter(|before| before.action == action);
    let since = before.map_or_else(|| since(facts, action), |before| before.since);
    let asking = asked_by.and_then(|kind| conditions.iter().find(|condition| condition.kind == kind));
    Some(action.since(since, asking.map(|condition| condition.message.clone()).unwrap_or_default()))
}

/// A step's clock is the step's own. Where no status was written before (a rebuilt cluster), tenant remembers since when.
fn since(facts: &Facts<'_>, action: Action) -> Timestamp {
    let known = facts.knowledge.known().filter(|_| facts.previous.stage.is_none());
    let remembered = known.and_then(|known| match action {
        Action::AssociateStation => known.stations_waiting_since.parse().ok(),
        Action::RegisterAccounts => known.accounts_waiting_since.parse().ok(),
        _ => None,
    });
    seconds(remembered.unwrap_or(facts.now))
}

/// What is to be done next, and the condition that says why.
fn action(institution: &CreditorInstitution, conditions: &[Condition]) -> Option<(Action, Option<ConditionType>)> {
    let spec = &institution.spec;
    let condition = |kind| conditions.iter().find(|condition| condition.kind == kind);
    let reason = |kind| condition(kind).map(|condition| condition.reason);
    let asked = |action, kind| Some((action, Some(kind)));
    if condition(ConditionType::Validated).is_some_and(|it| it.status == ConditionStatus::False) {
        return asked(Action::FixManifest, ConditionType::Validated);
    }
    match reason(ConditionType::Stalled) {
        Some(Reason::Conflict | Reason::StaleGeneration) => {
            return asked(Action::ResolveConflict, ConditionType::Stalled);
        }
        Some(_) => return asked(Action::FixManifest, ConditionType::Stalled),
        None => {}
    }
    // While tenant is away nothing that pagoPA shows is news: whatever is missing below may be there by now.
    let broken = [Reason::Refused, Reason::NoReplica, Reason::TenantUnreachable, Reason::NotApplied];
    if reason(ConditionType::Distributed).is_some_and(|reason| broken.contains(&reason)) {
        return asked(Action::RestoreServices, ConditionType::Distributed);
    }
    if spec.adhesion.is_none() {
        return Some((Action::SignAgreement, None));
    }
    if spec.role.kind != RoleKind::Full
        || matches!(spec.lifecycle.phase, Phase::Suspended | Phase::Leaving | Phase::Closed)
    {
        return None;
    }
    let stations = match reason(ConditionType::StationAssociated) {
        Some(Reason::NeverRead) => Some(Action::EnableReadBack),
        Some(Reason::NotAssociated | Reason::Differs) => Some(Action::AssociateStation),
        Some(Reason::NoAssociation) => Some(Action::FixManifest),
        _ => None,
    };
    if let Some(action) = stations {
        return asked(action, ConditionType::StationAssociated);
    }
    let accounts = match reason(ConditionType::AccountsRegistered) {
        Some(Reason::NeverRead) => Some(Action::EnableReadBack),
        Some(Reason::NotRegistered) => Some(Action::RegisterAccounts),
        Some(Reason::NoAccount) => Some(Action::AddAccount),
        _ => None,
    };
    if let Some(action) = accounts {
        return asked(action, ConditionType::AccountsRegistered);
    }
    if reason(ConditionType::NodeConnected) == Some(Reason::NoCallYet) {
        return asked(Action::RunAcceptanceTest, ConditionType::NodeConnected);
    }
    (spec.lifecycle.phase == Phase::Testing).then_some((Action::GoLive, None))
}
