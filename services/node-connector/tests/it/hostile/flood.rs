//! The real process under a flood: its memory stays flat, it serves others, and keeps each thing once.

use std::{collections::BTreeSet, iter::repeat_n, time::Duration};

use anyhow::{Context as _, ensure};
use fiorino_test_support::{Process, Spec, Stopwatch, eventually, free_port, within};
use futures::future::join_all;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use super::{
    raw::{head, post},
    slow::KPI,
};
use crate::{
    process::flags,
    rig::{
        Rig, SOON,
        messages::{self, NOTICE, Receipt},
    },
    storage,
};

/// Rounds that fill caches and the allocator's arenas, of which each thread that reads long messages takes one when it first needs it;
/// then those that are measured.
const WARM_UP: usize = 20;
const ROUNDS: usize = 20;
/// Empty transfers of a receipt of 4 MiB, and of those of 60 KiB, which may be as many as there are connections.
const LONG: usize = 380_000;
const SHORT: usize = 5_500;
const SHORT_AT_ONCE: usize = 16;
/// Between two calls of the caller who means well: without it they would take most of the machine.
const PAUSE: Duration = Duration::from_millis(20);
/// What is held may grow between the first and the last measured rounds, by their medians, in KiB: a tenth of what is sent between them.
const GROWTH_MAX_KIB: u64 = 32 * 1024;
/// What may be held at any time, in KiB: the process itself and the long bodies that are let in at once, 4 MiB each.
const RESIDENT_MAX_KIB: u64 = 224 * 1024;

/// What a round sends, each in a connection of its own.
struct Hostile {
    requests: Vec<Vec<u8>>,
    /// Bodies in which no operation is seen: kept, each once. Of the others some are receipts, and the rest is answered.
    unreadable: BTreeSet<Vec<u8>>,
}

// === impl Hostile ===

impl Hostile {
    fn new(rig: &Rig) -> Self {
        let station = &rig.names.station;
        let verify = messages::verify(&rig.names, NOTICE);
        let receipt = Receipt::new(&rig.names, "r1").write();
        let pad = |message: &str, megabytes: usize| {
            let padding = " ".repeat(megabytes * 1024 * 1024);
            message.replace("</soapenv:Envelope>", &format!("{padding}</soapenv:Envelope>"))
        };
        let unreadable = [
            verify.replace("?>", "?><!DOCTYPE a [<!ENTITY b 'bb'><!ENTITY c '&b;&b;'>]>"),
            "\u{0}".repeat(900_000),
            "&#x41;".repeat(150_000),
        ];
        let readable = [
            verify.clone(),
            receipt.clone(),
            pad(&verify, 3),
            pad(&receipt, 3),
            pad(&receipt, 5),
            verify.replace("<idPA>", &"<a>".repeat(100_000)),
            verify.replace("<idPA>", &format!("<idPA {}>", "a='1' ".repeat(50_000))),
            verify.replace(NOTICE, &"9".repeat(500_000)),
            with_transfers(rig, "r2", &"<transfer><x/></transfer>".repeat(30_000)),
            with_transfers(rig, "r3", &"<transfer/>".repeat(LONG)),
        ];
        let short = with_transfers(rig, "r4", &"<transfer/>".repeat(SHORT));
        let bodies = unreadable.iter().chain(&readable).chain(repeat_n(&short, SHORT_AT_ONCE));
        let framed = bodies.map(|body| post(station, body.as_bytes()));
        let odd = [
            format!("GET /{} HTTP/1.1\r\n", "a".repeat(60_000)),
            head(station, &[("X-A", &"a".repeat(60_000))]),
            head(station, &[("Transfer-Encoding", "chunked")]) + &"1\r\n<\r\n".repeat(100_000),
            head(station, &[("Content-Length", "4000000000")]) + &"x".repeat(2_000_000),
            "\u{16}\u{3}\u{1}".repeat(10_000),
        ];
        let requests = framed.chain(odd.map(String::into_bytes)).collect();
        Self { requests, unreadable: unreadable.map(String::into_bytes).into() }
    }
}

/// A receipt with more transfers before its own.
fn with_transfers(rig: &Rig, id: &str, transfers: &str) -> String {
    Receipt::new(&rig.names, id).write().replace("<transferList>", &format!("<transferList>{transfers}"))
}

