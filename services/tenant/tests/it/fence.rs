//! Fences: only the latest holder of the Lease writes.

use fiorino_proto::config::v1::{AcquireFenceRequest, ApplyBundleRequest, MarkUnmanagedRequest};
use fiorino_tenant::configuration::{Allowed, allow_lease};
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

/// Two clusters with one platform do not overwrite each other: who was followed is out until somebody says otherwise.
#[tokio::test]
async fn a_lease_that_was_followed_gets_no_fence_again() {
    let tenant = Tenant::start().await;
    let mut client = tenant.replica.apply();
    let mut acquire = async |lease: &str, transitions: i64| {
        client.acquire_fence(request(lease, transitions)).await.map(tonic::Response::into_inner)
    };
    acquire("first", 3).await.unwrap();
    let second = acquire("second", 0).await.unwrap();
    for transitions in [3, 4, 400] {
        let refused = acquire("first", transitions).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition);
        let told = violations(&refused).join("\n");
        let remedy = "fiorino-tenant fence allow first";
        assert!(
            told.starts_with("lease_uid: ") && told.contains("was followed by another") && told.contains(remedy),
            "{told}"
        );
    }
    let third = acquire("third", 0).await.unwrap();
    assert_eq!(third.fence, second.fence + 1, "a refusal takes no fence from anybody");
    for lease in ["first", "second"] {
        acquire(lease, 9).await.unwrap_err();
    }
    assert!(acquire("third", 0).await.unwrap().allowed_at.is_empty(), "who leads asks again as often as it likes");
}

/// Of an older version of tenant, which notes only who leads.
#[tokio::test]
async fn a_fence_that_an_older_version_issued_counts_too() {
    let tenant = Tenant::start().await;
    let mut client = tenant.replica.apply();
    client.acquire_fence(request("first", 3)).await.unwrap();
    let statement = "update fence set fence = fence + 1, lease_uid = 'second', lease_transitions = 0";
    sqlx::query(statement).execute(tenant.pool()).await.unwrap();
    let refused = client.acquire_fence(request("first", 4)).await.unwrap_err();
    assert!(violations(&refused).join("\n").contains("was followed by another"), "{refused:?}");
    client.acquire_fence(request("second", 0)).await.unwrap();
}

#[tokio::test]
async fn what_somebody_allows_counts_once_and_is_kept() {
    let tenant = Tenant::start().await;
    let mut client = tenant.replica.apply();
    let allow = async |lease: &str| allow_lease(tenant.pool(), PLATFORM, lease).await.unwrap();
    assert_eq!(allow("first").await, Allowed::Unknown);
    client.acquire_fence(request("first", 3)).await.unwrap();
    assert_eq!(allow("first").await, Allowed::Needless);
    client.acquire_fence(request("second", 0)).await.unwrap();
    assert_eq!(allow("first").await, Allowed::Yes);
    assert_eq!(allow("first").await, Allowed::Needless);
    // Nothing happened yet to who leads.
    client.acquire_fence(request("second", 0)).await.unwrap();
    let again = client.acquire_fence(request("first", 3)).await.unwrap().into_inner();
    assert!(!again.allowed_at.is_empty());
    client.acquire_fence(request("second", 1)).await.unwrap_err();
    assert!(client.acquire_fence(request("first", 4)).await.unwrap().into_inner().allowed_at.is_empty());
    client.acquire_fence(request("third", 0)).await.unwrap();
    client.acquire_fence(request("first", 5)).await.unwrap_err();
    let kept: Vec<(String, bool, bool)> =
        sqlx::query_as("select lease_uid, allowed_by <> '', taken_at >= allowed_at from fence_allowance")
            .fetch_all(tenant.pool())
            .await
            .unwrap();
    assert_eq!(kept, [("first".to_owned(), true, true)]);
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
