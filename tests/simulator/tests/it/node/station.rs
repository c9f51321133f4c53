//! A station that answers with the official samples, and a node that knows it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::IntoResponse,
    routing::post,
};
use fiorino_simulator::{
    Options, Simulator,
    node::NoticeKey,
    registry::{Association, Broker, Institution, RegisteredIban, Station},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::samples;

pub(crate) const INSTITUTION: &str = "77777777777";
pub(crate) const BENEFICIARY: &str = "01199250158";
pub(crate) const STATION: &str = "88888888888_01";

/// How the station answers.
#[derive(Debug, Clone)]
pub(crate) struct FakeStation {
    receipt_sample: &'static str,
    replace: Option<(&'static str, &'static str)>,
    /// So many receipts get this status and body first.
    refusals: Arc<AtomicU32>,
    refusal: (u16, &'static str),
    /// So many calls get no answer first.
    silences: Arc<AtomicU32>,
}

/// A node and its station; ends when dropped.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) simulator: Simulator,
    pub(crate) notice: NoticeKey,
    _end: DropGuard,
}

// === impl FakeStation ===

impl FakeStation {
    pub(crate) fn new() -> Self {
        let refusals = Arc::new(AtomicU32::new(0));
        let silences = Arc::new(AtomicU32::new(0));
        Self { receipt_sample: "paSendRTV2.res.ok.xml", replace: None, refusals, refusal: (200, ""), silences }
    }

    pub(crate) fn receipt_sample(self, receipt_sample: &'static str) -> Self {
        Self { receipt_sample, ..self }
    }

    pub(crate) fn replace(self, from: &'static str, to: &'static str) -> Self {
        Self { replace: Some((from, to)), ..self }
    }

    pub(crate) fn refuse_receipts(self, count: u32, status: u16, body: &'static str) -> Self {
        self.refusals.store(count, Ordering::SeqCst);
        Self { refusal: (status, body), ..self }
    }

    /// From now on so many calls get no answer.
    pub(crate) fn fall_silent(&self, count: u32) {
        self.silences.store(count, Ordering::SeqCst);
    }

    /// Serves it until `token` is cancelled; its URL. Nothing when the samples are not on this machine.
    pub(crate) async fn serve(self, token: CancellationToken) -> Option<String> {
        samples::load("paGetPaymentV2.res.ok.xml")?;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/node/v1/{STATION}", listener.local_addr().unwrap());
        let app = Router::new().route("/node/v1/{station}", post(serve)).with_state(self);
        let ended = token.cancelled_owned();
        tokio::spawn(async move { axum::serve(listener, app).with_graceful_shutdown(ended).await });
        Some(url)
    }

    fn answer(&self, action: &str) -> (StatusCode, String) {
        let refused = || one_less(&self.refusals);
        let name = match action {
            "paVerifyPaymentNotice" => "paVerifyPaymentNotice.res.ok.xml",
            "paGetPayment" => "paGetPayment.res.ok.xml",
            "paGetPaymentV2" => "paGetPaymentV2.res.ok.xml",
            "paSendRT" => "paSendRT.res.ok.xml",
            "paSendRTV2" if refused() => {
                let (status, body) = self.refusal;
                return (StatusCode::from_u16(status).unwrap(), body.to_owned());
            }
            "paSendRTV2" => self.receipt_sample,
            other => panic!("unexpected {other}"),
        };
        let text = samples::load(name).unwrap();
        // The sample of a refused receipt is one of paSendRT.
        let text = if action == "paSendRTV2" { text.replace("paSendRTRes", "paSendRTV2Response") } else { text };
        let (from, to) = self.replace.unwrap_or_default();
        (StatusCode::OK, if from.is_empty() { text } else { text.replace(from, to) })
    }
}

/// False when it was zero.
fn one_less(counter: &AtomicU32) -> bool {
    counter.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok()
}

async fn serve(State(station): State<FakeStation>, headers: HeaderMap, body: String) -> impl IntoResponse {
    assert!(body.contains("<idPA>"), "every call is addressed");
    if one_less(&station.silences) {
        std::future::pending::<()>().await;
    }
    let (status, text) = station.answer(headers["SOAPAction"].to_str().unwrap());
    (status, [("content-type", "text/xml; charset=utf-8")], text)
}

// === impl World ===

impl World {
    pub(crate) fn options() -> Options {
        Options { receipt_retry: Duration::from_millis(50), ..Options::default() }
    }

    /// Nothing when the samples are not on this machine.
    pub(crate) async fn start(station: FakeStation) -> Option<Self> {
        Self::start_with(station, &Self::options()).await
    }

    pub(crate) async fn start_with(station: FakeStation, options: &Options) -> Option<Self> {
        let token = CancellationToken::new();
        let url = station.serve(token.clone()).await?;
        let simulator = Simulator::start(options, &token).unwrap();
        let notice = NoticeKey { fiscal_code: INSTITUTION.to_owned(), notice_number: "312000000000471179".to_owned() };
        let world = Self { simulator, notice, _end: token.drop_guard() };
        world.register_station(url);
        world.register(INSTITUTION, "IT30N0103076271000001823603");
        world.register(BENEFICIARY, "IT60X0542811101000000123456");
        Some(world)
    }

    /// An institution with one account.
    pub(crate) fn register(&self, fiscal_code: &str, iban: &str) {
        let mut registry = self.simulator.registry.lock();
        let institution = Institution {
            fiscal_code: fiscal_code.to_owned(),
            company_name: format!("Ente {fiscal_code}"),
            enabled: true,
        };
        registry.institutions.insert(fiscal_code.to_owned(), institution);
        registry.put_iban(RegisteredIban {
            fiscal_code: fiscal_code.to_owned(),
            iban: iban.to_owned(),
            validity_date: "2020-01-01T00:00:00Z".parse().unwrap(),
            enabled: true,
        });
    }

    /// The station speaks the older primitives.
    pub(crate) fn use_version_1(&self) {
        self.simulator.registry.lock().stations.get_mut(STATION).unwrap().primitive_version = 1;
    }

    /// Moves the station; returns where it was. Receipts that are on their way go to the new place.
    pub(crate) fn set_station_urls(&self, urls: Vec<String>) -> Vec<String> {
        let mut registry = self.simulator.registry.lock();
        std::mem::replace(&mut registry.stations.get_mut(STATION).unwrap().urls, urls)
    }

    fn register_station(&self, url: String) {
        let mut registry = self.simulator.registry.lock();
        let broker = Broker { fiscal_code: "88888888888".to_owned(), subscription_keys: vec![] };
        registry.brokers.insert(broker.fiscal_code.clone(), broker);
        let station = Station {
            station_id: STATION.to_owned(),
            broker_fiscal_code: "88888888888".to_owned(),
            urls: vec![url],
            primitive_version: 2,
            enabled: true,
        };
        registry.stations.insert(station.station_id.clone(), station);
        registry.put_association(Association {
            fiscal_code: INSTITUTION.to_owned(),
            station_id: STATION.to_owned(),
            aux_digit: 3,
            segregation_code: Some("12".to_owned()),
            application_code: None,
            broadcast: false,
        });
    }
}
