//! The node's own rules: tokens, registered accounts, delivery and retry of receipts.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use axum::{Router, extract::State, http::StatusCode, response::IntoResponse, routing::post};
use fiorino_simulator::{
    Options, Simulator,
    node::{ActivateExtras, NoticeKey, OutcomeExtras, delivery},
    registry::{Association, Broker, Institution, RegisteredIban, Station},
};
use tokio_util::sync::CancellationToken;

use crate::samples;

const INSTITUTION: &str = "77777777777";
const BENEFICIARY: &str = "01199250158";

/// A station that answers with the official samples; receipts fail until `failures` is used up.
#[derive(Debug, Clone)]
struct FakeStation {
    failures: Arc<AtomicU32>,
    receipt_answer: &'static str,
}

async fn answer(State(station): State<FakeStation>, headers: axum::http::HeaderMap, body: String) -> impl IntoResponse {
    let action = headers["SOAPAction"].to_str().unwrap().to_owned();
    let name = match action.as_str() {
        "paVerifyPaymentNotice" => "paVerifyPaymentNotice.res.ok.xml",
        "paGetPaymentV2" => "paGetPaymentV2.res.ok.xml",
        "paSendRTV2" => station.receipt_answer,
        other => panic!("unexpected {other}"),
    };
    let failing = action == "paSendRTV2"
        && station.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok();
    assert!(body.contains("<idPA>"));
    let status = if failing { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    let text = samples::load(name).unwrap_or_default().replace("paSendRTRes", "paSendRTV2Response");
    (status, [("content-type", "text/xml; charset=utf-8")], text)
}

async fn world(failures: u32, receipt_answer: &'static str) -> Option<(Simulator, CancellationToken, NoticeKey)> {
    samples::load("paGetPaymentV2.res.ok.xml")?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/node/v1/88888888888_01", listener.local_addr().unwrap());
    let state = FakeStation { failures: Arc::new(AtomicU32::new(failures)), receipt_answer };
    let app = Router::new().route("/node/v1/{station}", post(answer)).with_state(state);
    tokio::spawn(async move { axum::serve(listener, app).await });
    let token = CancellationToken::new();
    let options = Options { receipt_retry: Duration::from_millis(50), ..Options::default() };
    let simulator = Simulator::start(&options, &token).unwrap();
    register(&simulator, url);
    let notice = NoticeKey { fiscal_code: INSTITUTION.to_owned(), notice_number: "312000000000471179".to_owned() };
    Some((simulator, token, notice))
}

fn register(simulator: &Simulator, url: String) {
    let mut registry = simulator.registry.lock();
    let broker = Broker { fiscal_code: "88888888888".to_owned(), subscription_keys: vec![] };
    registry.brokers.insert(broker.fiscal_code.clone(), broker);
    let station = Station {
        station_id: "88888888888_01".to_owned(),
        broker_fiscal_code: "88888888888".to_owned(),
        urls: vec![url],
        primitive_version: 2,
        enabled: true,
    };
    registry.stations.insert(station.station_id.clone(), station);
    for (code, iban) in [(INSTITUTION, "IT30N0103076271000001823603"), (BENEFICIARY, "IT60X0542811101000000123456")] {
        let institution =
            Institution { fiscal_code: code.to_owned(), company_name: format!("Ente {code}"), enabled: true };
        registry.institutions.insert(code.to_owned(), institution);
        registry.put_iban(RegisteredIban {
            fiscal_code: code.to_owned(),
            iban: iban.to_owned(),
            validity_date: "2020-01-01T00:00:00Z".parse().unwrap(),
            enabled: true,
        });
    }
    registry.put_association(Association {
        fiscal_code: INSTITUTION.to_owned(),
        station_id: "88888888888_01".to_owned(),
        aux_digit: 3,
        segregation_code: Some("12".to_owned()),
        application_code: None,
        broadcast: false,
    });
}

async fn delivered(simulator: &Simulator, wanted: impl Fn(&delivery::Delivery) -> bool) -> delivery::Delivery {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    loop {
        let found = simulator.node.deliveries.list().into_iter().find(|d| wanted(d));
        match found {
            Some(delivery) => return delivery,
            None => assert!(tokio::time::Instant::now() < deadline, "{:?}", simulator.node.deliveries.list()),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_notice_is_paid_once_and_its_receipt_is_sent_until_acknowledged() {
    let Some((simulator, token, notice)) = world(2, "paSendRTV2.res.ok.xml").await else { return };
    let verified = simulator.node.verify(&notice, None).await.unwrap();
    assert_eq!(verified.amount_cents, 12_000);
    let activated = simulator.node.activate(&notice, &ActivateExtras::default()).await.unwrap();
    let busy = simulator.node.activate(&notice, &ActivateExtras::default()).await.unwrap_err();
    assert_eq!(busy.fault_code, "PPT_PAGAMENTO_IN_CORSO");
    simulator.node.outcome(&activated.payment_token, true, &OutcomeExtras::default()).unwrap();
    let repeated = simulator.node.outcome(&activated.payment_token, true, &OutcomeExtras::default()).unwrap_err();
    assert_eq!(repeated.fault_code, "PPT_ESITO_GIA_ACQUISITO");
    let delivery = delivered(&simulator, |d| d.state == delivery::State::Notified).await;
    assert_eq!(delivery.attempts, 3, "two refusals with 503, then the acknowledgement");
    let paid = simulator.node.activate(&notice, &ActivateExtras::default()).await.unwrap_err();
    assert_eq!(paid.fault_code, "PPT_PAGAMENTO_DUPLICATO");
    assert!(simulator.node.violations().is_empty());
    token.cancel();
}

#[tokio::test]
async fn a_valid_ko_is_final() {
    let Some((simulator, token, notice)) = world(0, "paSendRT.res.ko.xml").await else { return };
    let activated = simulator.node.activate(&notice, &ActivateExtras::default()).await.unwrap();
    simulator.node.outcome(&activated.payment_token, true, &OutcomeExtras::default()).unwrap();
    let delivery = delivered(&simulator, |d| matches!(d.state, delivery::State::Refused { .. })).await;
    assert_eq!(delivery.attempts, 1);
    token.cancel();
}

#[tokio::test]
async fn a_failed_payment_frees_the_notice() {
    let Some((simulator, token, notice)) = world(0, "paSendRTV2.res.ok.xml").await else { return };
    let first = simulator.node.activate(&notice, &ActivateExtras::default()).await.unwrap();
    simulator.node.outcome(&first.payment_token, false, &OutcomeExtras::default()).unwrap();
    let second = simulator.node.activate(&notice, &ActivateExtras::default()).await.unwrap();
    assert_ne!(first.payment_token, second.payment_token);
    token.cancel();
}

#[tokio::test]
async fn an_account_that_is_not_registered_stops_the_activation() {
    let Some((simulator, token, notice)) = world(0, "paSendRTV2.res.ok.xml").await else { return };
    simulator.registry.lock().ibans.retain(|i| i.fiscal_code != BENEFICIARY);
    let fault = simulator.node.activate(&notice, &ActivateExtras::default()).await.unwrap_err();
    assert_eq!(fault.fault_code, "PPT_IBAN_NON_CENSITO");
    token.cancel();
}

#[tokio::test]
async fn nothing_is_reachable_before_it_is_registered() {
    let token = CancellationToken::new();
    let simulator = Simulator::start(&Options::default(), &token).unwrap();
    let notice = NoticeKey { fiscal_code: INSTITUTION.to_owned(), notice_number: "312000000000471179".to_owned() };
    let fault = simulator.node.verify(&notice, None).await.unwrap_err();
    assert_eq!(fault.fault_code, "PPT_DOMINIO_SCONOSCIUTO");
    token.cancel();
}