/// Sends, ends the sending side, and takes whatever comes; the process may close at any time.
async fn send(address: &str, bytes: &[u8]) {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(bytes).await?;
        stream.shutdown().await?;
        stream.read_to_end(&mut Vec::new()).await
    };
    // A reset is as good as an answer here.
    let _told = within(SOON, exchange).await.expect("a hostile connection is never ended");
}

fn resident_kib(process: &Process) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_stays_flat_and_others_are_served() {
    let rig = Rig::start().await;
    let (plain, admin) = (free_port().unwrap(), free_port().unwrap());
    let log = rig.mesh.dir().join("flood.log");
    let program = env!("CARGO_BIN_EXE_fiorino-node-connector");
    let mut process = Process::spawn(&Spec::new(program, &log).args(flags(&rig, plain, admin))).unwrap();
    let ready = format!("http://127.0.0.1:{admin}/readyz");
    process
        .wait_ready(SOON, async || {
            ensure!(reqwest::get(&ready).await?.status().is_success());
            Ok(())
        })
        .await
        .unwrap();

    let address = format!("127.0.0.1:{plain}");
    let (Hostile { requests, unreadable }, over) = (Hostile::new(&rig), CancellationToken::new());
    let well_meant = tokio::spawn(well_meant(
        format!("http://{address}/node/v1/{}", rig.names.station),
        messages::verify(&rig.names, NOTICE),
        over.clone(),
    ));
    let mut resident = Vec::new();
    for round in 0..WARM_UP + ROUNDS {
        let sent = (0..requests.len()).map(|nth| send(&address, &requests[(nth + round) % requests.len()]));
        join_all(sent).await;
        resident.push(resident_kib(&process));
    }
    over.cancel();
    let WellMeant { served, put_off, late } = well_meant.await.unwrap();
    // On a busy machine a few calls meet a deadline of the process itself.
    assert!(served > 20 && put_off * 100 <= served, "{served} served, {put_off} put off");
    assert!(late.is_empty(), "{late:?}");

    assert!(resident.iter().max().unwrap() < &RESIDENT_MAX_KIB, "{resident:?}");
    // The allocator keeps some of what it had, more or less from round to round, and more where threads seldom meet.
    let (first, last) = resident[WARM_UP..].split_at_mut(ROUNDS / 2);
    let [before, after] = [first, last].map(|half| *half.select_nth_unstable(ROUNDS / 4).1);
    assert!(after.saturating_sub(before) < GROWTH_MAX_KIB, "from {before} to {after} KiB: {resident:?}");
    eventually(SOON, async || {
        let script = rig.tenant.script();
        let mut applied = script.applied_ids();
        applied.sort_unstable();
        ensure!(applied == ["r1", "r2", "r3", "r4"], "{applied:?}");
        Ok(())
    })
    .await
    .unwrap();
    for id in ["r1", "r2", "r3", "r4"] {
        assert_eq!(storage::rows(&rig.db.pool, id).await.len(), 1, "{id} is stored once");
    }
    let kept = storage::unreadable(&rig.db.pool).await.into_iter().map(|(body, _)| body);
    assert!(kept.collect::<BTreeSet<_>>() == unreadable, "other bodies are kept");
    assert!(process.stop().unwrap().success());
    let log = std::fs::read_to_string(&log).unwrap();
    assert!(!log.contains("panicked"), "{log}");
}

/// What became of a caller who verifies all the time.
#[derive(Debug, Default)]
struct WellMeant {
    served: usize,
    /// `PAA_SYSTEM_ERROR`: the node asks again.
    put_off: usize,
    /// What lasted longer than the node waits.
    late: Vec<Duration>,
}

async fn well_meant(url: String, message: String, over: CancellationToken) -> WellMeant {
    let http = reqwest::Client::new();
    let mut told = WellMeant::default();
    while !over.is_cancelled() {
        let started = Stopwatch::start();
        let request = http.post(&url).header("Content-Type", "text/xml").body(message.clone());
        let answer = request.send().await.context("a caller was not served").unwrap().text().await.unwrap();
        let served = answer.contains("<outcome>OK</outcome>");
        assert!(served || answer.contains("PAA_SYSTEM_ERROR"), "{answer}");
        *if served { &mut told.served } else { &mut told.put_off } += 1;
        if !started.within(KPI) {
            told.late.push(started.elapsed());
        }
        sleep(PAUSE).await;
    }
    told
}
