//! Reading pagoPA's registry: complete, with the right key, at the right time.

use std::time::Duration;

use anyhow::ensure;
use axum::http::StatusCode;
use fiorino_kit::seal;
use fiorino_node_connector::{Intervals, Tuning};
use fiorino_proto::config::v1::{LifecyclePhase, RecordReadbackRequest};
use fiorino_test_support::{Stopwatch, eventually, fiscal_code};
use rstest::rstest;

use crate::rig::{Names, Node, Rig, SOON, registry, tenant};

/// Fast enough for a test, and each step is told from the next.
const INTERVALS: Intervals = Intervals {
    shortest: Duration::from_millis(100),
    longest: Duration::from_millis(400),
    settled: Duration::from_hours(1),
};

struct Reading {
    rig: Rig,
    node: Node,
    registry: registry::Server,
}

// === impl Reading ===

impl Reading {
    async fn start(prepare: impl FnOnce(&Rig, &mut registry::Registry)) -> Self {
        let rig = Rig::start().await;
        let registry = registry::Server::start().await;
        prepare(&rig, &mut registry.registry());
        let keys = ["primary", "secondary"].map(|key| seal::seal(&rig.seal_to, key.as_bytes()).unwrap());
        let broker = tenant::broker(&rig.names.broker, &registry.url(), keys.into());
        rig.tenant.configure([broker]);
        let tuning = Tuning { readback: INTERVALS, ..Tuning::default() };
        let node = Node::start(rig.options("node-connector-0"), tuning).await;
        node.ready().await;
        Self { rig, node, registry }
    }

    /// What tenant was told, once it was told `times` times at least.
    async fn told(&self, times: usize) -> Vec<RecordReadbackRequest> {
        eventually(SOON, async || {
            let readbacks = self.rig.tenant.script().readbacks.clone();
            ensure!(readbacks.len() >= times, "{} of {times} readings", readbacks.len());
            Ok(readbacks)
        })
        .await
        .unwrap()
    }

    fn readings(&self) -> usize {
        self.rig.tenant.script().readbacks.len()
    }

    fn requests(&self) -> usize {
        self.registry.registry().seen.len()
    }

    async fn requested(&self, times: usize) {
        eventually(SOON, async || {
            let seen = self.requests();
            ensure!(seen >= times, "{seen} of {times} requests");
            Ok(())
        })
        .await
        .unwrap();
    }

    /// A new institution at the station is streamed.
    fn change(&self, station: &str) {
        let institution = tenant::institution(&fiscal_code(), station, LifecyclePhase::Testing);
        self.rig.tenant.configure([institution]);
    }
}

#[tokio::test]
async fn a_whole_registry_is_told_at_once() {
    let reading = Reading::start(|rig, registry| {
        let Names { station, institution, .. } = rig.names.clone();
        registry.institutions =
            (0..250).map(|number| registry::institution(&format!("{number:011}"), &station)).collect();
        registry.ibans = vec![registry::iban(&institution, "IT60X0542811101000000123456")];
    })
    .await;
    let told = &reading.told(1).await[0];
    assert_eq!(told.broker_fiscal_code, reading.rig.names.broker);
    assert!(told.read_at.parse::<jiff::Timestamp>().is_ok());
    let codes: Vec<&str> = told.associations.iter().map(|association| association.institution.as_str()).collect();
    let expected: Vec<String> = (0..250).map(|number| format!("{number:011}")).collect();
    assert_eq!(codes, expected);
    assert!(told.associations.iter().all(|association| association.enabled && association.primitive_version == 2));
    assert_eq!((told.ibans.len(), told.ibans[0].enabled), (1, true));
    let seen = reading.registry.registry().seen.clone();
    let pages: Vec<(&str, u64, &str)> =
        seen.iter().map(|(listing, page, key)| (listing.as_str(), *page, key.as_str())).collect();
    let institutions = (0..3).map(|page| ("creditor_institutions", page, "primary"));
    assert_eq!(pages, institutions.chain([("ibans", 0, "primary")]).collect::<Vec<_>>());
}

/// Whatever the calendar of this machine says, tenant is told how long ago the reading began.
#[tokio::test]
async fn a_reading_says_how_long_it_took() {
    let takes = Duration::from_millis(150);
    let reading = Reading::start(|_, registry| registry.takes = takes).await;
    let told = &reading.told(1).await[0];
    let age = Duration::from_millis(told.age_ms);
    assert!(age >= takes * 2 && age < SOON, "two listings took {age:?}");
}

#[tokio::test]
async fn the_secondary_key_is_used_when_the_primary_is_refused() {
    let reading = Reading::start(|_, registry| registry.keys = vec!["secondary".to_owned()]).await;
    reading.told(1).await;
    let keys: Vec<String> = reading.registry.registry().seen.iter().map(|(_, _, key)| key.clone()).collect();
    assert_eq!(keys, ["primary", "secondary", "primary", "secondary"]);
}

