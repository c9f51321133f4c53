//! Many at once; how fast is a figure of `cargo xtask bench onboarding`.

use fiorino_world::Crowd;
use serde_json::Value;

use fiorino_e2e::town::Town;

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_institutions_at_once_all_become_ready() {
    let town = Town::with(|mut options, _| {
        options.watch_namespaces.clear();
        options
    })
    .await;
    // The first ten digits of a code that no other test has.
    let first_code = town.names.fiscal_code[..10].parse().unwrap();
    let crowd = Crowd { name: town.platform().replace("platform", "crowd"), size: 200, first_code };
    crowd.appear(&town.world).await.unwrap();
    assert_eq!(town.in_tenant::<i64>("select count(*) from institution where managed").await, 200);
    // Written once by all of them together (ARCHITECTURE.md 8.1).
    let station = town.in_tenant::<i64>("select generation from config_resource where kind = 2").await;
    assert_eq!(station, 1);
    let selector = format!("crowd={}", crowd.name);
    let args = ["get", "creditorinstitutions", "--all-namespaces", "--selector", &selector, "-o", "json"];
    let listed: Value = serde_json::from_str(&town.world.kubectl(&args, "").await.unwrap()).unwrap();
    let stages = listed["items"].as_array().unwrap().iter().map(|institution| &institution["status"]["stage"]);
    assert!(stages.into_iter().all(|stage| stage == "AgreementSigned"), "{listed}");
}
