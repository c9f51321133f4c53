use std::time::Duration;
use fiorino_proto::positions::v1::{CreatePositionsRequest, positions_server::Positions as _};
use fiorino_proto::notices::v1::{ActivateManyRequest, Activation};
use fiorino_proto::notices::v1::notices_server::Notices as _;
use crate::money::{CLIENT, Money, called, numbers, position};
use futures::future::join_all;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bench() {
    let money = Money::start().await;
    let clock = fiorino_kit::clock::Clock::system();
    let cpu = async || -> (f64, f64) {
        let pids: Vec<i32> = sqlx::query_scalar("select pid from pg_stat_activity where datname = current_database()").fetch_all(money.pool()).await.unwrap();
        let of = |pid: String| { let t = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default(); let f: Vec<&str> = t.rsplit(')').next().unwrap().split_whitespace().collect(); if f.len() < 13 { 0.0 } else { (f[11].parse::<f64>().unwrap() + f[12].parse::<f64>().unwrap()) / 100.0 } };
        (pids.iter().map(|p| of(p.to_string())).sum(), of("self".into()))
    };
    let mut last = (0.0, 0.0);
    let t = clock.monotonic();
    let n = 30;
    for b in 0..n {
        let positions = (0..1000).map(|at| position(&format!("b{b}-{at}"), &[&[10_000]])).collect();
        let request = CreatePositionsRequest { institution: money.institution().into(), positions };
        money.replica.positions.create_positions(called(CLIENT, request)).await.unwrap();
    }
    let e: Duration = clock.monotonic() - t;
    println!("batch: {:.0}/s", f64::from(n * 1000) / e.as_secs_f64());
    let c = cpu().await; println!("   cpu pg {:.2}s self {:.2}s", c.0 - last.0, c.1 - last.1); last = c;
    let t = clock.monotonic();
    let tasks = (0..64).map(|task| { let money = &money; async move {
        let mut out = Vec::new();
        for at in 0..300 { out.extend(numbers(&money.create(position(&format!("s{task}-{at}"), &[&[10_000]])).await)); }
        out
    }});
    let navs: Vec<String> = join_all(tasks).await.into_iter().flatten().collect();
    let e: Duration = clock.monotonic() - t;
    println!("single: {:.0}/s", 19200.0 / e.as_secs_f64());
    let c = cpu().await; println!("   cpu pg {:.2}s self {:.2}s", c.0 - last.0, c.1 - last.1); last = c;
    let t = clock.monotonic();
    let tasks = (0..2).map(|lane: usize| { let (money, navs) = (&money, &navs); async move {
        for at in 0..100usize { 
            let refs = (0..64).map(|k| money.notice(&navs[(lane * 1000 + at * 64 + k) % navs.len()])).collect();
            let r = money.replica.verify(refs).await; assert!(r[0].is_ok());
        }
    }});
    join_all(tasks).await;
    let e: Duration = clock.monotonic() - t;
    println!("verify: {:.0}/s", 12800.0 / e.as_secs_f64());
    let c = cpu().await; println!("   cpu pg {:.2}s self {:.2}s", c.0 - last.0, c.1 - last.1); last = c;
    let t = clock.monotonic();
    let tasks = (0..2).map(|lane: usize| { let (money, navs) = (&money, &navs); async move {
        for at in 0..50usize { 
            let activations = (0..64).map(|k| Activation { notice: Some(money.notice(&navs[(lane * 1000 + at * 64 + k) % navs.len()])), ..Activation::default() }).collect();
            money.replica.notices.activate_many(called("node-connector", ActivateManyRequest { activations })).await.unwrap();
        }
    }});
    join_all(tasks).await;
    let e: Duration = clock.monotonic() - t;
    println!("activate: {:.0}/s", 6400.0 / e.as_secs_f64());
    let c = cpu().await; println!("   cpu pg {:.2}s self {:.2}s", c.0 - last.0, c.1 - last.1); last = c;
    let t = clock.monotonic();
    let tasks = (0..2).map(|lane: usize| { let (money, navs) = (&money, &navs); async move {
        for at in 0..12usize { 
            let receipts = (0..128).map(|k| { let i = lane * 1600 + at * 128 + k; money.receipt(&format!("r{i}"), &navs[i % navs.len()], 10_000) }).collect();
            money.pay(receipts).await;
        }
    }});
    join_all(tasks).await;
    let e: Duration = clock.monotonic() - t;
    println!("receipts: {:.0}/s", 3072.0 / e.as_secs_f64());
    let c = cpu().await; println!("   cpu pg {:.2}s self {:.2}s", c.0 - last.0, c.1 - last.1); last = c;
}

