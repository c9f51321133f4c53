//! HTTP by hand.

use std::net::SocketAddr;

use fiorino_test_support::raw;
pub(super) use fiorino_test_support::raw::{Answer, is_closed};
use tokio::net::TcpStream;

use crate::rig::Node;

/// The head of a POST to a station without its end, with the usual content type.
pub(super) fn head(station: &str, headers: &[(&str, &str)]) -> String {
    let typed = headers.iter().any(|(name, _)| *name == "Content-Type");
    let usual = (!typed).then_some(("Content-Type", "text/xml; charset=utf-8"));
    let lines = headers.iter().copied().chain(usual).map(|(name, value)| format!("{name}: {value}\r\n"));
    format!("POST /node/v1/{station} HTTP/1.1\r\nHost: station\r\n{}\r\n", lines.collect::<String>())
}

pub(super) fn post(station: &str, body: &[u8]) -> Vec<u8> {
    post_with(station, &[], body)
}

pub(super) fn post_with(station: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let length = body.len().to_string();
    let headers = [headers, &[("Content-Length", length.as_str())]].concat();
    [head(station, &headers).as_bytes(), body].concat()
}

pub(super) fn plain(node: &Node) -> SocketAddr {
    node.addresses.plain.unwrap()
}

/// Sends everything, ends the sending side, and reads every answer until the other side ends too.
pub(super) async fn exchange(node: &Node, bytes: impl AsRef<[u8]>) -> Vec<Answer> {
    raw::exchange(plain(node), bytes).await.unwrap()
}

/// What comes until the other side closes; a reset is an end too.
pub(super) async fn read_to_end(stream: &mut TcpStream) -> Vec<u8> {
    raw::read_to_end(stream).await.unwrap()
}

/// Takes answers apart; anything that is none fails the test.
pub(super) fn answers(bytes: &[u8]) -> Vec<Answer> {
    raw::answers(bytes).unwrap()
}
