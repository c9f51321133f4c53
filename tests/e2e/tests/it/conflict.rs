//! Two manifests that claim one fiscal code.

use fiorino_test_support::namespace;

use fiorino_e2e::town::{Names, Town};

#[tokio::test(flavor = "multi_thread")]
async fn the_second_is_stalled_and_takes_over_when_the_first_goes() {
    let other = namespace();
    let town = Town::with(|options, _| options.watching(&other)).await;
    town.apply(&town.names.town_manifest(town.platform(), "Comune di Roccafiorina")).await.unwrap();
    town.register().await;
    town.condition("Payable", "True").await;
    let rival = Names { namespace: other.clone(), ..town.names.clone() };
    town.apply(&rival.town_manifest(town.platform(), "Comune Nuovo")).await.unwrap();
    let stalled = town.condition_in(&other, "Stalled", "True").await;
    assert_eq!(stalled["reason"], "Conflict", "{stalled}");
    let holder = format!("{}/town", town.names.namespace);
    let message = stalled["message"].as_str().unwrap();
    assert!(message.contains(&town.names.fiscal_code) && message.contains(&holder), "{message}");
    let ready = town.condition_in(&other, "Ready", "False").await;
    assert_eq!(ready["reason"], "Conflict");
    town.condition("Ready", "True").await;
    assert_eq!(town.in_tenant::<String>("select legal_name from institution").await, "Comune di Roccafiorina");
    let notice = town.create_debt("of-the-first").await;

    let args = ["delete", "creditorinstitution", "town", "-n", &town.names.namespace, "--timeout=60s"];
    town.world.kubectl(&args, "").await.unwrap();
    town.condition_in(&other, "Payable", "True").await;
    assert_eq!(town.in_tenant::<String>("select legal_name from institution").await, "Comune Nuovo");
    assert!(town.in_tenant::<bool>("select managed from institution").await);
    // The debt is the institution's, whoever writes its manifest.
    town.simulator("psp/pay", &town.notice(&notice)).await.unwrap();
    town.reported(&notice).await;
}

/// Released while tenant was away, a manifest is applied from another namespace: nobody holds what it names any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_released_institution_is_taken_over_from_another_namespace() {
    let other = namespace();
    let mut town = Town::with(|options, _| options.watching(&other)).await;
    town.onboard().await;
    let notice = town.create_debt("before").await;
    town.world.process("tenant").unwrap().stop().unwrap();
    let namespace = town.names.namespace.clone();
    let args = ["annotate", "creditorinstitution", "town", "-n", &namespace, "fiorino.dev/release=true"];
    town.world.kubectl(&args, "").await.unwrap();
    let args = ["delete", "creditorinstitution", "town", "-n", &namespace, "--timeout=60s"];
    town.world.kubectl(&args, "").await.unwrap();
    town.world.restart("tenant").await.unwrap();
    let rival = Names { namespace: other.clone(), ..town.names.clone() };
    town.apply(&rival.town_manifest(town.platform(), "Comune Nuovo")).await.unwrap();
    town.condition_in(&other, "Payable", "True").await;
    assert_eq!(town.in_tenant::<String>("select legal_name from institution").await, "Comune Nuovo");
    town.simulator("psp/pay", &town.notice(&notice)).await.unwrap();
    town.reported(&notice).await;
}
