//! Outages as the node sees them (ARCHITECTURE.md 5.1), each a test, each shorter than 25 s.

use std::time::Duration;

use anyhow::ensure;
use fiorino_chaos::compare;
use fiorino_chaos::debts::Debts;
use fiorino_chaos::gate::Gate;
use fiorino_chaos::institution::Institution;
use fiorino_chaos::ledger::Ledger;
use fiorino_chaos::node::{Node, Receipt, Told};
use fiorino_chaos::stage::{Own, Stage};
use fiorino_chaos::visitor::Visitor;
use fiorino_e2e::town::{Names, PATIENCE, Town};
use fiorino_rig::proxy::Line;
use fiorino_rig::{Signal, Stopwatch, eventually};
use reqwest::StatusCode;
use rstest::rstest;

/// The outage itself, without the time that starting everything takes.
const OUTAGE_MAX: Duration = Duration::from_secs(25);
const PIETRABRUNA: &str = "Comune di Pietrabruna";

/// A debt that is activated, and its receipt.
async fn receipt(stage: &Stage, reference: &str) -> Receipt {
    let debts = Debts::of(&stage.town).unwrap();
    let notice = debts.create(stage.node.institution(), &[reference.to_owned()]).await.unwrap().remove(0);
    let payment = stage.node.activate(&notice).await.unwrap();
    stage.node.receipt(&notice, &payment)
}

/// Waits until the node is told that the notice is paid.
async fn told_paid(node: &Node, notice_number: &str, within: Duration) {
    let paid = eventually(within, async || {
        let told = node.verify(0, notice_number).await;
        ensure!(matches!(&told, Told::Ko(code) if code == "PAA_PAGAMENTO_DUPLICATO"), "{told:?}");
        Ok::<_, anyhow::Error>(())
    });
    paid.await.unwrap();
}

/// Another municipality of the station, which the stage knows nothing of.
fn stranger(stage: &Stage, names: Names) -> Node {
    let urls = &stage.town.world.addresses().node_urls;
    let institution = Institution { names, legal_name: PIETRABRUNA, cents: 12_000, shown: "120,00\u{a0}€" };
    Node::new(urls, institution, std::sync::Arc::<Ledger>::default()).unwrap()
}

/// The state of another part is nobody's readiness (ARCHITECTURE.md 5.4): all are ready but those that are themselves away.
async fn ready_but(stage: &Stage, away: &[&str]) {
    for process in ["tenant", "node-connector-1", "node-connector-2", "reporting", "front-office", "operator"] {
        if !away.contains(&process) {
            let url = format!("{}/readyz", stage.town.world.addresses().admin_urls[process]);
            let status = reqwest::get(url).await.unwrap().status();
            assert_eq!(status, StatusCode::OK, "{process}");
        }
    }
}

fn ok(told: &Told) -> bool {
    matches!(told, Told::Ok(_))
}

fn ko(told: &Told, code: &str) -> bool {
    matches!(told, Told::Ko(found) if found == code)
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_node_connectors_database_receipts_are_503_and_notices_answered() {
    let stage = Box::pin(Stage::new(Own::default())).await.unwrap();
    let receipt = receipt(&stage, "away").await;
    let begun = Stopwatch::start();
    for replica in ["node-connector-1", "node-connector-2"] {
        stage.line(replica, "database").unwrap().set(Line::Cut);
    }
    for replica in 0..stage.node.replicas() {
        let told = stage.node.send(replica, &receipt).await;
        assert!(matches!(told, Told::Later), "{told:?}");
        assert!(ok(&stage.node.verify(replica, &receipt.notice_number).await));
        assert!(ok(&stage.node.get(replica, &receipt.notice_number).await));
    }
    ready_but(&stage, &[]).await;
    for replica in ["node-connector-1", "node-connector-2"] {
        stage.line(replica, "database").unwrap().set(Line::Open);
    }
    stage.node.deliver(&receipt).await;
    told_paid(&stage.node, &receipt.notice_number, PATIENCE).await;
    assert!(begun.within(OUTAGE_MAX), "{:?}", begun.elapsed());
    compare::equal(&stage).await.unwrap();
}

/// How tenant can be away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Away {
    Killed,
    Hangs,
    Database,
}

