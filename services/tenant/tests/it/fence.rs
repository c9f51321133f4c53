//! Fences: only the latest holder of the Lease writes.

use fiorino_proto::config::v1::{AcquireFenceRequest, ApplyBundleRequest, MarkUnmanagedRequest};
use tonic::Code;

use crate::{
    fixture::{ENVIRONMENT, PLATFORM, Tenant, violations},
    manifest::Manifest,
};

fn request(lease_uid: &str, lease_transitions: i64) -> AcquireFenceRequest {
    AcquireFenceRequest { lease_uid: lease_uid.into(), lease_transitions, platform: PLATFORM.into() }
}

#[tokio::test]
async fn a_fence_is_higher_than_any_before_also_for_a_rebuilt_cluster() {
    let tenant = Tenant::start().await;
    let mut client = tenant.replica.apply();
    let mut fences = Vec::new();
    for (lease, transitions) in [("a", 3), ("a", 3), ("a", 4), ("b", 0)] {
        fences.push(client.acquire_fence(request(lease, transitions)).await.unwrap().into_inner().fence);
    }
    assert!(fences.is_sorted_by(|one, next| one < next), "{fences:?}");
    let late = client.acquire_fence(request("b", -1)).await.unwrap_err();
    assert_eq!(late.code(), Code::FailedPrecondition, "{late}");
}

#[tokio::test]
async fn a_deposed_leader_writes_nothing() {
    let tenant = Tenant::start().await;
    let mut client = tenant.replica.apply();
    let deposed = tenant.fence().await;
    let latest = tenant.fence().await;
    let manifest = Manifest::new();
    for (fence, reason) in [(deposed, "deposed"), (latest + 1, "never issued"), (0, "deposed")] {
        let apply = client.apply_bundle(ApplyBundleRequest { fence, ..manifest.bundle() }).await.unwrap_err();
        let unmanaged = MarkUnmanagedRequest {
            fence,
            platform: PLATFORM.into(),
            environment: ENVIRONMENT.into(),
            fiscal_code: manifest.fiscal_code().into(),
            uid: manifest.uid(),
        };
        let unmanaged = client.mark_unmanaged(unmanaged).await.unwrap_err();
        for status in [apply, unmanaged] {
            assert_eq!(status.code(), Code::FailedPrecondition);
            let told = violations(&status);
            assert!(
                told.iter().any(|violation| violation.starts_with("fence: ") && violation.contains(reason)),
                "{told:?}"
            );
        }
    }
    assert_eq!(tenant.head().await, 0);
    client.apply_bundle(ApplyBundleRequest { fence: latest, ..manifest.bundle() }).await.unwrap();
}
