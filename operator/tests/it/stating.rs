//! What a person reads: conditions, stage, who is waited for.

mod payable;
mod scene;

use fiorino_crds::{
    InstitutionStatus, Reason,
    condition::{ConditionStatus, ConditionType},
    status::Stage,
    waiting::{Action, Party},
};
use fiorino_operator::institution::{
    plan::{Absence, Knowledge},
    status::{first, last, stalled, unreadable},
};
use fiorino_proto::config::v1::{ApplyResult, DistributionState, InstitutionStatus as Known};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use proptest::prelude::*;
use rstest::rstest;
use serde_json::json;

use self::scene::{Scene, distributed, known, now, registered, written};
use crate::world::{self, IBAN, WRONG_IBAN, iban, institution, snapshot};

use ConditionStatus::{False, True, Unknown};
use ConditionType::{
    AccountsRegistered, Distributed, NodeConnected, Payable, Ready, Reconciling, Stalled, StationAssociated,
    Validated as Valid,
};

#[test]
fn a_municipality_that_is_payable() {
    insta::assert_yaml_snapshot!(Scene::of(&snapshot()).status());
}

#[rstest]
#[case::acknowledged(DistributionState::Acknowledged, (True, Reason::Acknowledged), (True, Reason::Acknowledged), (True, Reason::Payable), false)]
#[case::pending(DistributionState::Pending, (False, Reason::Pending), (Unknown, Reason::Pending), (True, Reason::Payable), true)]
#[case::refused(DistributionState::Refused, (False, Reason::Refused), (False, Reason::Refused), (True, Reason::Payable), false)]
#[case::no_replica(DistributionState::NoReplica, (Unknown, Reason::NoReplica), (Unknown, Reason::NoReplica), (True, Reason::Payable), false)]
fn ready_comes_from_watermarks_alone(
    #[case] state: DistributionState,
    #[case] distributed_reads: (ConditionStatus, Reason),
    #[case] ready: (ConditionStatus, Reason),
    #[case] payable: (ConditionStatus, Reason),
    #[case] reconciling: bool,
) {
    let scene = Scene::knowing(|it| it.distribution[1] = distributed("reporting", state));
    assert_eq!(scene.reads(Distributed), distributed_reads);
    assert_eq!(scene.reads(Ready), ready);
    assert_eq!(scene.reads(Payable), payable);
    assert_eq!(scene.status().condition(Reconciling).is_some(), reconciling);
}

#[test]
fn a_refusal_weighs_more_than_an_absence() {
    let scene = Scene::knowing(|it| {
        it.distribution = vec![
            distributed("reporting", DistributionState::NoReplica),
            distributed("node-connector", DistributionState::Refused),
        ];
    });
    assert_eq!(scene.reads(Ready), (False, Reason::Refused));
    let status = scene.status();
    assert!(status.condition(Ready).unwrap().message.contains("unknown enum value"));
    assert_eq!(scene.waits_for(), Some(Action::RestoreServices));
}

#[test]
fn nobody_expected_is_nobody_who_acknowledged() {
    assert_eq!(Scene::knowing(|it| it.distribution.clear()).reads(Ready), (Unknown, Reason::NoReplica));
}

type Change = fn(&mut Known);