#[tokio::test]
async fn a_broker_that_the_registry_does_not_know_has_nothing() {
    let reading = Reading::start(|_, registry| registry.refuse = Some((StatusCode::NOT_FOUND, None))).await;
    let told = &reading.told(1).await[0];
    assert!(told.associations.is_empty() && told.ibans.is_empty());
}

/// Told as empty, every institution of the broker would be taken for gone.
#[rstest]
#[case::a_page_is_gone(|registry: &mut registry::Registry| registry.cut_at = Some(1))]
#[case::lines_are_missing(|registry: &mut registry::Registry| registry.overstated = 1)]
#[tokio::test]
async fn an_incomplete_listing_is_not_told(#[case] spoil: fn(&mut registry::Registry)) {
    let reading = Reading::start(|rig, registry| {
        registry.institutions =
            (0..150).map(|number| registry::institution(&format!("{number:011}"), &rig.names.station)).collect();
        spoil(registry);
    })
    .await;
    reading.requested(6).await;
    assert_eq!(reading.readings(), 0, "half a registry is none");
    {
        let mut registry = reading.registry.registry();
        (registry.cut_at, registry.overstated) = (None, 0);
    }
    assert_eq!(reading.told(1).await[0].associations.len(), 150);
}

#[tokio::test]
async fn a_line_that_breaks_the_contract_hides_no_other() {
    let reading = Reading::start(|rig, registry| {
        let mut broken = registry::iban(&rig.names.institution, "IT60X0542811101000000123456");
        broken["validityDate"] = serde_json::Value::Null;
        let whole = registry::iban(&rig.names.institution, "IT30N0103076271000001823603");
        registry.ibans = vec![broken, whole];
    })
    .await;
    let told: Vec<String> = reading.told(1).await[0].ibans.iter().map(|iban| iban.iban.clone()).collect();
    assert_eq!(told, ["IT30N0103076271000001823603"]);
}

#[tokio::test]
async fn while_something_waits_it_is_read_again_and_then_no_more() {
    let reading = Reading::start(|rig, _| rig.tenant.script().waiting = true).await;
    reading.told(3).await;
    reading.rig.tenant.script().waiting = false;
    let settled = reading.readings() + 1;
    reading.told(settled).await;
    tokio::time::sleep(3 * INTERVALS.longest).await;
    assert!(reading.readings() <= settled + 1, "settled is daily");
}

#[tokio::test]
async fn a_change_of_the_configuration_is_read_at_once() {
    let reading = Reading::start(|_, _| {}).await;
    reading.told(1).await;
    tokio::time::sleep(2 * INTERVALS.longest).await;
    let before = reading.readings();
    // Of another broker: nothing to read.
    let another = format!("{}_01", fiscal_code());
    reading.rig.tenant.configure([tenant::station(&another, &another[..11])]);
    reading.change(&another);
    tokio::time::sleep(2 * INTERVALS.longest).await;
    assert_eq!(reading.readings(), before, "another broker's change");
    reading.change(&reading.rig.names.station);
    let told = reading.told(before + 1).await;
    assert_eq!(told.len(), before + 1);
}

#[tokio::test]
async fn a_change_does_not_shorten_the_time_that_the_registry_asked_for() {
    let busy = Some((StatusCode::TOO_MANY_REQUESTS, Some(2)));
    let reading = Reading::start(|_, registry| registry.refuse = busy).await;
    reading.requested(1).await;
    let asked = Stopwatch::start();
    while reading.requests() == 1 {
        assert!(asked.within(SOON), "it is never read again");
        reading.change(&reading.rig.names.station);
        tokio::time::sleep(INTERVALS.shortest).await;
    }
    assert!(asked.elapsed() >= Duration::from_millis(1_900), "{:?}", asked.elapsed());
}

#[tokio::test]
async fn a_reading_that_fails_is_not_told_and_comes_again() {
    let reading = Reading::start(|_, registry| registry.refuse = Some((StatusCode::INTERNAL_SERVER_ERROR, None))).await;
    eventually(SOON, async || {
        let seen = reading.registry.registry().seen.len();
        ensure!(seen >= 3, "{seen} attempts");
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(reading.readings(), 0, "half a registry is none");
    reading.registry.registry().refuse = None;
    reading.told(1).await;
}

#[tokio::test]
async fn one_replica_reads() {
    let reading = Reading::start(|rig, _| rig.tenant.script().waiting = true).await;
    let tuning = Tuning { readback: INTERVALS, ..Tuning::default() };
    let second = Node::start(reading.rig.options("node-connector-1"), tuning).await;
    second.ready().await;
    reading.told(4).await;
    let holders: i64 =
        sqlx::query_scalar("select count(*) from lease where name = 'registry-readback' and expires_at > now()")
            .fetch_one(&reading.rig.db.pool)
            .await
            .unwrap();
    assert_eq!(holders, 1);
    // The one that stops hands over.
    reading.node.stop().await;
    let before = reading.rig.tenant.script().readbacks.len();
    eventually(SOON, async || {
        ensure!(reading.rig.tenant.script().readbacks.len() > before, "nobody reads");
        Ok(())
    })
    .await
    .unwrap();
}
