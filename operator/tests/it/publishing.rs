//! Events say what is wrong now: each new text is an Event, and what was mended is not said again.

use anyhow::{Result, ensure};
use fiorino_crds::condition::{ConditionStatus, ConditionType};
use fiorino_test_support::eventually;
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use serde_json::{Value, json};

use crate::cluster::{Cluster, SOON};

/// Notes of the Warnings about the institution, oldest first, with how often each was counted up.
async fn warnings(cluster: &Cluster) -> Result<Vec<(String, i32)>> {
    let api: Api<Event> = Api::namespaced(cluster.client.clone(), &cluster.comune);
    let mut events = api.list(&kube::api::ListParams::default()).await?.items;
    events.retain(|event| event.type_.as_deref() == Some("Warning"));
    events.retain(|event| event.regarding.as_ref().and_then(|it| it.kind.as_deref()) == Some("CreditorInstitution"));
    events.sort_by_key(|event| event.event_time.clone());
    Ok(events
        .into_iter()
        .map(|event| (event.note.unwrap_or_default(), event.series.map_or(1, |it| it.count)))
        .collect())
}

fn with_station(cluster: &Cluster, name: &str) -> Value {
    let station = json!({"namespace": cluster.platform, "name": name});
    json!({"associations": [{"stationRef": station, "segregationCode": "12"}]})
}

#[tokio::test]
async fn an_event_says_what_is_wrong_now_and_one_cause_is_one_event() -> Result<()> {
    let cluster = Cluster::new().await?;
    let operator = cluster.operator()?;
    cluster.platform().await?;
    cluster.municipality().await?;
    cluster.reads(ConditionType::Ready, ConditionStatus::True).await?;
    let before = warnings(&cluster).await?.len();
    // Three mistakes of one reason, one after the other.
    let mistakes = [
        (with_station(&cluster, "altra"), "/altra does not exist"),
        (json!({"profiles": [{"name": "altro", "revision": 1}]}), "ServiceProfile altro/1 does not exist"),
        (with_station(&cluster, "terza"), "/terza does not exist"),
    ];
    for (place, (change, text)) in mistakes.iter().enumerate() {
        cluster.institution(change).await?;
        eventually(SOON, async || {
            let seen = warnings(&cluster).await?;
            ensure!(seen.len() > before + place, "{seen:?}");
            Ok::<_, anyhow::Error>(())
        })
        .await?;
        let seen = warnings(&cluster).await?;
        let (note, count) = &seen[before + place];
        assert!(note.starts_with("Validated is False") && note.contains(text) && *count == 1, "{seen:?}");
    }
    // The causes alone: Ready and Stalled repeat what Validated says.
    let seen = warnings(&cluster).await?;
    assert_eq!(seen.len(), before + mistakes.len(), "{seen:?}");
    assert!(seen.iter().all(|(_, count)| *count == 1), "nothing is counted up under an old text: {seen:?}");
    cluster.finish(operator).await
}
