//! Uniqueness: the database decides, the loser is told who holds what it wants.

use fiorino_proto::config::v1::{ApplyBundleResponse, ApplyResult, InstitutionSpec, LifecyclePhase, ResourceKind};
use prost::Message as _;
use rstest::rstest;

use crate::{
    fixture::Tenant,
    manifest::{Manifest, account, service, shared},
};

fn conflict(response: &ApplyBundleResponse, uid: &str) -> String {
    for outcome in &response.outcomes {
        let expected = if outcome.uid == uid { ApplyResult::Conflict } else { ApplyResult::Unchanged };
        assert_eq!(outcome.result(), expected, "{outcome:?}");
    }
    response.outcomes.iter().find(|outcome| outcome.uid == uid).unwrap().message.clone()
}

#[tokio::test]
async fn two_manifests_of_one_institution_conflict_and_nothing_is_written() {
    let tenant = Tenant::start().await;
    let first = Manifest::new();
    let config_seq = tenant.applied(&first).await;
    let mut second = Manifest { cluster: "c2".into(), namespace: "other".into(), name: "twin".into(), ..first.clone() };
    second.services.push(service("NIDO", "tesoreria"));
    let message = conflict(&tenant.apply(&second).await.unwrap(), &second.uid());
    assert!(
        message.contains(&format!("{}/comune", first.namespace)) && !message.contains("fiorino.dev/adopt"),
        "{message}"
    );
    let status = tenant.status(first.fiscal_code()).await;
    assert_eq!((status.uid, status.config_seq, status.services.len()), (first.uid(), config_seq, 1));
    assert_eq!(tenant.head().await, config_seq);
    // The holder still writes.
    tenant.applied(&first).await;
}

#[tokio::test]
async fn a_conflicting_manifest_that_is_invalid_too_writes_no_child() {
    let tenant = Tenant::start().await;
    let first = Manifest::new();
    tenant.applied(&first).await;
    let mut second = Manifest { cluster: "c2".into(), namespace: "other".into(), ..first.clone() };
    second.spec.associations[0].station_id = "15376371009_77".into();
    second.services.push(service("NIDO", "tesoreria"));
    let response = tenant.apply(&second).await.unwrap();
    assert!(response.outcomes.iter().all(|outcome| outcome.result() == ApplyResult::Invalid), "{response:?}");
    assert_eq!(tenant.status(first.fiscal_code()).await.services.len(), 1);
}

#[tokio::test]
async fn the_same_object_made_anew_adopts_with_its_children() {
    let tenant = Tenant::start().await;
    let first = Manifest::new();
    tenant.applied(&first).await;
    let anew = Manifest { cluster: "c2".into(), ..first.clone() };
    tenant.applied(&anew).await;
    let live: Vec<String> =
        sqlx::query_scalar("select uid from config_resource where not removed and institution_id <> 0 order by kind")
            .fetch_all(tenant.pool())
            .await
            .unwrap();
    assert_eq!(live, [anew.uid(), anew.account_uid("tesoreria"), anew.service_uid("MENSA")]);
    let removed: i64 = sqlx::query_scalar("select count(*) from config_resource where removed and config_seq = 2")
        .fetch_one(tenant.pool())
        .await
        .unwrap();
    assert_eq!(removed, 3);
}

/// Whoever may write in a namespace of his own must not be able to take the institution of another, and with it the accounts that collect.
#[rstest]
#[case::another_namespace(Some("other"), "comune")]
#[case::another_name(None, "twin")]
#[tokio::test]
async fn no_annotation_takes_a_managed_institution(#[case] namespace: Option<&str>, #[case] name: &str) {
    let tenant = Tenant::start().await;
    let first = Manifest::new();
    let config_seq = tenant.applied(&first).await;
    let namespace = namespace.map_or_else(|| first.namespace.clone(), str::to_owned);
    let second = Manifest { cluster: "c2".into(), namespace, name: name.into(), adopt: true, ..first.clone() };
    let message = conflict(&tenant.apply(&second).await.unwrap(), &second.uid());
    assert!(message.contains(&format!("{}/comune", first.namespace)), "{message}");
    let status = tenant.status(first.fiscal_code()).await;
    assert_eq!((status.uid, status.config_seq, status.managed), (first.uid(), config_seq, true));
    tenant.applied(&first).await;
}

