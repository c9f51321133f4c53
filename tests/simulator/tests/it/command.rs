//! The command line, against a simulator that is served here.

use fiorino_simulator::{Options, Simulator};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::node::station::{BENEFICIARY, FakeStation, INSTITUTION, STATION};

/// Runs a command against the simulator at `url`.
async fn run(url: &str, line: &str) -> Result<Value, String> {
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_fiorino-simulator"))
        .args(line.split_whitespace())
        .args(["--url", url])
        .output()
        .await
        .unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    if !output.status.success() {
        return Err(told + &String::from_utf8_lossy(&output.stderr));
    }
    Ok(if told.is_empty() { Value::Null } else { serde_json::from_str(&told).unwrap() })
}

#[tokio::test]
async fn what_a_payment_needs_can_be_done_from_the_command_line() {
    let token = CancellationToken::new();
    let Some(station) = FakeStation::new().serve(token.clone()).await else { return };
    let simulator = Simulator::start(&Options::default(), &token).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = &format!("http://{}", listener.local_addr().unwrap());
    let ended = token.clone().cancelled_owned();
    tokio::spawn(async move { axum::serve(listener, simulator.router()).with_graceful_shutdown(ended).await });

    let notice = format!("--institution {INSTITUTION} --notice 312000000000471179");
    let unknown = run(url, &format!("verify {notice}")).await.unwrap_err();
    assert!(unknown.contains("PPT_DOMINIO_SCONOSCIUTO"), "{unknown}");
    for line in [
        "register broker --broker 88888888888 --key secret".to_owned(),
        format!("register station --station {STATION} --station-url {station}"),
        format!(
            "register institution --institution {INSTITUTION} --name Ente --station {STATION} --segregation-code 12"
        ),
        format!(
            "register institution --institution {BENEFICIARY} --name Altro --station {STATION} --segregation-code 13"
        ),
        account(INSTITUTION, "IT30N0103076271000001823603"),
        account(BENEFICIARY, "IT60X0542811101000000123456"),
    ] {
        assert_eq!(run(url, &line).await, Ok(Value::Null), "{line}");
    }
    assert_eq!(run(url, &format!("verify {notice}")).await.unwrap()["amountCents"], 12_000);
    let activated = run(url, &format!("activate {notice} --amount-cents 12000")).await.unwrap();
    let payment = activated["paymentToken"].as_str().unwrap();
    assert_eq!(run(url, &format!("outcome --token {payment} --outcome ko")).await.unwrap()["receiptId"], Value::Null);
    assert!(run(url, &format!("pay {notice} --transfer-type PAGOPA")).await.unwrap()["receiptId"].is_string());
    let paid = run(url, &format!("activate {notice}")).await.unwrap_err();
    assert!(paid.contains("PPT_PAGAMENTO_DUPLICATO"), "{paid}");
    token.cancel();
}

fn account(institution: &str, iban: &str) -> String {
    format!("register account --institution {institution} --iban {iban} --valid-from 2020-01-01T00:00:00Z")
}
