//! The node's own rules: tokens, registered accounts, delivery and retry of receipts.

pub(crate) mod station;

use fiorino_rig::within;
use std::time::Duration;

use fiorino_simulator::{
    Options, Simulator,
    judge::Operation,
    node::{ActivateExtras, NoticeKey, OutcomeExtras, delivery},
    registry::{Association, Contents, Institution, Station},
};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::node::station::{BENEFICIARY, FakeStation, INSTITUTION, STATION, World};

async fn delivered(simulator: &Simulator, wanted: impl Fn(&delivery::Delivery) -> bool) -> delivery::Delivery {
    let list = || simulator.node.deliveries.list();
    let found = async {
        loop {
            if let Some(delivery) = list().into_iter().find(&wanted) {
                return delivery;
            }
            // Short: some states do not last.
            sleep(Duration::from_millis(10)).await;
        }
    };
    within(Duration::from_secs(10), found).await.unwrap_or_else(|_| panic!("{:?}", list()))
}

async fn pay(world: &World) -> String {
    let activated = world.simulator.node.activate(&world.notice, &ActivateExtras::default()).await.unwrap();
    world.simulator.node.outcome(&activated.payment_token, true, &OutcomeExtras::default()).unwrap();
    activated.payment_token
}

fn notified(delivery: &delivery::Delivery) -> bool {
    delivery.state == delivery::State::Notified
}

#[tokio::test]
async fn a_notice_is_paid_once_and_its_receipt_is_sent_until_acknowledged() {
    let Some(world) = World::start(FakeStation::new().refuse_receipts(2, 503, "")).await else { return };
    let node = &world.simulator.node;
    let verified = node.verify(&world.notice, None).await.unwrap();
    assert_eq!(verified.amount_cents, 12_000);
    let activated = node.activate(&world.notice, &ActivateExtras::default()).await.unwrap();
    let busy = node.activate(&world.notice, &ActivateExtras::default()).await.unwrap_err();
    assert_eq!(busy.fault_code, "PPT_PAGAMENTO_IN_CORSO");
    node.outcome(&activated.payment_token, true, &OutcomeExtras::default()).unwrap();
    let repeated = node.outcome(&activated.payment_token, true, &OutcomeExtras::default()).unwrap_err();
    assert_eq!(repeated.fault_code, "PPT_ESITO_GIA_ACQUISITO");
    let delivery = delivered(&world.simulator, notified).await;
    assert_eq!(delivery.attempts, 3, "two refusals with 503, then the acknowledgement");
    let paid = node.activate(&world.notice, &ActivateExtras::default()).await.unwrap_err();
    assert_eq!(paid.fault_code, "PPT_PAGAMENTO_DUPLICATO");
    assert!(node.violations().is_empty());
}

#[tokio::test]
async fn a_token_of_nobody_is_unknown() {
    let Some(world) = World::start(FakeStation::new()).await else { return };
    let fault = world.simulator.node.outcome("none", true, &OutcomeExtras::default()).unwrap_err();
    assert_eq!(fault.fault_code, "PPT_TOKEN_SCONOSCIUTO");
}

#[tokio::test]
async fn a_token_expires() {
    let options = Options { token_validity: Duration::ZERO, ..World::options() };
    let Some(world) = World::start_with(FakeStation::new(), &options).await else { return };
    let node = &world.simulator.node;
    let first = node.activate(&world.notice, &ActivateExtras::default()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(2)).await;
    let fault = node.outcome(&first.payment_token, true, &OutcomeExtras::default()).unwrap_err();
    assert_eq!(fault.fault_code, "PPT_TOKEN_SCADUTO");
    node.activate(&world.notice, &ActivateExtras::default()).await.unwrap();
}

#[tokio::test]
async fn valid_ko_to_a_receipt_is_final() {
    let Some(world) = World::start(FakeStation::new().receipt_sample("paSendRT.res.ko.xml")).await else { return };
    pay(&world).await;
    let delivery = delivered(&world.simulator, |d| matches!(d.state, delivery::State::Refused { .. })).await;
    assert_eq!(delivery.attempts, 1);
}

#[tokio::test]
async fn malformed_answer_to_a_receipt_is_retried() {
    let Some(world) = World::start(FakeStation::new().refuse_receipts(1, 200, "<not-soap/>")).await else { return };
    pay(&world).await;
    assert_eq!(delivered(&world.simulator, notified).await.attempts, 2);
    assert_eq!(world.simulator.node.violations().first().map(|v| v.rule), Some("soap-envelope"));
}

