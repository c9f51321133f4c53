//! A SOAP client that nobody here wrote: zeep, generated from the official WSDL, strict.

use anyhow::{Context as _, ensure};
use fiorino_rig::python;
use fiorino_test_support::contracts;

use fiorino_e2e::town::Town;

#[tokio::test(flavor = "multi_thread")]
async fn zeep_verifies_activates_and_sends_a_receipt() {
    check_zeep(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn zeep_pays_by_the_older_primitives() {
    check_zeep(1).await;
}

async fn check_zeep(primitive_version: u8) {
    let Some(contracts) = contracts() else { return };
    let town = Town::payable_by_version(primitive_version).await;
    let notice = town.create_debt("zeep").await;
    let wsdl = contracts.join("pagopa/soap-paForNode/wsdl/paForNode.wsdl");
    let url = format!("{}/node/v1/{}", town.world.addresses().node_urls[0], town.names.station);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/zeep/client.py");
    let output = tokio::process::Command::new(python().unwrap())
        .args([script, wsdl.to_str().unwrap(), &url, &town.names.fiscal_code, &town.names.broker])
        .args([&town.names.station, &notice, &primitive_version.to_string()])
        .output()
        .await
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    let result: anyhow::Result<()> = (|| {
        ensure!(output.status.success(), "{told}");
        let said = String::from_utf8(output.stdout.clone()).context("not text")?;
        ensure!(said.trim_end().ends_with("verify OK, get OK, receipt OK, repeated PAA_RECEIPT_DUPLICATA"), "{said}");
        Ok(())
    })();
    result.unwrap();
    assert_eq!(town.reported(&notice).await.receipt_id, "zeep-receipt-1");
}
