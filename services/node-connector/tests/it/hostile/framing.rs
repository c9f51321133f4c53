//! Where a request ends, and who might see it end elsewhere (RFC 9112).

use rstest::rstest;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::raw::{answers, exchange, head, plain, post, post_with, read_to_end};
use crate::{
    rig::{
        Node, Rig,
        messages::{self, NOTICE, Receipt},
    },
    storage,
};

/// A request that must never be seen as one.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: station\r\n\r\n";

async fn statuses(node: &Node, bytes: impl AsRef<[u8]>) -> Vec<u16> {
    exchange(node, bytes).await.into_iter().map(|answer| answer.status).collect()
}

fn chunked(body: &str) -> String {
    format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len())
}

#[rstest]
#[case::length_first(&[("Content-Length", "4"), ("Transfer-Encoding", "chunked")])]
#[case::coding_first(&[("Transfer-Encoding", "chunked"), ("Content-Length", "4")])]
#[case::case_of_letters(&[("content-length", "4"), ("TRANSFER-ENCODING", "Chunked")])]
#[tokio::test]
async fn with_length_and_coding_nothing_follows(#[case] headers: &[(&str, &str)]) {
    let (rig, node) = Rig::with_node().await;
    let body = chunked(&messages::verify(&rig.names, NOTICE));
    let told = exchange(&node, format!("{}{body}{SMUGGLED}", head(&rig.names.station, headers))).await;
    // Read by its chunks and then closed: what follows is nobody's request.
    assert!(told.len() == 1 && told[0].body.contains("<outcome>OK</outcome>"), "{told:?}");
    assert!(told[0].head.to_ascii_lowercase().contains("connection: close"), "{}", told[0].head);
}

#[rstest]
#[case::different(&["4", "60"])]
#[case::list(&["4, 60"])]
#[case::signed(&["+4"])]
#[case::negative(&["-1"])]
#[case::hexadecimal(&["0x4"])]
#[case::empty(&[""])]
#[case::spaced(&["4 4"])]
#[case::too_big(&["18446744073709551616"])]
#[tokio::test]
async fn a_length_is_one_number(#[case] lengths: &[&str]) {
    let (rig, node) = Rig::with_node().await;
    let headers: Vec<_> = lengths.iter().map(|&length| ("Content-Length", length)).collect();
    let told = statuses(&node, format!("{}0123{SMUGGLED}", head(&rig.names.station, &headers))).await;
    assert_eq!(told, [400]);
}

#[rstest]
#[case::unknown("gzip")]
#[case::not_last("chunked, gzip")]
#[case::misspelt("xchunked")]
#[case::identity("identity")]
#[tokio::test]
async fn another_transfer_coding_is_refused(#[case] coding: &str) {
    let (rig, node) = Rig::with_node().await;
    let head = head(&rig.names.station, &[("Transfer-Encoding", coding)]);
    assert_eq!(statuses(&node, format!("{head}0\r\n\r\n{SMUGGLED}")).await, [400]);
}

/// Whoever stands before us may go by the first line, the last, or both: none of them is believed.
#[rstest]
#[case::twice("HTTP/1.1", &["chunked", "chunked"])]
#[case::another_first("HTTP/1.1", &["gzip", "chunked"])]
#[case::identity_first("HTTP/1.1", &["identity", "chunked"])]
#[case::another_last("HTTP/1.1", &["chunked", "identity"])]
#[case::compressed_chunks("HTTP/1.1", &["gzip, chunked"])]
#[case::chunked_twice_in_a_line("HTTP/1.1", &["chunked, chunked"])]
#[case::of_http_1_0("HTTP/1.0", &["chunked"])]
#[case::of_http_1_0_twice("HTTP/1.0", &["chunked", "chunked"])]
#[tokio::test]
async fn transfer_codings_that_readers_differ_on_are_refused(#[case] version: &str, #[case] codings: &[&str]) {
    let (rig, node) = Rig::with_node().await;
    let headers: Vec<_> = codings.iter().map(|&coding| ("Transfer-Encoding", coding)).collect();
    let head = head(&rig.names.station, &headers).replacen("HTTP/1.1", version, 1);
    for body in [Receipt::new(&rig.names, "r1").write(), "no receipt".to_owned()] {
        // The sending side stays open: it is the other that ends the connection.
        let mut stream = TcpStream::connect(plain(&node)).await.unwrap();
        stream.write_all(format!("{head}{}{SMUGGLED}", chunked(&body)).as_bytes()).await.unwrap();
        let told: Vec<_> = answers(&read_to_end(&mut stream).await).into_iter().map(|answer| answer.status).collect();
        assert_eq!(told, [400]);
    }
    assert_eq!(storage::messages(&rig.db.pool).await, Vec::<String>::new());
    assert_eq!(storage::unreadable(&rig.db.pool).await, []);
}