#[tokio::test]
async fn unreachable_station_gets_the_receipt_again() {
    let Some(world) = World::start(FakeStation::new()).await else { return };
    let activated = world.simulator.node.activate(&world.notice, &ActivateExtras::default()).await.unwrap();
    let reachable = world.set_station_urls(vec!["http://127.0.0.1:9/".to_owned()]);
    world.simulator.node.outcome(&activated.payment_token, true, &OutcomeExtras::default()).unwrap();
    let failed = delivered(&world.simulator, |d| d.attempts >= 2).await;
    assert_eq!(failed.last_problem.as_deref(), Some("PPT_STAZIONE_INT_PA_IRRAGGIUNGIBILE"));
    world.set_station_urls(reachable);
    let delivery = delivered(&world.simulator, notified).await;
    assert!(delivery.attempts >= 3, "{delivery:?}");
}

#[tokio::test]
async fn receipts_reach_primary_and_broadcast_stations() {
    let Some(world) = World::start(FakeStation::new()).await else { return };
    {
        let mut registry = world.simulator.registry.lock();
        let primary = registry.stations[STATION].clone();
        let broadcast = Station { station_id: "88888888888_02".to_owned(), ..primary };
        registry.stations.insert(broadcast.station_id.clone(), broadcast);
        registry.put_association(Association {
            fiscal_code: BENEFICIARY.to_owned(),
            station_id: "88888888888_02".to_owned(),
            aux_digit: 3,
            segregation_code: Some("12".to_owned()),
            application_code: None,
            broadcast: true,
        });
    }
    let receipt = pay(&world).await;
    for (addressee, station) in [(INSTITUTION, STATION), (BENEFICIARY, "88888888888_02")] {
        let sent = |d: &delivery::Delivery| d.addressee == addressee && d.station_id == station && notified(d);
        assert_eq!(delivered(&world.simulator, sent).await.receipt_id, receipt);
    }
}

#[tokio::test]
async fn a_station_that_does_not_answer_in_time_gets_the_receipt_again() {
    let station = FakeStation::new();
    let limit = Duration::from_millis(200);
    let options = Options { notice_timeout: limit, receipt_timeout: limit, ..World::options() };
    let Some(world) = World::start_with(station.clone(), &options).await else { return };
    let node = &world.simulator.node;
    station.fall_silent(2);
    for fault in [
        node.verify(&world.notice, None).await.unwrap_err(),
        node.activate(&world.notice, &ActivateExtras::default()).await.unwrap_err(),
    ] {
        assert_eq!(fault.fault_code, "PPT_STAZIONE_INT_PA_TIMEOUT");
    }
    let activated = node.activate(&world.notice, &ActivateExtras::default()).await.unwrap();
    station.fall_silent(1);
    node.outcome(&activated.payment_token, true, &OutcomeExtras::default()).unwrap();
    let timeout = |d: &delivery::Delivery| d.last_problem.as_deref() == Some("PPT_STAZIONE_INT_PA_TIMEOUT");
    delivered(&world.simulator, timeout).await;
    assert_eq!(delivered(&world.simulator, notified).await.attempts, 2);
    assert!(node.violations().is_empty(), "silence breaks no rule of the contract");
}

#[tokio::test]
async fn a_station_of_version_1_is_asked_and_told_by_version_1() {
    let Some(world) = World::start(FakeStation::new()).await else { return };
    world.use_version_1();
    pay(&world).await;
    assert_eq!(delivered(&world.simulator, notified).await.operation, Operation::SendRt);
    assert!(world.simulator.node.violations().is_empty());
}

#[tokio::test]
async fn of_simultaneous_activations_one_holds_the_notice() {
    let Some(world) = World::start(FakeStation::new()).await else { return };
    let (node, extras) = (&world.simulator.node, ActivateExtras::default());
    let (first, second) = tokio::join!(node.activate(&world.notice, &extras), node.activate(&world.notice, &extras));
    let faults: Vec<_> =
        [first, second].into_iter().filter_map(|activated| Some(activated.err()?.fault_code)).collect();
    assert_eq!(faults, ["PPT_ATTIVAZIONE_IN_CORSO"]);
}

#[tokio::test]
async fn an_activation_whose_client_hangs_up_frees_the_notice() {
    let station = FakeStation::new();
    let Some(world) = World::start(station.clone()).await else { return };
    let (node, extras) = (&world.simulator.node, ActivateExtras::default());
    station.fall_silent(1);
    tokio::time::timeout(Duration::from_millis(100), node.activate(&world.notice, &extras)).await.unwrap_err();
    node.activate(&world.notice, &extras).await.unwrap();
}

