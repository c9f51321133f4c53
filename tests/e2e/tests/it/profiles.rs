//! A new revision of a profile is a new object: who pins it changes, and nobody and nothing else.

use fiorino_test_support::{fiscal_code, namespace};
use serde_json::Value;

use fiorino_e2e::town::{Names, Town};

/// The taxonomy codes of the first and of the second revision.
const CODES: [&str; 2] = ["9/0101101IM/", "9/0101102IM/"];

fn revision_of(institution: &Value) -> &Value {
    &institution["status"]["services"][0]["profileRevision"]
}

async fn taxonomy_code(town: &Town, notice_number: &str) -> String {
    let position = town.position(notice_number).await;
    position.options[0].instalments[0].transfers[0].taxonomy_code.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_changes_those_who_pin_it_and_new_debts_alone() {
    let other = Names { namespace: namespace(), fiscal_code: fiscal_code(), ..Names::new(2) };
    let town = Town::with(|options, _| options.watching(&other.namespace)).await;
    town.apply(&town.names.town_manifest(town.platform(), "Comune di Roccafiorina")).await.unwrap();
    town.register().await;
    town.condition("Payable", "True").await;
    let second = other
        .town_manifest(town.platform(), "Comune di Altrove")
        .replace("segregationCode: \"12\"", "segregationCode: \"13\"");
    town.apply(&second).await.unwrap();
    town.condition_in(&other.namespace, "Ready", "True").await;
    let old = town.create_debt("old").await;
    assert_eq!(taxonomy_code(&town, &old).await, CODES[0]);
    let unchanged = "select config_seq from institution order by institution_id desc limit 1";
    let sequence: i64 = town.in_tenant(unchanged).await;

    let platform = town.names.platform_manifest(town.platform(), &town.world.addresses().simulator_url);
    let (_, profile) = platform.rsplit_once("---").unwrap();
    let revision = profile.replace("comune-standard-1", "comune-standard-2").replace("revision: 1", "revision: 2");
    town.apply(&revision.replace(CODES[0], CODES[1])).await.unwrap();
    let before = town.settled().await;
    assert_eq!(revision_of(&before), "comune-standard/1", "{}", before["status"]);
    assert_eq!(taxonomy_code(&town, &town.create_debt("still-old").await).await, CODES[0], "nobody pins it yet");

    let manifest = town.names.town_manifest(town.platform(), "Comune di Roccafiorina");
    town.apply(&manifest.replace("revision: 1", "revision: 2")).await.unwrap();
    let after = town.settled().await;
    assert_eq!(revision_of(&after), "comune-standard/2", "{}", after["status"]);
    let new = town.create_debt("new").await;
    assert_eq!(taxonomy_code(&town, &new).await, CODES[1]);
    assert_eq!(taxonomy_code(&town, &old).await, CODES[0], "what was issued stays as it was issued");
    assert_eq!(town.in_tenant::<i64>(unchanged).await, sequence, "the other institution is not touched");
    for notice in [&old, &new] {
        town.simulator("psp/pay", &town.notice(notice)).await.unwrap();
        town.reported(notice).await;
    }
    // An issued revision is what it is.
    let edited = town.apply(&revision).await;
    assert!(edited.is_err(), "{edited:?}");
}
