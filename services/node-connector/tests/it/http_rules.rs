//! What HTTP asks of a call before SOAP does.

use fiorino_test_support::within;
use std::time::Duration;

use fiorino_node_connector::{Service, Tuning};
use reqwest::Method;
use rstest::rstest;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    rig::{
        Node, Reply, Rig,
        messages::{self, NOTICE, Receipt},
        schema,
    },
    storage,
};

#[rstest]
#[case::get(Method::GET)]
#[case::put(Method::PUT)]
#[tokio::test]
async fn only_post_is_allowed(#[case] method: Method) {
    let (rig, node) = Rig::with_node().await;
    let reply = Reply::of(node.http.request(method, node.url(&rig.names.station)).send().await.unwrap()).await;
    schema::assert_valid(&reply);
    reply.assert_fault(405, "POST");
    assert_eq!(reply.headers["allow"], "POST");
}

#[rstest]
#[case("/")]
#[case("/node/v1")]
#[case("/node/v2/88888888888_01")]
#[case("/node/v1/88888888888_01/more")]
#[case("/node/v1/%ff")]
#[tokio::test]
async fn other_paths_are_not_found(#[case] path: &str) {
    let (rig, node) = Rig::with_node().await;
    let url = format!("http://{}{path}", node.addresses.plain.unwrap());
    for method in [Method::POST, Method::GET, Method::DELETE] {
        let reply = Reply::of(node.http.request(method, &url).send().await.unwrap()).await;
        schema::assert_valid(&reply);
        reply.assert_fault(404, "/node/v1/{stationId}");
    }
    assert!(storage::unreadable(&rig.db.pool).await.is_empty(), "nothing came that could be kept");
}

#[rstest]
#[case::soap_1_2("application/soap+xml; charset=utf-8")]
#[case::json("application/json")]
#[case::charset("text/xml; charset=utf-16")]
#[tokio::test]
async fn other_content_is_not_taken(#[case] content_type: &str) {
    let (rig, node) = Rig::with_node().await;
    let request = node.http.post(node.url(&rig.names.station)).header("Content-Type", content_type);
    let reply = Reply::of(request.body(messages::verify(&rig.names, NOTICE)).send().await.unwrap()).await;
    schema::assert_valid(&reply);
    reply.assert_fault(415, if content_type.contains("text/xml") { "charset" } else { "text/xml" });
}

async fn post(rig: &Rig, node: &Node, content_type: Option<&str>, body: impl Into<reqwest::Body>) -> Reply {
    let mut request = node.http.post(node.url(&rig.names.station)).body(body);
    if let Some(content_type) = content_type {
        request = request.header("Content-Type", content_type);
    }
    let reply = Reply::of(request.send().await.unwrap()).await;
    schema::assert_valid(&reply);
    reply
}

/// The node sends a receipt 48 times and then never again: none is turned away for how HTTP labels it.
#[rstest]
#[case::none(None)]
#[case::soap_1_2(Some("application/soap+xml; charset=utf-8"))]
#[case::json(Some("application/json"))]
#[case::charset(Some("text/xml; charset=utf-16"))]
#[tokio::test]
async fn a_receipt_of_any_content_type_is_taken(#[case] content_type: Option<&str>) {
    let (rig, node) = Rig::with_node().await;
    let receipt = Receipt::new(&rig.names, "r1").write();
    post(&rig, &node, content_type, receipt.clone()).await.assert_ok();
    assert_eq!(storage::messages(&rig.db.pool).await, std::slice::from_ref(&receipt));
    // Broken, it is kept as unreadable.
    let (broken, _) = receipt.split_once("<receiptId>").unwrap();
    post(&rig, &node, content_type, broken.to_owned()).await.assert_fault(500, "cannot be read");
    assert_eq!(storage::unreadable(&rig.db.pool).await, [(broken.as_bytes().to_vec(), 1)]);
    // A call that is no receipt can be made again, in order.
    let verify = post(&rig, &node, content_type, messages::verify(&rig.names, NOTICE)).await;
    verify.assert_fault(415, "must be");
}

#[tokio::test]
async fn a_stations_url_may_end_with_a_slash() {
    let (rig, node) = Rig::with_node().await;
    let station = format!("{}/", rig.names.station);
    node.call(&station, messages::verify(&rig.names, NOTICE)).await.assert_ok();
    node.call(&station, Receipt::new(&rig.names, "r1").write()).await.assert_ok();
}

#[rstest]
#[case::none(None)]
#[case::wrong(Some("paSendRT"))]
#[case::quoted(Some("\"paVerifyPaymentNotice\""))]
#[tokio::test]
async fn the_soap_action_decides_nothing(#[case] action: Option<&str>) {
    let (rig, node) = Rig::with_node().await;
    let mut request = node.http.post(node.url(&rig.names.station)).header("Content-Type", "text/xml");
    if let Some(action) = action {
        request = request.header("SOAPAction", action);
    }
    let reply = Reply::of(request.body(messages::verify(&rig.names, NOTICE)).send().await.unwrap()).await;
    reply.assert_ok();
}