#[rstest]
#[case::all(|_: &mut Known| {}, Stage::Tested, Some(Action::GoLive))]
#[case::never_read(|it: &mut Known| it.readback_at.clear(), Stage::AgreementSigned, Some(Action::EnableReadBack))]
#[case::not_associated(|it: &mut Known| it.stations[0].associated = false, Stage::AgreementSigned, Some(Action::AssociateStation))]
#[case::differs(|it: &mut Known| { it.stations[0].associated = false; it.stations[0].difference = "segregation code is 13 at pagoPA, 12 in the manifest".to_owned(); }, Stage::AgreementSigned, Some(Action::AssociateStation))]
#[case::no_account(|it: &mut Known| it.accounts.clear(), Stage::Associated, Some(Action::AddAccount))]
#[case::not_registered(|it: &mut Known| it.accounts[0].registered = false, Stage::Associated, Some(Action::RegisterAccounts))]
#[case::no_call(|it: &mut Known| it.node_connected_at.clear(), Stage::AccountsRegistered, Some(Action::RunAcceptanceTest))]
#[case::a_later_step_does_not_count(|it: &mut Known| { it.stations[0].associated = false; it.node_connected_at = "x".to_owned(); }, Stage::AgreementSigned, Some(Action::AssociateStation))]
fn the_stage_and_who_must_act(#[case] change: Change, #[case] stage: Stage, #[case] action: Option<Action>) {
    let scene = Scene::knowing(change);
    assert_eq!(scene.status().stage, Some(stage));
    assert_eq!(scene.waits_for(), action);
}

#[rstest]
#[case::live(json!({"lifecycle": {"phase": "Live"}}), Stage::Live, None, (True, Reason::Payable))]
#[case::suspended(json!({"lifecycle": {"phase": "Suspended"}}), Stage::Tested, None, (True, Reason::Payable))]
#[case::closed_but_not_applied(json!({"lifecycle": {"phase": "Closed"}}), Stage::Tested, None, (True, Reason::Payable))]
#[case::unsigned(json!({"adhesion": null}), Stage::Requested, Some(Action::SignAgreement), (True, Reason::Payable))]
#[case::beneficiary(
    json!({"role": {"kind": "BeneficiaryOnly"}, "associations": null, "platformRef": {"namespace": "fiorino"}}),
    Stage::Tested, None, (False, Reason::NoAssociation))]
fn the_manifest_has_its_say(
    #[case] change: serde_json::Value,
    #[case] stage: Stage,
    #[case] action: Option<Action>,
    #[case] payable: (ConditionStatus, Reason),
) {
    let mut snapshot = snapshot();
    snapshot.institution = institution(&change);
    let scene = Scene::of(&snapshot);
    assert_eq!((scene.status().stage, scene.waits_for()), (Some(stage), action));
    assert_eq!(scene.reads(Payable), payable);
}

#[test]
fn an_account_whose_next_number_waits_is_registered() {
    let later = |it: &mut Known| it.accounts.push(registered("tesoreria", "2027-01-01", false));
    let scene = Scene::knowing(later);
    assert_eq!(scene.reads(AccountsRegistered), (True, Reason::Registered));
    assert!(
        scene.status().condition(AccountsRegistered).unwrap().message.contains("tesoreria ...4233 (from 2027-01-01)")
    );
    let future = Scene::knowing(|it| it.accounts = vec![registered("tesoreria", "2027-01-01", true)]);
    assert_eq!(future.reads(AccountsRegistered), (False, Reason::NotRegistered));
    let other = Scene::knowing(|it| it.accounts.push(registered("scuola", "2026-01-01", false)));
    assert_eq!(other.reads(AccountsRegistered), (False, Reason::NotRegistered));
}

#[test]
fn tenant_away_makes_ready_unknown_and_keeps_the_facts() {
    let before = Scene::of(&snapshot()).status();
    let scene =
        Scene { knowledge: Knowledge::Away(Absence::Silent), previous: before.clone(), ..Scene::of(&snapshot()) };
    assert_eq!(scene.reads(Ready), (Unknown, Reason::TenantUnreachable));
    assert_eq!(scene.reads(Payable), (Unknown, Reason::TenantUnreachable));
    assert_eq!(scene.reads(Reconciling), (True, Reason::TenantUnreachable));
    for kind in [AccountsRegistered, StationAssociated, NodeConnected] {
        assert_eq!(scene.status().condition(kind), before.condition(kind));
    }
    let after = scene.status();
    assert_eq!((after.stage, &after.services, after.phase), (before.stage, &before.services, before.phase));
}

