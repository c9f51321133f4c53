//! Bytes that no browser sends, by raw sockets: each is answered or cut, and other visitors are served meanwhile.

use std::time::Duration;

use fiorino_kit::http::Bounds;
use fiorino_test_support::{
    Stopwatch,
    raw::{answers, exchange, is_closed, read_to_end, trickle},
    within,
};
use futures::future::join_all;
use rstest::rstest;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};

use crate::support::{HOST_OF_TOWN, Portal, SOON, World};

const SHORT: Duration = Duration::from_millis(400);
/// A request that must never be seen as one.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: roccafiorina.localhost\r\n\r\n";

/// Every limit short, but for `idle`.
async fn portal(world: &World, connections: usize, idle: Duration) -> Portal {
    let bounds = Bounds { connections, idle, head_within: SHORT, send_within: SHORT, ..Bounds::default() };
    let portal = world.portal_within(bounds, &[]).await;
    portal.ready().await;
    portal
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {HOST_OF_TOWN}\r\n\r\n")
}

/// On a connection of its own: not one that was let in before.
async fn a_visitor_is_served(portal: &Portal) {
    let started = Stopwatch::start();
    let told = exchange(portal.address, get("/")).await.unwrap();
    assert!(told.len() == 1 && told[0].status == 200 && told[0].body.contains("Roccafiorina"), "{told:?}");
    assert!(started.within(Duration::from_secs(2)), "{:?}", started.elapsed());
}

#[rstest]
#[case::by_the_field("GET / HTTP/1.1\r\n", "X-A: a\r\n")]
#[case::by_the_byte("", "G")]
#[tokio::test(flavor = "multi_thread")]
async fn who_sends_a_head_slowly_is_cut_and_others_are_served(#[case] begin: &str, #[case] piece: &str) {
    let world = World::start().await;
    let portal = portal(&world, 1_024, SOON * 6).await;
    let slow = (0..50).map(|_| async {
        let mut stream = TcpStream::connect(portal.address).await.unwrap();
        stream.write_all(begin.as_bytes()).await.unwrap();
        within(SOON, trickle(stream, piece.as_bytes())).await.expect("it is never cut").unwrap()
    });
    let (told, ()) = tokio::join!(join_all(slow), a_visitor_is_served(&portal));
    assert!(told.iter().all(Vec::is_empty), "{told:?}");
}

#[rstest]
#[case::silent("")]
#[case::after_an_answer(&get("/"))]
#[tokio::test(flavor = "multi_thread")]
async fn who_says_nothing_is_cut(#[case] begin: &str) {
    let world = World::start().await;
    let portal = portal(&world, 1_024, SHORT).await;
    let silent = (0..50).map(|_| async {
        let mut stream = TcpStream::connect(portal.address).await.unwrap();
        stream.write_all(begin.as_bytes()).await.unwrap();
        answers(&read_to_end(&mut stream).await.unwrap()).unwrap().len()
    });
    let (told, ()) = tokio::join!(join_all(silent), a_visitor_is_served(&portal));
    assert!(told.iter().all(|&answers| answers == usize::from(!begin.is_empty())), "{told:?}");
}

/// With every place taken, the next visitor is served in the place of who never asked anything, and who was served before stays.
#[tokio::test(flavor = "multi_thread")]
async fn silent_sockets_shut_nobody_out() {
    let world = World::start().await;
    let portal = portal(&world, 8, SOON * 6).await;
    let mut known = TcpStream::connect(portal.address).await.unwrap();
    known.write_all(get("/come-pagare").as_bytes()).await.unwrap();
    assert_ne!(known.read(&mut [0; 16 * 1024]).await.unwrap(), 0);
    let silent = join_all((0..50).map(|_| TcpStream::connect(portal.address))).await;
    for _ in 0..10 {
        a_visitor_is_served(&portal).await;
    }
    known.write_all(get("/").as_bytes()).await.unwrap();
    known.shutdown().await.unwrap();
    let told = String::from_utf8(read_to_end(&mut known).await.unwrap()).unwrap();
    assert!(told.contains("I tuoi avvisi di pagamento"), "{told}");
    drop(silent);
}

/// Asks without end and reads no page: what is kept for it stays bounded, then it is cut.
#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_read_is_cut() {
    let world = World::start().await;
    let portal = portal(&world, 1_024, SOON * 6).await;
    let greedy = async {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let mut stream = socket.connect(portal.address).await.unwrap();
        let requests = get("/come-pagare").repeat(64);
        let mut sent = 0;
        // The buffers of both kernels fill first.
        let error = loop {
            match within(SOON, stream.write_all(requests.as_bytes())).await.expect("neither served nor cut") {
                Ok(()) => sent += requests.len(),
                Err(error) => break error,
            }
            assert!(sent < 64 * 1024 * 1024, "{sent} bytes were taken");
        };
        assert!(is_closed(&error), "after {sent} bytes: {error}");
    };
    let ((), ()) = tokio::join!(greedy, a_visitor_is_served(&portal));
}

#[rstest]
#[case::second_host("Host: altro.localhost\r\n", "")]
#[case::same_host_twice("Host: roccafiorina.localhost\r\n", "")]
#[case::length_and_coding("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n")]
#[case::coding_and_length("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", "0\r\n\r\n")]
#[case::coding("Transfer-Encoding: chunked\r\n", "0\r\n\r\n")]
#[case::another_coding("Transfer-Encoding: gzip\r\n", "")]
#[case::two_lengths("Content-Length: 4\r\nContent-Length: 60\r\n", "0123")]
#[case::signed_length("Content-Length: +4\r\n", "0123")]
#[case::folded("X-A: a\r\n b\r\n", "")]
#[case::space_before_colon("X-A : a\r\n", "")]
#[tokio::test(flavor = "multi_thread")]
async fn what_two_readers_could_understand_differently_is_refused(#[case] fields: &str, #[case] body: &str) {
    let (_world, portal) = World::with_portal().await;
    let request = get("/").replace("\r\n\r\n", &format!("\r\n{fields}\r\n{body}{SMUGGLED}"));
    let told = exchange(portal.address, request).await.unwrap();
    let statuses: Vec<u16> = told.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [400], "{told:?}");
    a_visitor_is_served(&portal).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_a_host_is_refused_and_pages_in_a_row_are_answered_in_order() {
    let (_world, portal) = World::with_portal().await;
    let told = exchange(portal.address, "GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert!(told.len() == 1 && told[0].status == 400 && told[0].body.contains("Richiesta non valida"), "{told:?}");
    let row = [get("/"), get("/nessuna"), get("/informazioni")].concat();
    let told = exchange(portal.address, row).await.unwrap();
    assert_eq!(told.iter().map(|answer| answer.status).collect::<Vec<_>>(), [200, 404, 200]);
}
