//! Callers that take their time: each is cut by a limit of its own, and others are served meanwhile.

use std::time::Duration;

use fiorino_node_connector::{Bounds, Limits, Options, Tuning};
use fiorino_test_support::{Stopwatch, raw::trickle, within};
use futures::future::join_all;
use rstest::rstest;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::sleep,
};

use super::raw::{answers, is_closed, plain, post, read_to_end};
use crate::rig::{
    Node, Rig, SOON,
    messages::{self, NOTICE},
};

const SHORT: Duration = Duration::from_millis(400);
/// How long the node waits (ARCHITECTURE.md 5.3).
pub(super) const KPI: Duration = Duration::from_secs(2);

/// Every limit short, but for `idle`.
async fn node(rig: &Rig, connections: usize, idle: Duration) -> Node {
    let bounds = Bounds { connections, idle, handshake_within: SHORT, head_within: SHORT, send_within: SHORT };
    bounded(rig.options("node-connector-0"), bounds).await
}

async fn bounded(options: Options, connections: Bounds) -> Node {
    let limits = Limits { body_within: SHORT, ..Limits::default() };
    let node = Node::start(options, Tuning { limits, connections, ..Tuning::default() }).await;
    node.ready().await;
    node
}

async fn verify_is_served(rig: &Rig, node: &Node) {
    let started = Stopwatch::start();
    // A connection of its own: not one that was let in before.
    let http = reqwest::Client::new();
    let request = http.post(node.url(&rig.names.station)).header("Content-Type", "text/xml");
    let answer = request.body(messages::verify(&rig.names, NOTICE)).send().await.unwrap().text().await.unwrap();
    assert!(answer.contains("<outcome>OK</outcome>"), "{answer}");
    assert!(started.within(KPI), "{:?}", started.elapsed());
}

#[rstest]
#[case::head("POST /node/v1/x HTTP/1.1\r\n", "X-A: a\r\n", None)]
#[case::head_by_the_byte("", "P", None)]
#[case::body(
    "POST /node/v1/x HTTP/1.1\r\nHost: a\r\nContent-Type: text/xml\r\nContent-Length: 9999\r\n\r\n",
    "<",
    Some(408)
)]
#[case::chunks(
    "POST /node/v1/x HTTP/1.1\r\nHost: a\r\nContent-Type: text/xml\r\nTransfer-Encoding: chunked\r\n\r\n",
    "1\r\n<\r\n",
    Some(408)
)]
#[tokio::test]
async fn who_sends_slowly_is_cut_and_others_are_served(
    #[case] begin: &str,
    #[case] piece: &str,
    #[case] status: Option<u16>,
) {
    let rig = Rig::start().await;
    let node = node(&rig, 1_024, SOON).await;
    let slow = (0..200).map(|_| async {
        let mut stream = TcpStream::connect(plain(&node)).await.unwrap();
        stream.write_all(begin.as_bytes()).await.unwrap();
        within(SOON, trickle(stream, piece.as_bytes())).await.expect("it is never cut").unwrap()
    });
    let (told, ()) = tokio::join!(join_all(slow), verify_is_served(&rig, &node));
    for told in told {
        let told: Vec<_> = answers(&told).into_iter().map(|answer| answer.status).collect();
        // A reset may overtake the answer.
        assert!(told.is_empty() || told.first().copied() == status, "{told:?}");
    }
    verify_is_served(&rig, &node).await;
}

#[rstest]
#[case::silent("")]
#[case::after_an_answer("GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n")]
#[tokio::test]
async fn who_says_nothing_is_cut(#[case] begin: &str) {
    let rig = Rig::start().await;
    let node = node(&rig, 1_024, SHORT).await;
    let silent = (0..50).map(|_| async {
        let mut stream = TcpStream::connect(plain(&node)).await.unwrap();
        stream.write_all(begin.as_bytes()).await.unwrap();
        answers(&read_to_end(&mut stream).await).len()
    });
    let (told, ()) = tokio::join!(join_all(silent), verify_is_served(&rig, &node));
    assert!(told.iter().all(|&answers| answers == usize::from(!begin.is_empty())), "{told:?}");
}

