//! Receipts: committed, judged, answered (ARCHITECTURE.md 4.4).

use std::time::Duration;

use anyhow::ensure;
use fiorino_proto::config::v1::LifecyclePhase;
use fiorino_test_support::{
    Stopwatch, eventually,
    proxy::{Line, Proxy},
};
use fiorino_wire::{FaultCode, Version};
use rstest::rstest;

use crate::{
    rig::{
        Names, Node, Rig, SOON,
        messages::{Receipt, envelope, header},
        tenant::{self, Answer},
    },
    storage,
};

const OTHERS: &str = "99999999990";
const KPI: Duration = Duration::from_secs(2);

async fn send(node: &Node, receipt: &Receipt) -> crate::rig::Reply {
    node.call(&receipt.names.station, receipt.write()).await
}

/// Tenant has applied the receipt `versions` times.
async fn applied(rig: &Rig, receipt_id: &str, versions: usize) -> Vec<fiorino_proto::receipts::v1::Receipt> {
    eventually(SOON, async || {
        let script = rig.tenant.script();
        let found: Vec<_> = script.applied.iter().filter(|receipt| receipt.receipt_id == receipt_id).cloned().collect();
        ensure!(found.len() == versions, "{} of {versions} applied", found.len());
        Ok(found)
    })
    .await
    .unwrap()
}

#[rstest]
#[tokio::test]
async fn raw_message_is_committed_before_the_answer(#[values(Version::V1, Version::V2)] version: Version) {
    let (rig, node) = Rig::with_node().await;
    // Nothing is applied: what is there was there when the answer came.
    rig.tenant.script().applying = Answer::Never;
    let receipt = Receipt { version, ..Receipt::new(&rig.names, "r1") };
    send(&node, &receipt).await.assert_ok();
    assert_eq!(storage::messages(&rig.db.pool).await, [receipt.write()]);
    let rows = storage::rows(&rig.db.pool, "r1").await;
    assert_eq!((rows.len(), rows[0].version, rows[0].state.as_str(), rows[0].answered), (1, 1, "ready", true));

    rig.tenant.script().applying = Answer::AtOnce;
    let told = &applied(&rig, "r1", 1).await[0];
    assert_eq!((told.amount_cents, told.fee_cents, told.outcome.as_str()), (Some(12_000), 150, "OK"));
    assert_eq!((told.issuer.as_str(), told.iuv.as_str()), (rig.names.institution.as_str(), "12000000000471179"));
    assert_eq!((told.paid_at.as_str(), told.application_date.as_str()), ("2026-06-16T08:15:30Z", "2026-06-16"));
    assert_eq!((told.transfers.len(), told.transfers[0].amount_cents), (1, Some(12_000)));
    assert_eq!(told.findings, Vec::<String>::new());
}

#[tokio::test]
async fn equal_repetition_is_receipt_duplicata_and_kept() {
    let (rig, node) = Rig::with_node().await;
    let receipt = Receipt::new(&rig.names, "r1");
    send(&node, &receipt).await.assert_ok();
    // Equal means the business fields: spelling, prefixes and white space do not count.
    let spelled =
        receipt.write().replace("paf:", "x:").replace("xmlns:paf", "xmlns:x").replace(">120.00<", ">0120.00<");
    let again = node.call(&rig.names.station, spelled.clone()).await;
    again.assert_ko(FaultCode::ReceiptDuplicata, &rig.names.institution);
    assert_eq!(storage::messages(&rig.db.pool).await, [receipt.write(), spelled]);
    assert_eq!(storage::rows(&rig.db.pool, "r1").await.len(), 1);
    applied(&rig, "r1", 1).await;
    send(&node, &receipt).await.assert_ko(FaultCode::ReceiptDuplicata, &rig.names.institution);
}

