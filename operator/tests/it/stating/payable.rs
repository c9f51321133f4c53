//! `Payable` says what the node would be answered; a manifest that is wrong, or more than before, takes nothing away.

use fiorino_crds::{
    Reason,
    condition::{ConditionStatus, ConditionType},
    status::Stage,
};
use fiorino_proto::config::v1::{
    ApplyResult, DistributionState, InstitutionStatus as Known, LifecyclePhase, StationRegistration,
};
use rstest::rstest;
use serde_json::json;

use super::{
    Change,
    scene::{Scene, distributed, registered, used},
};
use crate::world::{self, WRONG_IBAN, iban, snapshot};

use ConditionStatus::{False, True, Unknown};
use ConditionType::{Payable, Ready};

/// Citizens pay all the time: whatever is added or mistyped in a manifest changes neither `Payable` nor the stage.
#[rstest]
#[case::an_account_that_no_service_uses(|it: &mut Known| it.accounts.push(registered("posta", "2027-01-01", false)))]
#[case::a_number_of_next_year(|it: &mut Known| it.accounts.push(registered("tesoreria", "2027-01-01", false)))]
#[case::a_second_station(|it: &mut Known| it.stations.push(StationRegistration {
    station_id: "91073550427_02".to_owned(), associated: false, difference: "pagoPA does not show the association".to_owned(),
}))]
#[case::broadcast_differs(|it: &mut Known| it.stations[0].difference = "broadcast is on at pagoPA, off in the manifest".to_owned())]
#[case::an_account_of_a_deleted_iban(|it: &mut Known| it.accounts.clear())]
fn what_is_added_takes_nothing_away(#[case] change: Change) {
    let before = Scene::of(&snapshot()).status();
    let scene = Scene { previous: before.clone(), ..Scene::knowing(change) };
    assert_eq!(scene.reads(Payable), (True, Reason::Payable));
    let gone = scene.knowledge.known().unwrap().accounts.is_empty();
    assert!(gone || scene.status().stage == before.stage, "{:?}", scene.status().stage);
}

/// A mistake in the manifest is `Validated`'s and `Ready`'s: tenant answers the node from what it has applied.
#[test]
fn a_wrong_manifest_stops_no_payment() {
    let mut snapshot = snapshot();
    snapshot.ibans = vec![iban("tesoreria", json!([{"validFrom": "2026-01-01", "iban": WRONG_IBAN}]))];
    let invalid = Scene::of(&snapshot);
    assert_eq!((invalid.reads(Ready).0, invalid.reads(Payable)), (False, (True, Reason::Payable)));
    let conflict =
        Scene::of(&world::snapshot()).answered("uid-roccafiorina", ApplyResult::Conflict, "held by altro/vecchio");
    assert_eq!((conflict.reads(Ready).0, conflict.reads(Payable)), (False, (True, Reason::Payable)));
}

#[rstest]
#[case::closed(|it: &mut Known| it.phase = LifecyclePhase::Closed.into(), (False, Reason::Closed), "closed")]
#[case::no_number(|it: &mut Known| it.used_accounts[0].in_force = false, (False, Reason::NoAccount), "account tesoreria (services TARI) has no number in force")]
#[case::not_usable(|it: &mut Known| it.used_accounts[0].usable = false, (False, Reason::NotRegistered), "account tesoreria (services TARI) pays to a number that pagoPA does not show")]
#[case::one_of_two(|it: &mut Known| it.used_accounts.push(used("scuola", false, false)), (False, Reason::NoAccount), "account scuola")]
#[case::nobody_to_call(|it: &mut Known| it.distribution[0] = distributed("node-connector", DistributionState::NoReplica), (Unknown, Reason::NoReplica), "no live replica of node-connector")]
#[case::never_read(|it: &mut Known| { it.readback_at.clear(); it.stations[0].associated = false; }, (Unknown, Reason::NeverRead), "was not read")]
#[case::no_service_yet(|it: &mut Known| { it.used_accounts.clear(); it.accounts.clear(); }, (False, Reason::NoAccount), "account")]
fn what_the_node_would_not_be_answered(
    #[case] change: Change,
    #[case] payable: (ConditionStatus, Reason),
    #[case] text: &str,
) {
    let scene = Scene::knowing(change);
    assert_eq!(scene.reads(Payable), payable);
    let status = scene.status();
    let message = &status.condition(Payable).unwrap().message;
    assert!(message.contains(text), "{message}");
}

/// What pagoPA takes back is gone, and the stage with it.
#[test]
fn a_step_that_is_undone_is_left() {
    let before = Scene::of(&snapshot()).status();
    let scene = Scene { previous: before, ..Scene::knowing(|it| it.stations[0].associated = false) };
    assert_eq!(scene.status().stage, Some(Stage::AgreementSigned));
}