#[tokio::test]
async fn a_station_has_one_object() {
    let tenant = Tenant::start().await;
    let manifest = Manifest::new();
    tenant.applied(&manifest).await;
    let mut bundle = Manifest::new().bundle();
    bundle.shared[1] = shared(ResourceKind::Station, "another", &manifest.station);
    let response = tenant.apply_bundle(bundle.clone()).await.unwrap();
    let message = conflict(&response, "platform/another");
    assert!(message.contains("fiorino/station") && message.contains("fiorino.dev/adopt"), "{message}");
    bundle.shared[1].adopt = true;
    bundle.shared[1].namespace = "other".into();
    let message = conflict(&tenant.apply_bundle(bundle.clone()).await.unwrap(), "platform/another");
    assert!(!message.contains("fiorino.dev/adopt"), "{message}");
    bundle.shared[1].namespace = "fiorino".into();
    let taken = tenant.apply_bundle(bundle).await.unwrap();
    assert!(taken.outcomes.iter().all(|outcome| outcome.result() != ApplyResult::Conflict), "{taken:?}");
}

#[tokio::test]
async fn a_child_does_not_take_the_place_of_a_kept_or_an_equal_one() {
    let tenant = Tenant::start().await;
    let first = Manifest::new();
    tenant.applied(&first).await;
    let mut bundle = first.bundle();
    bundle.children[1].uid = "another".into();
    bundle.children[1].name = "mensa-2".into();
    bundle.keep = vec![first.service_uid("MENSA")];
    let message = conflict(&tenant.apply_bundle(bundle.clone()).await.unwrap(), "another");
    assert!(message.contains(&format!("{}/MENSA", first.namespace)), "{message}");
    // Not kept, it is gone, and the place is free.
    bundle.keep.clear();
    let taken = tenant.apply_bundle(bundle).await.unwrap();
    assert_eq!(taken.config_seq, 2);
    let mut twins = Manifest::new();
    twins.accounts.push(account("posta", &[("2026-01-01", crate::manifest::IBAN)]));
    let mut bundle = twins.bundle();
    bundle.children.push(fiorino_proto::config::v1::Resource {
        uid: "twin".into(),
        name: "twin".into(),
        ..bundle.children[1].clone()
    });
    let message = conflict(&tenant.apply_bundle(bundle).await.unwrap(), "twin");
    assert!(message.contains(&format!("{}/posta", twins.namespace)), "{message}");
}

#[tokio::test]
async fn a_portal_host_name_belongs_to_one_institution() {
    let tenant = Tenant::start().await;
    let mut first = Manifest::new();
    first.spec.portal_hostnames = vec!["comune.localhost".into(), "www.comune.localhost".into()];
    tenant.applied(&first).await;
    let head = tenant.head().await;
    let mut second = Manifest::new();
    second.spec.portal_hostnames = vec!["altro.localhost".into(), "www.comune.localhost".into()];
    let message = conflict(&tenant.apply(&second).await.unwrap(), &second.uid());
    let holder = format!("www.comune.localhost is held by {}/comune", first.namespace);
    assert!(message.contains(&holder) && message.contains("remove it there"), "{message}");
    assert_eq!(tenant.head().await, head, "nothing was written");
    // Given up by the one, it is free for the other, and back it cannot come.
    first.spec.portal_hostnames.pop();
    first.generation += 1;
    tenant.applied(&first).await;
    tenant.applied(&second).await;
    first.spec.portal_hostnames.push("altro.localhost".into());
    first.generation += 1;
    conflict(&tenant.apply(&first).await.unwrap(), &first.uid());
    let names: Vec<String> = sqlx::query_scalar("select hostname from portal_hostname order by hostname")
        .fetch_all(tenant.pool())
        .await
        .unwrap();
    assert_eq!(names, ["altro.localhost", "comune.localhost", "www.comune.localhost"]);
}