#[rstest]
#[case::not_hexadecimal("xyz\r\n")]
#[case::bare_line_feed("4\nabcd\r\n0\r\n\r\n")]
#[case::too_big("ffffffffffffffffff\r\n")]
#[case::negative("-4\r\nabcd\r\n0\r\n\r\n")]
#[case::longer_than_told("2\r\nabcd\r\n0\r\n\r\n")]
#[case::ends_early("ff\r\nabcd")]
#[tokio::test]
async fn a_broken_chunk_ends_the_connection(#[case] body: &str) {
    let (rig, node) = Rig::with_node().await;
    let head = head(&rig.names.station, &[("Transfer-Encoding", "chunked")]);
    assert_eq!(statuses(&node, format!("{head}{body}{SMUGGLED}")).await, [400]);
}

#[tokio::test]
async fn endless_chunk_extensions_and_trailers_end_the_connection() {
    let (rig, node) = Rig::with_node().await;
    let head = head(&rig.names.station, &[("Transfer-Encoding", "chunked")]);
    for body in [format!("4;{}\r\n", "x".repeat(64 * 1024)), format!("0\r\na: {}\r\n\r\n", "x".repeat(64 * 1024))] {
        let told = statuses(&node, format!("{head}{body}{SMUGGLED}")).await;
        assert!(told.is_empty() || told == [400], "{told:?}");
    }
}

/// What hyper refuses by itself, and how.
#[rstest]
#[case::folded("X-A: a\r\n b\r\n", &[400])]
#[case::bare_carriage_return("X-A: a\rContent-Length: 4\r\n", &[400])]
#[case::nul("X-A: a\0b\r\n", &[400])]
#[case::space_before_colon("X-A : a\r\n", &[400])]
#[case::no_name(": a\r\n", &[400])]
#[case::no_colon("X-A\r\n", &[400])]
#[case::begins_with_space(" X-A: a\r\n", &[400])]
#[case::second_host("Host: other\r\n", &[400])]
#[case::second_content_type("Content-Type: text/plain\r\n", &[415])]
#[case::compressed("Content-Encoding: gzip\r\n", &[415])]
#[case::upgrade("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n", &[200])]
#[case::web_socket("Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n", &[200])]
#[case::method_override("X-HTTP-Method-Override: DELETE\r\nX-Original-URL: /admin\r\n", &[200])]
#[case::not_ascii("X-A: \u{e8}\r\n", &[200])]
#[tokio::test]
async fn a_field_is_read_or_refused(#[case] line: &str, #[case] expected: &[u16]) {
    let (rig, node) = Rig::with_node().await;
    let verify = messages::verify(&rig.names, NOTICE);
    let request = String::from_utf8(post(&rig.names.station, verify.as_bytes())).unwrap();
    let request = request.replacen("Host: station\r\n", &format!("Host: station\r\n{line}"), 1);
    assert_eq!(statuses(&node, request).await, expected);
}

#[rstest]
#[case::long_field(|| format!("X-A: {}\r\n", "a".repeat(20 * 1024)))]
#[case::many_fields(|| "X-A: a\r\n".repeat(65))]
#[case::endless(|| "X-A: a\r\n".repeat(100_000))]
#[tokio::test]
async fn a_head_is_bounded(#[case] lines: fn() -> String) {
    let lines = lines();
    let (rig, node) = Rig::with_node().await;
    let request = head(&rig.names.station, &[]).replacen("Host: station\r\n", &format!("Host: station\r\n{lines}"), 1);
    let told = statuses(&node, request).await;
    assert!(told == [431] || told.is_empty() && lines.len() > 100_000, "{told:?}");
}