/// What a person does about it differs.
#[rstest]
#[case(Absence::Silent, "asked again by itself")]
#[case(Absence::Refused, "the versions of both")]
#[case(Absence::Deposed, "a later operator")]
fn why_tenant_cannot_be_asked_is_told(#[case] absence: Absence, #[case] text: &str) {
    let status = Scene { knowledge: Knowledge::Away(absence), ..Scene::of(&snapshot()) }.status();
    let distributed = status.condition(Distributed).unwrap();
    assert_eq!(distributed.reason, Reason::TenantUnreachable);
    assert!(distributed.message.contains(text), "{}", distributed.message);
}

#[test]
fn of_an_institution_that_cannot_be_read_nothing_is_claimed() {
    let mut written = serde_json::to_value(Scene::of(&snapshot()).status()).unwrap();
    written["audits"] = json!(3);
    let told = unreadable(&written, 2, "cannot be read", now());
    let mut expected = written.clone();
    expected["conditions"] = told["conditions"].clone();
    assert_eq!(told, expected, "everything else stays");
    let read: InstitutionStatus = serde_json::from_value(told.clone()).unwrap();
    let reads = |kind| read.condition(kind).map(|it| (it.status, it.reason));
    assert_eq!(reads(Valid), Some((False, Reason::InvalidField)));
    assert_eq!(reads(Ready), Some((Unknown, Reason::InvalidField)));
    assert_eq!(reads(Payable), Some((True, Reason::Payable)));
    let later = "2026-11-24T08:00:00Z".parse().unwrap();
    assert_eq!(unreadable(&told, 2, "cannot be read", later), told, "the second look writes nothing");
    assert!(unreadable(&serde_json::Value::Null, 1, "cannot be read", now())["conditions"].is_array());
}

/// Who applies a manifest while tenant is away reads that tenant is waited for, not that everything is done.
#[rstest]
#[case::testing(json!({}), Stage::AgreementSigned)]
#[case::live(json!({"lifecycle": {"phase": "Live"}}), Stage::AgreementSigned)]
#[case::unsigned(json!({"adhesion": null}), Stage::Requested)]
fn tenant_away_from_the_first_day_on_is_who_is_waited_for(#[case] change: serde_json::Value, #[case] stage: Stage) {
    let mut snapshot = snapshot();
    snapshot.institution = institution(&change);
    for knowledge in [Knowledge::Away(Absence::Silent), Knowledge::Never] {
        let scene = Scene { knowledge, ..Scene::of(&snapshot) };
        assert_eq!((scene.status().stage, scene.waits_for()), (Some(stage), Some(Action::RestoreServices)));
    }
    snapshot.institution.metadata.annotations = Some([("fiorino.dev/paused".to_owned(), "true".to_owned())].into());
    let paused = Scene { knowledge: Knowledge::Away(Absence::Silent), ..Scene::of(&snapshot) };
    assert_eq!(paused.waits_for(), None, "paused, nobody waits for tenant");
}

#[test]
fn a_deletion_that_waits_says_how_to_force_it() {
    let mut scene = Scene { knowledge: Knowledge::Away(Absence::Silent), ..Scene::of(&snapshot()) };
    scene.institution.metadata.deletion_timestamp = Some(Time(now()));
    let status = scene.status();
    assert!(status.condition(Reconciling).unwrap().message.contains("fiorino.dev/release"));
    assert_eq!(status.waiting_for, None);
}

#[rstest]
#[case(ApplyResult::Conflict, Reason::Conflict, Action::ResolveConflict)]
#[case(ApplyResult::StaleGeneration, Reason::StaleGeneration, Action::ResolveConflict)]
#[case(ApplyResult::Invalid, Reason::RefusedByTenant, Action::FixManifest)]
fn tenants_no_stalls_the_institution(#[case] result: ApplyResult, #[case] reason: Reason, #[case] action: Action) {
    let scene = Scene::of(&snapshot()).answered("uid-roccafiorina", result, "held by altro/vecchio: delete one");
    assert_eq!(scene.reads(Stalled), (True, reason));
    assert_eq!(scene.reads(Ready), (False, reason));
    assert!(scene.status().condition(Stalled).unwrap().message.contains("altro/vecchio"));
    assert_eq!(scene.waits_for(), Some(action));
    assert!(stalled(&scene.facts()));
}

