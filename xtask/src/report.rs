//! What a run tells whoever automates it: docs/report.md.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use fiorino_rig::certs::Identity;
use serde::{Deserialize, Serialize};

use crate::demo::Told;
use crate::installation::Installation;

/// The file's content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Report {
    /// Of the API server's administrator.
    pub(crate) kubeconfig: PathBuf,
    /// Plain listeners, one per replica of the node-connector.
    pub(crate) node_urls: Vec<String>,
    /// A listener that asks for the node's certificate.
    pub(crate) node_mtls_url: String,
    /// Tenant, over mTLS.
    pub(crate) tenant_grpc: String,
    /// Reporting, over mTLS.
    pub(crate) reporting_grpc: String,
    /// The municipality's portal.
    pub(crate) portal_url: String,
    /// The simulated node and PSP.
    pub(crate) simulator_url: String,
    /// The trace viewer.
    pub(crate) traces_url: String,
    /// By service, as superuser.
    pub(crate) database_urls: BTreeMap<String, String>,
    /// `host:port`
    pub(crate) kafka: String,
    /// Who may call what.
    pub(crate) clients: Clients,
    /// The municipality that was made payable.
    pub(crate) institution: Institution,
    /// What was done, in order.
    pub(crate) steps: Vec<Step>,
    /// What runs.
    pub(crate) processes: Vec<RunningProcess>,
}

/// Certificates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Clients {
    /// Calls `node_mtls_url`.
    pub(crate) node: Client,
    /// Calls `tenant_grpc` and `reporting_grpc`.
    pub(crate) dev: Client,
}

/// PEM files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Client {
    /// Certificate.
    pub(crate) cert: PathBuf,
    /// Key.
    pub(crate) key: PathBuf,
    /// Authority of the server.
    pub(crate) ca: PathBuf,
}

/// Who can be paid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Institution {
    /// 11 digits.
    pub(crate) fiscal_code: String,
    /// Its station.
    pub(crate) station: String,
    /// Fiscal code of the broker.
    pub(crate) broker: String,
    /// Number of a notice that is still to be paid.
    pub(crate) notice: String,
}

/// Something that was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Step {
    /// What.
    pub(crate) name: String,
    /// How long it took, in milliseconds.
    pub(crate) ms: u64,
}

/// A process while the report was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RunningProcess {
    /// Its role.
    pub(crate) name: String,
    /// Process id.
    pub(crate) pid: u32,
    /// Resident memory, in KiB.
    pub(crate) rss_kib: u64,
}

// === impl Report ===

impl Report {
    /// The report of what runs now.
    pub(crate) fn of(installation: &Installation, told: Told, steps: Vec<Step>) -> Result<Self> {
        let world = installation.world.addresses();
        let mesh = installation.world.mesh();
        let processes = installation.processes().into_iter().map(|(name, pid)| {
            let rss_kib = rss_kib(pid).with_context(|| format!("failed to measure {name}"))?;
            Ok(RunningProcess { name, pid, rss_kib })
        });
        Ok(Self {
            kubeconfig: world.kubeconfig.clone(),
            node_urls: world.node_urls.clone(),
            node_mtls_url: world.node_mtls_urls.first().cloned().context("no node-connector")?,
            tenant_grpc: world.tenant_grpc.clone(),
            reporting_grpc: world.reporting_grpc.clone(),
            portal_url: told.portal_url,
            simulator_url: world.simulator_url.clone(),
            traces_url: installation.zipkin.url.clone(),
            database_urls: world.database_urls.clone(),
            kafka: world.kafka_brokers.clone(),
            clients: Clients { node: mesh.node_client().into(), dev: mesh.identity("dev").into() },
            institution: told.institution,
            steps,
            processes: processes.collect::<Result<_>>()?,
        })
    }

    /// Writes it; whoever waits for the file never reads half of it.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let mut draft = path.as_os_str().to_owned();
        draft.push(".new");
        fs_err::write(&draft, serde_json::to_string_pretty(self)? + "\n")?;
        Ok(fs_err::rename(draft, path)?)
    }
}

// === impl Client ===

impl From<Identity> for Client {
    fn from(identity: Identity) -> Self {
        Self { cert: identity.cert, key: identity.key, ca: identity.ca }
    }
}

// === impl Step ===

impl Step {
    /// A step that took `time`.
    pub(crate) fn new(name: &str, time: Duration) -> Self {
        Self { name: name.to_owned(), ms: u64::try_from(time.as_millis()).unwrap_or(u64::MAX) }
    }
}

fn rss_kib(pid: u32) -> Result<u64> {
    let status = fs_err::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse()?)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    fn sample() -> Report {
        let client = || Client { cert: "c".into(), key: "k".into(), ca: "a".into() };
        let text = || "x".to_owned();
        Report {
            kubeconfig: "k".into(),
            node_urls: vec![text()],
            node_mtls_url: text(),
            tenant_grpc: text(),
            reporting_grpc: text(),
            portal_url: text(),
            simulator_url: text(),
            traces_url: text(),
            database_urls: BTreeMap::from([("<service>".to_owned(), text())]),
            kafka: text(),
            clients: Clients { node: client(), dev: client() },
            institution: Institution { fiscal_code: text(), station: text(), broker: text(), notice: text() },
            steps: vec![Step { name: text(), ms: 1 }],
            processes: vec![RunningProcess { name: text(), pid: 1, rss_kib: 1 }],
        }
    }

    /// `path -> type` of every value.
    fn shape(path: &str, value: &Value, found: &mut BTreeSet<(String, String)>) {
        let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
        match value {
            Value::Object(fields) => fields.iter().for_each(|(key, value)| shape(&below(key), value, found)),
            Value::Array(items) => items.iter().for_each(|item| shape(&format!("{path}[]"), item, found)),
            Value::Number(_) => drop(found.insert((path.to_owned(), "integer".to_owned()))),
            Value::String(_) => drop(found.insert((path.to_owned(), "string".to_owned()))),
            Value::Null | Value::Bool(_) => panic!("{path} is {value}"),
        }
    }

    /// Rows `| `path` | type | meaning |` of docs/report.md.
    fn documented() -> BTreeSet<(String, String)> {
        let text = fs_err::read_to_string(fiorino_rig::workspace_root().join("docs/report.md")).unwrap();
        let rows = text.lines().filter_map(|line| line.strip_prefix("| `"));
        rows.map(|row| {
            let (path, rest) = row.split_once("` | ").unwrap();
            let (kind, meaning) = rest.split_once(" | ").unwrap();
            assert!(meaning.len() > 10, "{path} is not explained");
            (path.to_owned(), kind.to_owned())
        })
        .collect()
    }

    #[test]
    fn the_documentation_has_every_key_with_its_type_and_no_other() {
        let mut shown = BTreeSet::new();
        shape("", &serde_json::to_value(sample()).unwrap(), &mut shown);
        assert_eq!(documented(), shown);
    }

    #[test]
    fn what_is_written_is_read_back_and_nothing_else_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("report.json");
        sample().write(&path).unwrap();
        let text = fs_err::read_to_string(&path).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), sample());
        let more = text.replacen('{', "{\"surprise\": 1,", 1);
        serde_json::from_str::<Report>(&more).unwrap_err();
    }

    #[test]
    fn our_own_memory_is_measured() {
        assert!(rss_kib(std::process::id()).unwrap() > 100);
    }
}