impl Away {
    fn begin(self, town: &mut Town) {
        let tenant = town.world.process("tenant").unwrap();
        match self {
            Self::Killed => drop(tenant.kill().unwrap()),
            Self::Hangs => tenant.signal(Signal::STOP).unwrap(),
            Self::Database => town.world.line("tenant", "database").unwrap().set(Line::Cut),
        }
    }

    async fn end(self, town: &mut Town) {
        match self {
            Self::Killed => town.world.restart("tenant").await.unwrap(),
            Self::Hangs => town.world.process("tenant").unwrap().signal(Signal::CONT).unwrap(),
            Self::Database => town.world.line("tenant", "database").unwrap().set(Line::Open),
        }
    }
}

#[rstest]
#[case::killed(Away::Killed)]
#[case::hangs(Away::Hangs)]
#[case::database(Away::Database)]
#[tokio::test(flavor = "multi_thread")]
async fn without_tenant_receipts_of_known_institutions_are_ok_and_others_are_stored(#[case] away: Away) {
    let mut stage = Box::pin(Stage::new(Own::default())).await.unwrap();
    let receipt = receipt(&stage, "away").await;
    let others = stranger(&stage, stage.town.names.neighbour("31"));
    let foreign = others.receipt(&receipt.notice_number, &receipt.payment);
    let begun = Stopwatch::start();
    away.begin(&mut stage.town);
    for replica in 0..stage.node.replicas() {
        // The ledger complains should one take longer than 2 s.
        let told = stage.node.verify(replica, &receipt.notice_number).await;
        assert!(ko(&told, "PAA_SYSTEM_ERROR"), "{told:?}");
        let told = stage.node.get(replica, &receipt.notice_number).await;
        assert!(ko(&told, "PAA_SYSTEM_ERROR"), "{told:?}");
        let told = others.send(replica, &foreign).await;
        assert!(matches!(told, Told::Later), "{told:?}");
    }
    let told = stage.node.send(1, &receipt).await;
    assert!(ok(&told), "{told:?}");
    let visitor = Visitor::of(&stage.town).unwrap();
    assert_eq!(visitor.look(&stage.node, &receipt.notice_number).await, Some(StatusCode::SERVICE_UNAVAILABLE));
    let (status, home) = visitor.page(&stage.node, "/").await.unwrap();
    assert!(status.is_success() && home.contains("Tassa sui rifiuti"), "{status}: {home}");
    let away_too: &[&str] = if away == Away::Database { &[] } else { &["tenant"] };
    ready_but(&stage, away_too).await;
    away.end(&mut stage.town).await;
    told_paid(&stage.node, &receipt.notice_number, PATIENCE).await;
    // The stored one is judged now: not ours, and no repetition of an answered one.
    let told = eventually(PATIENCE, async || match others.send(0, &foreign).await {
        Told::Ko(code) => Ok(code),
        told => Err(format!("{told:?}")),
    });
    assert_eq!(told.await.unwrap(), "PAA_ID_DOMINIO_ERRATO");
    assert!(begun.within(OUTAGE_MAX), "{:?}", begun.elapsed());
    compare::equal(&stage).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_kafka_a_paid_debt_is_a_duplicate_within_5_s_and_reported_later() {
    let own = Own { kafka: true, ..Own::default() };
    let mut stage = Box::pin(Stage::new(own)).await.unwrap();
    let receipt = receipt(&stage, "away").await;
    stage.servers.kafka.as_mut().unwrap().process_mut().kill().unwrap();
    let begun = Stopwatch::start();
    assert!(ok(&stage.node.verify(0, &receipt.notice_number).await));
    let told = stage.node.send(0, &receipt).await;
    assert!(ok(&told), "{told:?}");
    told_paid(&stage.node, &receipt.notice_number, Duration::from_secs(5)).await;
    ready_but(&stage, &[]).await;
    assert!(begun.within(OUTAGE_MAX), "{:?}", begun.elapsed());
    stage.servers.kafka.as_mut().unwrap().restart().await.unwrap();
    compare::equal(&stage).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_operator_api_server_and_reporting_nothing_is_different() {
    let own = Own { kubernetes: true, ..Own::default() };
    let mut stage = Box::pin(Stage::new(own)).await.unwrap();
    let receipt = receipt(&stage, "away").await;
    let begun = Stopwatch::start();
    stage.servers.kubernetes.as_mut().unwrap().kill().unwrap();
    stage.town.world.process("reporting").unwrap().kill().unwrap();
    assert!(ok(&stage.node.verify(1, &receipt.notice_number).await));
    assert!(ok(&stage.node.send(0, &receipt).await));
    told_paid(&stage.node, &receipt.notice_number, Duration::from_secs(5)).await;
    ready_but(&stage, &["reporting"]).await;
    stage.town.world.process("operator").unwrap().kill().unwrap();
    assert!(ko(&stage.node.verify(1, &receipt.notice_number).await, "PAA_PAGAMENTO_DUPLICATO"));
    assert!(begun.within(OUTAGE_MAX), "{:?}", begun.elapsed());
    stage.town.world.restart("reporting").await.unwrap();
    stage.servers.kubernetes.as_mut().unwrap().restart().await.unwrap();
    stage.reconfigure().await.unwrap();
    compare::equal(&stage).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_whose_stream_was_cut_before_an_institution_was_onboarded_takes_its_receipt() {
    const CUT: usize = 1;
    let names = std::sync::Mutex::new(None);
    let stage = Box::pin(Stage::with(Own::default(), |options, town| {
        let neighbour = town.neighbour("31");
        let options = options.watching(&neighbour.namespace);
        *names.lock().unwrap() = Some(neighbour);
        options
    }));
    let stage = stage.await.unwrap();
    let names = names.into_inner().unwrap().unwrap();
    let receipt = receipt(&stage, "known").await;
    // The replica reconnects by way of the gate: calls pass, the stream does not.
    let world = &stage.town.world;
    let tenant = world.addresses().tenant_grpc.trim_start_matches("https://").parse().unwrap();
    let sides = ["node-connector", "tenant"];
    let gate = Gate::before(tenant, world.mesh(), sides, "fiorino.config.v1.ConfigStream").await.unwrap();
    let line = stage.line("node-connector-2", "tenant").unwrap();
    line.redirect(gate.address());
    line.set(Line::Cut);
    line.set(Line::Open);
    eventually(PATIENCE, async || {
        ensure!(gate.refused() > 0, "the stream was not asked for again");
        Ok(())
    })
    .await
    .unwrap();
    stage.town.apply(&names.town_manifest(stage.town.platform(), PIETRABRUNA)).await.unwrap();
    let others = stranger(&stage, names);
    eventually(PATIENCE, async || {
        let told = others.verify(0, &receipt.notice_number).await;
        ensure!(ko(&told, "PAA_PAGAMENTO_SCONOSCIUTO"), "the other replica does not know it yet: {told:?}");
        Ok(())
    })
    .await
    .unwrap();
    let foreign = others.receipt(&receipt.notice_number, &receipt.payment);
    let told = others.send(CUT, &foreign).await;
    assert!(ok(&told), "{told:?}");
    assert!(ko(&others.verify(CUT, &receipt.notice_number).await, "PAA_PAGAMENTO_SCONOSCIUTO"));
    assert!(ok(&stage.node.send(CUT, &receipt).await), "and those of institutions that it knew");
    compare::equal(&stage).await.unwrap();
}