#[test]
fn tenants_no_to_a_child_is_the_childs() {
    let scene = Scene::of(&snapshot()).answered("uid-mensa", ApplyResult::Invalid, "account tesoreria is unknown");
    assert_eq!(scene.reads(Valid), (False, Reason::InvalidChild));
    assert!(!stalled(&scene.facts()));
    assert!(scene.status().condition(Stalled).is_none());
    let steps = last(&scene.facts());
    let child = written(&steps, "uid-mensa").unwrap();
    assert_eq!(child.conditions[0].reason, Reason::RefusedByTenant);
    assert_eq!(child.conditions[0].message, "account tesoreria is unknown");
}

#[test]
fn what_is_wrong_is_told_before_tenant_is_asked() {
    let mut snapshot = snapshot();
    snapshot.ibans = vec![iban("tesoreria", json!([{"validFrom": "2026-01-01", "iban": WRONG_IBAN}]))];
    let scene = Scene::of(&snapshot);
    let steps = first(&scene.facts());
    let child = written(&steps, "uid-tesoreria").unwrap();
    assert!(child.conditions[0].message.starts_with("spec.numbers[0].iban: the check digits"));
    let institution = written(&steps, "uid-roccafiorina").unwrap();
    assert_eq!(institution.conditions[0].reason, Reason::InvalidChild);
    assert!(first(&Scene::of(&world::snapshot()).facts()).is_empty(), "nothing wrong, nothing first");
    assert!(!format!("{steps:?}").contains(IBAN) && !format!("{steps:?}").contains(WRONG_IBAN));
}

#[test]
fn a_paused_institution_keeps_what_was_said_of_it() {
    let before = Scene::of(&snapshot()).status();
    let mut scene = Scene::knowing(|it| it.node_connected_at.clear());
    scene.previous = before.clone();
    scene.institution.metadata.generation = Some(2);
    scene.institution.metadata.annotations = Some([("fiorino.dev/paused".to_owned(), "true".to_owned())].into());
    let after = scene.status();
    assert_eq!(after.observed_generation, Some(1));
    assert_eq!(after.condition(NodeConnected), before.condition(NodeConnected));
    assert_eq!(scene.reads(ConditionType::Paused), (True, Reason::PausedByAnnotation));
}

/// Where no status was written before, as in a rebuilt cluster, tenant remembers.
#[test]
fn waiting_began_when_it_began() {
    let mut scene = Scene::knowing(|it| {
        it.accounts[0].registered = false;
        it.waiting_since = "2026-10-01T08:00:00Z".to_owned();
        it.accounts_waiting_since = "2026-11-20T08:00:00Z".to_owned();
    });
    let waiting = scene.status().waiting_for.unwrap();
    assert_eq!((waiting.party, waiting.since), (Party::Institution, "2026-11-20T08:00:00Z".parse().unwrap()));
    scene.previous = scene.status();
    scene.now = "2026-11-24T08:00:00Z".parse().unwrap();
    if let Knowledge::Known(known) = &mut scene.knowledge {
        known.accounts_waiting_since.clear();
    }
    assert_eq!(scene.status().waiting_for.unwrap().since, waiting.since);
}

