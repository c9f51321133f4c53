//! The binary: starts, tells how it is, drains at a signal.

use std::time::Duration;

use anyhow::ensure;
use fiorino_proto::payments::v1::{GetPaymentRequest, payments_client::PaymentsClient};
use fiorino_test_support::{Process, Spec, free_port};

use crate::support::{DEADLINE, World, payment};

#[tokio::test(flavor = "multi_thread")]
async fn it_serves_until_it_is_told_to_end() {
    let world = World::new().await;
    let (rpc, admin) = (free_port().unwrap(), free_port().unwrap());
    let arguments =
        world.arguments("reporting-0").into_iter().skip(1).filter(|argument| !argument.starts_with("--listen"));
    let spec = Spec::new(env!("CARGO_BIN_EXE_fiorino-reporting"), world.mesh.dir().join("reporting.log"))
        .args(arguments)
        .arg(format!("--listen=127.0.0.1:{rpc}"))
        .arg(format!("--admin-listen=127.0.0.1:{admin}"));
    let mut process = Process::spawn(&spec).unwrap();
    let http = reqwest::Client::builder().timeout(Duration::from_secs(5)).build().unwrap();
    let ask = async |path: &str| anyhow::Ok(http.get(format!("http://127.0.0.1:{admin}{path}")).send().await?.status());
    process
        .wait_ready(DEADLINE, async || {
            let status = ask("/livez").await?;
            ensure!(status.is_success(), "{status}");
            Ok(())
        })
        .await
        .unwrap();
    world.produce_payments([payment(&world.institution, "r1")]).await;
    world.wait_for(1).await;
    let mut client = PaymentsClient::new(world.channel(([127, 0, 0, 1], rpc).into(), "dev"));
    let request = GetPaymentRequest { institution: world.institution.clone(), receipt_id: "r1".to_owned() };
    client.get_payment(request).await.unwrap();
    // tenant never answered and nothing was saved: it serves what it has, but no traffic is led to it.
    assert_eq!(ask("/readyz").await.unwrap(), reqwest::StatusCode::SERVICE_UNAVAILABLE);
    let ended = process.stop().unwrap();
    assert!(ended.success(), "{ended}: {}", process.log_tail(20));
    let leases: i64 = sqlx::query_scalar("select count(*) from lease where expires_at > now()")
        .fetch_one(&world.database.pool)
        .await
        .unwrap();
    assert_eq!(leases, 0, "others need not wait for the partitions");
}
