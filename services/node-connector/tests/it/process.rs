//! The binary: options, probes, metrics, signals.

use std::path::Path;

use anyhow::{Context as _, ensure};
use fiorino_test_support::{Process, Spec, eventually, free_port};

use crate::rig::{
    Rig, SOON,
    messages::{self, NOTICE, Receipt},
};

/// Flags of a replica of the rig.
pub(crate) fn flags(rig: &Rig, plain: u16, admin: u16) -> Vec<String> {
    let file = |path: &Path| path.display().to_string();
    let mesh = rig.mesh.identity("node-connector");
    [
        ("plain-listen", format!("127.0.0.1:{plain}")),
        ("admin-listen", format!("127.0.0.1:{admin}")),
        ("tenant-endpoints", rig.tenant.endpoint()),
        ("database-url", rig.db.url.clone()),
        ("tls-cert", file(&mesh.cert)),
        ("tls-key", file(&mesh.key)),
        ("tls-ca", file(&mesh.ca)),
        ("unseal-key", file(&rig.mesh.dir().join("unseal.key"))),
        ("replica", "node-connector-0".to_owned()),
    ]
    .map(|(flag, value)| format!("--{flag}={value}"))
    .into()
}

#[tokio::test]
async fn the_process_serves_tells_its_metrics_and_drains() {
    let rig = Rig::start().await;
    let (plain, admin) = (free_port().unwrap(), free_port().unwrap());
    let log = rig.mesh.dir().join("node-connector.log");
    let program = env!("CARGO_BIN_EXE_fiorino-node-connector");
    let mut process = Process::spawn(&Spec::new(program, &log).args(flags(&rig, plain, admin))).unwrap();
    let http = reqwest::Client::new();
    let probe = async |path: &str| http.get(format!("http://127.0.0.1:{admin}{path}")).send().await;
    eventually(SOON, async || {
        let status = probe("/readyz").await?.status();
        ensure!(status.is_success(), "{status}");
        Ok(())
    })
    .await
    .with_context(|| process.log_tail(20))
    .unwrap();

    let url = format!("http://127.0.0.1:{plain}/node/v1/{}", rig.names.station);
    let call =
        async |message: String| http.post(&url).header("Content-Type", "text/xml").body(message).send().await.unwrap();
    for message in [messages::verify(&rig.names, NOTICE), Receipt::new(&rig.names, "r1").write()] {
        assert!(call(message).await.text().await.unwrap().contains("<outcome>OK</outcome>"));
    }
    // A receipt that cannot be taken, and so cannot be kept: only a metric tells of it.
    let endless = Receipt::new(&rig.names, "r2").write() + &" ".repeat(4 * 1024 * 1024);
    assert_eq!(call(endless).await.status(), 413);
    eventually(SOON, async || {
        let metrics = probe("/metrics").await?.text().await?;
        let counted = |name: &str, labels: &[&str]| {
            let lines = metrics.lines().filter(|line| line.starts_with(name));
            lines.filter(|line| labels.iter().all(|label| line.contains(label))).count()
        };
        for op in ["op=\"paVerifyPaymentNotice\"", "op=\"paSendRTV2\""] {
            ensure!(counted("pa_requests_total{", &[op, "outcome=\"OK\"", "fault=\"\""]) == 1, "{metrics}");
            ensure!(counted("pa_request_duration_seconds_bucket{", &[op, "le=\"2\""]) == 1, "{metrics}");
        }
        ensure!(counted("receipts_not_taken_total{", &["reason=\"too_long\"", "} 1"]) == 1, "{metrics}");
        for gauge in ["receipts_inbox_lag_seconds ", "receipts_waiting 0", "receipts_deferred 0"] {
            ensure!(counted(gauge, &[]) == 1, "{gauge} is missing in {metrics}");
        }
        Ok(())
    })
    .await
    .unwrap();

    eventually(SOON, async || {
        ensure!(rig.tenant.script().applied_ids() == ["r1"], "not applied yet");
        Ok(())
    })
    .await
    .unwrap();

    let ended = process.stop().unwrap();
    let log = std::fs::read_to_string(&log).unwrap();
    assert!(ended.success(), "{log}");
    assert!(!log.contains("RSSMRA80A01H501U") && !log.contains("Mario Rossi"), "{log}");
}

#[tokio::test]
async fn what_cannot_work_ends_the_process() {
    let rig = Rig::start().await;
    let log = rig.mesh.dir().join("refused.log");
    let mut flags = flags(&rig, free_port().unwrap(), free_port().unwrap());
    flags[0] = "--plain-listen=0.0.0.0:0".to_owned();
    let program = env!("CARGO_BIN_EXE_fiorino-node-connector");
    let mut process = Process::spawn(&Spec::new(program, &log).args(flags)).unwrap();
    let ended = eventually(SOON, async || process.exited()?.context("still running")).await.unwrap();
    assert!(!ended.success());
    let log = std::fs::read_to_string(&log).unwrap();
    assert!(log.contains("is not loopback"), "{log}");
}
