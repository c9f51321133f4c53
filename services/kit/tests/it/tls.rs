//! Identities: what is refused, and renewal without a restart.

use std::time::Duration;

use fiorino_kit::{crypto, tls::Identity};
use fiorino_test_support::{
    certs::{Leaf, Mesh, Usage},
    eventually,
};

use crate::mesh::{ask, channel, identity, options, start};

#[test]
fn the_first_dns_name_is_the_name() {
    let mesh = Mesh::new().unwrap();
    assert_eq!(identity(&mesh, "node-connector").name(), "node-connector");
}

#[test]
fn an_error_names_the_file_that_is_wrong() {
    crypto::install_ring();
    let mesh = Mesh::new().unwrap();
    let good = options(&mesh.identity("dev"));
    let mut absent = good.clone();
    absent.tls_ca = mesh.dir().join("absent.crt");
    let mut key_for_certificate = good.clone();
    key_for_certificate.tls_cert.clone_from(&good.tls_key);
    let mut certificate_for_key = good.clone();
    certificate_for_key.tls_key.clone_from(&good.tls_cert);
    let mut others_key = good.clone();
    others_key.tls_key = mesh.identity("tenant").key;
    for (options, file) in [
        (absent, "absent.crt"),
        (key_for_certificate, "dev.key"),
        (certificate_for_key, "dev.crt"),
        (others_key, "dev.crt"),
    ] {
        let error = Identity::load(&options).unwrap_err().to_string();
        assert!(error.starts_with("failed to ") && error.contains(file), "{error}");
    }
}

#[tokio::test]
async fn renewed_files_are_taken_over_and_broken_ones_are_not() {
    let mesh = Mesh::new().unwrap();
    let dev = identity(&mesh, "dev");
    assert!(!dev.refresh().await.unwrap());

    let files = mesh.identity("dev");
    std::fs::write(&files.cert, "half a cert").unwrap();
    assert!(dev.refresh().await.is_err());
    assert_eq!(dev.name(), "dev");

    let leaf =
        Leaf { common_name: "x", organisation: None, names: &["renamed"], usages: &[Usage::Client, Usage::Server] };
    mesh.authority().issue_into(mesh.dir(), "dev", &leaf).unwrap();
    assert!(dev.refresh().await.unwrap());
    assert_eq!(dev.name(), "renamed");
}

#[tokio::test]
async fn a_renewed_server_serves_new_connections_with_the_new_certificate() {
    let mesh = Mesh::new().unwrap();
    let replica = start(&mesh).await;
    ask(&channel(&mesh, "dev", &[replica.address]), "who").await.unwrap();
    // The new certificate has another name, so that callers can tell.
    let leaf =
        Leaf { common_name: "x", organisation: None, names: &["reporting"], usages: &[Usage::Client, Usage::Server] };
    mesh.authority().issue_into(mesh.dir(), "tenant", &leaf).unwrap();
    eventually(Duration::from_secs(30), async || match ask(&channel(&mesh, "dev", &[replica.address]), "who").await {
        Ok(_) => Err("still the old certificate".to_owned()),
        Err(status) if status.message().contains("certificate") => Ok(()),
        Err(status) => Err(status.to_string()),
    })
    .await
    .unwrap();
}