/// After weeks of pagoPA's the institution's turn begins now.
#[test]
fn a_step_is_waited_for_since_its_own_turn() {
    let mut scene = Scene::knowing(|it| {
        it.stations[0].associated = false;
        it.accounts[0].registered = false;
        it.stations_waiting_since = "2026-11-01T08:00:00Z".to_owned();
    });
    scene.previous = scene.status();
    assert_eq!(scene.previous.waiting_for.as_ref().unwrap().since, "2026-11-01T08:00:00Z".parse().unwrap());
    if let Knowledge::Known(known) = &mut scene.knowledge {
        known.stations[0].associated = true;
        known.stations_waiting_since.clear();
        known.accounts_waiting_since = "2026-11-23T10:41:57Z".to_owned();
    }
    let waiting = scene.status().waiting_for.unwrap();
    assert_eq!((waiting.action, waiting.since), (Action::RegisterAccounts, now()));
    assert!(waiting.detail.contains("tesoreria ...4233"), "{}", waiting.detail);
}

fn any_known() -> impl Strategy<Value = Known> {
    let state = prop::sample::select(vec![
        DistributionState::Acknowledged,
        DistributionState::Pending,
        DistributionState::Refused,
        DistributionState::NoReplica,
    ]);
    (state, any::<[bool; 6]>()).prop_map(|(state, [associated, differs, enabled, called, read, empty])| {
        let mut known = known();
        known.distribution[0] = distributed("node-connector", state);
        known.stations[0].associated = associated;
        known.stations[0].difference = if differs { "other".to_owned() } else { String::new() };
        known.accounts[0].registered = enabled;
        known.used_accounts[0].usable = enabled;
        if !called {
            known.node_connected_at.clear();
        }
        if !read {
            known.readback_at.clear();
        }
        if empty {
            known.accounts.clear();
        }
        known
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A status that was written is not written again, however late it is looked at.
    #[test]
    fn the_second_look_writes_nothing(known in any_known(), away: bool, conflict: bool, wrong: bool, paused: bool, later in 1_i64..100_000) {
        let mut snapshot = snapshot();
        if wrong { snapshot.ibans = vec![iban("tesoreria", json!([{"validFrom": "2026-01-01", "iban": WRONG_IBAN}]))]; }
        if paused { snapshot.institution.metadata.annotations = Some([("fiorino.dev/paused".to_owned(), "true".to_owned())].into()); }
        let mut scene = Scene::of(&snapshot);
        scene.knowledge = if away { Knowledge::Away(Absence::Silent) } else { Knowledge::Known(Box::new(known)) };
        if conflict { scene = scene.answered("uid-roccafiorina", ApplyResult::Conflict, "two"); }
        let told = first(&scene.facts());
        scene.previous = written(&told, "uid-roccafiorina").unwrap_or_default();
        let said = last(&scene.facts());
        scene.previous = written(&said, "uid-roccafiorina").unwrap_or(scene.previous);
        let statuses = |uid: &str| written(&said, uid).or_else(|| written(&told, uid)).map(|status| serde_json::to_value(status).unwrap());
        scene.validated.report.refresh(|subject| statuses(&subject.uid));
        scene.now = Timestamp::from_second(scene.now.as_second() + later).unwrap();
        prop_assert_eq!(first(&scene.facts()), vec![]);
        prop_assert_eq!(last(&scene.facts()), vec![]);
    }

    /// `Ready` is every acknowledgement, `Payable` what the node would be answered, and neither waits for the other.
    #[test]
    fn ready_and_payable_are_two_questions(known in any_known()) {
        let acknowledged = known.distribution.iter().all(|it| it.state() == DistributionState::Acknowledged);
        let called = known.distribution[0].state() != DistributionState::NoReplica;
        let answered = known.used_accounts.iter().all(|it| it.in_force && it.usable);
        let associated = known.stations[0].associated;
        let scene = Scene { knowledge: Knowledge::Known(Box::new(known)), ..Scene::of(&snapshot()) };
        prop_assert_eq!(scene.reads(Ready).0 == True, acknowledged);
        prop_assert_eq!(scene.reads(Payable).0 == True, called && associated && answered);
    }
}