#[tokio::test]
async fn same_key_with_other_content_is_a_second_version_and_a_case() {
    let (rig, node) = Rig::with_node().await;
    let first = Receipt::new(&rig.names, "r1");
    let second = Receipt { amount: "121.00".into(), ..first.clone() };
    send(&node, &first).await.assert_ok();
    send(&node, &second).await.assert_ok();
    let told = applied(&rig, "r1", 2).await;
    let version = |number| told.iter().find(|receipt| receipt.version == number).unwrap();
    assert_eq!((version(1).amount_cents, version(1).findings.len()), (Some(12_000), 0));
    assert_eq!(
        (version(2).amount_cents, version(2).findings.as_slice()),
        (Some(12_100), &["receipt_version".to_owned()][..])
    );
    for known in [&first, &second] {
        send(&node, known).await.assert_ko(FaultCode::ReceiptDuplicata, &rig.names.institution);
    }
}

#[tokio::test]
async fn one_receipt_for_several_of_our_institutions_is_one_for_each() {
    let (rig, node) = Rig::with_node().await;
    let first = Receipt::new(&rig.names, "r1");
    let other = Names { institution: fiorino_test_support::fiscal_code(), ..rig.names.clone() };
    rig.tenant.script().own(&other);
    let second = Receipt { names: other.clone(), ..first.clone() };
    send(&node, &first).await.assert_ok();
    send(&node, &second).await.assert_ok();
    let institutions: Vec<String> = applied(&rig, "r1", 2).await.into_iter().map(|told| told.institution).collect();
    assert!(institutions.contains(&rig.names.institution) && institutions.contains(&other.institution));
}

async fn check_never_ours(strange: impl Fn(&mut Names), code: FaultCode) {
    let (rig, node) = Rig::with_node().await;
    let mut names = rig.names.clone();
    strange(&mut names);
    let receipt = Receipt { names, ..Receipt::new(&rig.names, "r1") };
    let reply = send(&node, &receipt).await;
    reply.assert_ko(code, &receipt.names.institution);
    assert_eq!(storage::messages(&rig.db.pool).await, [receipt.write()]);
    assert_eq!(applied(&rig, "r1", 1).await[0].findings, ["addressee_never_ours"]);
    // Again: it was refused, so it is no duplicate.
    send(&node, &receipt).await.assert_ko(code, &receipt.names.institution);
    // It became ours meanwhile: nothing is lost, and nobody is refused by what was true a moment ago.
    rig.tenant.script().own(&receipt.names);
    send(&node, &receipt).await.assert_ok();
    let told = applied(&rig, "r1", 2).await;
    assert_eq!((told[1].version, told[1].findings.len()), (2, 0));
}

#[tokio::test]
async fn institution_never_ours_is_refused_with_a_case() {
    check_never_ours(|names| names.institution = OTHERS.into(), FaultCode::IdDominioErrato).await;
}

#[tokio::test]
async fn broker_never_ours_is_refused_with_a_case() {
    check_never_ours(|names| names.broker = OTHERS.into(), FaultCode::IdIntermediarioErrato).await;
}

#[tokio::test]
async fn station_never_ours_is_refused_with_a_case() {
    check_never_ours(|names| names.station = format!("{OTHERS}_01"), FaultCode::StazioneIntErrata).await;
}

#[tokio::test]
async fn saved_institution_needs_no_tenant() {
    let (mut rig, node) = Rig::with_node().await;
    rig.tenant.stop().await;
    send(&node, &Receipt::new(&rig.names, "r1")).await.assert_ok();
    rig.tenant.restart().await;
    applied(&rig, "r1", 1).await;
    assert_eq!(rig.tenant.script().asked, 0);
}

