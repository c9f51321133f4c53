//! The binary.

use std::time::Duration;

use anyhow::ensure;
use fiorino_test_support::{Process, Spec, free_port};
use reqwest::header::HOST;

use crate::support::{HOST_OF_TOWN, World};

#[tokio::test(flavor = "multi_thread")]
async fn it_serves_tells_how_it_is_and_ends_in_order() {
    let world = World::start().await;
    let (port, admin) = (free_port().unwrap(), free_port().unwrap());
    let logs = tempfile::tempdir().unwrap();
    let spec = Spec::new(env!("CARGO_BIN_EXE_fiorino-front-office"), logs.path().join("log"))
        .args(world.arguments().into_iter().skip(1).filter(|argument| !argument.starts_with("--listen")))
        .args([format!("--listen=127.0.0.1:{port}"), format!("--admin-listen=127.0.0.1:{admin}")]);
    let mut process = Process::spawn(&spec).unwrap();
    let http = reqwest::Client::new();
    let ready = async || {
        let status = http.get(format!("http://127.0.0.1:{admin}/readyz")).send().await?.status();
        ensure!(status.is_success(), "{status}");
        Ok(())
    };
    process.wait_ready(Duration::from_mins(1), ready).await.unwrap();
    let page = http.get(format!("http://127.0.0.1:{port}/")).header(HOST, HOST_OF_TOWN).send().await.unwrap();
    assert!(page.text().await.unwrap().contains("Comune di Roccafiorina"));
    let metrics = http.get(format!("http://127.0.0.1:{admin}/metrics")).send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("http_server_request_duration") && metrics.contains("http_route=\"/\""), "{metrics}");
    let ended = process.stop().unwrap();
    assert!(ended.success(), "{ended}: {}", process.log_tail(20));
}
