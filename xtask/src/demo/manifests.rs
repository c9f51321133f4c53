//! What the platform engineer does: `kubectl apply`, and looking at what became of it.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use fiorino_rig::eventually;
use fiorino_world::World;
use serde_json::{Value, json};

use crate::installation::PLATFORM;

/// Namespace of the municipality in `examples/comune.yaml`.
const MUNICIPALITY: &str = "comune";
/// Namespace of the province in `examples/provincia.yaml`.
const PROVINCE: &str = "provincia";
/// Where the operator gets to within seconds.
const STATUS_DEADLINE: Duration = Duration::from_secs(30);
/// pagoPA is asked again after 1, 2, 4, ... seconds.
const READ_BACK_DEADLINE: &str = "60s";

/// What the manifests say, as pagoPA would be told.
#[derive(Debug, Clone)]
pub(crate) struct Municipality {
    /// Name of the object.
    pub(crate) name: String,
    /// 11 digits.
    pub(crate) fiscal_code: String,
    /// As pagoPA shows it.
    pub(crate) legal_name: String,
    /// Station id.
    pub(crate) station: String,
    /// Fiscal code of the broker.
    pub(crate) broker: String,
    /// Two digits.
    pub(crate) segregation_code: String,
    /// The account's number.
    pub(crate) iban: String,
    /// Host name of its portal.
    pub(crate) hostname: String,
}

/// Who shares in payments, as pagoPA would be told.
#[derive(Debug, Clone)]
pub(crate) struct Beneficiary {
    /// 11 digits.
    pub(crate) fiscal_code: String,
    /// As pagoPA shows it.
    pub(crate) legal_name: String,
    /// The account's number.
    pub(crate) iban: String,
}

/// The broker's fiscal code, from its manifest.
pub(crate) async fn broker(world: &World) -> Result<String> {
    let broker = first(world, "brokers", PLATFORM).await?;
    text(&broker, "/spec/fiscalCode")
}

/// Applies `examples/platform.yaml` with the simulator in pagoPA's place and the key that it will accept.
pub(crate) async fn apply_platform(world: &World, examples: &Path, dir: &Path, key: &str) -> Result<()> {
    // An overlay, as one would keep it per environment: the example itself stays as it is.
    fs_err::create_dir_all(dir)?;
    fs_err::copy(examples.join("platform.yaml"), dir.join("platform.yaml"))?;
    let backoffice = format!("{}/backoffice/external/ec/v1", world.addresses().simulator_url);
    let patch = json!([{"op": "add", "path": "/spec/endpoints", "value": {"backoffice": backoffice}}]).to_string();
    let overlay = json!({
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": ["platform.yaml"],
        "patches": [{"target": {"kind": "Broker"}, "patch": patch}],
    });
    fs_err::write(dir.join("kustomization.yaml"), serde_json::to_string_pretty(&overlay)?)?;
    let literal = format!("--from-literal=backoffice={key}");
    world.kubectl(&["--namespace", PLATFORM, "create", "secret", "generic", "pagopa", &literal], "").await?;
    let dir = dir.display().to_string();
    world.kubectl(&["apply", "--server-side", "--kustomize", &dir], "").await.map(drop)
}

/// Applies `examples/comune.yaml`: the one file of a municipality.
pub(crate) async fn apply_municipality(world: &World, examples: &Path) -> Result<()> {
    let file = examples.join("comune.yaml").display().to_string();
    world.kubectl(&["apply", "--filename", &file], "").await.map(drop)
}

/// Applies `examples/provincia.yaml`, and waits until every service has it.
pub(crate) async fn apply_province(world: &World, examples: &Path) -> Result<Beneficiary> {
    let file = examples.join("provincia.yaml").display().to_string();
    world.kubectl(&["apply", "--filename", &file], "").await?;
    let look = async || {
        let institution = first(world, "creditorinstitutions", PROVINCE).await?;
        ensure!(condition(&institution, "Ready") == "True", "Ready={}", condition(&institution, "Ready"));
        let account = first(world, "ibans", PROVINCE).await?;
        Ok(Beneficiary {
            fiscal_code: text(&institution, "/spec/fiscalCode")?,
            legal_name: text(&institution, "/spec/legalName")?,
            iban: text(&account, "/spec/numbers/0/iban")?,
        })
    };
    let result: Result<Beneficiary> = eventually(STATUS_DEADLINE, look).await;
    result.context("the province did not become Ready=True")
}

/// Waits until the status says that the municipality is configured, not payable yet, and who must act; answers with that.
pub(crate) async fn waits_for(world: &World) -> Result<String> {
    let look = async || {
        let object = first(world, "creditorinstitutions", MUNICIPALITY).await?;
        ensure!(condition(&object, "Ready") == "True", "Ready={}", condition(&object, "Ready"));
        ensure!(condition(&object, "Payable") == "False", "Payable={}", condition(&object, "Payable"));
        let (party, what) = (text(&object, "/status/waitingFor/party")?, text(&object, "/status/waitingFor/textEn")?);
        Ok(format!("{party}: {what}"))
    };
    let result: Result<String> = eventually(STATUS_DEADLINE, look).await;
    result.context("the municipality did not become Ready=True, Payable=False")
}

/// Waits until it is payable.
pub(crate) async fn payable(world: &World, name: &str) -> Result<()> {
    let (object, timeout) = (format!("creditorinstitution/{name}"), format!("--timeout={READ_BACK_DEADLINE}"));
    let args = ["--namespace", MUNICIPALITY, "wait", "--for=condition=Payable", &timeout, &object];
    world.kubectl(&args, "").await.map(drop)
}

/// What `kubectl get payments` shows of the municipality.
pub(crate) async fn shown(world: &World) -> Result<String> {
    world.kubectl(&["--namespace", MUNICIPALITY, "get", "payments"], "").await
}

/// Reads the manifests back from the API server.
pub(crate) async fn municipality(world: &World) -> Result<Municipality> {
    let institution = first(world, "creditorinstitutions", MUNICIPALITY).await?;
    let account = first(world, "ibans", MUNICIPALITY).await?;
    let station = first(world, "stations", PLATFORM).await?;
    Ok(Municipality {
        name: text(&institution, "/metadata/name")?,
        fiscal_code: text(&institution, "/spec/fiscalCode")?,
        legal_name: text(&institution, "/spec/legalName")?,
        station: text(&station, "/spec/id")?,
        broker: broker(world).await?,
        segregation_code: text(&institution, "/spec/associations/0/segregationCode")?,
        iban: text(&account, "/spec/numbers/0/iban")?,
        hostname: text(&institution, "/spec/portal/hostnames/0")?,
    })
}

async fn first(world: &World, kind: &str, namespace: &str) -> Result<Value> {
    let printed = world.kubectl(&["--namespace", namespace, "get", kind, "--output=json"], "").await?;
    let list: Value = serde_json::from_str(&printed)?;
    list.pointer("/items/0").cloned().with_context(|| format!("no {kind} in {namespace}"))
}

fn text(object: &Value, pointer: &str) -> Result<String> {
    let value = object.pointer(pointer).and_then(Value::as_str);
    value.map(str::to_owned).with_context(|| format!("{pointer} is not set"))
}

fn condition(object: &Value, kind: &str) -> String {
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
    let found = conditions.into_iter().flatten().find(|condition| condition["type"] == kind);
    found.and_then(|condition| condition["status"].as_str()).unwrap_or("absent").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_found_by_type() {
        let object = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}});
        assert_eq!(condition(&object, "Ready"), "True");
        assert_eq!(condition(&object, "Payable"), "absent");
    }
}
