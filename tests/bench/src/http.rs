//! A caller over HTTP/1.1 that costs next to nothing: requests are prepared, of the answer only what matters is looked at.

use std::{net::SocketAddr, sync::Arc};

use anyhow::{Context as _, Result, bail, ensure};
use memchr::memmem;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::load::Caller;

const ANSWER_MAX: usize = 64 * 1024;

/// Requests one behind the other.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

/// A kept connection.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    requests: Arc<Requests>,
    /// Of the first request of the run.
    first: u64,
    expect: &'static [u8],
    buffer: Vec<u8>,
}

// === impl Requests ===

impl Requests {
    /// Adds a POST of a SOAP message.
    pub(crate) fn post(&mut self, path: &str, action: &str, body: &str) {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: text/xml; charset=utf-8\r\nsoapaction: \"{action}\"\r\n\
             content-length: {}\r\n\r\n",
            body.len()
        );
        self.bytes.extend_from_slice(head.as_bytes());
        self.bytes.extend_from_slice(body.as_bytes());
        self.ends.push(self.bytes.len());
    }

    pub(crate) fn len(&self) -> u64 {
        self.ends.len() as u64
    }

    fn get(&self, index: u64) -> Option<&[u8]> {
        let at = usize::try_from(index).ok()?;
        let start = at.checked_sub(1).map_or(Some(0), |before| self.ends.get(before).copied())?;
        self.bytes.get(start..*self.ends.get(at)?)
    }
}

// === impl Connection ===

impl Connection {
    /// `count` connections for the requests from `first` on; `expect` stands in every right answer.
    ///
    /// # Errors
    /// When nobody listens.
    pub(crate) async fn open(
        address: SocketAddr,
        count: usize,
        requests: &Arc<Requests>,
        first: u64,
        expect: &'static str,
    ) -> Result<Vec<Self>> {
        let mut connections = Vec::with_capacity(count);
        for _ in 0..count {
            let stream = TcpStream::connect(address).await.with_context(|| format!("nobody listens on {address}"))?;
            stream.set_nodelay(true)?;
            let (requests, buffer) = (Arc::clone(requests), Vec::with_capacity(4096));
            connections.push(Self { stream, requests, first, expect: expect.as_bytes(), buffer });
        }
        Ok(connections)
    }

    async fn answer(&mut self) -> Result<()> {
        self.buffer.clear();
        let (head, length) = loop {
            if let Some(head) = memmem::find(&self.buffer, b"\r\n\r\n") {
                break (head + 4, content_length(&self.buffer[..head])?);
            }
            self.more().await?;
        };
        while self.buffer.len() < head + length {
            self.more().await?;
        }
        ensure!(self.buffer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&self.buffer));
        let right = memmem::find(&self.buffer[head..], self.expect).is_some();
        ensure!(right, "{}", String::from_utf8_lossy(&self.buffer[head..]));
        Ok(())
    }

    async fn more(&mut self) -> Result<()> {
        ensure!(self.buffer.len() < ANSWER_MAX, "an answer without end");
        if self.stream.read_buf(&mut self.buffer).await? == 0 {
            bail!("the connection was closed");
        }
        Ok(())
    }
}

impl Caller for Connection {
    async fn call(&mut self, index: u64) -> Result<()> {
        let request = self.requests.get(self.first + index).context("more calls than requests")?;
        self.stream.write_all(request).await?;
        self.answer().await
    }
}

fn content_length(head: &[u8]) -> Result<usize> {
    let head = std::str::from_utf8(head)?;
    let value = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then_some(value.trim())
    });
    Ok(value.context("an answer without length")?.parse()?)
}
