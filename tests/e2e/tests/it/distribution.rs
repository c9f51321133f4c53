//! Ready comes from watermarks alone.

use std::time::Duration;

use fiorino_test_support::{Signal, Stopwatch};
use tokio::time::timeout;

use fiorino_e2e::town::Town;

/// How long a replica counts after its last heartbeat.
const COUNTS: Duration = Duration::from_secs(10);

/// A busy machine may bring the manifest to tenant only when the replica does not count any more.
const ATTEMPTS: usize = 5;

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_replica_makes_ready_unknown_and_is_excluded_after_ten_seconds() {
    let mut town = Town::payable().await;
    for attempt in 1..=ATTEMPTS {
        town.condition("Ready", "True").await;
        town.world.process("node-connector-2").unwrap().signal(Signal::STOP).unwrap();
        let stopped = Stopwatch::start();
        let name = format!("Comune di Roccafiorina Terme {attempt}");
        town.apply(&town.names.town_manifest(town.platform(), &name)).await.unwrap();
        let unknown = timeout(COUNTS.saturating_sub(stopped.elapsed()), town.condition("Ready", "Unknown")).await;
        town.settled().await;
        let took = stopped.elapsed();
        town.world.process("node-connector-2").unwrap().signal(Signal::CONT).unwrap();
        if unknown.is_ok() {
            assert!(took > Duration::from_secs(7), "{took:?}: not before its last heartbeat is 10 s old");
            return;
        }
    }
    panic!("Ready is never Unknown while a replica that has not acknowledged still counts");
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
