//! Several replicas, some of which are dead, hang, or come back.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use fiorino_kit::{
    clock::Clock,
    rpc::{self, Limits},
};
use fiorino_test_support::{certs::Mesh, eventually};
use futures::future::join_all;
use tokio::{net::TcpListener, runtime::Runtime};
use tonic::Code;

use crate::mesh::{self, ask, ask_within, channel, listener, start, start_on, who};

const SOON: Duration = Duration::from_secs(10);

/// A replica on a runtime of its own, so that it can die at once with everything that it does.
fn start_mortal(mesh: &Mesh, name: &str) -> (Runtime, std::net::SocketAddr) {
    let runtime = Runtime::new().unwrap();
    let _entered = runtime.enter();
    let listener = runtime.block_on(listener());
    let replica = start_on(listener, mesh, name, Limits::default());
    (runtime, replica.address)
}

/// Until each of `names` answered.
async fn meet(channel: &rpc::Channel, names: &[&str]) {
    let mut met = BTreeMap::<String, usize>::new();
    eventually(SOON, async || {
        *met.entry(who(channel).await.map_err(|status| status.to_string())?).or_default() += 1;
        if names.iter().all(|name| met.contains_key(*name)) { Ok(()) } else { Err(format!("met {met:?}")) }
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_a_replica_dies_the_others_go_on() {
    let mesh = Mesh::new().unwrap();
    let survivor = start_on(listener().await, &mesh, "survivor", Limits::default());
    let (mortal, address) = tokio::task::block_in_place(|| start_mortal(&mesh, "mortal"));
    let channel = channel(&mesh, "dev", &[survivor.address, address]);
    meet(&channel, &["survivor", "mortal"]).await;
    mortal.shutdown_background();
    // A call that was on its way may fail, once; then the dead one is out.
    let mut failures = 0;
    for _ in 0..200 {
        match who(&channel).await {
            Ok(name) => assert!(name == "survivor" || failures == 0, "{name}"),
            Err(status) => {
                assert_eq!(status.code(), Code::Unavailable, "{status}");
                failures += 1;
            }
        }
    }
    assert!(failures <= 1, "{failures} calls failed");
}

#[tokio::test]
async fn a_dead_endpoint_costs_nothing() {
    let mesh = Mesh::new().unwrap();
    let replica = start(&mesh).await;
    // Nobody listens on the first; the second accepts and says nothing.
    let refused = listener().await.local_addr().unwrap();
    let silent = listener().await;
    let channel = channel(&mesh, "dev", &[refused, silent.local_addr().unwrap(), replica.address]);
    assert_eq!(who(&channel).await.unwrap(), "a");
    let clock = Clock::system();
    let begin = clock.monotonic();
    let answers = join_all((0..100).map(|_| who(&channel))).await;
    assert!(answers.into_iter().all(|answer| answer.is_ok_and(|name| name == "a")));
    assert!(clock.monotonic().saturating_sub(begin) < Duration::from_secs(2));
}

#[tokio::test]
async fn when_nobody_answers_the_error_says_who_and_why() {
    let mesh = Mesh::new().unwrap();
    let address = listener().await.local_addr().unwrap();
    let channel = channel(&mesh, "dev", &[address]);
    let status = ask(&channel, "who").await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    for part in ["tenant", &address.to_string(), "failed to connect"] {
        assert!(status.message().contains(part), "{part} is missing in {status}");
    }
}

#[tokio::test]
async fn a_short_deadline_is_kept_without_a_connection() {
    let mesh = Mesh::new().unwrap();
    let silent = listener().await;
    let channel = channel(&mesh, "dev", &[silent.local_addr().unwrap()]);
    let clock = Clock::system();
    let begin = clock.monotonic();
    let status = ask_within(&channel, "who", Duration::from_millis(150)).await.unwrap_err();
    assert!(matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded), "{status}");
    assert!(clock.monotonic().saturating_sub(begin) < Duration::from_secs(1));
}

#[tokio::test]
async fn the_retry_after_a_hang_goes_to_another_replica() {
    let mesh = Mesh::new().unwrap();
    let replicas = [
        start_on(listener().await, &mesh, "a", Limits::default()),
        start_on(listener().await, &mesh, "b", Limits::default()),
    ];
    let channel = channel(&mesh, "dev", &[replicas[0].address, replicas[1].address]);
    meet(&channel, &["a", "b"]).await;
    for _ in 0..10 {
        let before: Vec<_> = replicas.iter().map(calls).collect();
        let hung = ask_within(&channel, "hang", Duration::from_millis(60)).await.unwrap_err();
        assert_eq!(hung.code(), Code::DeadlineExceeded);
        let culprit = if calls(&replicas[0]) > before[0] { "a" } else { "b" };
        assert_ne!(who(&channel).await.unwrap(), culprit);
    }
}

#[tokio::test]
async fn a_replica_that_cannot_work_is_asked_last() {
    let mesh = Mesh::new().unwrap();
    let replicas = [
        start_on(listener().await, &mesh, "a", Limits::default()),
        start_on(listener().await, &mesh, "b", Limits::default()),
    ];
    let channel = channel(&mesh, "dev", &[replicas[0].address, replicas[1].address]);
    meet(&channel, &["a", "b"]).await;
    let before = calls(&replicas[0]);
    assert_eq!(ask(&channel, "unavailable").await.unwrap_err().code(), Code::Unavailable);
    let culprit = if calls(&replicas[0]) > before { "a" } else { "b" };
    for _ in 0..10 {
        assert_ne!(who(&channel).await.unwrap(), culprit);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_comes_back_is_used_again() {
    let mesh = Mesh::new().unwrap();
    let (mortal, address) = tokio::task::block_in_place(|| start_mortal(&mesh, "first"));
    let channel = channel(&mesh, "dev", &[address]);
    assert_eq!(who(&channel).await.unwrap(), "first");
    mortal.shutdown_background();
    let listener = eventually(SOON, async || TcpListener::bind(address).await).await.unwrap();
    let _second = start_on(listener, &mesh, "second", Limits::default());
    meet(&channel, &["second"]).await;
}

#[tokio::test]
async fn a_rolling_restart_loses_no_call() {
    let mesh = Arc::new(Mesh::new().unwrap());
    let mut old = start_on(listener().await, &mesh, "0", Limits::default());
    let mut other = start_on(listener().await, &mesh, "1", Limits::default());
    let channel = channel(&mesh, "dev", &[old.address, other.address]);
    meet(&channel, &["0", "1"]).await;
    let stop = tokio_util::sync::CancellationToken::new();
    let load = tokio::spawn({
        let (channel, stop) = (channel.clone(), stop.clone());
        async move {
            let mut done = 0_u32;
            while !stop.is_cancelled() {
                for answer in join_all((0..8).map(|_| who(&channel))).await {
                    answer.unwrap();
                    done += 1;
                }
            }
            done
        }
    });
    for generation in 2..5 {
        old.token.cancel();
        old.ended.await.unwrap().unwrap();
        let address = old.address;
        let listener = eventually(SOON, async || TcpListener::bind(address).await).await.unwrap();
        let name = generation.to_string();
        old = std::mem::replace(&mut other, start_on(listener, &mesh, &name, Limits::default()));
        meet(&channel, &[&name]).await;
    }
    stop.cancel();
    assert!(load.await.unwrap() > 100);
}

fn calls(replica: &mesh::Replica) -> usize {
    replica.seen.calls.load(std::sync::atomic::Ordering::SeqCst)
}
