//! No text of any call is answered with a fault of ours, and no status repeats one.

use fiorino_tenant::ALLOWED;
use fiorino_test_support::judge_texts;

use crate::fixture::{ENVIRONMENT, PLATFORM, Tenant};

/// Texts with which a request comes as far as the one that is looked at.
const BESIDE: [(&str, &str); 8] = [
    ("platform", PLATFORM),
    ("environment", ENVIRONMENT),
    ("institution", "80012340560"),
    ("fiscal_code", "80012340560"),
    ("service_code", "MENSA"),
    ("client_reference", "a"),
    ("broker_fiscal_code", "15376371009"),
    ("read_at", "2026-07-14T10:00:00Z"),
];

#[tokio::test]
async fn no_text_of_any_call_is_a_fault_of_ours() {
    let tenant = Tenant::start().await;
    let channel = |method: &str| {
        let allow = ALLOWED.iter().find(|allow| allow.method == method)?;
        Some(tenant.replica.channel(allow.callers[0]))
    };
    let judged = judge_texts(fiorino_proto::DESCRIPTORS, &BESIDE, channel).await.unwrap();
    assert!(judged.asked > 300, "{}", judged.asked);
    assert!(judged.wrong.is_empty(), "{}", judged.wrong.join("\n"));
}