#[tokio::test]
async fn unknown_institution_with_tenant_away_is_stored_and_503() {
    let (mut rig, node) = Rig::with_node().await;
    rig.tenant.stop().await;
    let names = Names { institution: OTHERS.into(), ..rig.names.clone() };
    let receipt = Receipt { names, ..Receipt::new(&rig.names, "r1") };
    let started = Stopwatch::start();
    let reply = send(&node, &receipt).await;
    reply.assert_fault(503, "again");
    assert!(started.within(KPI), "{:?}", started.elapsed());
    assert_eq!(storage::messages(&rig.db.pool).await, [receipt.write()]);
    let rows = storage::rows(&rig.db.pool, "r1").await;
    assert_eq!((rows[0].state.as_str(), rows[0].answered), ("waiting", false));
}

#[rstest]
#[case::ours(true)]
#[case::never_ours(false)]
#[tokio::test]
async fn retry_after_503_is_judged_again(#[case] ours: bool) {
    let (rig, node) = Rig::with_node().await;
    rig.tenant.script().resolving = Answer::Fail(tonic::Code::Unavailable);
    let names = Names { institution: OTHERS.into(), ..rig.names.clone() };
    let receipt = Receipt { names: names.clone(), ..Receipt::new(&rig.names, "r1") };
    send(&node, &receipt).await.assert_fault(503, "again");
    send(&node, &receipt).await.assert_fault(503, "again");
    {
        let mut script = rig.tenant.script();
        script.resolving = Answer::AtOnce;
        if ours {
            script.own(&names);
        }
    }
    let reply = send(&node, &receipt).await;
    if ours {
        reply.assert_ok();
        send(&node, &receipt).await.assert_ko(FaultCode::ReceiptDuplicata, OTHERS);
    } else {
        reply.assert_ko(FaultCode::IdDominioErrato, OTHERS);
    }
    assert_eq!(storage::rows(&rig.db.pool, "r1").await.len(), 1);
    let findings: &[&str] = if ours { &[] } else { &["addressee_never_ours"] };
    assert_eq!(applied(&rig, "r1", 1).await[0].findings, findings);
}

#[tokio::test]
async fn what_waits_is_applied_without_the_node_and_its_retry_is_no_duplicate() {
    let (rig, node) = Rig::with_node().await;
    rig.tenant.script().resolving = Answer::Fail(tonic::Code::Unavailable);
    let names = Names { institution: OTHERS.into(), ..rig.names.clone() };
    let receipt = Receipt { names: names.clone(), ..Receipt::new(&rig.names, "r1") };
    send(&node, &receipt).await.assert_fault(503, "again");
    {
        let mut script = rig.tenant.script();
        script.own(&names);
        script.resolving = Answer::AtOnce;
    }
    applied(&rig, "r1", 1).await;
    send(&node, &receipt).await.assert_ok();
    send(&node, &receipt).await.assert_ko(FaultCode::ReceiptDuplicata, OTHERS);
    assert_eq!(rig.tenant.script().applied_ids(), ["r1"]);
}

#[rstest]
#[case::suspended(LifecyclePhase::Suspended)]
#[case::leaving(LifecyclePhase::Leaving)]
#[case::closed(LifecyclePhase::Closed)]
#[tokio::test]
async fn suspended_closed_or_unmanaged_is_accepted(#[case] phase: LifecyclePhase) {
    // Unmanaged is no phase: tenant streams such an institution as any other.
    let rig = Rig::start().await;
    rig.tenant.configure([tenant::institution(&rig.names.institution, &rig.names.station, phase)]);
    let node = rig.node().await;
    send(&node, &Receipt::new(&rig.names, "r1")).await.assert_ok();
    assert_eq!(applied(&rig, "r1", 1).await[0].findings, Vec::<String>::new());
}

#[tokio::test]
async fn schema_violations_are_accepted_with_a_case() {
    let (rig, node) = Rig::with_node().await;
    let receipt = Receipt { amount: "12,00".into(), paid_at: "yesterday".into(), ..Receipt::new(&rig.names, "r1") };
    send(&node, &receipt).await.assert_ok();
    let told = &applied(&rig, "r1", 1).await[0];
    assert_eq!(told.findings, ["receipt_schema"]);
    assert_eq!((told.amount_cents, told.paid_at.as_str(), told.iuv.as_str()), (None, "", "12000000000471179"));
}

