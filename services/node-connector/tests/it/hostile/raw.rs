//! HTTP by hand.

use std::{io::ErrorKind, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::rig::{Node, SOON};

/// One answer as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: String,
}

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
    let mut stream = TcpStream::connect(plain(node)).await.unwrap();
    // The other side may refuse and close before it has read everything.
    match stream.write_all(bytes.as_ref()).await {
        Ok(()) => stream.shutdown().await.unwrap_or_default(),
        Err(error) => assert!(is_closed(error.kind()), "{error}"),
    }
    answers(&read_to_end(&mut stream).await)
}

/// What comes until the other side closes; a reset is an end too.
pub(super) async fn read_to_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    let mut chunk = vec![0; 16 * 1024];
    loop {
        match timeout(SOON, stream.read(&mut chunk)).await.expect("the connection is not closed") {
            Ok(0) => return all,
            Ok(read) => all.extend_from_slice(&chunk[..read]),
            Err(error) if is_closed(error.kind()) => return all,
            Err(error) => panic!("{error}"),
        }
    }
}

pub(super) fn is_closed(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted)
}

/// Takes answers apart; anything that is none fails the test.
pub(super) fn answers(bytes: &[u8]) -> Vec<Answer> {
    let mut rest = bytes;
    let mut answers = Vec::new();
    while !rest.is_empty() {
        let text = String::from_utf8_lossy(rest);
        let (head, _) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text}"));
        let status =
            head.strip_prefix("HTTP/1.1 ").or_else(|| head.strip_prefix("HTTP/1.0 ")).and_then(|rest| rest.get(..3));
        let status = status.and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("no status: {head}"));
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("content-length").then(|| value.parse::<usize>().unwrap())
        });
        let begin = head.len() + 4;
        let end = begin + length.unwrap_or_default();
        assert!(end <= rest.len(), "an answer breaks off: {text}");
        let body = String::from_utf8(rest[begin..end].to_vec()).unwrap();
        answers.push(Answer { status, head: head.to_owned(), body });
        rest = &rest[end..];
    }
    answers
}