/// Two municipalities become one: the new one's portal is found under the name of an old one.
#[tokio::test]
async fn a_host_name_goes_from_an_institution_without_a_manifest_to_one_with_it() {
    let tenant = Tenant::start().await;
    let mut old = Manifest::new();
    old.spec.portal_hostnames = vec!["alta.localhost".into(), "fusione.localhost".into()];
    tenant.applied(&old).await;
    let mut merged = Manifest::new();
    merged.spec.portal_hostnames = vec!["fusione.localhost".into()];
    let message = conflict(&tenant.apply(&merged).await.unwrap(), &merged.uid());
    assert!(message.contains(&format!("fusione.localhost is held by {}/comune", old.namespace)), "{message}");
    tenant.unmanage(&old).await;
    let config_seq = tenant.applied(&merged).await;
    let held = async || -> Vec<(String, String)> {
        sqlx::query_as(
            "select p.hostname, i.fiscal_code from portal_hostname p join institution i using (institution_id)
             order by p.hostname",
        )
        .fetch_all(tenant.pool())
        .await
        .unwrap()
    };
    let (of_old, of_merged) = (old.fiscal_code().to_owned(), merged.fiscal_code().to_owned());
    assert_eq!(
        held().await,
        [("alta.localhost".to_owned(), of_old.clone()), ("fusione.localhost".to_owned(), of_merged.clone())]
    );
    // What the portal reads tells the same: one institution under one name, in the change that moved it.
    let shown = async |manifest: &Manifest| -> (Vec<String>, i64) {
        let (spec, config_seq): (Vec<u8>, i64) =
            sqlx::query_as("select spec, config_seq from config_resource where uid = $1")
                .bind(manifest.uid())
                .fetch_one(tenant.pool())
                .await
                .unwrap();
        (InstitutionSpec::decode(&spec[..]).unwrap().portal_hostnames, config_seq)
    };
    assert_eq!(shown(&old).await, (vec!["alta.localhost".to_owned()], config_seq));
    assert_eq!(shown(&merged).await, (vec!["fusione.localhost".to_owned()], config_seq));
    assert_eq!(tenant.status(&of_old).await.config_seq, config_seq, "who has not acknowledged it is waited for");

    // The old manifest comes back: the name is another's now, and free for it when that one gives it up.
    let message = conflict(&tenant.apply(&old).await.unwrap(), &old.uid());
    assert!(message.contains(&format!("fusione.localhost is held by {}/comune", merged.namespace)), "{message}");
    merged.spec.portal_hostnames.clear();
    merged.generation += 1;
    tenant.applied(&merged).await;
    tenant.applied(&old).await;
    assert_eq!(shown(&old).await.0, ["alta.localhost", "fusione.localhost"]);
    assert_eq!(held().await.into_iter().map(|(_, code)| code).collect::<Vec<_>>(), [of_old.clone(), of_old]);
}

#[tokio::test]
async fn of_a_closed_holder_of_a_host_name_it_is_told_that_removing_the_name_suffices() {
    let tenant = Tenant::start().await;
    let mut closed = Manifest::new();
    closed.spec.portal_hostnames = vec!["fusione.localhost".into()];
    closed.spec.phase = LifecyclePhase::Closed.into();
    tenant.applied(&closed).await;
    let mut merged = Manifest::new();
    merged.spec.portal_hostnames = vec!["fusione.localhost".into()];
    let message = conflict(&tenant.apply(&merged).await.unwrap(), &merged.uid());
    for part in ["is Closed", "spec.portal.hostnames", "suffices", &closed.namespace] {
        assert!(message.contains(part), "{part} is missing in {message}");
    }
    closed.spec.portal_hostnames.clear();
    closed.generation += 1;
    tenant.applied(&closed).await;
    tenant.applied(&merged).await;
}

#[tokio::test]
async fn a_portal_host_name_is_one() {
    let tenant = Tenant::start().await;
    let mut manifest = Manifest::new();
    for wrong in ["localhost", "Comune.localhost", "comune.localhost:8080", "comune..localhost", "-a.localhost", ""] {
        manifest.spec.portal_hostnames = vec![wrong.into()];
        let told = format!("{:?}", tenant.apply(&manifest).await);
        assert!(told.contains("portal_hostnames[0]"), "{wrong}: {told}");
    }
}
