//! The listener for the node: who is let in (ARCHITECTURE.md 6.3).

use std::{path::PathBuf, time::Duration};

use fiorino_node_connector::{Options, Tuning};
use fiorino_test_support::{
    certs::{Authority, Identity, Leaf, Usage},
    eventually,
};
use rstest::rstest;

use crate::rig::{
    Node, Reply, Rig, SOON, loopback,
    messages::{self, NOTICE},
};

/// A replica with the listener for the node, whose clients are known by `bundle`.
async fn node(rig: &Rig, bundle: PathBuf, names: &[&str]) -> Node {
    let node = Node::start(options(rig, bundle, names), Tuning::default()).await;
    node.ready().await;
    node
}

fn options(rig: &Rig, bundle: PathBuf, names: &[&str]) -> Options {
    let mut options = rig.options("node-connector-0");
    let server = rig.mesh.node_server();
    options.node.listen_mtls = Some(loopback());
    options.node.node_cert = Some(server.cert);
    options.node.node_key = Some(server.key);
    options.node.node_client_ca = Some(bundle);
    options.node.node_client_names = names.iter().map(|&name| name.to_owned()).collect();
    options
}

/// Calls with the certificate, and only it: the node sends no chain.
async fn call(rig: &Rig, node: &Node, client: Option<&Identity>) -> reqwest::Result<Reply> {
    let authority = reqwest::Certificate::from_pem(&std::fs::read(rig.mesh.node_server().ca).unwrap()).unwrap();
    let mut builder = reqwest::Client::builder().tls_certs_only([authority]).http1_only();
    if let Some(Identity { cert, key, .. }) = client {
        let pem = [std::fs::read(cert).unwrap(), std::fs::read(key).unwrap()].concat();
        builder = builder.identity(reqwest::Identity::from_pem(&pem).unwrap());
    }
    let url = format!("https://localhost:{}/node/v1/{}", node.addresses.mtls.unwrap().port(), rig.names.station);
    let request = builder.build().unwrap().post(url).header("Content-Type", "text/xml");
    let response = request.body(messages::verify(&rig.names, NOTICE)).send().await?;
    Ok(Reply::of(response).await)
}

/// A client certificate of `authority`.
fn client(rig: &Rig, authority: &Authority, file: &str, name: &str, usage: Usage) -> Identity {
    let leaf = Leaf { common_name: name, organisation: None, names: &[name], usages: &[usage] };
    let (cert, key) = authority.issue_into(rig.mesh.dir(), file, &leaf).unwrap();
    Identity { cert, key, ca: PathBuf::new() }
}

#[tokio::test]
async fn the_node_is_let_in_by_its_authority_and_nobody_else() {
    let rig = Rig::start().await;
    let node = node(&rig, rig.mesh.node_server().ca, &[]).await;
    call(&rig, &node, Some(&rig.mesh.node_client())).await.unwrap().assert_ok();
    assert!(call(&rig, &node, None).await.is_err(), "no certificate");
    assert!(call(&rig, &node, Some(&rig.mesh.identity("tenant"))).await.is_err(), "a certificate of the mesh");
    let stranger = Authority::new("Somebody").unwrap();
    let stranger = client(&rig, &stranger, "stranger", "node", Usage::Client);
    assert!(call(&rig, &node, Some(&stranger)).await.is_err(), "a certificate of another authority");
}

#[tokio::test]
async fn a_pinned_certificate_is_the_only_one() {
    let rig = Rig::start().await;
    let known = rig.mesh.node_client();
    let node = node(&rig, known.cert.clone(), &[]).await;
    call(&rig, &node, Some(&known)).await.unwrap().assert_ok();
    let sibling = client(&rig, rig.mesh.node_authority(), "sibling", "node", Usage::Client);
    assert!(call(&rig, &node, Some(&sibling)).await.is_err(), "same authority, same name, not pinned");
}

#[rstest]
#[case::named("forwarder.platform.pagopa.it", true)]
#[case::another_name("forwarder.example.it", false)]
#[tokio::test]
async fn of_a_public_authority_only_the_name_is_let_in(#[case] name: &str, #[case] let_in: bool) {
    let rig = Rig::start().await;
    let node = node(&rig, rig.mesh.node_server().ca, &["forwarder.platform.pagopa.it"]).await;
    // Public authorities give out certificates for servers.
    let forwarder = client(&rig, rig.mesh.node_authority(), "forwarder", name, Usage::Server);
    let answered = call(&rig, &node, Some(&forwarder)).await;
    assert_eq!(answered.is_ok(), let_in, "{answered:?}");
}

#[tokio::test]
async fn a_bundle_may_hold_the_present_and_the_next_certificate() {
    let rig = Rig::start().await;
    let next = client(&rig, rig.mesh.node_authority(), "next", "node", Usage::Client);
    let bundle = rig.mesh.dir().join("bundle.crt");
    let present = std::fs::read(rig.mesh.node_client().cert).unwrap();
    std::fs::write(&bundle, [present, std::fs::read(&next.cert).unwrap()].concat()).unwrap();
    let node = node(&rig, bundle, &[]).await;
    call(&rig, &node, Some(&rig.mesh.node_client())).await.unwrap().assert_ok();
    call(&rig, &node, Some(&next)).await.unwrap().assert_ok();
}

#[tokio::test]
async fn a_bundle_without_certificates_is_refused_at_start() {
    let rig = Rig::start().await;
    let bundle = rig.mesh.dir().join("empty.crt");
    std::fs::write(&bundle, "").unwrap();
    let readiness = fiorino_kit::admin::Readiness::new(&["listener"]);
    let clock = fiorino_kit::clock::Clock::system();
    let started =
        fiorino_node_connector::Service::start(options(&rig, bundle, &[]), Tuning::default(), clock, readiness);
    let error = started.await.unwrap_err();
    let file = std::error::Error::source(&error).unwrap();
    let cause = file.source().unwrap().to_string();
    assert!(file.to_string().contains("empty.crt") && cause.contains("no certificate"), "{file}: {cause}");
}

#[tokio::test]
async fn a_replaced_bundle_needs_no_restart() {
    let rig = Rig::start().await;
    let bundle = rig.mesh.dir().join("bundle.crt");
    std::fs::copy(rig.mesh.node_client().cert, &bundle).unwrap();
    let node = node(&rig, bundle.clone(), &[]).await;
    let next = client(&rig, rig.mesh.node_authority(), "next", "node", Usage::Client);
    assert!(call(&rig, &node, Some(&next)).await.is_err());
    // What cannot be used changes nothing.
    std::fs::write(&bundle, "nonsense").unwrap();
    tokio::time::sleep(Duration::from_secs(6)).await;
    call(&rig, &node, Some(&rig.mesh.node_client())).await.unwrap().assert_ok();
    std::fs::copy(&next.cert, &bundle).unwrap();
    eventually(SOON, async || call(&rig, &node, Some(&next)).await).await.unwrap().assert_ok();
    assert!(call(&rig, &node, Some(&rig.mesh.node_client())).await.is_err(), "the old one is out");
}
