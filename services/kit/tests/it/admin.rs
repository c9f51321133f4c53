//! Probes and metrics over HTTP.

use std::{net::SocketAddr, time::Duration};

use fiorino_kit::{
    admin::{self, Readiness},
    clock::Clock,
    options::AdminOptions,
    process::{self, Context},
    telemetry::Telemetry,
};
use fiorino_test_support::{eventually, free_port};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::CancellationToken;

/// Status line and body, without a client library.
async fn get(address: SocketAddr, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

#[tokio::test]
async fn probes_tell_what_is_missing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (readiness, token) = (Readiness::new(&["configuration", "listener"]), CancellationToken::new());
    let served = tokio::spawn(admin::serve_on(listener, Telemetry::none(), readiness.clone(), token.clone()));

    assert_eq!(get(address, "/livez").await.0, "HTTP/1.1 200 OK");
    let (status, body) = get(address, "/readyz").await;
    assert_eq!(status, "HTTP/1.1 503 Service Unavailable");
    assert_eq!(body, "waiting for configuration, listener\n");
    readiness.set("configuration", true);
    readiness.set("listener", true);
    assert_eq!(get(address, "/readyz").await.0, "HTTP/1.1 200 OK");
    assert_eq!(get(address, "/metrics").await.0, "HTTP/1.1 200 OK");
    assert_eq!(get(address, "/").await.0, "HTTP/1.1 404 Not Found");
    token.cancel();
    served.await.unwrap().unwrap();
}

fn context() -> Context {
    Context { token: CancellationToken::new(), readiness: Readiness::new(&[]), clock: Clock::system() }
}

#[tokio::test]
async fn probes_are_served_to_the_end_of_the_work() {
    let address = free_address();
    let options = AdminOptions { admin_listen: address };
    let work = async {
        eventually(Duration::from_secs(10), async || TcpStream::connect(address).await).await.unwrap();
        assert_eq!(get(address, "/livez").await.0, "HTTP/1.1 200 OK");
        Err::<(), _>("the work failed")
    };
    let outcome = process::supervise(&options, Telemetry::none(), context(), work).await;
    assert_eq!(outcome.unwrap_err().to_string(), "the work failed");
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn without_probes_there_is_no_work() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let options = AdminOptions { admin_listen: taken.local_addr().unwrap() };
    let work = async { panic!("must not run") as Result<(), String> };
    assert!(process::supervise(&options, Telemetry::none(), context(), work).await.is_err());
}

fn free_address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port().unwrap()))
}
