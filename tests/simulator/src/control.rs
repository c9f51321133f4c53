//! Control API: fills the registry, plays the PSP, shows what happened. JSON over HTTP; unknown fields are refused.

use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    Simulator,
    judge::Violation,
    node::{ActivateExtras, Activated, NoticeKey, OutcomeExtras, Verified, delivery::Delivery, fault::Fault},
    registry::{Association, Broker, Contents, Institution, RegisteredIban, Station},
};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct VerifyBody {
    #[serde(flatten)]
    notice: NoticeKey,
    station_id: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Dissociation {
    fiscal_code: String,
    station_id: String,
}

#[derive(Debug, Deserialize)]
struct ActivateBody {
    #[serde(flatten)]
    notice: NoticeKey,
    #[serde(flatten)]
    extras: ActivateExtras,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct OutcomeBody {
    payment_token: String,
    outcome: Outcome,
    #[serde(flatten)]
    extras: OutcomeExtras,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum Outcome {
    Ok,
    Ko,
}

/// Verify, activate and pay in one go.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Paid {
    /// First step.
    pub verified: Verified,
    /// Second step.
    pub activated: Activated,
    /// Third step: the receipt is on its way.
    pub receipt_id: String,
}

type Answer<T> = Result<Json<T>, (StatusCode, Json<Fault>)>;

/// The routes.
pub fn router(simulator: Simulator) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/registry", get(contents))
        .route("/registry/brokers", post(put_broker))
        .route("/registry/stations", post(put_station))
        .route("/registry/institutions", post(put_institution))
        .route("/registry/associations", post(put_association))
        .route("/registry/associations/remove", post(remove_association))
        .route("/registry/ibans", post(put_iban))
        .route("/psp/verify", post(verify))
        .route("/psp/activate", post(activate))
        .route("/psp/outcome", post(outcome))
        .route("/psp/pay", post(pay))
        .route("/deliveries", get(deliveries))
        .route("/deliveries/{id}/resend", post(resend))
        .route("/violations", get(violations))
        .with_state(simulator)
}

async fn contents(State(simulator): State<Simulator>) -> Json<Contents> {
    Json(simulator.registry.lock().clone())
}

async fn put_broker(State(simulator): State<Simulator>, Json(broker): Json<Broker>) -> StatusCode {
    simulator.registry.lock().brokers.insert(broker.fiscal_code.clone(), broker);
    StatusCode::NO_CONTENT
}

async fn put_station(State(simulator): State<Simulator>, Json(station): Json<Station>) -> StatusCode {
    simulator.registry.lock().stations.insert(station.station_id.clone(), station);
    StatusCode::NO_CONTENT
}

async fn put_institution(State(simulator): State<Simulator>, Json(institution): Json<Institution>) -> StatusCode {
    simulator.registry.lock().institutions.insert(institution.fiscal_code.clone(), institution);
    StatusCode::NO_CONTENT
}

async fn put_association(State(simulator): State<Simulator>, Json(association): Json<Association>) -> StatusCode {
    simulator.registry.lock().put_association(association);
    StatusCode::NO_CONTENT
}

async fn remove_association(State(simulator): State<Simulator>, Json(gone): Json<Dissociation>) -> StatusCode {
    let removed = simulator.registry.lock().remove_association(&gone.fiscal_code, &gone.station_id);
    if removed { StatusCode::NO_CONTENT } else { StatusCode::NOT_FOUND }
}

async fn put_iban(State(simulator): State<Simulator>, Json(iban): Json<RegisteredIban>) -> StatusCode {
    simulator.registry.lock().put_iban(iban);
    StatusCode::NO_CONTENT
}

async fn verify(State(simulator): State<Simulator>, Json(body): Json<VerifyBody>) -> Answer<Verified> {
    answer(simulator.node.verify(&body.notice, body.station_id.as_deref()).await)
}

async fn activate(State(simulator): State<Simulator>, Json(body): Json<ActivateBody>) -> Answer<Activated> {
    answer(simulator.node.activate(&body.notice, &body.extras).await)
}

async fn outcome(State(simulator): State<Simulator>, Json(body): Json<OutcomeBody>) -> Answer<Value> {
    let receipt = simulator.node.outcome(&body.payment_token, body.outcome == Outcome::Ok, &body.extras);
    answer(receipt.map(|receipt_id| json!({"outcome": "OK", "receiptId": receipt_id})))
}

async fn pay(State(simulator): State<Simulator>, Json(body): Json<ActivateBody>) -> Answer<Paid> {
    answer(pay_notice(&simulator, &body).await)
}

async fn pay_notice(simulator: &Simulator, body: &ActivateBody) -> Result<Paid, Fault> {
    let verified = simulator.node.verify(&body.notice, None).await?;
    let activated = simulator.node.activate(&body.notice, &body.extras).await?;
    simulator.node.outcome(&activated.payment_token, true, &OutcomeExtras::default())?;
    let receipt_id = activated.payment_token.clone();
    Ok(Paid { verified, activated, receipt_id })
}

async fn deliveries(State(simulator): State<Simulator>) -> Json<Vec<Delivery>> {
    Json(simulator.node.deliveries.list())
}

async fn resend(State(simulator): State<Simulator>, Path(id): Path<usize>) -> StatusCode {
    if simulator.node.deliveries.resend(id) { StatusCode::ACCEPTED } else { StatusCode::NOT_FOUND }
}

async fn violations(State(simulator): State<Simulator>) -> Json<Vec<Violation>> {
    Json(simulator.node.violations())
}

/// A fault is an answer of the node, not an error of this API: 422 keeps clients from taking it for success.
fn answer<T>(result: Result<T, Fault>) -> Answer<T> {
    result.map(Json).map_err(|fault| (StatusCode::UNPROCESSABLE_ENTITY, Json(fault)))
}
