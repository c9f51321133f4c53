//! Deadlines, concurrency, streams, draining.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use fiorino_kit::rpc::{self, Limits};
use fiorino_test_support::{certs::Mesh, eventually, within};
use futures::{StreamExt as _, future::join_all};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

use crate::mesh::{ack, ask, ask_within, channel, identity, listener, start, start_on, stream};

const SOON: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_deadline_ends_the_call_on_both_sides() {
    let mesh = Mesh::new().unwrap();
    let replica = start(&mesh).await;
    let channel = channel(&mesh, "dev", &[replica.address]);
    ask(&channel, "who").await.unwrap();
    let status = ask_within(&channel, "hang", Duration::from_millis(200)).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
    let seen = Arc::clone(&replica.seen);
    eventually(SOON, async || match seen.given_up.load(Ordering::SeqCst) {
        1 => Ok(()),
        count => Err(format!("{count} given up")),
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_server_keeps_its_own_limit_when_the_caller_sets_none() {
    let mesh = Mesh::new().unwrap();
    let limits = Limits { timeout: Duration::from_millis(200), ..Limits::default() };
    let replica = start_on(listener().await, &mesh, "a", limits);
    let channel = channel(&mesh, "dev", &[replica.address]);
    let request =
        fiorino_proto::payments::v1::GetPaymentRequest { receipt_id: "hang".to_owned(), ..Default::default() };
    let mut client = fiorino_proto::payments::v1::payments_client::PaymentsClient::new(channel);
    let status = client.get_payment(request).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert!(status.message().contains("200 ms"), "{status}");
}

#[tokio::test]
async fn more_calls_than_the_limit_are_refused_at_once() {
    let mesh = Mesh::new().unwrap();
    let limits = Limits { concurrency: 3, ..Limits::default() };
    let replica = start_on(listener().await, &mesh, "a", limits);
    // Two connections: the limit is the server's, not the connection's.
    let channels = [channel(&mesh, "dev", &[replica.address]), channel(&mesh, "dev", &[replica.address])];
    let waiting: Vec<_> = (0..3)
        .map(|index| {
            let channel = channels[index % 2].clone();
            tokio::spawn(async move { ask(&channel, "wait").await })
        })
        .collect();
    let seen = Arc::clone(&replica.seen);
    eventually(SOON, async || match seen.calls.load(Ordering::SeqCst) {
        3 => Ok(()),
        count => Err(format!("{count} in work")),
    })
    .await
    .unwrap();

    let status = ask(&channels[0], "who").await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    replica.seen.gate.notify_waiters();
    for call in join_all(waiting).await {
        assert!(call.unwrap().is_ok());
    }
    assert!(ask(&channels[0], "who").await.is_ok());
}

#[tokio::test]
async fn a_service_that_is_full_leaves_the_others_alone() {
    let mesh = Mesh::new().unwrap();
    let limits = Limits { concurrency: 2, ..Limits::default() };
    let replica = start_on(listener().await, &mesh, "a", limits);
    let channel = channel(&mesh, "node-connector", &[replica.address]);
    let stuck: Vec<_> = (0..2)
        .map(|_| {
            let channel = channel.clone();
            tokio::spawn(async move { ask(&channel, "wait").await })
        })
        .collect();
    let seen = Arc::clone(&replica.seen);
    eventually(SOON, async || match seen.calls.load(Ordering::SeqCst) {
        2 => Ok(()),
        count => Err(format!("{count} in work")),
    })
    .await
    .unwrap();
    let status = ask(&channel, "who").await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    assert!(status.message().contains("fiorino.payments.v1.Payments"), "{status}");

    let (acks, receiver) = mpsc::channel(4);
    let mut open = stream(&channel, ReceiverStream::new(receiver)).await.unwrap();
    acks.send(ack("beside")).await.unwrap();
    assert_eq!(open.next().await.unwrap().unwrap().nonce, "beside");
    replica.seen.gate.notify_waiters();
    for call in join_all(stuck).await {
        assert!(call.unwrap().is_ok());
    }
}

#[tokio::test]
async fn a_stream_outlives_deadline_and_concurrency_of_calls() {
    let mesh = Mesh::new().unwrap();
    let limits = Limits { concurrency: 2, timeout: Duration::from_millis(200), ..Limits::default() };
    let replica = start_on(listener().await, &mesh, "a", limits);
    let channel = channel(&mesh, "node-connector", &[replica.address]);
    let (acks, receiver) = mpsc::channel(4);
    let (other_acks, other_receiver) = mpsc::channel(4);
    let mut open = stream(&channel, ReceiverStream::new(receiver)).await.unwrap();
    let mut other = stream(&channel, ReceiverStream::new(other_receiver)).await.unwrap();
    // Longer than the limit of a call, and with both slots' worth of streams open.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(ask(&channel, "who").await.is_ok());
    acks.send(ack("late")).await.unwrap();
    other_acks.send(ack("other")).await.unwrap();
    assert_eq!(open.next().await.unwrap().unwrap().nonce, "late");
    assert_eq!(other.next().await.unwrap().unwrap().nonce, "other");
}

#[tokio::test]
async fn shutdown_lets_calls_finish_and_ends_what_does_not() {
    let mesh = Mesh::new().unwrap();
    let limits = Limits { drain: Duration::from_millis(700), ..Limits::default() };
    let replica = start_on(listener().await, &mesh, "a", limits);
    let channel = channel(&mesh, "node-connector", &[replica.address]);
    let (acks, receiver) = mpsc::channel(4);
    let mut open = stream(&channel, ReceiverStream::new(receiver)).await.unwrap();
    acks.send(ack("first")).await.unwrap();
    assert_eq!(open.next().await.unwrap().unwrap().nonce, "first");
    let waiting = tokio::spawn({
        let channel = channel.clone();
        async move { ask(&channel, "wait").await }
    });
    let seen = Arc::clone(&replica.seen);
    eventually(SOON, async || match seen.calls.load(Ordering::SeqCst) {
        1 => Ok(()),
        count => Err(format!("{count} in work")),
    })
    .await
    .unwrap();

    replica.token.cancel();
    // The listener is closed while the calls go on.
    eventually(SOON, async || match tokio::net::TcpStream::connect(replica.address).await {
        Ok(_) => Err("still listening"),
        Err(_) => Ok(()),
    })
    .await
    .unwrap();
    replica.seen.gate.notify_waiters();
    assert!(waiting.await.unwrap().is_ok(), "a call that had begun is finished");
    within(SOON, replica.ended).await.unwrap().unwrap().unwrap();
    assert!(within(SOON, open.next()).await.unwrap().is_none_or(|end| end.is_err()));
}

#[tokio::test]
async fn a_channel_refuses_what_it_cannot_use() {
    let mesh = Mesh::new().unwrap();
    let dev = identity(&mesh, "dev");
    let good = "https://127.0.0.1:1".to_owned();
    let connect = |endpoints: &[String], name: &str, actor: &str| rpc::connect(endpoints, name, &dev, actor).map(drop);
    assert!(connect(std::slice::from_ref(&good), "tenant", "dev").is_ok());
    let errors = [
        connect(&[], "tenant", "dev"),
        connect(&vec![good.clone(); 65], "tenant", "dev"),
        connect(&["http://127.0.0.1:1".to_owned()], "tenant", "dev"),
        connect(std::slice::from_ref(&good), "ten ant", "dev"),
        connect(std::slice::from_ref(&good), "tenant", "d\u{7}ev"),
        connect(std::slice::from_ref(&good), "tenant", &"d".repeat(129)),
    ];
    for error in errors {
        assert!(error.unwrap_err().to_string().starts_with("failed to "));
    }
}
