//! No text of any call is answered with a fault of ours, and no status repeats one.

use fiorino_reporting::ALLOWED;
use fiorino_test_support::judge_texts;

use crate::support::World;

/// Texts with which a request comes as far as the one that is looked at.
const BESIDE: [(&str, &str); 3] =
    [("institution", "80012340560"), ("receipt_id", "r1"), ("case_id", "0198c5f2-7a3e-7cc1-8f2e-5d8f0a4b6c11")];

#[tokio::test(flavor = "multi_thread")]
async fn no_text_of_any_call_is_a_fault_of_ours() {
    let world = World::new().await;
    let service = world.start("reporting-0").await;
    let channel = |method: &str| {
        let allow = ALLOWED.iter().find(|allow| allow.method == method)?;
        Some(world.channel(service.address, allow.callers[0]))
    };
    let judged = judge_texts(fiorino_proto::DESCRIPTORS, &BESIDE, channel).await.unwrap();
    assert!(judged.asked > 50, "{}", judged.asked);
    assert!(judged.wrong.is_empty(), "{}", judged.wrong.join("\n"));
    service.stop().await;
}
