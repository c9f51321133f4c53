//! The short run: each kind of fault once, on a durable PostgreSQL, a Kafka and an API server of its own. `cargo xtask chaos` is the
//! long one.

use fiorino_chaos::fault::Kind;
use fiorino_chaos::run::{Length, run};
use fiorino_chaos::stage::{Own, Stage};

/// The volume holds three databases and is never full but on purpose.
const OWN: Own = Own { postgres: true, volume_mb: Some(512), kafka: true, kubernetes: true };

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_is_there_once_whatever_breaks() {
    let seed = rand::random();
    let mut stage = Box::pin(Stage::new(OWN)).await.unwrap();
    let report = Box::pin(run(&mut stage, seed, Length::EachKindOnce, |line| println!("{line}"))).await;
    let report = report.unwrap_or_else(|error| panic!("seed {seed}: {error:#}"));
    println!("seed {seed}\n{report}");
    assert_eq!(report.faults.len(), Kind::ALL.len());
    assert!(report.figures.receipts > 20, "too few receipts to tell anything");
}