#[tokio::test]
async fn a_station_of_another_institution_is_accepted_with_a_case() {
    let (rig, node) = Rig::with_node().await;
    let other = format!("{}_02", rig.names.broker);
    rig.tenant.script().ours.insert(other.clone());
    rig.tenant.configure([tenant::station(&other, &rig.names.broker)]);
    let names = Names { station: other, ..rig.names.clone() };
    send(&node, &Receipt { names, ..Receipt::new(&rig.names, "r1") }).await.assert_ok();
    assert_eq!(applied(&rig, "r1", 1).await[0].findings, ["receipt_not_associated"]);
}

#[rstest]
#[case::no_xml("paSendRT was here")]
#[case::broken("<soapenv:Envelope xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\"><soapenv:Body>")]
#[case::no_operation(
    "<soapenv:Envelope xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\"><soapenv:Body/></soapenv:Envelope>"
)]
#[case::entity("<!DOCTYPE a [<!ENTITY e \"x\">]><a>&e;</a>")]
#[tokio::test]
async fn unreadable_body_is_stored_and_500(#[case] body: &'static str) {
    let (rig, node) = Rig::with_node().await;
    node.call(&rig.names.station, body).await.assert_fault(500, "cannot be read");
    node.call(&rig.names.station, body).await.assert_fault(500, "cannot be read");
    assert_eq!(storage::unreadable(&rig.db.pool).await, [(body.as_bytes().to_vec(), 2)]);
    assert_eq!(storage::messages(&rig.db.pool).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_receipt_without_its_key_is_unreadable() {
    let (rig, node) = Rig::with_node().await;
    let without = Receipt::new(&rig.names, "r1").write().replace("<receiptId>r1</receiptId>", "");
    node.call(&rig.names.station, without.clone()).await.assert_fault(500, "cannot be read");
    let cut = envelope("paSendRTReq", &header(&rig.names));
    node.call(&rig.names.station, cut.clone()).await.assert_fault(500, "cannot be read");
    let kept: Vec<Vec<u8>> = storage::unreadable(&rig.db.pool).await.into_iter().map(|(body, _)| body).collect();
    assert_eq!(kept, [without.into_bytes(), cut.into_bytes()]);
}

#[rstest]
#[case::cut(Line::Cut)]
#[case::silent(Line::Silent)]
#[tokio::test]
async fn database_away_is_503(#[case] line: Line) {
    let rig = Rig::start().await;
    let (proxy, url) = Proxy::before_url(&rig.db.url).await.unwrap();
    let mut options = rig.options("node-connector-0");
    options.database = crate::rig::as_runtime(&url);
    let node = Node::start(options, fiorino_node_connector::Tuning::default()).await;
    node.ready().await;
    send(&node, &Receipt::new(&rig.names, "r0")).await.assert_ok();

    proxy.set(line);
    for body in [Receipt::new(&rig.names, "r1").write(), "no receipt".to_owned()] {
        let started = Stopwatch::start();
        node.call(&rig.names.station, body).await.assert_fault(503, "again");
        assert!(started.within(KPI), "{:?}", started.elapsed());
    }
    // Verify needs no database.
    let verify = crate::rig::messages::verify(&rig.names, crate::rig::messages::NOTICE);
    node.call(&rig.names.station, verify).await.assert_ok();

    proxy.set(Line::Open);
    eventually(SOON, async || {
        let reply = send(&node, &Receipt::new(&rig.names, "r1")).await;
        ensure!(reply.status == 200, "{}", reply.body);
        // While it was away it may have been stored: a duplicate it is not, the node had no answer.
        reply.assert_ok();
        Ok(())
    })
    .await
    .unwrap();
    applied(&rig, "r1", 1).await;
    // An answer that was taken back while the database hung may reach it after the OK: one more repetition is OK then.
    let duplicate = eventually(SOON, async || {
        let reply = send(&node, &Receipt::new(&rig.names, "r1")).await;
        if reply.tag("outcome") == Some("KO") { Ok(reply) } else { Err(reply.body) }
    });
    duplicate.await.unwrap().assert_ko(FaultCode::ReceiptDuplicata, &rig.names.institution);
}

#[tokio::test]
async fn after_a_failover_connections_that_hang_are_given_up() {
    let rig = Rig::start().await;
    let (proxy, url) = Proxy::before_url(&rig.db.url).await.unwrap();
    let mut options = rig.options("node-connector-0");
    options.database = crate::rig::as_runtime(&url);
    // One hanging connection is a whole pool.
    options.database.database_pool_max = 1;
    let node = Node::start(options, fiorino_node_connector::Tuning::default()).await;
    node.ready().await;
    send(&node, &Receipt::new(&rig.names, "r0")).await.assert_ok();
    applied(&rig, "r0", 1).await;
    proxy.set(Line::FailedOver);
    eventually(SOON, async || {
        let reply = send(&node, &Receipt::new(&rig.names, "r1")).await;
        ensure!(reply.status == 200, "{}", reply.body);
        Ok(())
    })
    .await
    .unwrap();
    eventually(Duration::from_secs(30), async || {
        ensure!(rig.tenant.script().applied_ids() == ["r0", "r1"], "the dispatcher hangs");
        Ok(())
    })
    .await
    .unwrap();
}

#[rstest]
#[case::another_station("88888888888_77")]
#[case::not_printable("8888%008888_%0a")]
#[tokio::test]
async fn path_that_differs_from_the_body_is_only_a_case(#[case] path: &str) {
    let (rig, node) = Rig::with_node().await;
    node.call(path, Receipt::new(&rig.names, "r1").write()).await.assert_ok();
    assert_eq!(applied(&rig, "r1", 1).await[0].findings, ["receipt_path_mismatch"]);
}

#[tokio::test]
async fn of_simultaneous_equals_one_is_accepted_and_one_is_applied() {
    let (rig, node) = Rig::with_node().await;
    let other = Node::start(rig.options("node-connector-1"), fiorino_node_connector::Tuning::default()).await;
    other.ready().await;
    let receipt = Receipt::new(&rig.names, "r1");
    let calls = (0..20).map(|number| send(if number % 2 == 0 { &node } else { &other }, &receipt));
    let replies = futures::future::join_all(calls).await;
    let accepted = replies.iter().filter(|reply| reply.tag("outcome") == Some("OK")).count();
    assert_eq!(accepted, 1);
    let duplicates = replies.iter().filter(|reply| reply.tag("faultCode") == Some("PAA_RECEIPT_DUPLICATA")).count();
    assert_eq!(duplicates, 19);
    let kept = i64::try_from(storage::messages(&rig.db.pool).await.len()).unwrap();
    assert_eq!(kept + storage::repeated(&rig.db.pool, "r1").await, 20, "every message is kept or counted");
    applied(&rig, "r1", 1).await;
}

#[tokio::test]
async fn of_simultaneous_differing_ones_each_is_a_version() {
    let (rig, node) = Rig::with_node().await;
    let receipts: Vec<Receipt> =
        (0..8).map(|number| Receipt { amount: format!("12{number}.00"), ..Receipt::new(&rig.names, "r1") }).collect();
    for reply in futures::future::join_all(receipts.iter().map(|receipt| send(&node, receipt))).await {
        reply.assert_ok();
    }
    let mut versions: Vec<u32> = applied(&rig, "r1", 8).await.into_iter().map(|told| told.version).collect();
    versions.sort_unstable();
    assert_eq!(versions, [1, 2, 3, 4, 5, 6, 7, 8]);
}
