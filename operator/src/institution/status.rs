//! What is true of an institution, from what was found, what tenant answered and what it knows. Pure.

mod facts;
mod payable;
mod stage;

use fiorino_crds::{
    CreditorInstitution, InstitutionStatus, ObjectStatus, PAUSED, RELEASE, Reason,
    condition::{Condition, ConditionStatus, ConditionType},
    institution::Phase,
    status::{EffectiveServiceStatus, ServiceState},
};
use fiorino_proto::config::v1::{ApplyResult, DistributionState, InstitutionStatus as Known, LifecyclePhase};
use jiff::{Timestamp, Unit, civil::Date};
use kube::ResourceExt as _;
use serde_json::Value;

use super::{
    bundle::is_set,
    memory::Remembered,
    plan::{Absence, Knowledge, Notice, StatusPatch, Step},
    subject::Subject,
    validate::findings::{Judged, Report},
};
use crate::{
    conditions::{Draft, settle},
    events::transitions,
};

/// What a status is made of.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The institution as read.
    pub institution: &'a CreditorInstitution,
    /// The status that it has.
    pub previous: &'a InstitutionStatus,
    /// What was found.
    pub report: &'a Report,
    /// Whether the institution itself is wrong, so that nothing is sent.
    pub held_back: bool,
    /// How tenant answered the last bundle.
    pub answer: Option<&'a Remembered>,
    /// What tenant knows.
    pub knowledge: &'a Knowledge,
    /// This instant.
    pub now: Timestamp,
    /// The legal date.
    pub today: Date,
}

/// Steps that tell what is wrong before anybody else is asked: a wrong manifest is told within a second, whoever is away.
pub fn first(facts: &Facts<'_>) -> Vec<Step> {
    let report = judged(facts);
    let draft = report.draft();
    let mut steps = others(&report, facts.now, true);
    if draft.status == ConditionStatus::False {
        let previous = facts.previous;
        let mut status = previous.clone();
        let validated = draft.settle(&previous.conditions, generation(facts), seconds(facts.now));
        status.conditions.retain(|condition| condition.kind != ConditionType::Validated);
        status.conditions.push(validated);
        status.conditions.sort_by_key(|condition| condition.kind);
        steps.extend(write(report.subject(), previous, &status));
    }
    steps
}

/// Steps that bring every status to what is true, and tell what changed.
pub fn last(facts: &Facts<'_>) -> Vec<Step> {
    let report = judged(facts);
    let status = desired(facts, &report);
    let mut steps = others(&report, facts.now, false);
    steps.extend(write(report.subject(), facts.previous, &status));
    steps
}

/// The status of an institution that this version cannot read: `Validated` and `Ready` are no longer claimed, everything else stays as it was
/// written, whoever wrote it.
pub fn unreadable(written: &Value, generation: i64, words: &str, now: Timestamp) -> Value {
    let conditions = written["conditions"].as_array().cloned().unwrap_or_default();
    let previous: Vec<Condition> =
        conditions.iter().filter_map(|condition| serde_json::from_value(condition.clone()).ok()).collect();
    let validated = Draft::no(ConditionType::Validated, Reason::InvalidField, words);
    let ready = Draft { status: ConditionStatus::Unknown, ..validated.about(ConditionType::Ready) };
    let news = settle(vec![ready, validated], &previous, generation, seconds(now));
    let is_old = |condition: &Value| news.iter().all(|it| condition["type"] != it.kind.to_string());
    let mut conditions: Vec<Value> = conditions.into_iter().filter(is_old).collect();
    conditions.extend(news.iter().map(|condition| serde_json::to_value(condition).unwrap_or_default()));
    let mut status = if written.is_object() { written.clone() } else { Value::Object(serde_json::Map::new()) };
    status["conditions"] = conditions.into();
    status
}

/// Whether nothing more happens until somebody acts: what tenant refuses stays refused.
pub fn stalled(facts: &Facts<'_>) -> bool {
    verdict(facts).is_some()
}

/// Whether a live replica has not acknowledged the latest change.
pub fn is_pending(known: &Known) -> bool {
    known.distribution.iter().any(|service| service.state() == DistributionState::Pending)
}

