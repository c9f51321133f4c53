//! The listener for the node: who is let in (ARCHITECTURE.md 6.3).

use std::path::PathBuf;

use fiorino_node_connector::{Options, Tuning};
use fiorino_test_support::{
    certs::{Authority, Identity, Leaf, Usage},
    eventually,
};
use rstest::rstest;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

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

pub(crate) fn options(rig: &Rig, bundle: PathBuf, names: &[&str]) -> Options {
    let mut options = rig.options("node-connector-0");
    let server = rig.mesh.node_server();
    options.node.listen_mtls = Some(loopback());
    options.node.node_cert = Some(server.cert);
    options.node.node_key = Some(server.key);
    options.node.node_client_ca = Some(bundle);
    options.node.node_client_names = names.iter().map(|&name| name.to_owned()).collect();
    options.node.node_client_any_name = names.is_empty();
    options
}

/// Calls with the certificate, and only it: the node sends no chain.
pub(crate) async fn call(rig: &Rig, node: &Node, client: Option<&Identity>) -> reqwest::Result<Reply> {
    post(rig, node, &client_of(rig, client).build().unwrap()).await
}

fn client_of(rig: &Rig, client: Option<&Identity>) -> reqwest::ClientBuilder {
    let authority = reqwest::Certificate::from_pem(&std::fs::read(rig.mesh.node_server().ca).unwrap()).unwrap();
    let mut builder = reqwest::Client::builder().tls_certs_only([authority]).http1_only();
    if let Some(Identity { cert, key, .. }) = client {
        let pem = [std::fs::read(cert).unwrap(), std::fs::read(key).unwrap()].concat();
        builder = builder.identity(reqwest::Identity::from_pem(&pem).unwrap());
    }
    builder
}

async fn post(rig: &Rig, node: &Node, client: &reqwest::Client) -> reqwest::Result<Reply> {
    let url = format!("https://localhost:{}/node/v1/{}", node.addresses.mtls.unwrap().port(), rig.names.station);
    let request = client.post(url).header("Content-Type", "text/xml");
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
    std::fs::copy(&next.cert, &bundle).unwrap();
    eventually(SOON, async || call(&rig, &node, Some(&next)).await).await.unwrap().assert_ok();
    assert!(call(&rig, &node, Some(&rig.mesh.node_client())).await.is_err(), "the old one is out");
}

/// The first record that answers a hello which offers TLS 1.`minor - 1` at most: its content type.
async fn answer_to_hello(node: &Node, minor: u8) -> u8 {
    const EXTENSIONS: [u8; 22] = [
        0, 10, 0, 4, 0, 2, 0, 29, // supported groups: x25519
        0, 11, 0, 2, 1, 0, // point formats: uncompressed
        0, 13, 0, 4, 0, 2, 4, 3, // signatures: ecdsa_secp256r1_sha256
    ];
    let mut hello = vec![3, minor];
    hello.extend([7; 32]);
    hello.extend([0, 0, 4, 0xc0, 0x2b, 0xc0, 0x09, 1, 0]); // no session; suites of TLS 1.2 and 1.0; no compression
    hello.extend([0, 22]);
    hello.extend(EXTENSIONS);
    let length = u8::try_from(hello.len()).unwrap();
    let mut record = vec![22, 3, 1, 0, length + 4, 1, 0, 0, length];
    record.extend(hello);
    let mut stream = tokio::net::TcpStream::connect(node.addresses.mtls.unwrap()).await.unwrap();
    stream.write_all(&record).await.unwrap();
    stream.read_u8().await.unwrap()
}

#[tokio::test]
async fn an_older_tls_is_refused() {
    const ALERT: u8 = 21;
    const HANDSHAKE: u8 = 22;
    let rig = Rig::start().await;
    let node = node(&rig, rig.mesh.node_client().cert, &[]).await;
    assert_eq!(answer_to_hello(&node, 1).await, ALERT, "TLS 1.0");
    assert_eq!(answer_to_hello(&node, 2).await, ALERT, "TLS 1.1");
    assert_eq!(answer_to_hello(&node, 3).await, HANDSHAKE, "the same hello of TLS 1.2");
}

#[rstest]
#[case::tls_1_2(reqwest::tls::Version::TLS_1_2)]
#[case::tls_1_3(reqwest::tls::Version::TLS_1_3)]
#[tokio::test]
async fn tls_1_2_and_1_3_are_spoken(#[case] version: reqwest::tls::Version) {
    let rig = Rig::start().await;
    let node = node(&rig, rig.mesh.node_client().cert, &[]).await;
    let client = client_of(&rig, Some(&rig.mesh.node_client()));
    let client = client.tls_version_min(version).tls_version_max(version).build().unwrap();
    post(&rig, &node, &client).await.unwrap().assert_ok();
}

#[tokio::test]
async fn an_authority_without_names_is_refused_at_start() {
    let rig = Rig::start().await;
    let mut options = options(&rig, rig.mesh.node_server().ca, &[]);
    options.node.node_client_any_name = false;
    let readiness = fiorino_kit::admin::Readiness::new(&["listener"]);
    let clock = fiorino_kit::clock::Clock::system();
    let started = fiorino_node_connector::Service::start(options, Tuning::default(), clock, readiness);
    let error = fiorino_kit::error::chain(&started.await.unwrap_err());
    assert!(error.contains("--node-client-names") && error.contains("node-ca.crt"), "{error}");
}
