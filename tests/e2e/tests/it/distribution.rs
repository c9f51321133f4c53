//! Ready comes from watermarks alone.

use std::time::Duration;

use fiorino_test_support::{Signal, Stopwatch};

use fiorino_e2e::town::Town;

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_replica_makes_ready_unknown_and_is_excluded_after_ten_seconds() {
    let mut town = Town::payable().await;
    town.condition("Ready", "True").await;
    town.world.process("node-connector-2").unwrap().signal(Signal::STOP).unwrap();
    let stopped = Stopwatch::start();
    town.apply(&town.names.town_manifest(town.platform(), "Comune di Roccafiorina Terme")).await.unwrap();
    town.condition("Ready", "Unknown").await;
    assert!(stopped.within(Duration::from_secs(10)), "seen while the replica still counts as live");
    town.condition("Ready", "True").await;
    assert!(stopped.elapsed() > Duration::from_secs(7), "not before its last heartbeat is 10 s old");
    town.world.process("node-connector-2").unwrap().signal(Signal::CONT).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_replica_does_not_unset_ready() {
    let mut town = Town::payable().await;
    town.condition("Ready", "True").await;
    let before = town.condition("Ready", "True").await["lastTransitionTime"].clone();
    town.world.restart("node-connector-1").await.unwrap();
    let after = town.condition("Ready", "True").await["lastTransitionTime"].clone();
    assert_eq!(before, after);
}