#[rstest]
#[case::http_0_9("GET /\r\n", &[400])]
#[case::http_2("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &[])]
#[case::http_3("GET / HTTP/3.0\r\nHost: a\r\n\r\n", &[400])]
#[case::tls("\u{16}\u{3}\u{1}\u{2}\0\u{1}\0", &[400])]
#[case::two_spaces("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", &[400])]
#[case::control("GET /\u{1} HTTP/1.1\r\nHost: a\r\n\r\n", &[400])]
#[case::connect("CONNECT evil.example.it:443 HTTP/1.1\r\nHost: a\r\n\r\n", &[404])]
#[case::trace("TRACE /node/v1/x HTTP/1.1\r\nHost: a\r\n\r\n", &[405])]
#[case::invented("STEAL /node/v1/x HTTP/1.1\r\nHost: a\r\n\r\n", &[405])]
#[tokio::test]
async fn a_request_line_is_read_or_refused(#[case] request: &str, #[case] expected: &[u16]) {
    let (rig, node) = Rig::with_node().await;
    assert_eq!(statuses(&node, request).await, expected);
    node.call(&rig.names.station, messages::verify(&rig.names, NOTICE)).await.assert_ok();
}

#[tokio::test]
async fn a_path_is_bounded() {
    let (_rig, node) = Rig::with_node().await;
    let request = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(20_000));
    assert_eq!(statuses(&node, request).await, [431]);
}

#[tokio::test]
async fn requests_in_a_row_are_answered_in_order_and_by_absolute_uri_too() {
    let (rig, node) = Rig::with_node().await;
    let verify = post(&rig.names.station, messages::verify(&rig.names, NOTICE).as_bytes());
    let absolute = String::from_utf8(verify.clone()).unwrap().replacen("/node", "http://elsewhere.example.it/node", 1);
    let unknown = b"GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n".to_vec();
    let told = exchange(&node, [verify.clone(), unknown, absolute.into_bytes(), verify].concat()).await;
    let statuses: Vec<_> = told.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [200, 404, 200, 200]);
    assert!(told[0] == told[3] || told[0].body == told[3].body, "{told:?}");
}

#[tokio::test]
async fn who_asks_first_is_told_to_continue_unless_the_head_is_refused() {
    let (rig, node) = Rig::with_node().await;
    let verify = messages::verify(&rig.names, NOTICE);
    let length = verify.len().to_string();
    let head = |more: &[(&str, &str)]| {
        let expect = [("Expect", "100-continue"), ("Content-Length", &length), ("Content-Type", "text/xml")];
        super::raw::head(&rig.names.station, &[&expect[..], more].concat())
    };
    let mut stream = TcpStream::connect(plain(&node)).await.unwrap();
    stream.write_all(head(&[]).as_bytes()).await.unwrap();
    let mut told = [0; 25];
    stream.read_exact(&mut told).await.unwrap();
    assert_eq!(&told, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(verify.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let told = answers(&read_to_end(&mut stream).await);
    assert!(told.len() == 1 && told[0].body.contains("<outcome>OK</outcome>"), "{told:?}");

    assert_eq!(statuses(&node, head(&[("Host", "another")])).await, [400], "the body is not asked for");
}

#[tokio::test]
async fn a_body_longer_than_told_is_the_next_request() {
    let (rig, node) = Rig::with_node().await;
    let verify = messages::verify(&rig.names, NOTICE);
    let longer = [post(&rig.names.station, verify.as_bytes()), b"garbage\r\n\r\n".to_vec()].concat();
    assert_eq!(statuses(&node, longer).await, [200, 400]);
    let told = verify.len() + 1;
    let shorter = head(&rig.names.station, &[("Content-Length", &told.to_string())]) + &verify;
    assert_eq!(statuses(&node, shorter).await, [400]);
}

#[tokio::test]
async fn lines_may_end_in_a_line_feed_alone() {
    let (rig, node) = Rig::with_node().await;
    let verify = messages::verify(&rig.names, NOTICE);
    let request = post_with(&rig.names.station, &[], verify.as_bytes());
    let request = String::from_utf8(request).unwrap().replace("\r\n", "\n");
    // RFC 9112, 2.2 allows it; the body's length still counts in bytes, so nothing is left over.
    assert_eq!(statuses(&node, request).await, [200]);
}
