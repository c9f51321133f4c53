//! Accounts in statuses: numbers that are lacking, attested or fixed.

use fiorino_crds::{
    Reason,
    condition::{ConditionStatus, ConditionType},
    waiting::Action,
};
use fiorino_operator::institution::{
    plan::{Absence, Knowledge, Step},
    status::last,
};
use fiorino_proto::config::v1::{FixedNumber, InstitutionStatus as Known};
use serde_json::json;

use super::scene::{Scene, registered};
use crate::world::snapshot;

use ConditionStatus::{False, True, Unknown};
use ConditionType::AccountsRegistered;

#[test]
fn an_account_without_a_number_says_what_is_lacking() {
    let scene = Scene::knowing(|it| {
        it.accounts.clear();
        it.accounts_without_number = vec!["tesoreria".to_owned()];
    });
    assert_eq!(scene.reads(AccountsRegistered), (False, Reason::NoAccount));
    let status = scene.status();
    let message = &status.condition(AccountsRegistered).unwrap().message;
    assert_eq!(message, "every number of Iban tesoreria is withdrawn: add an entry");
    assert_eq!(scene.waits_for(), Some(Action::AddAccount));
}

/// Where pagoPA is not read, who vouches for a number is named by the day alone: a status holds no persons.
#[test]
fn an_attested_number_is_told_as_such() {
    let attested = |it: &mut Known| {
        it.readback_at.clear();
        it.stations.clear();
        it.accounts = vec![registered("tefa", "2026-01-01", false)];
        it.accounts[0].attested_on = "2026-05-20".to_owned();
    };
    let scene = Scene::knowing(attested);
    assert_eq!(scene.reads(AccountsRegistered), (True, Reason::Attested));
    let status = scene.status();
    let message = &status.condition(AccountsRegistered).unwrap().message;
    assert_eq!(message, "not shown by pagoPA, but vouched for: tefa ...4233 (from 2026-01-01, attested on 2026-05-20)");
    let both = Scene::knowing(|it| {
        attested(it);
        it.accounts.push(registered("sanzioni", "2026-01-01", false));
    });
    assert_eq!(both.reads(AccountsRegistered), (Unknown, Reason::NeverRead));
    let status = both.status();
    let message = &status.condition(AccountsRegistered).unwrap().message;
    assert!(message.contains("vouch for its numbers") && message.contains("sanzioni ...4233"), "{message}");
    // Its broker is none of ours, and another one's reading shows it.
    let shown = Scene::knowing(|it| {
        it.readback_at.clear();
        it.stations.clear();
    });
    assert_eq!(shown.reads(AccountsRegistered), (True, Reason::Registered));
}

/// What tenant lets nobody edit is in the account's status, by which the API server refuses it.
#[test]
fn numbers_that_stay_are_in_the_status_of_the_account() {
    let number = |account: &str, day: &str| FixedNumber { account: account.to_owned(), valid_from: day.to_owned() };
    let scene = Scene::knowing(|it| {
        it.fixed_numbers = vec![number("tesoreria", "2026-01-01"), number("scuola", "2025-01-01")];
    });
    let told = |scene: &Scene| {
        let patch = last(&scene.facts()).into_iter().find_map(|step| match step {
            Step::PatchStatus(patch) if patch.subject.uid == "uid-tesoreria" => Some(patch.status),
            _ => None,
        });
        patch.map(|status| status["fixedNumbers"].clone())
    };
    assert_eq!(told(&scene), Some(json!(["2026-01-01"])));
    let mut known = snapshot();
    let status = json!({"fixedNumbers": ["2026-01-01"], "observedGeneration": 1, "conditions": []});
    known.ibans[0].status = Some(serde_json::from_value(status).unwrap());
    let away = Scene { knowledge: Knowledge::Away(Absence::Silent), ..Scene::of(&known) };
    assert_eq!(told(&away), Some(json!(["2026-01-01"])), "as long as tenant is away it stays as it was told");
}