/// The status as it should be.
fn desired(facts: &Facts<'_>, report: &Report) -> InstitutionStatus {
    let paused = is_set(facts.institution.annotations(), PAUSED);
    let drafts = drafts(facts, report);
    let conditions = settle(drafts, &facts.previous.conditions, generation(facts), seconds(facts.now));
    if paused {
        return on_hold(facts, conditions);
    }
    let away = matches!(facts.knowledge, Knowledge::Away(_));
    let known = facts.knowledge.known();
    InstitutionStatus {
        observed_generation: Some(generation(facts)),
        stage: Some(stage::stage(facts)),
        waiting_for: stage::waiting_for(facts, &conditions),
        phase: if away { facts.previous.phase } else { known.and_then(phase) },
        services: if away { facts.previous.services.clone() } else { known.map(services).unwrap_or_default() },
        conditions,
    }
}

/// Paused: what was said stays, for the generation that it was said of; only that it is paused, and what is wrong, is new.
fn on_hold(facts: &Facts<'_>, conditions: Vec<Condition>) -> InstitutionStatus {
    let mut status = facts.previous.clone();
    let news = [ConditionType::Paused, ConditionType::Validated];
    status.conditions.retain(|condition| !news.contains(&condition.kind));
    status.conditions.extend(conditions.into_iter().filter(|condition| news.contains(&condition.kind)));
    status.conditions.sort_by_key(|condition| condition.kind);
    status
}

fn drafts(facts: &Facts<'_>, report: &Report) -> Vec<Draft> {
    let validated = report.draft();
    let verdict = verdict(facts);
    let distributed = match facts.knowledge {
        Knowledge::Away(absence) => {
            Draft::unknown(ConditionType::Distributed, Reason::TenantUnreachable, away(facts, *absence))
        }
        Knowledge::Never => Draft::no(ConditionType::Distributed, Reason::NotApplied, "nothing was applied so far"),
        Knowledge::Known(known) => facts::distributed(known),
    };
    let ready = ready(&validated, verdict.as_ref(), &distributed);
    let [stations, accounts, node] = facts::registered(facts);
    let payable = payable::payable(facts, &stations, &accounts);
    let stalled = verdict.or_else(|| {
        facts.held_back.then(|| Draft { status: ConditionStatus::True, ..validated.about(ConditionType::Stalled) })
    });
    let waits = matches!(ready.reason, Reason::Pending | Reason::TenantUnreachable);
    let reconciling = (stalled.is_none() && waits)
        .then(|| Draft { status: ConditionStatus::True, ..ready.about(ConditionType::Reconciling) });
    let paused = is_set(facts.institution.annotations(), PAUSED).then(|| {
        let text = format!("the annotation {PAUSED} is set: changes wait until it is removed");
        Draft::yes(ConditionType::Paused, Reason::PausedByAnnotation, text)
    });
    let always = [ready, payable, validated, distributed, accounts, stations, node];
    always.into_iter().chain(stalled).chain(reconciling).chain(paused).collect()
}

fn ready(validated: &Draft, verdict: Option<&Draft>, distributed: &Draft) -> Draft {
    if validated.status != ConditionStatus::True {
        return validated.about(ConditionType::Ready);
    }
    if let Some(verdict) = verdict {
        return Draft { status: ConditionStatus::False, ..verdict.about(ConditionType::Ready) };
    }
    let ready = distributed.about(ConditionType::Ready);
    // On its way is neither: it may be in effect at some replicas already.
    if ready.reason == Reason::Pending { Draft { status: ConditionStatus::Unknown, ..ready } } else { ready }
}

/// What tenant decided against the institution as a whole: `Stalled`.
fn verdict(facts: &Facts<'_>) -> Option<Draft> {
    let answer = facts.answer?;
    let stalled = |reason, words: &str| Draft::yes(ConditionType::Stalled, reason, words);
    if let Some(words) = &answer.refused {
        return Some(stalled(Reason::RefusedByTenant, words));
    }
    let conflict = answer.verdicts.values().find(|verdict| verdict.result == ApplyResult::Conflict);
    if let Some(verdict) = conflict {
        return Some(stalled(Reason::Conflict, &verdict.message));
    }
    let own = answer.verdicts.get(&facts.institution.uid().unwrap_or_default())?;
    Some(stalled(reason(own.result), &own.message))
}