#[rstest]
#[case::within_the_head("POST /node/v1/x HTTP/1.1\r\nHost")]
#[case::within_the_body(
    "POST /node/v1/x HTTP/1.1\r\nHost: a\r\nContent-Type: text/xml\r\nContent-Length: 100\r\n\r\n<a>"
)]
#[tokio::test]
async fn who_hangs_up_half_way_leaves_nothing(#[case] begin: &str) {
    let (rig, node) = Rig::with_node().await;
    for _ in 0..50 {
        let told = super::raw::exchange(&node, begin).await;
        assert!(told.is_empty() || told[0].status == 400, "{told:?}");
    }
    assert!(crate::storage::unreadable(&rig.db.pool).await.is_empty());
    verify_is_served(&rig, &node).await;
}

/// The begin of a record of 256 bytes, of which a hello of 252 is cut off.
const HALF_A_HELLO: &[u8] = b"\x16\x03\x01\x01\x00\x01\x00\x00\xfc\x03\x03half a hello";

/// No other limit is as short: what ends them is the time of the handshake.
#[rstest]
#[case::nothing(b"")]
#[case::half_a_hello(HALF_A_HELLO)]
#[tokio::test]
async fn who_does_not_finish_the_handshake_is_cut_and_others_are_served(#[case] begin: &[u8]) {
    let rig = Rig::start().await;
    let options = crate::mtls::options(&rig, rig.mesh.node_server().ca, &[]);
    // Enough for those who do finish it, without optimisation.
    let handshake_within = Duration::from_secs(1);
    let bounds = Bounds { handshake_within, ..Bounds::default() };
    let node = bounded(options, bounds).await;
    let silent = (0..200).map(|_| async {
        let started = Stopwatch::start();
        let mut stream = TcpStream::connect(node.addresses.mtls.unwrap()).await.unwrap();
        stream.write_all(begin).await.unwrap();
        (read_to_end(&mut stream).await.len(), started.elapsed())
    });
    let others = async {
        let (started, client) = (Stopwatch::start(), rig.mesh.node_client());
        crate::mtls::call(&rig, &node, Some(&client)).await.unwrap().assert_ok();
        assert!(started.within(KPI), "{:?}", started.elapsed());
    };
    let (told, ()) = tokio::join!(join_all(silent), others);
    for (bytes, lasted) in told {
        assert!(bytes == 0 && lasted >= handshake_within, "{bytes} bytes came, after {lasted:?}");
    }
}

/// Asks without end and reads no answer: what is kept for it stays bounded, then it is cut.
#[tokio::test]
async fn who_does_not_read_is_cut() {
    let rig = Rig::start().await;
    let node = node(&rig, 1_024, SOON).await;
    let greedy = async {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let mut stream = socket.connect(plain(&node)).await.unwrap();
        let requests = b"GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n".repeat(64);
        let mut sent = 0;
        // The buffers of both kernels fill first.
        let error = loop {
            match within(SOON * 2, stream.write_all(&requests)).await {
                Ok(Ok(())) => sent += requests.len(),
                Ok(Err(error)) => break error,
                Err(late) => panic!("after {sent} bytes it is neither served nor cut: {late}"),
            }
            assert!(sent < 64 * 1024 * 1024, "{sent} bytes were taken");
        };
        assert!(is_closed(&error), "after {sent} bytes: {error}");
    };
    let ((), ()) = tokio::join!(greedy, verify_is_served(&rig, &node));
}

/// With every place taken, the next caller is served in the place of who never asked anything, and who was served before stays.
#[tokio::test]
async fn a_full_listener_makes_room() {
    let rig = Rig::start().await;
    let node = node(&rig, 8, SOON * 6).await;
    node.call(&rig.names.station, messages::verify(&rig.names, NOTICE)).await.assert_ok();
    let mut known = TcpStream::connect(plain(&node)).await.unwrap();
    let request = post(&rig.names.station, messages::verify(&rig.names, NOTICE).as_bytes());
    known.write_all(&request).await.unwrap();
    let mut first = vec![0; 4096];
    assert_ne!(known.read(&mut first).await.unwrap(), 0);
    let silent = join_all((0..50).map(|_| TcpStream::connect(plain(&node)))).await;
    verify_is_served(&rig, &node).await;
    sleep(SHORT).await;
    verify_is_served(&rig, &node).await;
    known.write_all(&request).await.unwrap();
    known.shutdown().await.unwrap();
    let told = answers(&read_to_end(&mut known).await);
    assert!(told.len() == 1 && told[0].status == 200, "{told:?}");
    drop(silent);
}
