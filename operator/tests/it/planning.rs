//! The same world gives the same steps, and a world that is right gives none.

use std::collections::BTreeMap;

use fiorino_crds::{CreditorInstitution, FINALIZER};
use fiorino_operator::institution::{
    Remembered,
    bundle::Bundle,
    plan::{Absence, Knowledge, Step, deletion, plan},
    subject::Subject,
};
use fiorino_proto::config::v1::{ApplyBundleResponse, ApplyResult, InstitutionStatus, ResourceOutcome};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use proptest::prelude::*;
use rstest::rstest;

use crate::world::{INSTITUTION, judge, snapshot};

/// What steps change, without a cluster.
#[derive(Debug, Clone)]
struct World {
    institution: CreditorInstitution,
    bundle: Option<Bundle>,
    remembered: Option<Remembered>,
    knowledge: Knowledge,
}

// === impl World ===

impl World {
    fn new() -> Self {
        let snapshot = snapshot();
        let bundle = judge(&snapshot).bundle;
        Self { institution: snapshot.institution, bundle, remembered: None, knowledge: Knowledge::Never }
    }

    fn held(mut self) -> Self {
        self.institution.metadata.finalizers = Some(vec![FINALIZER.to_owned()]);
        self
    }

    fn plan(&self) -> Vec<Step> {
        plan(&self.institution, self.bundle.as_ref(), self.remembered.as_ref(), &self.knowledge)
    }

    fn annotate(mut self, name: &str) -> Self {
        self.institution.metadata.annotations = Some(BTreeMap::from([(name.to_owned(), "true".to_owned())]));
        self
    }

    fn delete(mut self) -> Self {
        self.institution.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
        self
    }

    fn apply(&mut self, steps: Vec<Step>, config_seq: i64) {
        for step in steps {
            match step {
                Step::AddFinalizer => *self = self.clone().held(),
                Step::RemoveFinalizer => self.institution.metadata.finalizers = None,
                Step::ApplyBundle(bundle) => {
                    let applied = |uid: &String| ResourceOutcome {
                        uid: uid.clone(),
                        result: ApplyResult::Applied.into(),
                        message: String::new(),
                    };
                    let outcomes = bundle.resources().map(|resource| applied(&resource.uid)).collect();
                    self.remembered =
                        Some(Remembered::answered(&bundle, &ApplyBundleResponse { config_seq, outcomes }));
                    self.knowledge = known(config_seq, true);
                }
                Step::MarkUnmanaged | Step::TryMarkUnmanaged(_) => self.knowledge = known(config_seq, false),
                Step::PatchStatus(_) | Step::PublishEvent(_) => {}
            }
        }
    }
}

fn known(config_seq: i64, managed: bool) -> Knowledge {
    let status = InstitutionStatus {
        fiscal_code: INSTITUTION.to_owned(),
        uid: "uid-roccafiorina".to_owned(),
        managed,
        config_seq,
        ..InstitutionStatus::default()
    };
    Knowledge::Known(Box::new(status))
}

fn names(steps: &[Step]) -> Vec<&'static str> {
    let name = |step: &Step| match step {
        Step::AddFinalizer => "AddFinalizer",
        Step::ApplyBundle(_) => "ApplyBundle",
        Step::MarkUnmanaged => "MarkUnmanaged",
        Step::TryMarkUnmanaged(_) => "TryMarkUnmanaged",
        Step::PatchStatus(_) => "PatchStatus",
        Step::PublishEvent(_) => "PublishEvent",
        Step::RemoveFinalizer => "RemoveFinalizer",
    };
    steps.iter().map(name).collect()
}