const fn reason(result: ApplyResult) -> Reason {
    match result {
        ApplyResult::StaleGeneration => Reason::StaleGeneration,
        ApplyResult::Conflict => Reason::Conflict,
        ApplyResult::Unspecified | ApplyResult::Applied | ApplyResult::Unchanged | ApplyResult::Invalid => {
            Reason::RefusedByTenant
        }
    }
}

/// What was found, and what tenant found.
fn judged(facts: &Facts<'_>) -> Report {
    let mut report = facts.report.clone();
    let own = facts.institution.uid().unwrap_or_default();
    let Some(answer) = facts.answer.filter(|answer| !answer.verdicts.contains_key(&own)) else { return report };
    for (uid, verdict) in &answer.verdicts {
        report.judge(uid, reason(verdict.result), &verdict.message);
    }
    report
}

/// The statuses of accounts, services and what the institution refers to; `errors`: only of those that are wrong.
fn others(report: &Report, now: Timestamp, errors: bool) -> Vec<Step> {
    let told = report.others().iter().filter(|judged| !errors || !judged.errors.is_empty());
    told.filter_map(|judged| object(judged, now))
        .flat_map(|(patch, notices)| {
            [Step::PatchStatus(patch)].into_iter().chain(notices.into_iter().map(Step::PublishEvent))
        })
        .collect()
}

/// The status of an object that is no institution, and what to tell; nothing if it has it already.
pub fn object(judged: &Judged, now: Timestamp) -> Option<(StatusPatch, Vec<Notice>)> {
    let subject = &judged.subject;
    let conditions = settle(vec![judged.draft()], &subject.conditions, subject.generation, seconds(now));
    if conditions == subject.conditions && subject.observed_generation == Some(subject.generation) {
        return None;
    }
    let notices = transitions(subject, &subject.conditions, &conditions);
    let status = ObjectStatus { observed_generation: Some(subject.generation), conditions };
    let status = serde_json::to_value(status).unwrap_or_default();
    Some((StatusPatch { subject: subject.clone(), status }, notices))
}

fn write(subject: &Subject, previous: &InstitutionStatus, status: &InstitutionStatus) -> Vec<Step> {
    if previous == status {
        return Vec::new();
    }
    let notices = transitions(subject, &previous.conditions, &status.conditions);
    let status: Value = serde_json::to_value(status).unwrap_or_default();
    let patch = Step::PatchStatus(StatusPatch { subject: subject.clone(), status });
    [patch].into_iter().chain(notices.into_iter().map(Step::PublishEvent)).collect()
}

fn generation(facts: &Facts<'_>) -> i64 {
    facts.institution.metadata.generation.unwrap_or_default()
}

/// What the API server keeps of an instant in people's eyes.
fn seconds(now: Timestamp) -> Timestamp {
    now.round(Unit::Second).unwrap_or(now)
}

fn away(facts: &Facts<'_>, absence: Absence) -> String {
    let text = absence.text();
    if facts.institution.metadata.deletion_timestamp.is_some() {
        return format!(
            "{text}; it holds the deletion: the annotation {RELEASE}: \"true\" lets the manifest go at once"
        );
    }
    text.to_owned()
}

fn phase(known: &Known) -> Option<Phase> {
    match known.phase() {
        LifecyclePhase::Unspecified => None,
        LifecyclePhase::Testing => Some(Phase::Testing),
        LifecyclePhase::Live => Some(Phase::Live),
        LifecyclePhase::Suspended => Some(Phase::Suspended),
        LifecyclePhase::Leaving => Some(Phase::Leaving),
        LifecyclePhase::Closed => Some(Phase::Closed),
    }
}

/// As many services as the schema takes, by code.
fn services(known: &Known) -> Vec<EffectiveServiceStatus> {
    const SERVICES_MAX: usize = 1_000;
    let mut services: Vec<EffectiveServiceStatus> = known
        .services
        .iter()
        .map(|service| EffectiveServiceStatus {
            code: service.code.clone(),
            profile_revision: (!service.profile_revision.is_empty()).then(|| service.profile_revision.clone()),
            state: if service.active { ServiceState::Active } else { ServiceState::Inactive },
        })
        .collect();
    services.sort();
    services.dedup_by(|left, right| left.code == right.code);
    services.truncate(SERVICES_MAX);
    services
}
