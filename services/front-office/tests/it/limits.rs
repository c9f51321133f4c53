//! Nobody tries numbers by the thousand, and nobody fills the memory.

use fiorino_test_support::within;
use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::support::{HOST_OF_TOWN, NUMBER, TOWN, World, lookup};

#[tokio::test(flavor = "multi_thread")]
async fn an_address_looks_up_so_many_notices_in_a_minute() {
    let world = World::start().await;
    let portal = world.portal(&["--lookups-per-minute=3", "--trusted-proxies=127.0.0.0/8"]).await;
    portal.ready().await;
    let from =
        async |visitor: &str, path: &str| portal.get_at(HOST_OF_TOWN, path, &[("x-forwarded-for", visitor)]).await;
    for _ in 0..3 {
        assert_eq!(from("203.0.113.1", &lookup(NUMBER, TOWN)).await.status, 200);
    }
    let refused = from("203.0.113.1", &lookup(NUMBER, TOWN)).await;
    refused.assert_shows(429, &["Troppe richieste", "Comune di Roccafiorina", "ricarica la pagina"]);
    let seconds: u64 = refused.header("retry-after").parse().unwrap();
    assert!((1..=21).contains(&seconds), "{seconds}");
    assert_eq!(world.tenant.script().asked.len(), 3);
    // The form, and other visitors, are another matter.
    assert_eq!(from("203.0.113.1", "/avviso").await.status, 200);
    assert_eq!(from("203.0.113.2", &lookup(NUMBER, TOWN)).await.status, 200);
}

/// Who is not behind a proxy of ours gets no new allowance by writing a header.
#[tokio::test(flavor = "multi_thread")]
async fn a_header_of_a_stranger_makes_nobody_another() {
    let world = World::start().await;
    let portal = world.portal(&["--lookups-per-minute=1"]).await;
    portal.ready().await;
    let mut statuses = Vec::new();
    for visitor in ["203.0.113.1", "203.0.113.2"] {
        statuses.push(portal.get_at(HOST_OF_TOWN, &lookup(NUMBER, TOWN), &[("x-forwarded-for", visitor)]).await.status);
    }
    assert_eq!(statuses, [200, 429]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_is_too_long_is_refused() {
    let (_world, portal) = World::with_portal().await;
    let long = format!("/avviso?codice={}", "1".repeat(20_000));
    let status = portal.get(&long).await.status;
    assert!(matches!(status, 414 | 431), "{status}");
    assert_eq!(portal.get("/").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_http_ends_its_connection_alone() {
    let (_world, portal) = World::with_portal().await;
    let mut stream = TcpStream::connect(portal.address).await.unwrap();
    stream.write_all(b"\x16\x03\x01\x02\x00 this is no HTTP\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    within(Duration::from_secs(10), stream.read_to_end(&mut answer)).await.unwrap().unwrap();
    assert!(String::from_utf8_lossy(&answer).starts_with("HTTP/1.1 400"), "{answer:?}");
    // Without a host nobody knows whose site is meant.
    let mut stream = TcpStream::connect(portal.address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    within(Duration::from_secs(10), stream.read_to_end(&mut answer)).await.unwrap().unwrap();
    assert!(String::from_utf8_lossy(&answer).contains(" 404 "), "{}", String::from_utf8_lossy(&answer));
}
