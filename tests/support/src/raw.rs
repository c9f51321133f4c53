//! HTTP/1.1 by hand, for what no client sends.

use std::{
    io::{Error, ErrorKind},
    net::SocketAddr,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

/// How long the other side may take for its next bytes, or to close.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two pieces of [`trickle`].
const PIECE_EVERY: Duration = Duration::from_millis(50);

/// One answer as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status, e.g. 200.
    pub status: u16,
    /// The status line and the fields, without the blank line.
    pub head: String,
    /// As many bytes as the head tells.
    pub body: String,
}

/// Sends everything, ends the sending side, and reads every answer until the other side ends too.
///
/// # Errors
/// It cannot be reached, does not close within 10 s, or answers what is no HTTP.
pub async fn exchange(address: SocketAddr, bytes: impl AsRef<[u8]>) -> Result<Vec<Answer>> {
    let mut stream = TcpStream::connect(address).await?;
    // The other side may refuse and close before it has read everything.
    match stream.write_all(bytes.as_ref()).await {
        Ok(()) => stream.shutdown().await.unwrap_or_default(),
        Err(error) => ensure!(is_closed(&error), "{error}"),
    }
    answers(&read_to_end(&mut stream).await?)
}

/// Sends a piece every 50 ms until the other side has had enough; answers what it said then.
///
/// # Errors
/// The connection breaks in an odd way.
pub async fn trickle(mut stream: TcpStream, piece: &[u8]) -> Result<Vec<u8>> {
    while stream.write_all(piece).await.is_ok() {
        let mut chunk = [0; 4096];
        match timeout(PIECE_EVERY, stream.read(&mut chunk)).await {
            Ok(Ok(read)) => return Ok(chunk.get(..read).unwrap_or_default().to_vec()),
            Ok(Err(error)) if is_closed(&error) => return Ok(Vec::new()),
            Ok(Err(error)) => return Err(error.into()),
            Err(_) => {}
        }
    }
    Ok(Vec::new())
}

/// What comes until the other side closes; a reset is an end too.
///
/// # Errors
/// Nothing comes for 10 s.
pub async fn read_to_end(stream: &mut TcpStream) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    let mut chunk = vec![0; 16 * 1024];
    loop {
        match timeout(PATIENCE, stream.read(&mut chunk)).await.context("the connection is not closed")? {
            Ok(0) => return Ok(all),
            Ok(read) => all.extend_from_slice(chunk.get(..read).unwrap_or_default()),
            Err(error) if is_closed(&error) => return Ok(all),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Whether the other side has gone.
pub fn is_closed(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted)
}

/// Takes answers apart.
///
/// # Errors
/// Something is none.
pub fn answers(bytes: &[u8]) -> Result<Vec<Answer>> {
    let mut rest = bytes;
    let mut answers = Vec::new();
    while !rest.is_empty() {
        let text = String::from_utf8_lossy(rest).into_owned();
        let (head, _) = text.split_once("\r\n\r\n").with_context(|| format!("no answer: {text}"))?;
        let status = head.strip_prefix("HTTP/1.1 ").or_else(|| head.strip_prefix("HTTP/1.0 "));
        let status = status.and_then(|rest| rest.get(..3)).and_then(|status| status.parse().ok());
        let status = status.with_context(|| format!("no status: {head}"))?;
        let length = head.lines().filter_map(|line| line.split_once(": "));
        let length = length.filter(|(name, _)| name.eq_ignore_ascii_case("content-length")).map(|(_, value)| value);
        let begin = head.len() + 4;
        let end = begin + length.map(str::parse::<usize>).next().transpose()?.unwrap_or_default();
        let body = rest.get(begin..end).with_context(|| format!("an answer breaks off: {text}"))?;
        answers.push(Answer { status, head: head.to_owned(), body: String::from_utf8(body.to_vec())? });
        rest = rest.get(end..).unwrap_or_default();
    }
    Ok(answers)
}
