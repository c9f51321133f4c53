//! Rate, errors and duration of whatever is called: counted as it was called, by OTLP and at `/metrics`.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use fiorino_otlp_sink::{MetricPoint, Value};
use fiorino_proto::positions::v1::CreatePositionRequest;
use fiorino_test_support::eventually;
use tonic::Code;

use super::{
    PATIENCE, Town, databases, kafka,
    messages::{self, Person, Receipt},
    scrape::{Sample, Scrape},
    sink::Sink,
    visitors,
};
use fiorino_e2e::town::Names;

/// Operation, outcome, fault.
type Series = (String, String, String);

const NODE: &str = "node-connector-1";
/// Nobody's notice.
const NOBODYS: &str = "312999999999999999";
const DEBTOR: Person = Person {
    code: "RSSMRA80A01H501U",
    name: "Mario Rossi",
    email: "mario@example.it",
    street: "Via Roma",
    city: "Roccafiorina",
};

/// What the node sends, and how each must be answered.
fn calls(names: &Names, notices: &[String]) -> Vec<(&'static str, &'static str, &'static str, String)> {
    let stranger = Names { fiscal_code: "99999999990".to_owned(), ..names.clone() };
    let verify = |notice: &str| messages::verify(names, notice);
    let get = |element: &str, notice: &str| messages::get(element, names, notice, "");
    let receipt = |id: &str, notice: &str| Receipt::new(names, id, notice, DEBTOR);
    let first = |id: &str, notice: &str| Receipt { v2: false, ..receipt(id, notice) }.write();
    let (v1, v2) = ("paGetPaymentReq", "paGetPaymentV2Request");
    let keyless = receipt("red-4", &notices[2]).write().replace("<receiptId>red-4</receiptId>", "");
    vec![
        ("paVerifyPaymentNotice", "OK", "", verify(&notices[0])),
        ("paVerifyPaymentNotice", "OK", "", verify(&notices[1])),
        ("paVerifyPaymentNotice", "OK", "", verify(&notices[2])),
        ("paVerifyPaymentNotice", "KO", "PAA_PAGAMENTO_SCONOSCIUTO", verify(NOBODYS)),
        ("paVerifyPaymentNotice", "KO", "PAA_PAGAMENTO_SCONOSCIUTO", verify(NOBODYS)),
        ("paVerifyPaymentNotice", "KO", "PAA_ID_DOMINIO_ERRATO", messages::verify(&stranger, NOBODYS)),
        ("paVerifyPaymentNotice", "KO", "PAA_SINTASSI_XSD", verify("31")),
        ("paGetPayment", "OK", "", get(v1, &notices[0])),
        ("paGetPayment", "KO", "PAA_PAGAMENTO_SCONOSCIUTO", get(v1, NOBODYS)),
        ("paGetPaymentV2", "OK", "", get(v2, &notices[1])),
        ("paGetPaymentV2", "OK", "", get(v2, &notices[2])),
        ("paGetPaymentV2", "KO", "PAA_PAGAMENTO_SCONOSCIUTO", get(v2, NOBODYS)),
        ("paGetPaymentV2", "KO", "PAA_ID_DOMINIO_ERRATO", messages::get(v2, &stranger, NOBODYS, "")),
        ("paSendRT", "OK", "", first("red-1", &notices[0])),
        ("paSendRT", "KO", "PAA_RECEIPT_DUPLICATA", first("red-1", &notices[0])),
        ("paSendRTV2", "OK", "", receipt("red-2", &notices[1]).write()),
        ("paSendRTV2", "OK", "", receipt("red-3", &notices[2]).write()),
        ("paSendRTV2", "KO", "PAA_RECEIPT_DUPLICATA", receipt("red-3", &notices[2]).write()),
        ("paSendRTV2", "KO", "PAA_RECEIPT_DUPLICATA", receipt("red-3", &notices[2]).write()),
        ("paSendRTV2", "FAULT", "Client", keyless),
        ("paDemandPaymentNotice", "KO", "PAA_SEMANTICA", messages::demand(names)),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_is_counted_by_outcome_and_timed() {
    let town = Town::payable().await;
    let mut notices = Vec::new();
    for number in 0..3 {
        notices.push(town.create_debt(&format!("red-{number}")).await);
    }
    let unknown = CreatePositionRequest { institution: town.names.fiscal_code.clone(), position: None };
    let refused = town.positions().await.create_position(unknown).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);

    let mut made: BTreeMap<Series, u64> = BTreeMap::new();
    for (op, outcome, fault, message) in calls(&town.names, &notices) {
        let answer = messages::send(&town, &town.names.station, message).await.unwrap();
        assert!(answer.says(if outcome == "KO" { fault } else { outcome }) || outcome == "FAULT", "{op}: {answer:?}");
        assert_eq!(answer.status, if outcome == "FAULT" { 500 } else { 200 }, "{answer:?}");
        *made.entry(series(op, outcome, fault)).or_default() += 1;
    }
    for notice in &notices {
        town.reported(notice).await;
    }
    kafka::produce(&town, &format!("{}/nonsense", town.names.fiscal_code), b"nonsense").await.unwrap();

    let sink = Sink::of(&town);
    eventually(PATIENCE, async || {
        node_is_scraped(&Scrape::of(&town, NODE).await?, &made)?;
        node_is_exported(&sink, &made).await?;
        tenant_is_scraped(&Scrape::of(&town, "tenant").await?)?;
        reporting_is_scraped(&Scrape::of(&town, "reporting").await?)?;
        are_exported(&sink, &NEIGHBOURS).await
    })
    .await
    .unwrap();
}

/// What cannot be done at present: a receipt that is not stored, a tenant that is away. The node, a citizen and the operator meet it.
#[tokio::test(flavor = "multi_thread")]
async fn trouble_is_counted_where_it_is_met() {
    let mut town = Town::payable().await;
    let notice = town.create_debt("red-trouble").await;
    let lookup = |codice: &str| format!("/avviso?codice={codice}&ente={}&conferma={codice}", town.names.fiscal_code);
    let (found, unknown) = (lookup(&notice), lookup(NOBODYS));
    for (path, status) in [("/", 200), ("/avviso", 200), (&*found, 200), (&*unknown, 404), ("/altrove", 404)] {
        assert_eq!(visitors::visit(&town, path).await.unwrap(), status, "{path}");
    }
    let refused_path = databases::refuse_receipts(&town).await.unwrap();
    let receipt = Receipt::new(&town.names, "red-trouble", &notice, DEBTOR).write();
    let not_stored = messages::send(&town, &refused_path, receipt).await.unwrap();
    assert!(not_stored.status == 503 && not_stored.says("soapenv:Server"), "{not_stored:?}");

    // Tenant answers: what is missing is an account number, which is counted apart from an outage.
    databases::withdraw_accounts(&town).await.unwrap();
    let unpayable = messages::send(&town, &town.names.station, messages::verify(&town.names, &notice)).await.unwrap();
    assert!(unpayable.says("PAA_SYSTEM_ERROR"), "{unpayable:?}");

    town.world.process("tenant").unwrap().stop().unwrap();
    for message in
        [messages::verify(&town.names, &notice), messages::get("paGetPaymentV2Request", &town.names, &notice, "")]
    {
        let answer = messages::send(&town, &town.names.station, message).await.unwrap();
        assert!(answer.status == 200 && answer.says("PAA_SYSTEM_ERROR"), "{answer:?}");
    }
    assert_eq!(visitors::visit(&town, &found).await.unwrap(), 503);
    town.apply(&town.names.town_manifest(town.platform(), "Comune di Roccafiorina Terme")).await.unwrap();

    let made = BTreeMap::from([
        (series("paSendRTV2", "FAULT", "Server"), 1),
        (series("paVerifyPaymentNotice", "KO", "PAA_SYSTEM_ERROR"), 2),
        (series("paGetPaymentV2", "KO", "PAA_SYSTEM_ERROR"), 1),
    ]);
    let sink = Sink::of(&town);
    eventually(PATIENCE, async || {
        let node = Scrape::of(&town, NODE).await?;
        ensure!(counted(&node) == made, "{:?}", counted(&node));
        let without_account = |op| whole(node.sum("pa_notices_without_account_total", &[("op", op)]));
        let counts = ["paVerifyPaymentNotice", "paGetPayment", "paGetPaymentV2"].map(without_account);
        ensure!(counts == [1, 0, 0], "{counts:?}");
        let statuses = by_route(&node, "node");
        ensure!(statuses.values().sum::<u64>() == 4 && statuses.iter().any(|((_, status), _)| status == "503"));
        node_is_exported(&sink, &made).await?;
        portal_is_scraped(&Scrape::of(&town, "front-office").await?)?;
        operator_is_scraped(&Scrape::of(&town, "operator").await?)?;
        are_exported(&sink, &TROUBLED).await
    })
    .await
    .unwrap();
}

fn series(op: &str, outcome: &str, fault: &str) -> Series {
    (op.to_owned(), outcome.to_owned(), fault.to_owned())
}

/// What the node-connector has counted.
fn counted(scrape: &Scrape) -> BTreeMap<Series, u64> {
    let series = |sample: &Sample| series(sample.label("op"), sample.label("outcome"), sample.label("fault"));
    scrape.with("pa_requests_total", &[]).map(|sample| (series(sample), whole(sample.value))).collect()
}

/// Requests by route and status.
fn by_route(scrape: &Scrape, listener: &str) -> BTreeMap<(String, String), u64> {
    let of_listener = [("listener", listener)];
    let samples = scrape.with("http_server_request_duration_seconds_count", &of_listener);
    let label = |sample: &Sample, key: &str| sample.label(key).to_owned();
    samples.map(|it| ((label(it, "http_route"), label(it, "http_response_status_code")), whole(it.value))).collect()
}

fn by_op(made: &BTreeMap<Series, u64>) -> BTreeMap<&str, u64> {
    made.iter().fold(BTreeMap::new(), |mut sums, ((op, ..), count)| {
        *sums.entry(op.as_str()).or_default() += count;
        sums
    })
}

fn node_is_scraped(scrape: &Scrape, made: &BTreeMap<Series, u64>) -> Result<()> {
    ensure!(counted(scrape) == *made, "{:?}", counted(scrape));
    for (op, count) in by_op(made) {
        let timed = whole(scrape.sum("pa_request_duration_seconds_count", &[("op", op)]));
        ensure!(timed == count, "{op}: {timed} of {count} are timed");
        let kpi = scrape.with("pa_request_duration_seconds_bucket", &[("op", op), ("le", "2")]).count();
        ensure!(kpi == 1, "{op}: the KPI of 2 s is no bound");
    }
    ensure!(whole(scrape.sum("receipts_unreadable_total", &[])) == 1, "the receipt without a key");
    ensure!(whole(scrape.sum("receipts_retry_observed_total", &[])) == 3, "three repetitions");
    let asked = [("rpc_method", "fiorino.notices.v1.Notices/VerifyMany"), ("rpc_grpc_status_code", "0")];
    ensure!(whole(scrape.sum("rpc_client_duration_seconds_count", &asked)) == 5, "what was asked of tenant");
    Ok(())
}

async fn node_is_exported(sink: &Sink, made: &BTreeMap<Series, u64>) -> Result<()> {
    let points: Vec<_> = sink.metrics().await?.into_iter().filter(|point| point.service == "node-connector").collect();
    let mut counted: BTreeMap<Series, u64> = BTreeMap::new();
    let mut timed: BTreeMap<String, u64> = BTreeMap::new();
    for point in points {
        let attribute = |key: &str| point.attributes[key].as_str().unwrap_or_default().to_owned();
        match (point.name.as_str(), point.value) {
            ("pa_requests", Value::Number(count)) => {
                *counted.entry((attribute("op"), attribute("outcome"), attribute("fault"))).or_default() +=
                    whole(count);
            }
            ("pa_request_duration", Value::Histogram { count, bounds, .. }) => {
                ensure!(point.unit == "s" && bounds.contains(&2.0), "{}: {bounds:?}", point.unit);
                *timed.entry(attribute("op")).or_default() += count;
            }
            _ => {}
        }
    }
    ensure!(counted == *made, "{counted:?}");
    let expected = by_op(made);
    ensure!(timed.iter().map(|(op, count)| (op.as_str(), *count)).eq(expected), "{timed:?}");
    Ok(())
}

/// Servers: every method by status.
fn tenant_is_scraped(scrape: &Scrape) -> Result<()> {
    let served = |method: &str, code: Code| {
        let code = (code as i32).to_string();
        let labels = [("rpc_method", method), ("rpc_grpc_status_code", code.as_str())];
        whole(scrape.sum("rpc_server_duration_seconds_count", &labels))
    };
    let create = "fiorino.positions.v1.Positions/CreatePosition";
    ensure!((served(create, Code::Ok), served(create, Code::InvalidArgument)) == (3, 1), "creations");
    // Nothing was asked at the same time: a batch is one notice.
    ensure!(served("fiorino.notices.v1.Notices/VerifyMany", Code::Ok) == 5, "verified");
    ensure!(served("fiorino.notices.v1.Notices/ActivateMany", Code::Ok) == 5, "activated");
    ensure!(served("fiorino.receipts.v1.Receipts/ApplyReceipts", Code::Ok) >= 1, "applied");
    ensure!(scrape.with("rpc_server_duration_seconds_bucket", &[("rpc_method", create), ("le", "1.8")]).count() == 2);
    let applied = [("outcome", "APPLY_OUTCOME_APPLIED")];
    ensure!(whole(scrape.sum("fiorino_tenant_receipts_applied_total", &applied)) == 3, "receipts");
    ensure!(whole(scrape.sum("fiorino_outbox_relayed_total", &[])) == 3, "events");
    Ok(())
}

/// The consumer: rate and errors by outcome, the time for a batch, the age of what is recorded.
fn reporting_is_scraped(scrape: &Scrape) -> Result<()> {
    let messages = |outcome| whole(scrape.sum("fiorino_reporting_messages_total", &[("outcome", outcome)]));
    ensure!(
        (messages("recorded"), messages("parked")) == (3, 1),
        "{} and {}",
        messages("recorded"),
        messages("parked")
    );
    ensure!(whole(scrape.sum("messaging_process_duration_seconds_count", &[("error_type", "")])) >= 2, "batches");
    ensure!(whole(scrape.sum("fiorino_reporting_delay_seconds_count", &[])) >= 3, "ages");
    let listed = [("rpc_method", "fiorino.payments.v1.Payments/ListPayments"), ("rpc_grpc_status_code", "0")];
    ensure!(whole(scrape.sum("rpc_server_duration_seconds_count", &listed)) >= 3, "listed");
    Ok(())
}

/// The portal: every route by status, lookups by what came of them.
fn portal_is_scraped(scrape: &Scrape) -> Result<()> {
    let routes = by_route(scrape, "portal");
    let expected = [
        (("/", "200"), 1),
        (("/avviso", "200"), 2),
        (("/avviso", "404"), 1),
        (("/avviso", "503"), 1),
        (("unmatched", "404"), 1),
    ];
    let routes = routes.iter().map(|((route, status), count)| ((route.as_str(), status.as_str()), *count));
    ensure!(routes.clone().eq(expected), "{:?}", routes.collect::<Vec<_>>());
    for outcome in ["found", "unknown", "away"] {
        let lookups = scrape.sum("fiorino_front_office_lookups_total", &[("outcome", outcome)]);
        ensure!(whole(lookups) == 1, "{outcome}: {lookups}");
    }
    ensure!(whole(scrape.sum("fiorino_front_office_limited_total", &[])) == 0, "nobody asked too often");
    Ok(())
}

/// Reconciles by outcome, each timed, with the pause after a failure; calls of tenant and writes of statuses.
fn operator_is_scraped(scrape: &Scrape) -> Result<()> {
    let kind = ("kind", "CreditorInstitution");
    let reconciles = |outcome| whole(scrape.sum("reconcile_total", &[kind, ("outcome", outcome)]));
    ensure!(reconciles("done") >= 1 && reconciles("failed") >= 1, "{} failed", reconciles("failed"));
    let all = whole(scrape.sum("reconcile_total", &[kind]));
    ensure!(whole(scrape.sum("reconcile_duration_seconds_count", &[kind])) == all, "{all} reconciles are timed");
    ensure!(whole(scrape.sum("reconcile_backoff_seconds_count", &[])) >= 1, "a pause after a failure");
    ensure!(whole(scrape.sum("status_patch_total", &[("outcome", "ok")])) >= 1, "statuses are written");
    for outcome in ["Ok", "Unavailable"] {
        let calls = [("service", "tenant"), ("outcome", outcome)];
        ensure!(whole(scrape.sum("external_call_duration_seconds_count", &calls)) >= 1, "calls that end {outcome}");
    }
    ensure!(whole(scrape.sum("leader", &[])) == 1, "it leads");
    Ok(())
}

/// Service and name of a metric.
type Exported = (&'static str, &'static str);

const NEIGHBOURS: [Exported; 6] = [
    ("tenant", "rpc.server.duration"),
    ("reporting", "rpc.server.duration"),
    ("reporting", "messaging.process.duration"),
    ("reporting", "fiorino.reporting.messages"),
    ("node-connector", "rpc.client.duration"),
    ("operator", "rpc.client.duration"),
];
const TROUBLED: [Exported; 6] = [
    ("front-office", "http.server.request.duration"),
    ("front-office", "fiorino.front_office.lookups"),
    ("front-office", "rpc.client.duration"),
    ("operator", "reconcile"),
    ("operator", "reconcile_duration"),
    ("operator", "reconcile_backoff"),
];

async fn are_exported(sink: &Sink, expected: &[Exported]) -> Result<()> {
    let points = sink.metrics().await?;
    for (service, name) in expected {
        let is_it = |point: &MetricPoint| (point.service.as_str(), point.name.as_str()) == (*service, *name);
        ensure!(points.iter().any(is_it), "{name} of {service}");
    }
    Ok(())
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts are whole")]
fn whole(value: f64) -> u64 {
    value.round() as u64
}