#[tokio::test]
async fn a_message_in_latin_1_is_read_and_applied() {
    let (rig, node) = Rig::with_node().await;
    let text = Receipt::new(&rig.names, "r1").write().replace("TARI 2026 rata 1", "Imposta unità");
    let (_, text) = text.split_once("?>").unwrap();
    let latin: Vec<u8> = text.chars().map(|character| u8::try_from(u32::from(character)).unwrap()).collect();
    let request = node.http.post(node.url(&rig.names.station)).header("Content-Type", "text/xml; charset=iso-8859-1");
    Reply::of(request.body(latin).send().await.unwrap()).await.assert_ok();
    fiorino_test_support::eventually(crate::rig::SOON, async || {
        let script = rig.tenant.script();
        anyhow::ensure!(script.applied.len() == 1, "not applied yet");
        assert_eq!(script.applied[0].description, "Imposta unità");
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn the_callers_request_id_comes_back() {
    let (rig, node) = Rig::with_node().await;
    let request = node.http.post(node.url(&rig.names.station)).header("X-Request-Id", "4bf92f35-77b3");
    let request = request.header("Content-Type", "text/xml");
    let reply = Reply::of(request.body(messages::verify(&rig.names, NOTICE)).send().await.unwrap()).await;
    assert_eq!(reply.headers["x-request-id"], "4bf92f35-77b3");
    let reply = Reply::of(node.http.get(node.url("x")).send().await.unwrap()).await;
    assert!(reply.headers["x-request-id"].len() >= 32, "one is made where there is none");
}

#[tokio::test]
async fn only_a_receipt_may_be_long() {
    let (rig, node) = Rig::with_node().await;
    let padding = " ".repeat(1024 * 1024);
    let verify =
        messages::verify(&rig.names, NOTICE).replace("</soapenv:Envelope>", &format!("{padding}</soapenv:Envelope>"));
    node.call(&rig.names.station, verify).await.assert_fault(413, "1048576");
    let receipt = Receipt::new(&rig.names, "r1").write();
    let long = receipt.replace("</soapenv:Envelope>", &format!("{}</soapenv:Envelope>", padding.repeat(3)));
    node.call(&rig.names.station, long).await.assert_ok();
    let longer = receipt.replace("</soapenv:Envelope>", &format!("{}</soapenv:Envelope>", padding.repeat(4)));
    node.call(&rig.names.station, longer).await.assert_fault(413, "4194304");
}

#[tokio::test]
async fn a_connection_is_kept() {
    let (rig, node) = Rig::with_node().await;
    let mut stream = TcpStream::connect(node.addresses.plain.unwrap()).await.unwrap();
    let message = messages::verify(&rig.names, NOTICE);
    for _ in 0..3 {
        let request = format!(
            "POST /node/v1/{} HTTP/1.1\r\nHost: station\r\nContent-Type: text/xml\r\nContent-Length: {}\r\n\r\n{message}",
            rig.names.station,
            message.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let head = read_answer(&mut stream).await;
        assert!(head.starts_with("HTTP/1.1 200") && !head.to_ascii_lowercase().contains("connection: close"), "{head}");
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

#[tokio::test]
async fn a_body_that_does_not_come_is_given_up() {
    let rig = Rig::start().await;
    let mut tuning = Tuning::default();
    tuning.limits.body_within = Duration::from_millis(300);
    let node = Node::start(rig.options("node-connector-0"), tuning).await;
    let mut stream = TcpStream::connect(node.addresses.plain.unwrap()).await.unwrap();
    let request =
        "POST /node/v1/x HTTP/1.1\r\nHost: station\r\nContent-Type: text/xml\r\nContent-Length: 100\r\n\r\n<a";
    stream.write_all(request.as_bytes()).await.unwrap();
    let head = within(crate::rig::SOON, read_answer(&mut stream)).await.unwrap();
    assert!(head.starts_with("HTTP/1.1 408"), "{head}");
}

/// Reads head and body of one answer; gives the head.
async fn read_answer(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    loop {
        let mut chunk = [0; 4096];
        let read = stream.read(&mut chunk).await.unwrap();
        assert_ne!(read, 0, "the connection was closed after {}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&chunk[..read]);
        let text = String::from_utf8_lossy(&answer).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.to_ascii_lowercase();
            let length: usize =
                length.split_once("content-length: ").unwrap().1.lines().next().unwrap().parse().unwrap();
            if body.len() >= length {
                return head.to_owned();
            }
        }
    }
}

#[rstest]
#[case("0.0.0.0:0")]
#[case("[::]:0")]
#[tokio::test]
async fn the_plain_listener_is_for_loopback_alone(#[case] address: &str) {
    let rig = Rig::start().await;
    let mut options = rig.options("node-connector-0");
    options.node.plain_listen = Some(address.parse().unwrap());
    let readiness = fiorino_kit::admin::Readiness::new(&["listener"]);
    let clock = fiorino_kit::clock::Clock::system();
    let error = Service::start(options, Tuning::default(), clock, readiness).await.unwrap_err();
    let rule = std::error::Error::source(&error).unwrap().to_string();
    assert!(rule.contains("is not loopback") && rule.contains("--listen-mtls"), "{rule}");
}