#[rstest]
#[case::new(World::new(), &["AddFinalizer", "ApplyBundle"])]
#[case::held(World::new().held(), &["ApplyBundle"])]
#[case::away(World { knowledge: Knowledge::Away(Absence::Silent), ..World::new() }, &[])]
#[case::wrong(World { bundle: None, ..World::new() }, &[])]
#[case::paused(World::new().annotate("fiorino.dev/paused"), &[])]
#[case::deleted_before_it_was_held(World::new().delete(), &[])]
#[case::deleted(World::new().held().delete(), &["MarkUnmanaged", "RemoveFinalizer"])]
#[case::deleted_while_paused(World::new().held().annotate("fiorino.dev/paused").delete(), &["MarkUnmanaged", "RemoveFinalizer"])]
#[case::deleted_while_wrong(World { bundle: None, ..World::new() }.held().delete(), &["MarkUnmanaged", "RemoveFinalizer"])]
#[case::released(World::new().held().annotate("fiorino.dev/release").delete(), &["TryMarkUnmanaged", "RemoveFinalizer"])]
#[case::release_without_deletion(World::new().held().annotate("fiorino.dev/release"), &["ApplyBundle"])]
fn the_steps(#[case] world: World, #[case] expected: &[&str]) {
    assert_eq!(names(&world.plan()), expected);
}

/// Of an institution that cannot be read the fiscal code may be unknown: tenant cannot be told, and only the annotation lets it go.
#[rstest]
#[case::unnamed(World::new().held().delete(), false, &[])]
#[case::unnamed_and_released(World::new().held().annotate("fiorino.dev/release").delete(), false, &["PublishEvent", "RemoveFinalizer"])]
#[case::named(World::new().held().delete(), true, &["MarkUnmanaged", "RemoveFinalizer"])]
#[case::named_and_released(World::new().held().annotate("fiorino.dev/release").delete(), true, &["TryMarkUnmanaged", "RemoveFinalizer"])]
#[case::not_held(World::new().delete(), true, &[])]
fn what_lets_a_deleted_institution_go(#[case] world: World, #[case] named: bool, #[case] expected: &[&str]) {
    let subject = Subject::of(&world.institution);
    assert_eq!(names(&deletion(&world.institution.metadata, subject, named)), expected);
}

/// What undoes a configuration that was in place.
#[rstest]
#[case::restored_from_a_backup(|it: &mut World| it.knowledge = known(6, true), true)]
#[case::lost(|it: &mut World| it.knowledge = Knowledge::Never, true)]
#[case::unmanaged(|it: &mut World| it.knowledge = known(7, false), true)]
#[case::another_change_since(|it: &mut World| it.knowledge = known(8, true), false)]
#[case::a_new_generation(|it: &mut World| it.bundle.as_mut().unwrap().institution.generation += 1, true)]
#[case::a_child_kept(|it: &mut World| it.bundle.as_mut().unwrap().keep.push("uid".to_owned()), true)]
#[case::a_restarted_operator(|it: &mut World| it.remembered = None, true)]
fn what_changed_is_applied_again(#[case] change: fn(&mut World), #[case] applied: bool) {
    let mut world = World::new();
    let steps = world.plan();
    world.apply(steps, 7);
    assert!(world.plan().is_empty());
    change(&mut world);
    assert_eq!(names(&world.plan()), if applied { vec!["ApplyBundle"] } else { vec![] });
}

#[rstest]
#[case(ApplyResult::Conflict)]
#[case(ApplyResult::Invalid)]
#[case(ApplyResult::StaleGeneration)]
fn what_tenant_did_not_take_is_brought_again(#[case] result: ApplyResult) {
    let mut world = World::new().held();
    let bundle = world.bundle.clone().unwrap();
    let outcome =
        ResourceOutcome { uid: bundle.institution.uid.clone(), result: result.into(), message: "no".to_owned() };
    world.remembered =
        Some(Remembered::answered(&bundle, &ApplyBundleResponse { config_seq: 1, outcomes: vec![outcome] }));
    world.knowledge = known(1, true);
    assert_eq!(names(&world.plan()), ["ApplyBundle"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_plan_that_was_applied_leaves_nothing_to_do(
        held: bool, deleted: bool, paused: bool, release: bool, away: bool, wrong: bool, managed: bool,
        seq in 1_i64..100, known_before: bool,
    ) {
        let mut world = World::new();
        if held { world = world.held(); }
        if deleted { world = world.delete(); }
        if paused { world = world.annotate("fiorino.dev/paused"); }
        if release { world = world.annotate("fiorino.dev/release"); }
        if wrong { world.bundle = None; }
        if known_before { world.knowledge = known(seq, managed); }
        if away { world.knowledge = Knowledge::Away(Absence::Silent); }
        let steps = world.plan();
        world.apply(steps, seq + 1);
        prop_assert_eq!(world.plan(), vec![]);
    }
}
