//! Death at each named point: what was committed just before is neither lost nor done again.

use fiorino_chaos::compare;
use fiorino_chaos::fault::{BUNDLE, POINTS};
use fiorino_chaos::stage::{Own, Stage};
use fiorino_e2e::town::PATIENCE;

/// A process dies at a point, and is started again, while people pay.
#[tokio::test(flavor = "multi_thread")]
async fn death_between_a_commit_and_what_follows_loses_nothing_and_repeats_nothing() {
    let mut stage = Box::pin(Stage::new(Own::default())).await.unwrap();
    let load = stage.load().await.unwrap();
    for point in &POINTS {
        let world = &mut stage.town.world;
        world.respawn(point.process, &[("FIORINO_FAULT_POINT", point.name)]).unwrap();
        let ended = world.process(point.process).unwrap().ended(PATIENCE).await;
        let ended = ended.unwrap_or_else(|error| panic!("nobody came by {}: {error:#}", point.name));
        assert!(!ended.success(), "{} ended in order", point.process);
        world.restart(point.process).await.unwrap();
    }
    let debts = load.finish().await.unwrap();
    compare::equal(&stage).await.unwrap();
    compare::debts(&stage, &[], &debts).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_whose_answer_was_lost_is_applied_once() {
    let mut stage = Box::pin(Stage::new(Own::default())).await.unwrap();
    let before = compare::config_seq(&stage.town).await.unwrap();
    let world = &mut stage.town.world;
    world.respawn(BUNDLE.process, &[("FIORINO_FAULT_POINT", BUNDLE.name)]).unwrap();
    world.wait_ready(BUNDLE.process).await.unwrap();
    let town = &stage.town;
    town.apply(&town.names.town_manifest(town.platform(), "Comune di Roccafiorina Terme")).await.unwrap();
    let world = &mut stage.town.world;
    world.process(BUNDLE.process).unwrap().ended(PATIENCE).await.unwrap();
    world.restart(BUNDLE.process).await.unwrap();
    stage.town.settled().await;
    assert_eq!(compare::config_seq(&stage.town).await.unwrap(), before + 1);
}