#[tokio::test]
async fn an_activation_with_the_same_idempotency_key_has_the_same_answer() {
    let Some(world) = World::start(FakeStation::new()).await else { return };
    let node = &world.simulator.node;
    let extras = ActivateExtras { idempotency_key: Some("psp-1".to_owned()), ..ActivateExtras::default() };
    let first = node.activate(&world.notice, &extras).await.unwrap();
    let again = node.activate(&world.notice, &extras).await.unwrap();
    assert_eq!(first.payment_token, again.payment_token);
    let another = ActivateExtras { amount_cents: Some(1), ..extras };
    let fault = node.activate(&world.notice, &another).await.unwrap_err();
    assert_eq!(fault.fault_code, "PPT_ERRORE_IDEMPOTENZA");
}

#[tokio::test]
async fn a_failed_payment_frees_the_notice() {
    let Some(world) = World::start(FakeStation::new()).await else { return };
    let node = &world.simulator.node;
    let first = node.activate(&world.notice, &ActivateExtras::default()).await.unwrap();
    node.outcome(&first.payment_token, false, &OutcomeExtras::default()).unwrap();
    let second = node.activate(&world.notice, &ActivateExtras::default()).await.unwrap();
    assert_ne!(first.payment_token, second.payment_token);
}

#[tokio::test]
async fn unregistered_iban_is_refused() {
    let Some(world) = World::start(FakeStation::new()).await else { return };
    for spoil in [
        |registry: &mut Contents| registry.ibans.iter_mut().for_each(|i| i.enabled &= i.fiscal_code != BENEFICIARY),
        |registry: &mut Contents| registry.ibans.retain(|i| i.fiscal_code != BENEFICIARY),
    ] {
        spoil(&mut world.simulator.registry.lock());
        let fault = world.simulator.node.activate(&world.notice, &ActivateExtras::default()).await.unwrap_err();
        assert_eq!(fault.fault_code, "PPT_IBAN_NON_CENSITO");
    }
}

#[tokio::test]
async fn unregistered_alternative_account_is_refused() {
    let station = FakeStation::new().replace("TARI-TEFA-1", "IBANAPPOGGIO");
    let Some(world) = World::start(station).await else { return };
    let asked = ActivateExtras { transfer_type: Some("PAGOPA".to_owned()), ..ActivateExtras::default() };
    let fault = world.simulator.node.activate(&world.notice, &asked).await.unwrap_err();
    assert_eq!(fault.fault_code, "PPT_IBAN_NON_CENSITO");
    world.register(INSTITUTION, "A000|2023|3944");
    assert_eq!(world.simulator.node.activate(&world.notice, &asked).await.unwrap().transfers, 2);
}

#[tokio::test]
async fn unknown_beneficiary_is_refused() {
    let Some(world) = World::start(FakeStation::new()).await else { return };
    for spoil in [
        |registry: &mut Contents| registry.institutions.get_mut(BENEFICIARY).unwrap().enabled = false,
        |registry: &mut Contents| drop(registry.institutions.remove(BENEFICIARY)),
    ] {
        spoil(&mut world.simulator.registry.lock());
        let fault = world.simulator.node.activate(&world.notice, &ActivateExtras::default()).await.unwrap_err();
        assert_eq!(fault.fault_code, "PPT_STAZIONE_INT_PA_ERRORE_RESPONSE");
    }
}

#[tokio::test]
async fn another_amount_than_asked_is_accepted() {
    let Some(world) = World::start(FakeStation::new()).await else { return };
    let asked = ActivateExtras { amount_cents: Some(1), ..ActivateExtras::default() };
    assert_eq!(world.simulator.node.activate(&world.notice, &asked).await.unwrap().amount_cents, 12_000);
}

#[tokio::test]
async fn another_beneficiary_is_accepted() {
    let station = FakeStation::new().replace(BENEFICIARY, "00000000042");
    let Some(world) = World::start(station).await else { return };
    world.register("00000000042", "IT60X0542811101000000123456");
    assert_eq!(world.simulator.node.activate(&world.notice, &ActivateExtras::default()).await.unwrap().transfers, 2);
}

#[tokio::test]
async fn nothing_is_reachable_before_it_is_registered() {
    let token = CancellationToken::new();
    let simulator = Simulator::start(&Options::default(), &token).unwrap();
    let notice = NoticeKey { fiscal_code: INSTITUTION.to_owned(), notice_number: "312000000000471179".to_owned() };
    let fault = simulator.node.verify(&notice, None).await.unwrap_err();
    assert_eq!(fault.fault_code, "PPT_DOMINIO_SCONOSCIUTO");
    let institution =
        Institution { fiscal_code: INSTITUTION.to_owned(), company_name: "Ente".to_owned(), enabled: true };
    simulator.registry.lock().institutions.insert(INSTITUTION.to_owned(), institution);
    let fault = simulator.node.verify(&notice, None).await.unwrap_err();
    assert_eq!(fault.fault_code, "PPT_STAZIONE_INT_PA_SCONOSCIUTA");
    token.cancel();
}
